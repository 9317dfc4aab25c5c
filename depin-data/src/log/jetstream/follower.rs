//! Keeps the view level with the stream: finds its place at the start, follows, and gives back what the
//! stream has lost.

use depin_core::{
    B256, Bytes, Error, ErrorKind, NetworkId, Result,
    log::{LogEntry, NewBatch},
};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::{
    epoch_too_large,
    group::{Counts, Group, OVERHEAD, batch_weight, seal_weight},
    parts::{PART, Passage, sha256},
    replica::Replica,
    too_large,
    wire::{Published, Wire},
    writer::{PATIENCE, PAUSE, Status},
};
use crate::{batch, observe};

/// Messages read at once while far behind.
const WINDOW: u64 = 16;
/// Batches read from the view at once to make a message anew.
const REMADE: usize = 256;
/// Most tries to give something back, with others writing.
const TRIES: usize = 100;

pub(super) struct Follower {
    pub(super) wire: Wire,
    pub(super) replica: Replica,
    pub(super) network: NetworkId,
    /// The last message that was applied, and its hash.
    last: Option<(u64, B256)>,
    /// A record that the stream has lost and is given back in parts, and its place among the sealed.
    giving: Option<(u64, Passage)>,
    /// The server whose stream was compared with the view: another one may have lost what this one had.
    compared: String,
    seed: bool,
}

impl Follower {
    pub(super) fn new(wire: Wire, replica: Replica, network: NetworkId, seed: bool) -> Self {
        let compared = wire.server();
        Self { wire, replica, network, last: None, giving: None, compared, seed }
    }

