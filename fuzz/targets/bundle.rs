#![no_main]
//! Bundles: whatever the bytes, an answer, and no batch of a record without batches.

use std::io::Cursor;

use depin_core::B256;
use depin_data::{
    bundle::{Bundle, BundleError, MAGIC, claimed_epoch},
    epoch::Checks,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let bytes = [&MAGIC[..], bytes].concat();
    let _ = claimed_epoch(&bytes[..]);
    // The manifest that the record has, so that what comes after it is read as well.
    let Err(BundleError::Manifest { found, .. }) = Bundle::open(Cursor::new(&bytes), &B256::ZERO)
    else {
        return;
    };
    if let Ok(mut bundle) = Bundle::open(Cursor::new(bytes), &found) {
        let _ = bundle.audit(&Checks::new());
    }
});
