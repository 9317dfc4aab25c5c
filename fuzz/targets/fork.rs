#![no_main]
//! Evidence of forks: one encoding, and nobody guesses two signatures.

use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey, Unverified};
use depin_data::evidence::{Fork, ForkVerifier};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(fork) = Fork::parse(bytes) else { return };
    assert_eq!(fork.encode(), bytes);
    let network = NetworkId::parse("climate").expect("a valid name");
    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    let verifier = ForkVerifier::new(&network, &[key.public_key().clone()]);
    assert!(Unverified::new(fork).verify(&verifier).is_err());
});
