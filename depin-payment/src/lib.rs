#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod balances;
pub mod books;
pub mod channel;
pub mod credits;
pub mod emission;
#[cfg(feature = "evm")]
pub mod evm;
pub mod memory;
pub mod order;
mod place;
pub mod policy;
#[cfg(feature = "rails")]
pub mod rail;
pub mod settlement;
pub mod shares;
pub mod spend;
mod threads;
pub mod tokenomics;
pub mod tree;
pub mod typed;
#[cfg(feature = "x402")]
pub mod x402;

pub use balances::Cumulative;
pub use depin_core::{Error, ErrorKind, Result};
pub use memory::MemoryLedger;
pub use policy::{Banded, ProRata};
pub use shares::LargestRemainder;
pub use tree::{Claim, RewardTree};
