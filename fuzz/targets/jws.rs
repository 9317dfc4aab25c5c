#![no_main]
//! Compact JWS: no text that nobody signed holds.

use depin_core::{Algorithm, Signer, SoftwareKey};
use depin_identity::jws::Jws;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(jws) = Jws::parse(text) {
        let _payload = jws.unverified_payload();
        let key = SoftwareKey::from_seed(Algorithm::EdDsa, [7; 32]);
        assert!(jws.verify(key.public_key()).is_err());
    }
});
