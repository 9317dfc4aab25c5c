#![no_main]
//! Receipts have one encoding.

use depin_data::receipt::{decode, encode};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(receipt) = decode(bytes) {
        assert_eq!(encode(&receipt).expect("what was decoded encodes"), bytes);
    }
});
