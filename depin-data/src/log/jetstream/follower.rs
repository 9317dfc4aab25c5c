//! Keeps the view level with the stream: finds its place at the start, follows, and gives back what the
//! stream has lost.

use std::collections::VecDeque;

use depin_core::{
    Error, ErrorKind, NetworkId, Result,
    log::{LogEntry, NewBatch},
};
use tracing::{info, warn};

use super::{
    group::{Group, batch_weight},
    replica::Replica,
    wire::{Published, Wire},
    writer::Status,
};
use crate::batch;

/// Messages kept to give back to a server that lost them, in bytes. It loses seconds, if anything.
const KEPT: usize = 32 << 20;
/// Messages read at once while far behind.
const WINDOW: u64 = 16;
/// Batches read from the view at once to make a message anew.
const REMADE: usize = 256;
/// Most tries to find the stream's end still, with others writing.
const TRIES: usize = 100;

pub(super) struct Follower {
    pub(super) wire: Wire,
    pub(super) replica: Replica,
    pub(super) network: NetworkId,
    kept: VecDeque<(u64, Vec<u8>)>,
    kept_bytes: usize,
    /// Messages that the stream has lost, in their order.
    lost: VecDeque<Vec<u8>>,
    seed: bool,
}

impl Follower {
    pub(super) fn new(wire: Wire, replica: Replica, network: NetworkId, seed: bool) -> Self {
        let (kept, lost) = (VecDeque::new(), VecDeque::new());
        Self { wire, replica, network, kept, kept_bytes: 0, lost, seed }
    }

    /// Finds the place in the stream where the view ends, by the sizes that every message tells.
    pub(super) async fn resume(&mut self) -> Result<()> {
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
        self.replica.applied = before.max(first).saturating_sub(1);
        Ok(())
    }

    pub(super) fn status(&self) -> Status {
        let Replica { applied, skipped, .. } = self.replica;
        Status { applied, skipped, stopped: None }
    }

    /// Whether the server has been up since it took the last message, or has none.
    pub(super) async fn is_calm(&self) -> Result<bool> {
        match self.replica.applied {
            0 => Ok(true),
            applied => self.wire.was_up_at(applied).await,
        }
    }

    /// The first of our messages from `from` on, before `end`.
    async fn group_from(&self, from: u64, end: u64) -> Result<Option<(u64, Group)>> {
        for sequence in from..end {
            let message = self.wire.read_surely(sequence).await?;
            let group = message.and_then(|message| Group::decode(&message, &self.network).ok());
            if let Some(group) = group {
                return Ok(Some((sequence, group)));
            }
        }
        Ok(None)
    }

    /// Applies what has come since. Returns whether the messages that were applied have `awaited` among
    /// them, and where.
    pub(super) async fn follow(&mut self, awaited: Option<&[u8]>) -> Result<Option<u64>> {
        let mut found = None;
        while let Some(message) = self.wire.read(self.replica.applied + 1).await? {
            let sequence = self.replica.applied + 1;
            self.take(sequence, message, awaited, &mut found).await?;
        }
        Ok(found)
    }

    /// Applies everything up to the end of the stream as its leader sees it now, and gives back what the
    /// stream has lost.
    pub(super) async fn level(&mut self, awaited: Option<&[u8]>) -> Result<Option<u64>> {
        let mut found = None;
        for _ in 0..TRIES {
            let (first, last) = self.wire.ends().await?;
            if last < self.replica.applied {
                self.rewind(first, last).await?;
            }
            self.catch_up(last, awaited, &mut found).await?;
            if self.lost.is_empty() && !self.replica.is_ahead().await? {
                return Ok(found);
            }
            self.give_back().await?;
        }
        Err(Error::unavailable("the stream's end does not hold still; try again"))
    }

