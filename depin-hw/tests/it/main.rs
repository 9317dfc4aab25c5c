//! Attestation as an attacker and a stranger see it.

#![expect(clippy::unwrap_used, reason = "test helpers may panic as tests do")]

mod claim_sets;
mod conformance;
mod foreign_tokens;
mod forge;
mod hostile_input;
mod policy;
mod replay;
mod software_root;
