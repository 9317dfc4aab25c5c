#![no_main]
//! DID documents as JSON: what is read is written and read again as the same.

use depin_identity::document::{MAX_JSON_LEN, from_json, to_json};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(document) = from_json(bytes) {
        let text = to_json(&document);
        // Relative ids are written in full, which can make a text too long.
        if text.len() <= MAX_JSON_LEN {
            let again = from_json(text.as_bytes()).expect("what was written can be read");
            assert_eq!(again, document);
        }
    }
});
