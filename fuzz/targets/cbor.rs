#![no_main]
//! Deterministic CBOR: what is accepted ends exactly at its last byte.

use depin_core::cbor::{check, check_prefix};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if check(bytes).is_ok() {
        assert_eq!(check_prefix(bytes), Ok(bytes.len()));
        assert!(bytes.is_empty() || check(&bytes[..bytes.len() - 1]).is_err());
    }
});
