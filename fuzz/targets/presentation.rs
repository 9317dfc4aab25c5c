#![no_main]
//! Presentations: reading never panics, and nobody but the holder shows what the holder did not sign.

use depin_core::Timestamp;
use depin_identity::{
    Resolver,
    credentials::{Challenge, CredentialVerifier},
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let resolver = Resolver::new();
    let everybody = |_: &_| true;
    let verifier = CredentialVerifier::new(&resolver, Timestamp::from_secs(1_700_000_000))
        .trust_if(&everybody)
        .any_holder();
    let challenge = Challenge::new("n-42", "service.example");
    let verdict = runtime.block_on(verifier.verify_presentation(bytes, &challenge));
    assert!(verdict.is_err(), "nobody signed for this challenge");
});
