#![no_main]
//! io1 addresses have one spelling.

use depin_evm::io1::{format, parse};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(address) = parse(text) {
        assert_eq!(format(address), text);
    }
});
