#![no_main]
//! Pebble's packages: at most one reading for each field and axis.

use depin_data::formats::pebble::read;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(sample) = read(bytes) {
        assert!(sample.import.readings.len() + sample.import.leftovers.len() <= 17);
    }
});
