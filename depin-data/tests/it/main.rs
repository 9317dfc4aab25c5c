//! Attacks and round trips of the data crate, in one binary.

mod batch;
mod ingest;
mod log;
mod merkle;
mod outbox;
mod receipt;
mod support;
