//! A log that lives as long as the process: for tests, replays and networks that need no memory.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use depin_core::{
    B256, Bytes, Did, EpochId, Result, Sequence,
    log::{Append, BatchLog, ChainTip, LogEntry, NewBatch, RefusedBatch, TreeHead},
};

use super::{
    Stored, chain_hole, forgotten, growth::Growth, judge, past_the_end, past_the_refusals,
    refusals_forgotten, sealed_otherwise,
};
use crate::merkle::{Tree, batch_leaf};

/// A [`BatchLog`] in memory. Nothing survives the process, so clause 1 of the contract holds only while
/// it runs.
///
/// ```
/// use depin_core::log::BatchLog;
/// use depin_data::log::MemoryLog;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> depin_data::Result<()> {
/// assert_eq!(MemoryLog::new().head().await?.size, 0);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct MemoryLog {
    state: Mutex<State>,
    growth: Growth,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self { state: Mutex::default(), growth: Growth::new(0) }
    }
}

#[derive(Debug, Default)]
struct State {
    /// From index `oldest` on.
    entries: VecDeque<LogEntry>,
    oldest: u64,
    tree: Tree,
    /// The links of every device, by the sequence at which each ends.
    chains: HashMap<Did, BTreeMap<Sequence, Stored>>,
    /// From position `oldest_refusal` on.
    refusals: VecDeque<RefusedBatch>,
    oldest_refusal: u64,
    epochs: BTreeMap<EpochId, Bytes>,
    /// In the order in which they were sealed.
    sealed: Vec<EpochId>,
}

impl State {
    fn entry(&self, index: u64) -> Option<&LogEntry> {
        self.entries.get(position(index.checked_sub(self.oldest)?))
    }

    fn refusal_range(&self) -> Range<u64> {
        self.oldest_refusal..self.oldest_refusal + self.refusals.len() as u64
    }
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// The link that holds a place of a chain, if the chain reaches there.
    #[cfg(feature = "nats")]
    pub(super) fn link(&self, device: &Did, sequence: Sequence) -> Option<Stored> {
        let state = self.state();
        let link = state.chains.get(device)?.range(sequence..).next();
        link.map(|(_, link)| *link)
    }

    /// How many epochs are sealed.
    #[cfg(feature = "nats")]
    pub(super) fn seals(&self) -> u64 {
        self.state().sealed.len() as u64
    }

    /// The epoch that was sealed as number `at`, and its record.
    #[cfg(feature = "nats")]
    pub(super) fn seal_at(&self, at: u64) -> Option<(EpochId, Bytes)> {
        let state = self.state();
        let epoch = state.sealed.get(position(at))?;
        Some((*epoch, state.epochs.get(epoch)?.clone()))
    }

    /// Every change is made in one step after its checks, so a panic elsewhere leaves no half of it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tip_of(chain: &BTreeMap<Sequence, Stored>) -> Option<ChainTip> {
    chain.last_key_value().map(|(_, link)| link.tip)
}

fn position(from: u64) -> usize {
    usize::try_from(from).unwrap_or(usize::MAX)
}

#[async_trait]
impl BatchLog for MemoryLog {
    async fn append(&self, new: NewBatch) -> Result<Append> {
        let (hash, leaf) = (new.batch.hash(), batch_leaf(&new.batch));
        let mut locked = self.state();
        let state = &mut *locked;
        let index = state.tree.size();
        let chain = state.chains.entry(new.device.clone()).or_default();
        let find = |sequence: Sequence| {
            let link = chain.range(sequence..).next();
            link.map(|(_, link)| *link).ok_or_else(|| chain_hole(sequence))
        };
        if let Some(refused) = judge(&new, hash, tip_of(chain), find)? {
            return Ok(refused);
        }
        let tip = new.covers.unwrap_or(ChainTip { sequence: new.sequence, hash });
        chain.insert(tip.sequence, Stored { index, hash, tip });
        state.tree.push(leaf);
        state.entries.push_back(LogEntry { index, received: new.received, batch: new.batch });
        drop(locked);
        self.growth.reached(index.saturating_add(1));
        Ok(Append::Stored(index))
    }

