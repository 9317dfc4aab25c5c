#![no_main]
//! Disclosures: nobody guesses a signature.

use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey, Unverified};
use depin_data::privacy::{Disclosure, DisclosureVerifier};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let network = NetworkId::parse("climate").expect("a valid name");
    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    let verifier = DisclosureVerifier::new(&network, key.public_key());
    assert!(Unverified::new(Disclosure::from_bytes(bytes.to_vec())).verify(&verifier).is_err());
});
