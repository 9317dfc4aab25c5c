#![no_main]
//! Documents with proofs: none holds without its signer's document.

use depin_core::{Algorithm, Signer, SoftwareKey, Timestamp, document::DidDocument};
use depin_identity::{
    data_integrity::{Expectation, Purpose, verify},
    json::{self, Value},
    methods::key,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(Value::Object(secured)) = json::parse(bytes) else { return };
    let signer = SoftwareKey::from_seed(Algorithm::EdDsa, [7; 32]);
    let document = key::document(&key::did_key(signer.public_key())).expect("a did:key");
    let expected = Expectation::new(Purpose::Assertion, Timestamp::EPOCH);
    // A document that claims to be everybody's, so that signatures are reached.
    let everybody = |did: &depin_core::Did| DidDocument { id: did.clone(), ..document.clone() };
    let documents: Vec<_> = proofs(&secured).map(|did| everybody(&did)).collect();
    let find = |did: &depin_core::Did| documents.iter().find(|known| known.id == *did);
    assert!(verify(&secured, &expected, find).is_err());
});

fn proofs(secured: &json::Object) -> impl Iterator<Item = depin_core::Did> + '_ {
    let proofs = secured.get("proof").map(Value::one_or_more).unwrap_or_default();
    let method = |proof: &Value| {
        let text = proof.as_object()?.text("verificationMethod")?;
        depin_core::DidUrl::parse(text).ok().map(|url| url.did().clone())
    };
    proofs.iter().filter_map(method)
}
