#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

pub mod nonce;
pub mod policy;
pub mod psa;
pub mod root;
pub mod sim;
pub mod verifier;

pub use depin_core::{Error, ErrorKind, Result};

pub use nonce::Nonces;
pub use policy::{Implementation, Policy};
pub use root::{SIMULATED_INSECURE, SoftwareRoot};
pub use sim::SimulatedPebble;
pub use verifier::PsaVerifier;
