//! Adding a proof to a document.

use alloc::{string::ToString, vec::Vec};

use depin_core::{Error, ErrorKind, Result, Signer};

use super::{
    MAX_PROOFS, Options, ProofError,
    proof::{self, moment_text},
};
use crate::json::{Object, Value, object};

/// Adds a proof to a document; proofs that it has stay. The signer's key decides the suite.
///
/// With [`Options::previous`] the new proof covers those proofs too, else it stands beside them. Either way
/// the others are not checked here: [`verify`](super::verify) before adding to them.
///
/// ```
/// use depin_core::{Algorithm, DidUrl, Signer, SoftwareKey, Timestamp};
/// use depin_identity::{data_integrity::{self, Expectation, Options, Purpose}, json::object, methods::key};
///
/// let issuer = SoftwareKey::from_seed(Algorithm::EdDsa, [7; 32]);
/// let did = key::did_key(issuer.public_key());
/// let method = DidUrl::parse(&format!("{did}#{}", did.id()))?;
/// let document = object([("temperature", 21)]);
/// let secured = data_integrity::secure(&document, &Options::new(method, Purpose::Assertion), &issuer)?;
///
/// let issuer_document = key::document(&did)?;
/// let expected = Expectation::new(Purpose::Assertion, Timestamp::EPOCH);
/// let verified = data_integrity::verify(&secured, &expected, |_| Some(&issuer_document))?;
/// assert_eq!(verified.document, document);
///
/// let mut forged = secured.clone();
/// forged.insert("temperature", 22);
/// assert!(data_integrity::verify(&forged, &expected, |_| Some(&issuer_document)).is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a secp256k1 key, which has no suite. [`ProofError`] as the cause when a
/// previous proof is not there, an id is taken, or there are too many. Whatever the signer objects to.
pub fn secure(document: &Object, options: &Options, signer: &dyn Signer) -> Result<Object> {
    let algorithm = signer.public_key().algorithm();
    let suite = proof::suite(algorithm).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "no cryptosuite for this key; use ed25519 or p-256")
            .with("algorithm", algorithm)
    })?;
    let others = if document.contains("proof") { proof::all(document)? } else { Vec::new() };
    if others.len() >= MAX_PROOFS {
        return Err(ProofError::TooMany.into());
    }
    if let Some(taken) =
        options.id.as_deref().filter(|id| others.iter().any(|p| p.text("id") == Some(id)))
    {
        return Err(ProofError::Twice(taken.into()).into());
    }
    let covered = covered(options, &others)?;
    let mut proof = members(suite, options);
    if let Some(context) = document.get("@context") {
        proof.insert("@context", context.clone());
    }
    let signature = signer.sign(&proof::hash_data(&proof, document, covered)?)?;
    proof.insert("proofValue", proof::proof_value(&signature));
    let mut secured = document.clone();
    let proof = if others.is_empty() {
        Value::Object(proof)
    } else {
        let all = others.into_iter().cloned().chain([proof]);
        Value::List(all.map(Value::Object).collect())
    };
    secured.insert("proof", proof);
    Ok(secured)
}

/// The proofs that the new one covers, in the order of the document.
fn covered<'a>(options: &Options, others: &[&'a Object]) -> Result<Vec<&'a Object>, ProofError> {
    let there = |id: &str| others.iter().any(|proof| proof.text("id") == Some(id));
    if let Some(id) = options.previous.iter().find(|id| !there(id)) {
        return Err(ProofError::Previous(id.clone()));
    }
    let wanted = |proof: &&&Object| {
        proof.text("id").is_some_and(|id| options.previous.iter().any(|wanted| wanted == id))
    };
    Ok(others.iter().filter(wanted).copied().collect())
}

/// The proof without its value.
fn members(suite: &str, options: &Options) -> Object {
    let mut proof = object([
        ("type", proof::TYPE),
        ("cryptosuite", suite),
        ("proofPurpose", options.purpose.as_str()),
    ]);
    proof.insert("verificationMethod", options.verification_method.to_string());
    let texts = [("id", &options.id), ("challenge", &options.challenge)];
    for (name, text) in texts {
        text.iter().for_each(|text| drop(proof.insert(name, text.as_str())));
    }
    for (name, moment) in [("created", options.created), ("expires", options.expires)] {
        moment.into_iter().for_each(|moment| drop(proof.insert(name, moment_text(moment))));
    }
    for (name, texts) in [("domain", &options.domain), ("previousProof", &options.previous)] {
        match texts.as_slice() {
            [] => {}
            [one] => drop(proof.insert(name, one.as_str())),
            several => drop(proof.insert(name, several.to_vec())),
        }
    }
    proof
}
