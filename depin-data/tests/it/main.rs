//! Attacks and round trips of the data crate, in one binary.

mod audit;
mod batch;
mod epoch;
#[cfg(feature = "http")]
mod http;
mod ingest;
mod kill;
mod log;
mod merkle;
mod outbox;
mod quality;
mod receipt;
mod support;