    async fn catch_up(
        &mut self,
        last: u64,
        awaited: Option<&[u8]>,
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
                    None => self.replica.applied = sequence,
                }
            }
        }
        Ok(())
    }

    async fn take(
        &mut self,
        sequence: u64,
        message: Vec<u8>,
        awaited: Option<&[u8]>,
        found: &mut Option<u64>,
    ) -> Result<()> {
        self.replica.apply(sequence, &message, &self.wire).await?;
        if awaited == Some(message.as_slice()) {
            *found = Some(sequence);
        }
        self.keep(sequence, message);
        Ok(())
    }

    /// Applies a message that is known to be in the stream, because we have just put it there.
    pub(super) async fn take_own(&mut self, sequence: u64, message: &[u8]) -> Result<()> {
        self.replica.apply(sequence, message, &self.wire).await?;
        self.keep(sequence, message.to_vec());
        Ok(())
    }

    fn keep(&mut self, sequence: u64, message: Vec<u8>) {
        self.kept_bytes += message.len();
        self.kept.push_back((sequence, message));
        while self.kept_bytes > KEPT
            && let Some((_, oldest)) = self.kept.pop_front()
        {
            self.kept_bytes = self.kept_bytes.saturating_sub(oldest.len());
        }
    }

    /// After a new connection: the stream still has what was applied last.
    pub(super) async fn verify_end(&mut self) -> Result<()> {
        let Some((sequence, message)) = self.kept.back() else { return Ok(()) };
        let there = self.wire.read_surely(*sequence).await?;
        if there.as_ref() == Some(message) {
            return Ok(());
        }
        // Lost, or written anew by somebody else: what is there is compared with the view.
        let (first, last) = self.wire.ends().await?;
        self.rewind(first, last.min(*sequence)).await
    }

    /// Goes back to the last of our messages at or before `last`, to compare it and all that follows.
    async fn rewind(&mut self, first: u64, last: u64) -> Result<()> {
        warn!(applied = self.replica.applied, last, "the stream has lost its end");
        let first = first.max(1);
        let mut sequence = last;
        while sequence >= first && self.group_from(sequence, sequence + 1).await?.is_none() {
            sequence -= 1;
        }
        self.replica.rewind(sequence.max(first) - 1);
        while let Some((_, message)) = self.kept.pop_back_if(|(at, _)| *at > last) {
            self.kept_bytes = self.kept_bytes.saturating_sub(message.len());
            self.lost.push_front(message);
        }
        Ok(())
    }

    /// Puts one message into the stream that continues it with what the view holds: the very one that was
    /// lost, or one made anew from the view.
    async fn give_back(&mut self) -> Result<()> {
        let end = self.replica.end();
        if end == (0, 0) && !self.seed {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the stream is empty and this view is not; correct the url, or allow the view to seed the stream",
            ));
        }
        let message = match self.next_lost(end) {
            Some(message) => message,
            None if self.replica.is_ahead().await? => {
                self.remake(end).await?.encode(&self.network)?
            }
            None => return Ok(()),
        };
        match self.wire.publish(self.replica.applied, &message).await {
            Published::At(sequence) => {
                info!(sequence, "gave back to the stream what it had lost");
                self.take_own(sequence, &message).await
            }
            // Another one gave it back; it is compared when it is read.
            Published::Elsewhere => Ok(()),
            Published::Unknown(error) => {
                self.lost.push_front(message);
                Err(error)
            }
        }
    }

    /// The next lost message that another one has not given back. One that only seals may be given back
    /// twice, which changes nothing.
    fn next_lost(&mut self, end: (u64, u64)) -> Option<Vec<u8>> {
        while let Some(message) = self.lost.pop_front() {
            let group = Group::decode(&message, &self.network).ok();
            if group.is_some_and(|group| (group.base.size, group.refusals_before) == end) {
                return Some(message);
            }
        }
        None
    }

    async fn remake(&mut self, (size, refusals): (u64, u64)) -> Result<Group> {
        let most = self.wire.most().saturating_sub(super::group::OVERHEAD);
        let mut group = self.replica.group_at(self.wire.unique(), size, refusals).await?;
        let mut weight = 0;
        for entry in self.replica.read(size, REMADE).await? {
            let new = claimed(entry, &self.network)?;
            weight += batch_weight(&new);
            if weight > most {
                break;
            }
            group.batches.push(new);
        }
        if group.batches.is_empty() {
            group.refusals = self.replica.encoded_refusals(refusals, most).await?;
        }
        Ok(group)
    }
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
