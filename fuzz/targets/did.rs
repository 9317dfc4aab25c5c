#![no_main]
//! DID URLs come back as they were.

use depin_core::DidUrl;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(url) = DidUrl::parse(text) {
        assert_eq!(url.to_string(), text);
    }
});
