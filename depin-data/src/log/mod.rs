//! Durable records of a network: batches in one order, refusals, sealed epochs.
//!
//! `RedbLog` keeps them in one folder, to be copied as a whole, and acknowledges only what survives power
//! loss; [`MemoryLog`] keeps them for the life of the process. Both answer for every past size of the tree.

use depin_core::{
    B256, Error, ErrorKind, Result, Sequence,
    log::{Append, ChainTip, NewBatch},
};

mod growth;
#[cfg(feature = "nats")]
#[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
pub mod jetstream;
mod memory;
#[cfg(feature = "redb")]
mod redb;

#[cfg(feature = "nats")]
#[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
pub use self::jetstream::JetStreamLog;
pub use self::memory::MemoryLog;
#[cfg(feature = "redb")]
pub use self::redb::RedbLog;

/// A link of a device's chain as a log has stored it.
#[derive(Clone, Copy, Debug)]
struct Stored {
    /// Its place in the log.
    index: u64,
    /// Hash of the bytes there.
    hash: B256,
    /// Where the chain stands after it: the batch itself, or the last one that a gap marker gave up.
    tip: ChainTip,
}

/// Whether a batch or gap marker continues its device's chain, and what the log says when it does not.
///
/// `find` is asked for sequences up to the tip: the link that holds this place of the chain, which is the
/// first whose tip is not before it. Whoever stores the link makes `covers`, or the batch itself, the tip.
fn judge(
    new: &NewBatch,
    hash: B256,
    tip: Option<ChainTip>,
    find: impl Fn(Sequence) -> Result<Stored>,
) -> Result<Option<Append>> {
    let end = new.covers.unwrap_or(ChainTip { sequence: new.sequence, hash });
    if end.sequence < new.sequence {
        return Err(Error::new(ErrorKind::Malformed, "a gap ends before it begins"));
    }
    let (next, before) = match tip {
        Some(tip) => (tip.sequence.next(), tip.hash),
        None => (Some(Sequence::new(0)), B256::ZERO),
    };
    match (tip, next) {
        (Some(tip), next) if next.is_none_or(|next| new.sequence < next) => {
            judge_past(new, hash, end, tip, find)
        }
        (_, Some(next)) if new.sequence > next => Ok(Some(Append::Gap(next))),
        _ => Ok((new.previous != before).then_some(Append::Fork(before))),
    }
}

/// What begins at or before the tip.
fn judge_past(
    new: &NewBatch,
    hash: B256,
    end: ChainTip,
    tip: ChainTip,
    find: impl Fn(Sequence) -> Result<Stored>,
) -> Result<Option<Append>> {
    if end.sequence <= tip.sequence {
        let there = find(end.sequence)?;
        if there.hash == hash {
            return Ok(Some(Append::Duplicate(there.index)));
        }
        if there.tip.sequence == end.sequence && there.tip.hash != end.hash {
            return Ok(Some(Append::Fork(there.tip.hash)));
        }
    }
    if new.covers.is_none() {
        return Ok(Some(Append::Superseded(tip)));
    }
    let before = match new.sequence.value().checked_sub(1).map(Sequence::new) {
        // A gap may have swallowed what was there.
        Some(before) => Some(find(before)?.tip).filter(|tip| tip.sequence == before),
        None => Some(ChainTip { sequence: new.sequence, hash: B256::ZERO }),
    };
    let before = before.map(|tip| tip.hash);
    Ok(match before.filter(|before| *before != new.previous) {
        Some(before) => Some(Append::Fork(before)),
        None if end.sequence <= tip.sequence => Some(Append::Superseded(tip)),
        None => None,
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

fn refusals_forgotten(oldest: u64) -> Error {
    let message = "these refusals were forgotten; ask for the range that is kept";
    Error::new(ErrorKind::NotFound, message).with("oldest", oldest)
}

fn past_the_refusals() -> Error {
    Error::new(ErrorKind::NotFound, "the log has not refused so many; ask for the range")
}

fn sealed_otherwise() -> Error {
    Error::new(ErrorKind::Conflict, "the epoch is sealed with another record; it cannot change")
}
