//! The view: what the stream says, kept in a log of this machine.
//!
//! Messages are applied in their order, each checked against everything before it. To apply one again
//! is to compare, so that a process may die anywhere between two lines of this file.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use depin_core::{
    B256, Bytes, Did, EpochId, Error, ErrorKind, NetworkId, Result, Sequence, Timestamp,
    log::{Append, ChainTip, LogEntry, NewBatch, RefusedBatch},
    transport::{Refusal, RefusalCode},
};
use futures_util::future::join_all;
use tracing::warn;

use super::{
    super::{Stored, chain_hole, judge, redb::refusal},
    group::{Counts, Group, Unread, refusal_weight},
    parts::Head,
    view::AnyView,
    wire::Wire,
};

/// Refusals read from the view at a time; each may have 64 KiB.
const STEP: usize = 16;

pub(super) struct Replica {
    network: NetworkId,
    view: Arc<AnyView>,
    /// Sequence of the last message applied.
    pub(super) applied: u64,
    /// What there is in the stream up to the last message applied.
    end: Counts,
    /// A record that this process has and is about to seal, and its hash.
    pub(super) sealing: Option<(B256, Bytes)>,
    /// Messages passed over.
    pub(super) skipped: u64,
}

impl Replica {
    pub(super) fn new(network: NetworkId, view: Arc<AnyView>) -> Self {
        Self { network, view, applied: 0, end: Counts::default(), sealing: None, skipped: 0 }
    }

    /// A group that would follow what is applied.
    pub(super) async fn group(&self, id: String) -> Result<Group> {
        let (before, head) = (self.held().await?, self.view.log().head().await?);
        Ok(Group::new(id, before, head.root))
    }

    /// A group that would follow what was there before.
    pub(super) async fn group_at(&self, id: String, before: Counts) -> Result<Group> {
        let root = self.view.log().root(before.batches).await?;
        Ok(Group::new(id, before, root))
    }

    /// Forgets what was applied after this message; what follows is compared.
    pub(super) fn rewind(&mut self, applied: u64) {
        (self.applied, self.end) = (applied, Counts::default());
    }

    pub(super) const fn end(&self) -> Counts {
        self.end
    }

    /// Whether the view holds what no applied message has brought.
    pub(super) async fn is_ahead(&self) -> Result<bool> {
        Ok(self.held().await?.exceed(&self.end))
    }

    /// What the view holds.
    pub(super) async fn held(&self) -> Result<Counts> {
        let log = self.view.log();
        let (batches, refusals) = (log.head().await?.size, log.refusal_range().await?.end);
        Ok(Counts { batches, refusals, seals: self.view.seals()? })
    }

    /// The epoch that was sealed as number `position`, and its record.
    pub(super) fn seal_at(&self, position: u64) -> Result<(EpochId, Bytes)> {
        let lost = || Error::new(ErrorKind::Corrupt, "the view lacks an epoch that it has sealed");
        self.view.seal_at(position)?.ok_or_else(lost)
    }

