//! The devnet as its users see it: through alloy, JSON-RPC and HTTP.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod blocks;
mod common;
mod contracts;
mod dump;
mod filters;
#[cfg(feature = "http")]
mod http;
mod methods;
mod parity;
mod pool;
mod proofs;
mod properties;
mod refusals;
mod time;
mod workload;
