#![no_main]
//! Questions where a chain stands: none is a device's without its signature.

use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey};
use depin_data::wire::Question;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let network = NetworkId::parse("climate").expect("a name");
    if let Ok(question) = Question::parse(bytes, &network) {
        let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
        assert!(question.verify(key.public_key()).is_err());
    }
});
