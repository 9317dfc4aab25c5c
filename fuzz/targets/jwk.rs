#![no_main]
//! JSON Web Keys: what is read is written and read again as the same.

use depin_identity::{jwk, methods};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = jwk::parse(bytes) {
        assert_eq!(jwk::from_object(&jwk::to_object(&key)), Ok(key.clone()));
        let did = methods::jwk::did_jwk(&key);
        assert_eq!(methods::jwk::public_key(&did).expect("a name made of a key"), key);
    }
});
