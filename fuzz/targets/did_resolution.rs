#![no_main]
//! DID resolution results: what is read is written and read again as the same, but for parts of seconds.

use depin_identity::{document::MAX_JSON_LEN, resolution};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let did = "did:example:7".parse().expect("a did");
    if let Ok(found) = resolution::from_json(&did, bytes) {
        let text = resolution::to_json(&found);
        // Relative ids are written in full, which can make a text too long.
        if text.len() <= MAX_JSON_LEN {
            let again = resolution::from_json(&did, text.as_bytes()).expect("what was written can be read");
            assert_eq!(again.document, found.document);
            assert_eq!(resolution::to_json(&again), text);
        }
    }
});
