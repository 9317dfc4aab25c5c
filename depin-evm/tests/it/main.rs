//! The chain handle, its sender and the deployment against the embedded chain.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod anvil;
mod buried;
mod connecting;
mod crashes;
mod deduplicated;
mod deployment;
mod faults;
mod forks;
mod gaps;
mod io1;
mod legacy;
mod logs;
mod node;
mod remembered;
mod reverts;
mod roles;
mod sending;
mod store;
mod trouble;
mod waiting;
