//! Verification of one signature beside the bare primitive with a ready key, and of 64 beside one by one.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use depin_core::{
    Algorithm, PublicKey, Signature, Signer, SoftwareKey,
    key::{Check, verify_all},
};
use depin_testkit::bench::Row;
use k256::ecdsa::signature::Verifier as _;

const MESSAGE: &[u8] = &[0x5a; 200];
/// Calls in turns, each timed alone, so that the best of each was disturbed by nothing.
const ROUNDS: usize = 400;

/// The shortest times of one call of each.
fn in_turns(mut ours: impl FnMut(), mut other: impl FnMut()) -> (Duration, Duration) {
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        best.0 = best.0.min(time(&mut ours));
        best.1 = best.1.min(time(&mut other));
    }
    best
}

fn signed(algorithm: Algorithm, seed: u8) -> (PublicKey, Signature) {
    let key = SoftwareKey::from_seed(algorithm, [seed; 32]);
    let signature = key.sign(MESSAGE).expect("a software key signs");
    (key.public_key().clone(), signature)
}

fn one(name: &'static str, algorithm: Algorithm, against: &str, bare: impl FnMut()) {
    let (key, signature) = signed(algorithm, 7);
    let ours = || assert!(black_box(&key).verify(black_box(MESSAGE), &signature).is_ok());
    let (ours, bare) = in_turns(ours, bare);
    let time = ours.as_secs_f64() / bare.as_secs_f64();
    // Beside the same primitive the time counts, beside a slower one the speed.
    let ratio = if cfg!(feature = "fast") { 1.0 / time } else { time };
    Row::new(name, ours.as_secs_f64() * 1e6, "us", against, ratio).report();
}

fn bare_es256k() -> impl FnMut() {
    let (key, signature) = signed(Algorithm::Es256k, 7);
    let key = k256::ecdsa::VerifyingKey::from_sec1_bytes(&key.to_bytes()).expect("a key");
    let signature = k256::ecdsa::Signature::from_slice(signature.as_bytes()).expect("a signature");
    move || assert!(black_box(&key).verify(black_box(MESSAGE), &signature).is_ok())
}

fn bare_es256() -> impl FnMut() {
    let (key, signature) = signed(Algorithm::Es256, 7);
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&key.to_bytes()).expect("a key");
    let signature = p256::ecdsa::Signature::from_slice(signature.as_bytes()).expect("a signature");
    move || assert!(black_box(&key).verify(black_box(MESSAGE), &signature).is_ok())
}

fn bare_eddsa() -> impl FnMut() {
    let (key, signature) = signed(Algorithm::EdDsa, 7);
    let key = key.to_bytes().try_into().expect("32 bytes");
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key).expect("a key");
    let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
    move || assert!(black_box(&key).verify_strict(black_box(MESSAGE), &signature).is_ok())
}

/// 64 devices in one call; and the worst an attacker can make of it, which is 64 bad ones.
fn many() {
    let signed: Vec<_> = (1..=64).map(|seed| signed(Algorithm::EdDsa, seed)).collect();
    let check = |message| {
        let with = move |(key, signature)| Check { key, message, signature };
        signed.iter().map(|(key, signature)| with((key, signature))).collect::<Vec<_>>()
    };
    let (good, bad) = (check(MESSAGE), check(b"another message"));
    let alone = |check: &Check<'_>| check.key.verify(check.message, check.signature).is_ok();
    let (together, singly) = in_turns(
        || assert!(verify_all(black_box(&good)).iter().all(Result::is_ok)),
        || assert!(black_box(&good).iter().all(alone)),
    );
    let ratio = singly.as_secs_f64() / together.as_secs_f64();
    let each = together.as_secs_f64() * 1e6 / 64.0;
    Row::new("verify_all_64", each, "us each", "as many times one by one", ratio).report();
    let (together, singly) = in_turns(
        || assert!(verify_all(black_box(&bad)).iter().all(Result::is_err)),
        || assert!(!black_box(&bad).iter().any(alone)),
    );
    let ratio = singly.as_secs_f64() / together.as_secs_f64();
    let each = together.as_secs_f64() * 1e6 / 64.0;
    Row::new("verify_all_64_bad", each, "us each", "as many times one by one", ratio).report();
}

fn main() {
    if cfg!(feature = "fast") {
        one("fast_es256k", Algorithm::Es256k, "as many as k256", bare_es256k());
        one("fast_es256", Algorithm::Es256, "as many as p256", bare_es256());
        return;
    }
    one("verify_es256k", Algorithm::Es256k, "time of k256", bare_es256k());
    one("verify_es256", Algorithm::Es256, "time of p256", bare_es256());
    one("verify_eddsa", Algorithm::EdDsa, "time of ed25519-dalek, strict", bare_eddsa());
    many();
}
