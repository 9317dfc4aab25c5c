#![no_main]
//! SenML in JSON: what was read is written and read again the same.

use depin_core::Timestamp;
use depin_data::formats::senml::{read_json, write_json};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let now = Timestamp::from_secs(1_700_000_000);
    let Ok(pack) = read_json(bytes, now) else { return };
    let readings = pack.into_import("a").readings;
    if let Ok(text) = write_json("a", &readings) {
        let again = read_json(text.as_bytes(), now).expect("what was written can be read");
        assert_eq!(again.into_import("a").readings, readings);
    }
});
