//! Conformance suites for the seams of the depin SDK.
//!
//! A module that implements a seam of `depin-core` proves itself by running the seam's suite: one call
//! per seam, each check named after the numbered clause of the contract that it attacks. A suite panics
//! with the clause and what happened, as tests do.

pub mod bench;
pub mod clock;
pub mod conformance;
pub mod distributor;
pub mod evidence;
pub mod faults;
pub mod keystore;
pub mod log;
pub mod quality;
pub mod rails;
pub mod registry;
pub mod resolver;
pub mod rewards;
pub mod signer;
pub mod skip;
pub mod transport;
pub mod vectors;
