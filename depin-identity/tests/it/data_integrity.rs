//! Attacks on proofs inside documents, and the known answers of the W3C.

mod attacks;
mod chains;
mod vectors;

use depin_core::{
    Algorithm, Did, DidUrl, Signer, SoftwareKey, Timestamp, Verified, document::DidDocument,
};
use depin_identity::{
    data_integrity::{self, Expectation, Options, ProofError, Purpose, Secured},
    json::{self, Object, Value, object},
    methods::key,
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Somebody with a key and the document that says so.
struct Party {
    key: SoftwareKey,
    document: DidDocument,
}

impl Party {
    fn new(algorithm: Algorithm, seed: u8) -> Self {
        let key = SoftwareKey::from_seed(algorithm, [seed; 32]);
        let document = key::document(&key::did_key(key.public_key())).unwrap();
        Self { key, document }
    }

    fn did(&self) -> &Did {
        &self.document.id
    }

    fn method(&self) -> DidUrl {
        self.document.verification_method[0].id.clone()
    }

    fn options(&self) -> Options {
        Options::new(self.method(), Purpose::Assertion)
    }

    fn secure(&self, document: &Object, options: &Options) -> Object {
        data_integrity::secure(document, options, &self.key).unwrap()
    }

    /// A proof with the options after `change`.
    fn with(&self, document: &Object, change: impl FnOnce(&mut Options)) -> Object {
        let mut options = self.options();
        change(&mut options);
        self.secure(document, &options)
    }
}

fn reading() -> Object {
    object([("temperature", 21)])
}

fn expected() -> Expectation {
    Expectation::new(Purpose::Assertion, NOW)
}

/// The verdict of somebody who knows the documents of all did:keys.
fn verify(secured: &Object, expected: &Expectation) -> Result<Verified<Secured>, ProofError> {
    let dids = signers(secured);
    let documents: Vec<_> = dids.iter().filter_map(|did| key::document(did).ok()).collect();
    data_integrity::verify(secured, expected, |did| documents.iter().find(|known| known.id == *did))
}

fn signers(secured: &Object) -> Vec<Did> {
    let url = |proof: &Object| DidUrl::parse(proof.text("verificationMethod")?).ok();
    proofs(secured).iter().filter_map(url).map(|url| url.did().clone()).collect()
}

fn proofs(secured: &Object) -> Vec<Object> {
    match secured.get("proof") {
        Some(Value::Object(one)) => vec![one.clone()],
        Some(Value::List(all)) => all.iter().filter_map(Value::as_object).cloned().collect(),
        _ => Vec::new(),
    }
}

/// The document with other proofs.
fn with_proofs(secured: &Object, proofs: Vec<Object>) -> Object {
    let mut changed = secured.clone();
    changed.insert("proof", proofs);
    changed
}

/// The document after a change of its one proof.
fn with_proof(secured: &Object, change: impl FnOnce(&mut Object)) -> Object {
    let mut proof = proofs(secured).remove(0);
    change(&mut proof);
    let mut changed = secured.clone();
    changed.insert("proof", proof);
    changed
}

fn parsed(text: &str) -> Object {
    let Value::Object(object) = json::parse(text.as_bytes()).unwrap() else { panic!("{text}") };
    object
}
