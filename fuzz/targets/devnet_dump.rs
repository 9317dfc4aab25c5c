#![no_main]
//! Files of a chain.

use depin_devnet::Devnet;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let file = std::env::temp_dir().join(format!("depin-fuzz-{}", std::process::id()));
    std::fs::write(&file, bytes).expect("a temporary file can be written");
    assert!(Devnet::load(&file).is_err(), "a checksum was guessed");
});
