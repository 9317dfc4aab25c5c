//! From a range of the log to a record.

use std::{collections::BTreeSet, ops::Range};

use depin_core::{
    B256, Did, EpochId, Error, ErrorKind, NetworkId, Result, Timestamp, log::BatchLog,
};

use super::{EpochError, EpochRecord, MAX_BATCHES, MAX_BYTES, Member, Standings, Windows, codec};
use crate::{
    audit::PAGE,
    batch::claimed_signer,
    merkle::{Accumulator, batch_leaf},
    observe,
};

/// A range of the log that is about to become an epoch: what is missing is who the devices are.
///
/// Reading it keeps 32 bytes per batch and the DIDs, not the batches.
///
/// ```
/// use depin_core::{Address, Algorithm, B256, Decimal, EpochId, NetworkId, Reading, Sequence, Signer,
///     SoftwareKey, Timestamp, log::{BatchLog, NewBatch}, reading::Quantity};
/// use depin_data::{batch, epoch::{Checks, EpochDraft, Member, score}, log::MemoryLog};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> depin_data::Result<()> {
/// let (log, network) = (MemoryLog::new(), NetworkId::parse("climate")?);
/// let (key, device) = (SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]), "did:example:a".parse()?);
/// let (now, start) = (Timestamp::from_secs(60), Sequence::new(0));
/// let reading = Reading::new(Quantity::new("temperature", "Cel"), Decimal::from(5), now);
/// let batch = batch::seal(&key, &device, &network, start, B256::ZERO, &[reading])?;
/// let new = NewBatch { device, sequence: start, previous: B256::ZERO, covers: None, received: now, batch };
/// log.append(new).await?;
///
/// let draft = EpochDraft::read(&log, &network, EpochId::new(0), 0..1).await?;
/// let member = |device: &depin_core::Did| Member {
///     device: device.clone(),
///     keys: vec![key.public_key().clone()],
///     beneficiary: Address::repeat_byte(7),
///     past: None,
/// };
/// let roster = draft.devices().map(member).collect();
/// let record = draft.close(roster, Vec::new(), "pro-rata")?;
/// let scored = score(&log, &record, &Checks::new()).await?;
/// assert_eq!(scored.contributions.entries[0].score, 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct EpochDraft {
    network: NetworkId,
    epoch: EpochId,
    first: u64,
    before: Vec<B256>,
    leaves: Vec<B256>,
    root: B256,
    devices: BTreeSet<Did>,
    windows: Option<Windows>,
    windows_since: EpochId,
    settled_policy: Option<String>,
    standings: Option<B256>,
    replaces: Option<B256>,
}

impl EpochDraft {
    /// Reads a range of the log; `0..0` and other empty ranges make epochs in which nobody worked.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] past [`MAX_BATCHES`], [`ErrorKind::NotFound`] when the range passes the end
    /// of the log, [`ErrorKind::Corrupt`] when its batches do not lead to its root.
    #[tracing::instrument(level = "debug", skip_all, fields(%epoch))]
    pub async fn read(
        log: &dyn BatchLog,
        network: &NetworkId,
        epoch: EpochId,
        range: Range<u64>,
    ) -> Result<Self> {
        let timer = observe::Timer::start();
        let Range { start: first, end } = range;
        let length = end.checked_sub(first).filter(|length| *length <= MAX_BATCHES);
        let length = length.ok_or(EpochError::Limit("batches"))?;
        let root = log.root(end).await?;
        let before = peaks(log, first).await?;
        let mut tree = Accumulator::resume(first, before.clone());
        let mut leaves = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        let mut devices = BTreeSet::new();
        let mut index = first;
        while index < end {
            let limit = usize::try_from(end - index).unwrap_or(PAGE).min(PAGE);
            let entries = log.read(index, limit).await?;
            if entries.is_empty() {
                return Err(damaged(index));
            }
            for entry in entries.iter().take(limit) {
                let leaf = batch_leaf(&entry.batch);
                tree.push(leaf);
                leaves.push(leaf);
                devices.insert(claimed_signer(entry.batch.as_bytes(), network)?);
                index += 1;
            }
        }
        if tree.root() != root {
            return Err(damaged(first));
        }
        timer.ended("depin_epoch_read_seconds");
        Ok(Self {
            network: network.clone(),
            epoch,
            first,
            before,
            leaves,
            root,
            devices,
            windows: None,
            windows_since: EpochId::new(0),
            settled_policy: None,
            standings: None,
            replaces: None,
        })
    }

    /// Counts readings by windows of time, which epochs have since `since`. When another epoch of those
    /// [settles](Windows::settled_by) with this one, it is paid by the policy that it was sealed with.
    #[must_use]
    pub fn windows(
        mut self,
        windows: Windows,
        since: EpochId,
        settled_policy: Option<&str>,
    ) -> Self {
        self.windows = Some(windows);
        self.windows_since = since;
        self.settled_policy = settled_policy.map(str::to_owned);
        self
    }

