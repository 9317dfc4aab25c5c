#![no_main]
//! Epoch records and withdrawals have one encoding; sealed epochs are written as they were read.

use depin_data::epoch::{EpochRecord, Sealed, Withdrawal};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = EpochRecord::parse(bytes) {
        assert_eq!(record.to_bytes(), bytes);
    }
    if let Ok(Some(withdrawal)) = Withdrawal::parse(bytes) {
        assert_eq!(withdrawal.to_bytes(), bytes);
    }
    if let Ok(sealed) = Sealed::parse(bytes)
        && let Ok(written) = sealed.to_bytes()
    {
        assert_eq!(Sealed::parse(&written).as_ref(), Ok(&sealed));
    }
});
