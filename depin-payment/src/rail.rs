//! Both ends of payment rails without a chain: who signs, and what has to be remembered.
//!
//! A payer ([`ChannelPayer`], [`SpendPayer`]) remembers every charge it paid, so that a restart never signs less
//! and never pays twice. A payee remembers every charge it accepted, in a `RailStore`, before it says so. The
//! rails themselves ask a chain: both are there with the feature `evm`.

mod book;
mod disk;
#[cfg(feature = "evm")]
mod group;
mod payer;
#[cfg(feature = "evm")]
mod record;
#[cfg(feature = "evm")]
mod store;
#[cfg(feature = "evm")]
mod view;

pub use payer::{ChannelPayer, SpendPayer};
#[cfg(feature = "evm")]
pub use store::RailStore;

#[cfg(feature = "x402")]
pub(crate) use book::{Book, Signed};
#[cfg(feature = "x402")]
pub(crate) use disk::create;
#[cfg(feature = "evm")]
pub(crate) use disk::{damaged, split_amount, split_number};
#[cfg(feature = "evm")]
pub(crate) use record::{LaneRecord, REORG_DEPTH};
#[cfg(feature = "evm")]
pub(crate) use store::RailBook;
#[cfg(feature = "evm")]
#[cfg(feature = "x402")]
pub(crate) use view::Forgotten;
pub(crate) use view::{Draft, Edit, Paid, View};
