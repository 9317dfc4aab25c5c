//! Durable records of a network: batches in one order, refusals, sealed epochs.
//!
//! `RedbLog` keeps them in one file and acknowledges only what survives power loss; [`MemoryLog`] keeps
//! them for the life of the process. Both answer for every past size of the tree.

use depin_core::{
    B256, Error, ErrorKind, Result, Sequence,
    log::{Append, ChainTip, NewBatch},
};

mod growth;
mod memory;
#[cfg(feature = "redb")]
mod redb;

pub use self::memory::MemoryLog;
#[cfg(feature = "redb")]
pub use self::redb::RedbLog;

/// Whether a batch continues its device's chain, and what the log says when it does not.
///
/// `stored` finds the index and hash at an earlier position of the chain.
fn judge(
    batch: &NewBatch,
    hash: B256,
    tip: Option<ChainTip>,
    stored: impl FnOnce(Sequence) -> Result<(u64, B256)>,
) -> Result<Option<Append>> {
    let Some(tip) = tip else {
        return Ok(match (batch.sequence.value(), batch.previous) {
            (0, B256::ZERO) => None,
            (0, _) => Some(Append::Fork(B256::ZERO)),
            _ => Some(Append::Gap(Sequence::new(0))),
        });
    };
    if batch.sequence <= tip.sequence {
        let (index, there) = stored(batch.sequence)?;
        let same = there == hash;
        return Ok(Some(if same { Append::Duplicate(index) } else { Append::Fork(there) }));
    }
    Ok(match tip.sequence.next() {
        Some(next) if batch.sequence > next => Some(Append::Gap(next)),
        _ if batch.previous != tip.hash => Some(Append::Fork(tip.hash)),
        _ => None,
    })
}

fn chain_hole(sequence: Sequence) -> Error {
    Error::new(ErrorKind::Corrupt, "the log lacks a batch in the middle of a device's chain")
        .with("sequence", sequence)
}

fn past_the_end() -> Error {
    Error::new(ErrorKind::NotFound, "the log is not that long; ask for its head")
}

fn forgotten(oldest: u64) -> Error {
    let message = "these batches were forgotten; their epoch's bundle has them";
    Error::new(ErrorKind::NotFound, message).with("oldest", oldest)
}

fn sealed_otherwise() -> Error {
    Error::new(ErrorKind::Conflict, "the epoch is sealed with another record; it cannot change")
}
