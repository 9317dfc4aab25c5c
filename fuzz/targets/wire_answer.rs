#![no_main]
//! Answers through a broker: none is believed without a signature.

use depin_core::{Algorithm, NetworkId, SignedBatch, Signer, SoftwareKey};
use depin_data::{
    receipt::ReceiptVerifier,
    wire::{Nonce, Reply},
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let network = NetworkId::parse("climate").expect("a name");
    if let Ok(reply) = Reply::parse(bytes, &network) {
        let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
        let receipts = ReceiptVerifier::new(&network, key.public_key());
        let batch = SignedBatch::new(b"batch".as_slice());
        assert!(reply.clone().open(&receipts, &batch, &Nonce::default()).is_err());
        assert!(reply.open_standing(&receipts, &batch, &Nonce::default()).is_err());
    }
});
