//! The seam to the durable record: batches in one order, refusals, and sealed epochs.
//!
//! The log is the arbiter of a device's chain, because only it can check and append in one step.

use alloc::{boxed::Box, vec::Vec};
use core::{fmt, ops::Range};

use alloy_primitives::{B256, Bytes};
use async_trait::async_trait;

use crate::{Did, EpochId, Result, Sequence, SignedBatch, Timestamp, transport::Refusal};

/// A verified batch, or a marker that batches were given up, on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBatch {
    /// Who signed it.
    pub device: Did,
    /// Its position in the device's chain.
    pub sequence: Sequence,
    /// The hash it claims for the batch before it.
    pub previous: B256,
    /// For a gap marker the last batch that it gives up, and `sequence` is the first; `None` for a batch.
    pub covers: Option<ChainTip>,
    /// When ingest received it.
    pub received: Timestamp,
    /// The signed bytes.
    pub batch: SignedBatch,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a device's chain continues, repeats, forks, has a gap or is past that"
)]
pub enum Append {
    /// Stored at this index, durable now.
    Stored(u64),
    /// The same bytes were stored before, at this index.
    Duplicate(u64),
    /// Another batch is at this position of the chain, or the previous hash is not that of the batch
    /// before. The hash is the one the log holds.
    Fork(B256),
    /// The chain continues at this sequence, which is earlier.
    Gap(Sequence),
    /// The chain has come to this tip without it: a batch that a gap marker gave up before it arrived, or a
    /// gap marker that gives up nothing but what is stored.
    Superseded(ChainTip),
}

/// A stored batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Position in the log, from 0.
    pub index: u64,
    /// When ingest received it.
    pub received: Timestamp,
    /// The signed bytes.
    pub batch: SignedBatch,
}

/// Size and RFC 9162 root of the log. Its entries are the hashes of batches, so a leaf is
/// `SHA-256(0x00 || SHA-256(batch))`: whoever knows a batch by its hash can verify where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of batches.
    pub size: u64,
    /// Root over them.
    pub root: B256,
}

/// The last batch of a device's chain, or the last that a gap marker gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainTip {
    /// Its position.
    pub sequence: Sequence,
    /// Its hash.
    pub hash: B256,
}

/// A refused batch, kept with its bytes: evidence and dead letter in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedBatch {
    /// The answer the device got.
    pub refusal: Refusal,
    /// When ingest received it.
    pub received: Timestamp,
    /// The bytes as received; cut where they exceeded the size limit.
    pub bytes: Bytes,
    /// The batch in the log that these bytes contradict, when they were refused as a fork: with it the
    /// evidence is complete, whatever becomes of the log.
    pub against: Option<Bytes>,
}

/// The durable record of a network.
///
/// # Contract
/// 1. `append` returns [`Append::Stored`] only when the batch survives power loss.
/// 2. Indices are dense from 0 and never change; a stored batch is never altered, and goes only by
///    [`forget`](Self::forget).
/// 3. The checks of a device's chain and the append are one step, also under concurrent calls.
/// 4. The same bytes appended again yield [`Append::Duplicate`] with the first index, and nothing new.
/// 5. `inclusion(index, size)` and `root(size)` follow RFC 9162 over the hashes of batches, for every size up to
///    the head.
/// 6. A refusal is durable when `refuse` returns; refusals are read in the order they were written.
/// 7. `seal` stores a record once: the same bytes again are fine, other bytes are
///    [`ErrorKind::Conflict`](crate::ErrorKind::Conflict). Its number is a place in the row of records: that of the
///    epoch, unless a record before it was withdrawn.
/// 8. What cannot be written (full disk) is an error; nothing is acknowledged and the log stays usable.
/// 9. `consistency(old, size)` follows RFC 9162 for every `0 < old <= size` up to the head, and is empty for
///    an empty old tree.
/// 10. `chain` gives a device's batches in the order of their sequence, from any one on.
/// 11. `forget` takes the bytes of batches and nothing else: roots, paths, tips and the checks of clauses 3
///     and 4 go on over everything that was ever stored. To read what is forgotten is
///     [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), never a hole or an empty answer.
/// 12. `grown` returns as soon as the log holds more batches than asked, whoever stored them, and costs
///     appends nothing while nobody polls it. Dropping it loses nothing.
/// 13. A gap marker is stored when it begins at the chain's next sequence or before, ends after the tip, and
///     its hashes are those of the log wherever the log knows them; otherwise it is a gap, superseded or a
///     fork. The tip is its `covers` then. What a marker gave up is superseded when it comes after all.
/// 14. Appends are judged in the order in which their futures are first polled, so that one caller may have many
///     links of a chain under way.
/// 15. `forget_refusals` takes the oldest refusals, bytes and all, durably. Positions of others stay theirs and
///     are never given again, and `refusal_range` says which are kept. To read what is forgotten is
///     [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
/// 16. `latest_tip` knows everything for which `append` had returned [`Append::Stored`] in any process before it was
///     called. It comes behind every append to this very log whose future was polled before, also one that was dropped
///     then: that is stored and counted, or never stored. For a device signs on from there.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a batch log",
    note = "implement `depin_core::log::BatchLog`"
)]
pub trait BatchLog: Send + Sync + fmt::Debug {
    /// Appends a batch if it continues its device's chain.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when it could not be made durable.
    async fn append(&self, batch: NewBatch) -> Result<Append>;

