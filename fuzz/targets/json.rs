#![no_main]
//! Strict JSON: what is accepted is written in one way, which reads as the same value.

use depin_identity::json;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = json::parse(bytes) {
        let text = value.canonical();
        assert_eq!(json::parse(text.as_bytes()).as_ref(), Ok(&value));
        // Whatever is strict is JSON for others too.
        serde_json::from_slice::<serde_json::Value>(bytes).expect("accepted by us alone");
    }
});