    /// Brings the view level with the stream, from wherever it ends; says whether the server [is
    /// calm](Self::is_calm). A server that has just started may not answer at first.
    pub(super) async fn begin(&mut self) -> Result<bool> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_begin().await {
                Err(error) if error.is_retryable() && Instant::now() < deadline => {
                    debug!(%error, "the stream does not answer yet; asking again");
                    sleep(PAUSE).await;
                }
                begun => return begun,
            }
        }
    }

    async fn try_begin(&mut self) -> Result<bool> {
        self.seek().await?;
        self.level(None).await?;
        self.is_calm().await
    }

    /// Finds the place in the stream where the view ends, by the sizes that every message tells.
    async fn seek(&mut self) -> Result<()> {
        let server = self.wire.server();
        let (first, last) = self.wire.ends().await?;
        let (mut before, mut after) = (first.saturating_sub(1), last.saturating_add(1));
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            match self.group_from(middle, after).await? {
                Some((sequence, group)) if self.replica.is_past(&group).await? => before = sequence,
                _ => after = middle,
            }
        }
        // The last message that the view has seen is compared with it once more.
        self.replica.rewind(before.max(first).saturating_sub(1));
        (self.last, self.compared) = (None, server);
        Ok(())
    }

    /// Whether the server that answers is the one whose stream was compared with the view.
    pub(super) fn is_compared(&self) -> bool {
        self.compared == self.wire.server()
    }

    /// What another server says may not continue what was applied, however well the numbers fit.
    fn ensure_compared(&self) -> Result<()> {
        let why = "the server of the stream has started anew and is compared with the view first; try again";
        if self.is_compared() { Ok(()) } else { Err(Error::unavailable(why)) }
    }

    pub(super) fn status(&self) -> Status {
        let Replica { applied, skipped, .. } = self.replica;
        Status { applied, skipped, compared: self.compared.clone(), stopped: None }
    }

    /// Whether the server has been up since it took the last message, or has none.
    async fn is_calm(&self) -> Result<bool> {
        match self.replica.applied {
            0 => Ok(true),
            applied => self.wire.was_up_at(applied).await,
        }
    }

    /// The first of our messages from `from` on, before `end`.
    async fn group_from(&self, from: u64, end: u64) -> Result<Option<(u64, Group)>> {
        let mut before = self.hash_at(from.saturating_sub(1)).await?;
        for sequence in from..end {
            let message = self.wire.read_surely(sequence).await?;
            let group = message.as_ref().and_then(|m| Group::decode(m, &self.network).ok());
            if let Some(group) = group.filter(|group| group.follows(before)) {
                return Ok(Some((sequence, group)));
            }
            before = message.as_ref().map(hash);
        }
        Ok(None)
    }

    /// Hash of the message with this sequence, if there is one.
    async fn hash_at(&self, sequence: u64) -> Result<Option<B256>> {
        match sequence {
            0 => Ok(None),
            _ => Ok(self.wire.read_surely(sequence).await?.as_ref().map(hash)),
        }
    }

    /// Hash of the message that was applied last, if it is there.
    async fn hash_before(&self) -> Result<Option<B256>> {
        let applied = self.replica.applied;
        match self.last {
            Some((sequence, hash)) if sequence == applied => Ok(Some(hash)),
            _ => self.hash_at(applied).await,
        }
    }

    /// Ties a group to the message that was applied last.
    pub(super) async fn tie(&self, mut group: Group) -> Result<Group> {
        group.after = self.hash_before().await?.unwrap_or(B256::ZERO);
        Ok(group)
    }

    /// Applies what has come since. Returns whether the messages that were applied have `awaited` among
    /// them, and where.
    pub(super) async fn follow(&mut self, awaited: Option<&Bytes>) -> Result<Option<u64>> {
        let mut found = None;
        while let Some(message) = self.wire.read(self.replica.applied + 1).await? {
            let sequence = self.replica.applied + 1;
            self.take(sequence, message, awaited, &mut found).await?;
        }
        Ok(found)
    }

    /// Applies everything up to the end of the stream as its leader sees it now, and gives back what the
    /// stream has lost.
    pub(super) async fn level(&mut self, awaited: Option<&Bytes>) -> Result<Option<u64>> {
        let (mut found, mut left) = (None, TRIES);
        while left > 0 {
            let (_, last) = self.wire.ends().await?;
            if last < self.replica.applied {
                warn!(applied = self.replica.applied, last, "the stream has lost its end");
                self.seek().await?;
            }
            observe::behind(last.saturating_sub(self.replica.applied));
            self.catch_up(last, awaited, &mut found).await?;
            if !self.replica.is_ahead().await? {
                self.giving = None;
                return Ok(found);
            }
            left = if self.give_back().await? { TRIES } else { left - 1 };
        }
        Err(Error::unavailable("the stream's end does not hold still; try again"))
    }

    async fn catch_up(
        &mut self,
        last: u64,
        awaited: Option<&Bytes>,
        found: &mut Option<u64>,
    ) -> Result<()> {
        while self.replica.applied < last {
            let next = self.replica.applied + 1;
            let window = next..=last.min(next.saturating_add(WINDOW - 1));
            let messages = futures_util::future::join_all(
                window.clone().map(|sequence| self.wire.read(sequence)),
            )
            .await;
            for (sequence, message) in window.zip(messages) {
                let message = match message? {
                    Some(message) => Some(message),
                    // A server behind the leader may have answered.
                    None => self.wire.read_surely(sequence).await?,
                };
                match message {
                    Some(message) => self.take(sequence, message, awaited, found).await?,
                    None => {
                        self.ensure_compared()?;
                        self.replica.applied = sequence;
                    }
                }
            }
        }
        Ok(())
    }

    async fn take(
        &mut self,
        sequence: u64,
        message: Bytes,
        awaited: Option<&Bytes>,
        found: &mut Option<u64>,
    ) -> Result<()> {
        self.ensure_compared()?;
        let before = self.hash_before().await?;
        self.ensure_compared()?;
        let is_ours = self.replica.apply(sequence, &message, before, &self.wire).await?;
        let is_own = is_ours && awaited == Some(&message);
        if is_own {
            *found = Some(sequence);
        }
        observe::applied(is_own);
        self.last = Some((sequence, hash(&message)));
        Ok(())
    }

    /// Applies a message that is known to be in the stream, because we have just put it there.
    pub(super) async fn take_own(&mut self, sequence: u64, message: Bytes) -> Result<bool> {
        let before = self.hash_before().await?;
        let is_ours = self.replica.apply(sequence, &message, before, &self.wire).await?;
        observe::applied(is_ours);
        self.last = Some((sequence, hash(&message)));
        Ok(is_ours)
    }

    /// After a new connection: the stream still has what was applied last, or the view finds its place anew. Others
    /// may have written over what was lost, so that behind a number that was applied before lies what the view has
    /// not seen.
    pub(super) async fn verify_end(&mut self) -> Result<()> {
        let server = self.wire.server();
        let Some((sequence, last)) = self.last else { return self.seek().await };
        if self.hash_at(sequence).await? != Some(last) {
            warn!(applied = sequence, "the stream has lost its end");
            return self.seek().await;
        }
        // What was passed over behind it may be other messages by now.
        self.replica.applied = sequence;
        self.compared = server;
        Ok(())
    }

    /// Puts one message into the stream that continues it with what the view holds; false when others came first.
    async fn give_back(&mut self) -> Result<bool> {
        let end = self.replica.end();
        if end == Counts::default() && !self.seed {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the stream is empty and this view is not; correct the url, or allow the view to seed the stream",
            ));
        }
        let group = self.remake(end).await?;
        let message = group.encode(&self.network)?;
        match self.wire.publish(self.replica.applied, &message).await {
            Published::At(sequence) if self.is_compared() => {
                info!(sequence, "gave back to the stream what it had lost");
                let in_parts = !group.parts.is_empty() || !group.heads.is_empty();
                if let Some((_, passage)) = self.giving.as_mut().filter(|_| in_parts) {
                    passage.placed(sequence);
                    self.replica.sealing = Some(passage.known());
                }
                let taken = self.take_own(sequence, message).await;
                self.replica.sealing = None;
                taken
            }
            // Another one gave it back, or the server is another: it is compared when it is read.
            Published::At(_) | Published::Elsewhere => Ok(false),
            Published::Unknown(error) => Err(error),
        }
    }

    /// The next message of what the view has more: batches first, then refusals, then sealed epochs.
    async fn remake(&mut self, end: Counts) -> Result<Group> {
        let held = self.replica.held().await?;
        let mut group = self.replica.group_at(self.wire.unique(), end).await?;
        if end.batches < held.batches {
            self.remake_batches(&mut group).await?;
        } else if end.refusals < held.refusals {
            group.refusals = self.replica.encoded_refusals(end.refusals, self.most()).await?;
        } else {
            self.remake_seal(&mut group).await?;
        }
        match group.is_empty() {
            true => Err(too_large(self.most())),
            false => self.tie(group).await,
        }
    }

    async fn remake_batches(&self, group: &mut Group) -> Result<()> {
        let entries = self.replica.read(group.before.batches, REMADE).await;
        let entries = entries.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::unavailable(
                "the stream has lost batches that this view has forgotten; start an ingest whose view has them",
            )
            .source(error),
            _ => error,
        })?;
        let mut left = self.most();
        for entry in entries {
            let new = claimed(entry, &self.network)?;
            let Some(rest) = left.checked_sub(batch_weight(&new)) else { break };
            left = rest;
            group.batches.push(new);
        }
        Ok(())
    }

    /// The next sealed epoch, or the next piece of it.
    async fn remake_seal(&mut self, group: &mut Group) -> Result<()> {
        let position = group.before.seals;
        if self.giving.as_ref().is_none_or(|(giving, _)| *giving != position) {
            let (epoch, record) = self.replica.seal_at(position)?;
            if self.takes_whole(&record) {
                group.seals.push((epoch, record));
                return Ok(());
            }
            let (hash, bytes) = (sha256(&record).await?, record.len());
            let passage = Passage::new(epoch, record, hash, self.most());
            let passage = passage.ok_or_else(|| epoch_too_large(epoch, bytes))?;
            self.giving = Some((position, passage));
        }
        if let Some((_, passage)) = &mut self.giving {
            passage.recall(&self.wire, &self.network).await?;
            passage.add_to(group);
        }
        Ok(())
    }

    /// Most bytes of records in a message.
    pub(super) fn most(&self) -> usize {
        self.wire.most().saturating_sub(OVERHEAD)
    }

    /// Whether a record goes into a message with others, and not in parts.
    pub(super) fn takes_whole(&self, record: &Bytes) -> bool {
        seal_weight(record) <= self.most().min(PART)
    }
}

/// Of a message, by which the next one names it.
pub(super) fn hash(message: impl AsRef<[u8]>) -> B256 {
    B256::new(Sha256::digest(message).into())
}

/// What a stored batch says about its place.
fn claimed(entry: LogEntry, network: &NetworkId) -> Result<NewBatch> {
    let claim = batch::claim(entry.batch.as_bytes(), network)?;
    Ok(NewBatch {
        device: claim.device,
        sequence: claim.sequence,
        previous: claim.previous,
        received: entry.received,
        batch: entry.batch,
        covers: claim.covers,
    })
}
