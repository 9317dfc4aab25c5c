//! Attacks on the signed formats, and known answers.

mod cose;
mod envelope;
mod key;
