#![no_main]
//! Epoch records have one encoding.

use depin_data::epoch::EpochRecord;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = EpochRecord::parse(bytes) {
        assert_eq!(record.to_bytes(), bytes);
    }
});
