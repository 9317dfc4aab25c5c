#![no_main]
//! SD-JWTs: splitting, choosing and revealing never panic, also when the issuer signed the nonsense.

use depin_core::{Algorithm, SoftwareKey};
use depin_identity::{credentials::sd_jwt::SdJwt, json, jws};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(token) = SdJwt::parse(text) {
        assert_eq!(token.to_string(), text);
        let _ = token.select([]);
    }
    // A payload of our choice, and disclosures.
    let (payload, disclosures) = text.split_once('~').unwrap_or((text, ""));
    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    let signed = jws::sign(&key, json::Object::new(), payload.as_bytes());
    let parsed = signed.ok().and_then(|token| SdJwt::parse(&(token + "~" + disclosures)).ok());
    if let Some(token) = parsed {
        let _ = token.select([]);
    }
});
