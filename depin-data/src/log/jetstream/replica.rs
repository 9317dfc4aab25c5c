//! The view: what the stream says, kept in a log of this machine.
//!
//! Messages are applied in their order, each checked against everything before it. To apply one again
//! is to compare, so that a process may die anywhere between two lines of this file.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use depin_core::{
    B256, Bytes, Did, EpochId, Error, ErrorKind, NetworkId, Result, Sequence,
    log::{Append, ChainTip, LogEntry, NewBatch, TreeHead},
};
use futures_util::future::join_all;
use tracing::warn;

use super::{
    super::{Stored, chain_hole, judge, redb::refusal},
    group::{Group, Unread, refusal_weight},
    parts::{Head, Recent},
    view::AnyView,
    wire::Wire,
};

/// Messages of others that may lie between the parts of a record and its head.
const SPREAD: u64 = 1 << 16;
/// Refusals read from the view at a time; each may have 64 KiB.
const STEP: usize = 16;

pub(super) struct Replica {
    network: NetworkId,
    view: Arc<AnyView>,
    /// Sequence of the last message applied.
    pub(super) applied: u64,
    /// Batches and refusals at the end of the last group applied.
    end: (u64, u64),
    parts: Recent,
    /// Messages passed over.
    pub(super) skipped: u64,
}

impl Replica {
    pub(super) fn new(network: NetworkId, view: Arc<AnyView>) -> Self {
        let parts = Recent::default();
        Self { network, view, applied: 0, end: (0, 0), parts, skipped: 0 }
    }

    /// A group that would follow what is applied.
    pub(super) async fn group(&mut self, id: String) -> Result<Group> {
        let (base, refusals_before) = (self.view.log().head().await?, self.refusals().await?);
        Ok(Group::new(id, base, refusals_before))
    }

    /// A group that would follow the first `size` batches and `refusals` refusals.
    pub(super) async fn group_at(&self, id: String, size: u64, refusals: u64) -> Result<Group> {
        let root = self.view.log().root(size).await?;
        Ok(Group::new(id, TreeHead { size, root }, refusals))
    }

    /// Forgets what was applied after this message; what follows is compared.
    pub(super) const fn rewind(&mut self, applied: u64) {
        (self.applied, self.end) = (applied, (0, 0));
    }

    pub(super) const fn end(&self) -> (u64, u64) {
        self.end
    }

    /// Whether the view holds what no applied message has brought.
    pub(super) async fn is_ahead(&mut self) -> Result<bool> {
        let held = self.view.log().head().await?.size;
        Ok(self.end.0 < held || self.end.1 < self.refusals().await?)
    }

