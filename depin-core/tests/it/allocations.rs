//! Verification of Ed25519 works on a device that has no allocator.

use allocation_counter::measure;
use depin_core::{Algorithm, PublicKey, Signature, Signer, SoftwareKey, cose};

fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

#[test]
fn keys_and_signatures_of_ed25519_are_verified_without_allocating() {
    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    let signature = *key.sign(b"reading").unwrap().as_bytes();
    let public = key.public_key().to_bytes();
    let count = allocations(|| {
        let key = PublicKey::from_bytes(Algorithm::EdDsa, &public).unwrap();
        let signature = Signature::from_bytes(signature);
        key.verify(b"reading", &signature).unwrap();
        key.verify_parts(&[b"read", b"ing"], &signature).unwrap();
        key.verify(b"another", &signature).unwrap_err();
    });
    assert_eq!(count, 0);
}

#[test]
fn cose_tokens_are_read_and_verified_without_allocating() {
    for algorithm in Algorithm::ALL {
        let key = SoftwareKey::from_seed(algorithm, [1; 32]);
        let payload = vec![7; 3000];
        let header = cose::plain_header(algorithm);
        let token = cose::sign1(&key, &header, &payload, b"context").unwrap();
        let count = allocations(|| {
            let parsed = cose::Sign1::parse(&token).unwrap();
            parsed.verify(key.public_key(), b"context", &[]).unwrap();
            parsed.verify(key.public_key(), b"other context", &[]).unwrap_err();
        });
        // The C of `fast` has its own allocator, but its Rust side may use ours.
        if algorithm == Algorithm::EdDsa || cfg!(not(feature = "fast")) {
            assert_eq!(count, 0, "{algorithm}");
        }
    }
}