    pub(super) async fn read(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>> {
        self.view.log().read(from, limit).await
    }

    /// Refusals from position `from` on, as messages carry them, of at most `most` bytes.
    pub(super) async fn encoded_refusals(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>> {
        let mut left = most;
        let mut encoded = Vec::new();
        for record in self.told_refusals(from, 64).await? {
            let Some(rest) = left.checked_sub(refusal_weight(&record)) else { break };
            left = rest;
            encoded.push(record);
        }
        Ok(encoded)
    }

    /// Applies the message with this sequence, `before` which that of this hash lies in the stream; false for one
    /// that it passes over.
    pub(super) async fn apply(
        &mut self,
        sequence: u64,
        message: &[u8],
        before: Option<B256>,
        wire: &Wire,
    ) -> Result<bool> {
        let mut is_ours = true;
        match Group::decode(message, &self.network) {
            Ok(group) if !group.follows(before) => {
                is_ours = false;
                self.skipped += 1;
                warn!(sequence, "passed over a message whose writer knew another one before it");
            }
            Ok(group) => {
                let told = |error: Error| error.with("message", sequence);
                self.end = self.add(&group, sequence, wire).await.map_err(told)?;
            }
            Err(Unread::Foreign) => {
                is_ours = false;
                self.skipped += 1;
                warn!(sequence, "passed over a message that no depin log has written");
            }
            Err(Unread::Version(version)) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the stream holds a message of another version; use the version that wrote it",
                )
                .with("version", version)
                .with("message", sequence));
            }
        }
        self.applied = sequence;
        Ok(is_ours)
    }

    async fn add(&self, group: &Group, sequence: u64, wire: &Wire) -> Result<Counts> {
        self.check_base(group).await?;
        let batches =
            join_all(group.batches.iter().map(|new| self.view.log().append(new.clone()))).await;
        for (outcome, index) in batches.into_iter().zip(group.before.batches..) {
            match outcome? {
                Append::Stored(at) | Append::Duplicate(at) if at == index => {}
                other => {
                    return Err(parted().with("index", index).with("view", format!("{other:?}")));
                }
            }
        }
        self.add_refusals(group).await?;
        for ((epoch, record), position) in group.seals.iter().zip(group.before.seals..) {
            self.seal(position, *epoch, record.clone()).await?;
        }
        let mut end = group.end();
        for head in &group.heads {
            end.seals += u64::from(self.add_whole(end.seals, head, sequence, wire).await?);
        }
        Ok(end)
    }

    /// Seals an epoch as number `position`. Seals are in no tree, so that each is compared with the one that
    /// the view has there.
    async fn seal(&self, position: u64, epoch: EpochId, record: Bytes) -> Result<()> {
        if position < self.view.seals()? {
            let same = self.seal_at(position)? == (epoch, record);
            return if same { Ok(()) } else { Err(parted().with("epoch", epoch)) };
        }
        match self.sealed(epoch).await? {
            Some(_) => Err(parted().with("epoch", epoch)),
            None => self.view.log().seal(epoch, record).await,
        }
    }

    /// Seals what came in parts before the message with this sequence; false for a head that does not count.
    async fn add_whole(
        &self,
        position: u64,
        head: &Head,
        sequence: u64,
        wire: &Wire,
    ) -> Result<bool> {
        let ours = self.sealing.as_ref().filter(|(hash, _)| *hash == head.record);
        let known = ours.map(|(_, record)| record.clone());
        match head.record(sequence, known, wire, &self.network).await? {
            Some(record) => self.seal(position, head.epoch, record).await.map(|()| true),
            None => {
                let epoch = head.epoch.value();
                warn!(sequence, epoch, "the stream has lost parts of a record; it is sealed again");
                Ok(false)
            }
        }
    }

    /// Nothing is missing before the group, and what is before it is what its writer had.
    async fn check_base(&self, group: &Group) -> Result<()> {
        let (held, before) = (self.held().await?, group.before);
        if before.exceed(&held) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "the stream lacks messages that this view has not seen; begin with a copy of the view of another ingest",
            )
            .with("view", format!("{held:?}"))
            .with("needed", format!("{before:?}")));
        }
        if self.view.log().root(before.batches).await? != group.root {
            return Err(parted().with("size", before.batches));
        }
        Ok(())
    }

    async fn add_refusals(&self, group: &Group) -> Result<()> {
        let held = self.view.log().refusal_range().await?.end;
        let fresh =
            usize::try_from(held.saturating_sub(group.before.refusals)).unwrap_or(usize::MAX);
        self.compare_refusals(group, fresh.min(group.refusals.len())).await?;
        let refusals = group.refusals.iter().skip(fresh).map(|told| heard(told));
        let refusals = refusals.collect::<Result<Vec<_>>>()?;
        let written = refusals.into_iter().map(|refused| self.view.log().refuse(refused));
        join_all(written).await.into_iter().collect()
    }

    /// The first `count` refusals of the group are those that the view holds there: refusals are in no tree, so
    /// a server that lost some, and a writer that did not know, would part the replicas unnoticed.
    async fn compare_refusals(&self, group: &Group, count: usize) -> Result<()> {
        let mut there = group.before.refusals;
        for told in group.refusals.iter().take(count).collect::<Vec<_>>().chunks(STEP) {
            for (held, told) in self.told_refusals(there, told.len()).await?.iter().zip(told) {
                // What was forgotten on either side is compared with nothing.
                if held != *told && !held.is_empty() && !told.is_empty() {
                    return Err(parted().with("refusal", there));
                }
                there += 1;
            }
        }
        Ok(())
    }

    /// Refusals as messages carry them: empty where the view has forgotten one.
    async fn told_refusals(&self, from: u64, limit: usize) -> Result<Vec<Vec<u8>>> {
        let log = self.view.log();
        loop {
            let oldest = log.refusal_range().await?.start;
            let forgotten = usize::try_from(oldest.saturating_sub(from)).unwrap_or(usize::MAX);
            let mut told = vec![Vec::new(); forgotten.min(limit)];
            if told.len() == limit {
                return Ok(told);
            }
            let first = from.saturating_add(told.len() as u64);
            match log.refusals(first, limit - told.len()).await {
                Ok(held) => {
                    let held = held.iter().map(|held| match *held == forgotten_refusal() {
                        true => Ok(Vec::new()),
                        false => refusal::encode(held),
                    });
                    told.extend(held.collect::<Result<Vec<_>>>()?);
                    return Ok(told);
                }
                // Somebody has forgotten more in this moment.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the view holds all that was before the group, and something that came after.
    pub(super) async fn is_past(&self, group: &Group) -> Result<bool> {
        let held = self.held().await?;
        Ok(held.exceed(&group.before) && !group.before.exceed(&held))
    }

    /// The verdict on a batch that would follow what is applied and `planned`. Nothing is an append that
    /// continues its chain, and is planned now.
    pub(super) async fn judge(
        &self,
        planned: &mut Planned,
        index: u64,
        new: &NewBatch,
    ) -> Result<Option<Append>> {
        let hash = new.batch.hash();
        let tip = match planned.tip(&new.device) {
            Some(tip) => Some(tip),
            None => self.view.log().tip(&new.device).await?,
        };
        let verdict = judge(new, hash, tip, |sequence| {
            let stored = self.view.link(&new.device, sequence)?;
            let link = stored.or_else(|| planned.find(&new.device, sequence));
            link.ok_or_else(|| chain_hole(sequence))
        })?;
        if verdict.is_none() {
            planned.add(new, index, hash);
        }
        Ok(verdict)
    }

    pub(super) async fn sealed(&self, epoch: EpochId) -> Result<Option<Bytes>> {
        self.view.log().sealed(epoch).await
    }
}

/// Batches on their way into one group: by device, the links by the sequence at which each ends.
#[derive(Default)]
pub(super) struct Planned(HashMap<Did, BTreeMap<Sequence, Stored>>);

impl Planned {
    fn tip(&self, device: &Did) -> Option<ChainTip> {
        self.0.get(device)?.last_key_value().map(|(_, link)| link.tip)
    }

    fn find(&self, device: &Did, sequence: Sequence) -> Option<Stored> {
        self.0.get(device)?.range(sequence..).next().map(|(_, link)| *link)
    }

    fn add(&mut self, new: &NewBatch, index: u64, hash: B256) {
        let tip = new.covers.unwrap_or(ChainTip { sequence: new.sequence, hash });
        let chain = self.0.entry(new.device.clone()).or_default();
        chain.insert(tip.sequence, Stored { index, hash, tip });
    }
}

/// A refusal as a message carries it.
fn heard(told: &[u8]) -> Result<RefusedBatch> {
    if told.is_empty() { Ok(forgotten_refusal()) } else { refusal::decode(told) }
}

/// Stands in the place of a refusal that the server has lost after the views had forgotten it, so that all
/// others keep their positions.
fn forgotten_refusal() -> RefusedBatch {
    let detail = "forgotten here before the server had kept it, and lost by the server";
    let refusal = Refusal {
        code: RefusalCode::Malformed,
        detail: detail.into(),
        batch: B256::ZERO,
        device: None,
    };
    RefusedBatch { refusal, received: Timestamp::EPOCH, bytes: Bytes::new(), against: None }
}

/// Two histories: nothing may be signed on top of either until a person has looked.
fn parted() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the stream and this view tell different histories; keep both, find out who wrote to the stream or changed the view, and begin with a copy of a view that others agree with",
    )
}