    pub(super) async fn read(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>> {
        self.view.log().read(from, limit).await
    }

    /// Refusals from position `from` on, as messages carry them, of at most `most` bytes.
    pub(super) async fn encoded_refusals(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>> {
        let mut left = most;
        let mut encoded = Vec::new();
        for refused in self.view.log().refusals(from, 64).await? {
            let record = refusal::encode(&refused)?;
            let Some(rest) = left.checked_sub(refusal_weight(&record)) else { break };
            left = rest;
            encoded.push(record);
        }
        Ok(encoded)
    }

    /// Applies the message with this sequence.
    pub(super) async fn apply(&mut self, sequence: u64, message: &[u8], wire: &Wire) -> Result<()> {
        match Group::decode(message, &self.network) {
            Ok(group) => {
                let told = |error: Error| error.with("message", sequence);
                self.add(&group).await.map_err(told)?;
                group.parts.iter().for_each(|part| self.parts.keep(part));
                for head in &group.heads {
                    self.add_whole(head, sequence, wire).await.map_err(told)?;
                }
                self.end = group.end();
            }
            Err(Unread::Foreign) => {
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
        Ok(())
    }

    async fn add(&mut self, group: &Group) -> Result<()> {
        let held = self.view.log().head().await?;
        self.check_base(group, held).await?;
        let batches =
            join_all(group.batches.iter().map(|new| self.view.log().append(new.clone()))).await;
        for (outcome, index) in batches.into_iter().zip(group.base.size..) {
            match outcome? {
                Append::Stored(at) | Append::Duplicate(at) if at == index => {}
                other => {
                    return Err(parted().with("index", index).with("view", format!("{other:?}")));
                }
            }
        }
        self.add_refusals(group).await?;
        for (epoch, record) in &group.seals {
            self.seal(*epoch, record.clone()).await?;
        }
        Ok(())
    }

    async fn seal(&self, epoch: EpochId, record: Bytes) -> Result<()> {
        self.view.log().seal(epoch, record).await.map_err(|error| match error.kind() {
            ErrorKind::Conflict => parted().with("epoch", epoch),
            _ => error,
        })
    }

    /// Seals what came in parts before the message with this sequence.
    async fn add_whole(&mut self, head: &Head, sequence: u64, wire: &Wire) -> Result<()> {
        let mut assembly = self.parts.take(head);
        if self.sealed(head.epoch).await?.is_some() {
            // The first one counts, which everybody saw first; whoever put a later one learns that it is late.
            return Ok(());
        }
        let furthest = sequence.saturating_sub(SPREAD + u64::from(head.count)).max(1);
        let mut before = sequence;
        while !assembly.is_whole() && before > furthest {
            before -= 1;
            let message = wire.read_surely(before).await?;
            let group = message.and_then(|message| Group::decode(&message, &self.network).ok());
            group.iter().flat_map(|group| &group.parts).for_each(|part| assembly.take(part));
        }
        self.seal(head.epoch, assembly.finish()?).await
    }

    /// Nothing is missing before the group, and what is before it is what its writer had.
    async fn check_base(&mut self, group: &Group, held: TreeHead) -> Result<()> {
        if group.base.size > held.size || group.refusals_before > self.refusals().await? {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "the stream lacks messages that this view has not seen; begin with a copy of the view of another ingest",
            )
            .with("view", held.size)
            .with("needed", group.base.size));
        }
        if self.view.log().root(group.base.size).await? != group.base.root {
            return Err(parted().with("size", group.base.size));
        }
        Ok(())
    }

    async fn add_refusals(&mut self, group: &Group) -> Result<()> {
        let held = self.refusals().await?;
        let fresh = usize::try_from(held - group.refusals_before).unwrap_or(usize::MAX);
        self.compare_refusals(group, fresh.min(group.refusals.len())).await?;
        let refusals = group.refusals.iter().skip(fresh).map(|record| refusal::decode(record));
        let refusals = refusals.collect::<Result<Vec<_>>>()?;
        if refusals.is_empty() {
            return Ok(());
        }
        for written in
            join_all(refusals.into_iter().map(|refused| self.view.log().refuse(refused))).await
        {
            written?;
        }
        Ok(())
    }

    /// The first `count` refusals of the group are those that the view holds there: refusals are in no tree, so
    /// a server that lost some, and a writer that did not know, would part the replicas unnoticed.
    async fn compare_refusals(&self, group: &Group, count: usize) -> Result<()> {
        let oldest = self.view.log().refusal_range().await?.start;
        // Those that the view has forgotten are compared with nothing.
        let forgotten = oldest.saturating_sub(group.refusals_before);
        let mut there = group.refusals_before.saturating_add(forgotten);
        let forgotten = usize::try_from(forgotten).unwrap_or(usize::MAX);
        for told in
            group.refusals.iter().take(count).skip(forgotten).collect::<Vec<_>>().chunks(STEP)
        {
            let held = self.view.log().refusals(there, told.len()).await?;
            for (held, told) in held.iter().zip(told) {
                if refusal::encode(held)? != **told {
                    return Err(parted().with("refusal", there));
                }
                there += 1;
            }
        }
        Ok(())
    }

    /// How many refusals the view was told of.
    async fn refusals(&self) -> Result<u64> {
        Ok(self.view.log().refusal_range().await?.end)
    }

    /// Whether the view holds all that the group adds, and something that came after.
    pub(super) async fn is_past(&mut self, group: &Group) -> Result<bool> {
        let held = self.view.log().head().await?.size;
        Ok(group.base.size < held || group.refusals_before < self.refusals().await?)
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

/// Two histories: nothing may be signed on top of either until a person has looked.
fn parted() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the stream and this view tell different histories; keep both, find out who wrote to the stream or changed the view, and begin with a copy of a view that others agree with",
    )
}
