#![no_main]
//! Bundles: whatever the bytes, an answer, and no batch of a record without batches.

use std::io::Cursor;

use depin_data::{
    bundle::{Bundle, MAGIC},
    epoch::Checks,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let bytes = [&MAGIC[..], bytes].concat();
    if let Ok(mut bundle) = Bundle::open(Cursor::new(bytes)) {
        let _ = bundle.audit(&Checks::new());
    }
});
