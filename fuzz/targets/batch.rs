#![no_main]
//! Batches and gap markers from devices: nobody guesses a signature.

use depin_core::{Algorithm, NetworkId, SignedBatch, Signer, SoftwareKey};
use depin_data::batch::{BatchVerifier, claimed_signer};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let network = NetworkId::parse("climate").expect("a valid name");
    let _ = claimed_signer(bytes, &network);
    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    let verifier = BatchVerifier::new(&network, key.public_key());
    assert!(verifier.link(&SignedBatch::new(bytes.to_vec())).is_err());
});
