//! Both ends of payment rails without a chain: who signs, and what has to be remembered.
//!
//! A payer ([`ChannelPayer`], [`SpendPayer`]) remembers every charge it paid, so that a restart never signs less
//! and never pays twice. A payee remembers every charge it accepted, in a `RailStore`, before it says so. The
//! rails themselves ask a chain: both are there with the feature `evm`.

mod book;
mod disk;
mod payer;
#[cfg(feature = "evm")]
mod record;
#[cfg(feature = "evm")]
mod store;

pub use payer::{ChannelPayer, SpendPayer};
#[cfg(feature = "evm")]
pub use store::RailStore;

#[cfg(feature = "x402")]
pub(crate) use book::Book;
#[cfg(feature = "x402")]
pub(crate) use disk::create;
#[cfg(feature = "evm")]
pub(crate) use disk::{damaged, split_amount};
#[cfg(feature = "evm")]
pub(crate) use record::{LaneRecord, REORG_DEPTH};
#[cfg(feature = "evm")]
pub(crate) use store::{Answer, Paid};
