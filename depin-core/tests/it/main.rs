//! Attacks on the signed formats, and known answers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod allocations;
mod cose;
mod ecdsa;
mod ed25519;
mod envelope;
mod key;
mod verify_all;
