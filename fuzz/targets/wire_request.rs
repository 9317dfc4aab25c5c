#![no_main]
//! Requests through a broker have one encoding.

use depin_core::SignedBatch;
use depin_data::wire::{decode_request, encode_request};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok((nonce, batch)) = decode_request(bytes) {
        let batch = SignedBatch::new(batch.to_vec());
        assert_eq!(encode_request(&nonce, &batch).expect("what was decoded encodes"), bytes);
    }
});
