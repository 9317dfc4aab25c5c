#![no_main]
//! Birth certificates: what is read keeps its bytes, and nobody guesses three signatures.

use depin_core::{Algorithm, Signer, SoftwareKey, Timestamp};
use depin_identity::{
    Period,
    birth::{Anchors, BirthCertificate, ModelCertificate},
    methods::key::did_key,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = ModelCertificate::parse(bytes) {
        assert_eq!(model.as_bytes(), bytes);
    }
    if let Ok(certificate) = BirthCertificate::parse(bytes) {
        assert_eq!(certificate.as_bytes(), bytes);
        let maker = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
        let did = did_key(maker.public_key());
        let anchors = Anchors::new().trust(did, maker.public_key().clone(), Period::ALWAYS);
        assert!(certificate.verify(&anchors, Timestamp::from_secs(1 << 40)).is_err());
    }
});