    /// Present size and root.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when stored data is damaged.
    async fn head(&self) -> Result<TreeHead>;

    /// Waits until the log holds more than `size` batches, and says how many it holds then.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when the log has stopped for good.
    async fn grown(&self, size: u64) -> Result<u64>;

    /// Root of the first `size` batches.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) past the end.
    async fn root(&self, size: u64) -> Result<B256>;

    /// Inclusion path of a batch in the tree of the first `size` batches.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when `index >= size` or past the end.
    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<B256>>;

    /// Consistency path from the tree of the first `old` batches to that of the first `size`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when `old > size` or past the end.
    async fn consistency(&self, old: u64, size: u64) -> Result<Vec<B256>>;

    /// Up to `limit` batches from index `from` on, in order; none past the end.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) before [`oldest`](Self::oldest),
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when stored data is damaged.
    async fn read(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>>;

    /// Up to `limit` batches of a device from sequence `from` on, in the order of its chain; none past its
    /// end or for an unknown device.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    async fn chain(&self, device: &Did, from: Sequence, limit: usize) -> Result<Vec<LogEntry>>;

    /// The end of a device's chain, if it has one.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when stored data is damaged.
    async fn tip(&self, device: &Did) -> Result<Option<ChainTip>>;

    /// As [`tip`](Self::tip), with everything that any process was told to be stored by now, and behind all that waits
    /// here to be stored. A log that stores before an append first waits, and that one process writes, has nothing
    /// to add.
    ///
    /// # Errors
    /// As [`tip`](Self::tip), and [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when others cannot be
    /// asked.
    async fn latest_tip(&self, device: &Did) -> Result<Option<ChainTip>> {
        self.tip(device).await
    }

    /// The index and hash of what holds a position of a device's chain, if the chain reaches there: a batch, or
    /// the gap marker that gave it up.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when stored data is damaged.
    async fn find(&self, device: &Did, sequence: Sequence) -> Result<Option<(u64, B256)>>;

    /// Gives up the bytes of the batches before index `before`, durably, and returns their space. Less than
    /// was forgotten already changes nothing.
    ///
    /// A log does not know who still needs the bytes: forget what lies before the end of a sealed epoch
    /// once its bundle is kept elsewhere, or nobody can audit it any more.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) past the end.
    async fn forget(&self, before: u64) -> Result<()>;

    /// Index of the oldest batch whose bytes are kept; the size of the log when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when stored data is damaged.
    async fn oldest(&self) -> Result<u64>;

    /// Keeps a refused batch.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when it could not be made durable.
    async fn refuse(&self, refused: RefusedBatch) -> Result<()>;

    /// Up to `limit` refused batches from position `from` on, in order; none past the end.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) before the
    /// [range](Self::refusal_range) that is kept, [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when stored data
    /// is damaged.
    async fn refusals(&self, from: u64, limit: usize) -> Result<Vec<RefusedBatch>>;

    /// The positions of the refusals that are kept: from the oldest up to that of the next.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when stored data is damaged.
    async fn refusal_range(&self) -> Result<Range<u64>>;

    /// Gives up the refusals before position `before`, durably: their bytes, and the evidence that some of them
    /// are. Less than was forgotten already changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) past the end.
    async fn forget_refusals(&self, before: u64) -> Result<()>;

    /// Stores the record of a closed epoch, or of a withdrawal, for good.
    ///
    /// # Errors
    /// See the contract.
    async fn seal(&self, epoch: EpochId, record: Bytes) -> Result<()>;

    /// What was sealed in a place.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when stored data is damaged.
    async fn sealed(&self, epoch: EpochId) -> Result<Option<Bytes>>;
}
