#![no_main]
//! Vouchers as they travel: what is read is written back as it came, and nothing is signed by chance.

use depin_core::{Address, ChainId};
use depin_payment::channel::{SignedVoucher, domain};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(voucher) = SignedVoucher::decode(bytes) {
        assert_eq!(voucher.encode().as_ref(), bytes);
        let _ = voucher.verify(&domain(ChainId::new(4_690), Address::repeat_byte(4)));
    }
});
