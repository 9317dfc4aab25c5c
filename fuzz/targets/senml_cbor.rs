#![no_main]
//! SenML in CBOR: what was read is written and read again the same.

use depin_core::{Timestamp, cbor::check};
use depin_data::formats::senml::{read_cbor, write_cbor};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let now = Timestamp::from_secs(1_700_000_000);
    let Ok(pack) = read_cbor(bytes, now) else { return };
    let readings = pack.into_import("a").readings;
    if let Ok(bytes) = write_cbor("a", &readings) {
        assert_eq!(check(&bytes), Ok(()));
        let again = read_cbor(&bytes, now).expect("what was written can be read");
        assert_eq!(again.into_import("a").readings, readings);
    }
});
