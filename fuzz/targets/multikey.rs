#![no_main]
//! Multikeys have one spelling.

use depin_core::PublicKey;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(key) = PublicKey::from_multikey(text) {
        assert_eq!(key.to_multikey(), text);
    }
});
