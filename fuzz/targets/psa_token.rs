#![no_main]
//! Attestation tokens from devices.

use depin_hw::psa::{Claims, Token};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Token::parse(bytes);
    let _ = Claims::decode(bytes);
});
