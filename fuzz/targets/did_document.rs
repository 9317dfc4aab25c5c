#![no_main]
//! DID documents as JSON: what is read is written and read again as the same.

use depin_identity::document::{from_json, to_json};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(document) = from_json(bytes) {
        let again = from_json(to_json(&document).as_bytes()).expect("what was written can be read");
        assert_eq!(again, document);
    }
});