    async fn head(&self) -> Result<TreeHead> {
        let state = self.state();
        let size = state.tree.size();
        Ok(TreeHead { size, root: state.tree.root(size).ok_or_else(past_the_end)? })
    }

    async fn grown(&self, size: u64) -> Result<u64> {
        Ok(self.growth.past(size).await)
    }

    async fn root(&self, size: u64) -> Result<B256> {
        self.state().tree.root(size).ok_or_else(past_the_end)
    }

    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<B256>> {
        self.state().tree.inclusion(index, size).ok_or_else(past_the_end)
    }

    async fn consistency(&self, old: u64, size: u64) -> Result<Vec<B256>> {
        self.state().tree.consistency(old, size).ok_or_else(past_the_end)
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>> {
        let state = self.state();
        let from = from.checked_sub(state.oldest).ok_or_else(|| forgotten(state.oldest))?;
        Ok(state.entries.iter().skip(position(from)).take(limit).cloned().collect())
    }

    async fn chain(&self, device: &Did, from: Sequence, limit: usize) -> Result<Vec<LogEntry>> {
        let state = self.state();
        let links = state.chains.get(device).into_iter().flat_map(|chain| chain.range(from..));
        let entries = links.take(limit).map(|(_, link)| state.entry(link.index).cloned());
        entries.map(|entry| entry.ok_or_else(|| forgotten(state.oldest))).collect()
    }

    async fn tip(&self, device: &Did) -> Result<Option<ChainTip>> {
        Ok(self.state().chains.get(device).and_then(tip_of))
    }

    async fn find(&self, device: &Did, sequence: Sequence) -> Result<Option<(u64, B256)>> {
        let state = self.state();
        let link = state.chains.get(device).and_then(|chain| chain.range(sequence..).next());
        Ok(link.map(|(_, link)| (link.index, link.hash)))
    }

    async fn forget(&self, before: u64) -> Result<()> {
        let state = &mut *self.state();
        if before > state.tree.size() {
            return Err(past_the_end());
        }
        let gone = before.saturating_sub(state.oldest);
        state.entries.drain(..position(gone));
        state.entries.shrink_to_fit();
        state.oldest += gone;
        Ok(())
    }

    async fn oldest(&self) -> Result<u64> {
        Ok(self.state().oldest)
    }

    async fn refuse(&self, refused: RefusedBatch) -> Result<()> {
        self.state().refusals.push_back(refused);
        Ok(())
    }

    async fn refusals(&self, from: u64, limit: usize) -> Result<Vec<RefusedBatch>> {
        let state = self.state();
        let oldest = state.oldest_refusal;
        let from = from.checked_sub(oldest).ok_or_else(|| refusals_forgotten(oldest))?;
        Ok(state.refusals.iter().skip(position(from)).take(limit).cloned().collect())
    }

    async fn refusal_range(&self) -> Result<Range<u64>> {
        Ok(self.state().refusal_range())
    }

    async fn forget_refusals(&self, before: u64) -> Result<()> {
        let state = &mut *self.state();
        let Range { start, end } = state.refusal_range();
        if before > end {
            return Err(past_the_refusals());
        }
        let gone = before.saturating_sub(start);
        state.refusals.drain(..position(gone));
        state.refusals.shrink_to_fit();
        state.oldest_refusal += gone;
        Ok(())
    }

    async fn seal(&self, epoch: EpochId, record: Bytes) -> Result<()> {
        let state = &mut *self.state();
        if let Some(stored) = state.epochs.get(&epoch) {
            return if *stored == record { Ok(()) } else { Err(sealed_otherwise()) };
        }
        state.epochs.insert(epoch, record);
        state.sealed.push(epoch);
        Ok(())
    }

    async fn sealed(&self, epoch: EpochId) -> Result<Option<Bytes>> {
        Ok(self.state().epochs.get(&epoch).cloned())
    }
}
