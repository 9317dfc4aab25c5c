//! Attacks on the signed formats, and known answers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cose;
mod envelope;
mod key;
