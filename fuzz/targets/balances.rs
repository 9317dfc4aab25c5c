#![no_main]
//! Saved balances are the text that they give again, or refused.

use depin_core::keccak256;
use depin_payment::Cumulative;

libfuzzer_sys::fuzz_target!(|text: &str| {
    // As it is, and with the hash that no input guesses.
    let hashed = format!("{text}end {}\n", keccak256(text.as_bytes()));
    for text in [text, &hashed] {
        if let Ok(balances) = Cumulative::from_text(text) {
            assert_eq!(balances.to_text(), text);
        }
    }
});
