#![no_main]
//! COSE_Sign1 as others write it.

use depin_core::{Algorithm, Signer, SoftwareKey, cose::Sign1};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(sign1) = Sign1::parse(bytes) {
        let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
        assert!(sign1.verify_any_s(key.public_key(), b"", &[]).is_err(), "a signature was guessed");
    }
});
