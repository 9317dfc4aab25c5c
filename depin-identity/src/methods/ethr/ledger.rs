//! The little that did:ethr needs of a chain.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use async_trait::async_trait;
use depin_core::{Address, B256, Result, Timestamp};

use super::Change;

/// A change with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Hash of the block it is in.
    pub block: B256,
    /// Its place among the logs of that block.
    pub index: u64,
    /// The block of the change before, as the contract wrote it; the same block, when that was there.
    pub previous: u64,
    /// What changed.
    pub change: Change,
}

impl Event {
    /// A change with its place.
    pub const fn new(block: B256, index: u64, previous: u64, change: Change) -> Self {
        Self { block, index, previous, change }
    }
}

/// Which block a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockHead {
    /// Its hash.
    pub hash: B256,
    /// Its time.
    pub time: Timestamp,
}

impl BlockHead {
    /// A block's hash and time.
    pub const fn new(hash: B256, time: Timestamp) -> Self {
        Self { hash, time }
    }
}

/// One registry contract on one chain, as it can be read.
///
/// `ChainLedger` (feature `evm`) is one over a node. What it answers is checked where it can be: events
/// that are missing or do not link are an error, never a shorter history.
///
/// # Contract
/// 1. Answers MUST be about one registry only, and `events` about the identity and block asked for only.
/// 2. `changed` at a block MUST be the state that the block left behind, or fail when the node does not
///    have it.
/// 3. `finalised` MUST be a block that is never replaced, nor any before it.
/// 4. Every call MUST end in bounded time.
#[async_trait]
pub trait Ledger: Send + Sync + fmt::Debug {
    /// The block of the newest change of an identity as of a block, or of the head; 0 for none.
    ///
    /// # Errors
    /// Those of the node.
    async fn changed(&self, identity: Address, at: Option<u64>) -> Result<u64>;

    /// The events of an identity in a block, in any order.
    ///
    /// # Errors
    /// Those of the node.
    async fn events(&self, identity: Address, block: u64) -> Result<Vec<Event>>;

    /// Hash and time of a block, or `None` when the chain has not reached it.
    ///
    /// # Errors
    /// Those of the node.
    async fn block(&self, number: u64) -> Result<Option<BlockHead>>;

    /// The newest block that is final.
    ///
    /// # Errors
    /// Those of the node.
    async fn finalised(&self) -> Result<u64>;
}
