#![no_main]
//! A list from a spreadsheet pays each account once and something, or it is refused.

use depin_payment::evm::PayList;

libfuzzer_sys::fuzz_target!(|input: (u8, &str)| {
    let (decimals, text) = input;
    let Ok(list) = PayList::from_csv("fuzz", text, decimals) else { return };
    assert!(list.payments().is_sorted_by(|a, b| a.0 < b.0));
    assert!(list.payments().iter().all(|(_, amount)| !amount.is_zero()));
});
