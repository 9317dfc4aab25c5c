#![no_main]
//! Decimals and amounts as text.

use depin_core::{Amount, Decimal};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(value) = Decimal::parse(text) {
        assert_eq!(Decimal::canonical(value.mantissa(), value.exponent()).ok(), Some(value));
    }
    if let Ok(amount) = Amount::parse(text) {
        assert_eq!(Amount::parse(&amount.to_string()).ok(), Some(amount));
    }
});