    /// Commits to what the epoch begins with, so that an audit may begin here, too: without, strangers who have
    /// no bundle of the epochs before have nothing to hold the roster against.
    #[must_use]
    pub fn standings(mut self, standings: &Standings) -> Self {
        self.standings = standings.commitment();
        self
    }

    /// Names the record of this epoch that was [withdrawn](super::Withdrawal), by its manifest: none changes nothing.
    #[must_use]
    pub const fn replacing(mut self, withdrawn: Option<B256>) -> Self {
        self.replaces = withdrawn;
        self
    }

    /// The devices that sent something, by DID: the roster has to name them all.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = &Did> {
        self.devices.iter()
    }

    /// Number of batches.
    pub const fn batches(&self) -> usize {
        self.leaves.len()
    }

    /// Completes the record with the roster, the names of the checks and the name of the policy.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when a device is missing in the roster, [`ErrorKind::Malformed`] when one
    /// is listed twice, [`ErrorKind::Limit`] when something is too large for a record.
    #[tracing::instrument(level = "debug", skip_all, fields(epoch = %self.epoch))]
    pub fn close(
        self,
        mut roster: Vec<Member>,
        checks: Vec<String>,
        policy: impl Into<String>,
    ) -> Result<EpochRecord> {
        roster.sort_by(|a, b| a.device.cmp(&b.device));
        let record = EpochRecord {
            network: self.network,
            epoch: self.epoch,
            first: self.first,
            before: self.before,
            leaves: self.leaves,
            root: self.root,
            roster,
            checks,
            policy: policy.into(),
            windows: self.windows,
            windows_since: self.windows_since,
            settled_policy: self.settled_policy,
            standings: self.standings,
            replaces: self.replaces,
        };
        record.validate()?;
        if let Some(missing) = self.devices.iter().find(|device| record.member(device).is_none()) {
            let message = "a device sent batches in the epoch and is not in its roster";
            return Err(Error::new(ErrorKind::NotFound, message).with("did", missing));
        }
        if codec::length(&record) > MAX_BYTES {
            return Err(EpochError::Limit("bytes").into());
        }
        observe::closed(record.epoch, record.leaves.len());
        Ok(record)
    }
}

/// Batches after a deadline in a row, after which none before it are expected.
const STRAGGLERS: u64 = 4096;

/// The end of an epoch's range that begins at `first`: the end of the log, at most [`MAX_BATCHES`] on. With a
/// deadline, after the last batch that ingest received before then, so that an epoch that is closed long after
/// its time has about the range that it would have had, and a clock that was ahead for a moment, or on one of
/// several machines, cuts off nothing that others received in time: as long as not 4,096 batches in a row were dated
/// after the deadline. After so many none is looked for, and what comes later belongs to the next epoch.
///
/// # Errors
/// [`ErrorKind::NotFound`] when the log has forgotten batches after `first`, [`ErrorKind::Corrupt`] when it is
/// damaged.
pub async fn end_of_range(
    log: &dyn BatchLog,
    first: u64,
    deadline: Option<Timestamp>,
) -> Result<u64> {
    let last = log.head().await?.size.min(first.saturating_add(MAX_BATCHES));
    let Some(deadline) = deadline else { return Ok(last) };
    let (mut index, mut end) = (first, first);
    while index < last && index.saturating_sub(end) < STRAGGLERS {
        let limit = usize::try_from(last - index).unwrap_or(PAGE).min(PAGE);
        let entries = log.read(index, limit).await?;
        if entries.is_empty() {
            return Err(damaged(index));
        }
        for entry in &entries {
            index = entry.index.saturating_add(1);
            if entry.received < deadline {
                end = index;
            }
        }
    }
    Ok(end)
}

/// Roots of the complete subtrees of the log's first `size` batches, largest first. No batch is read for
/// them: the log may have forgotten it.
async fn peaks(log: &dyn BatchLog, size: u64) -> Result<Vec<B256>> {
    let mut peaks = Vec::with_capacity(size.count_ones() as usize);
    let (mut covered, mut rest) = (0, None);
    for width in (0..u64::BITS).rev().map(|bit| size & (1 << bit)).filter(|width| *width > 0) {
        let end = covered + width;
        // To show that the tree of `end` leaves is part of the whole, a path begins with its last complete
        // subtree, unless that is the tree itself, and goes on with everything after it.
        let mut path = log.consistency(end, size).await?.into_iter();
        let peak = match (covered, end == size) {
            (0, _) => Some(log.root(end).await?),
            (_, true) => rest,
            (_, false) => path.next(),
        };
        peaks.push(peak.ok_or_else(|| damaged(covered))?);
        (covered, rest) = (end, path.next());
    }
    Ok(peaks)
}

fn damaged(index: u64) -> Error {
    Error::new(ErrorKind::Corrupt, "the log's batches do not lead to its root").with("index", index)
}
