//! A chain that is written down: every call is counted, and it can lie.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use depin_core::{Address, B256, Result, Timestamp, keccak256};
use depin_identity::methods::ethr::{BlockHead, Change, Event, Ledger};

/// Blocks are ten seconds apart unless told; block `n` is at `10 n`.
#[derive(Debug)]
pub(crate) struct Scripted {
    blocks: Mutex<BTreeMap<u64, Written>>,
    times: Mutex<BTreeMap<u64, u64>>,
    head: AtomicU64,
    depth: u64,
    pub(crate) calls: AtomicUsize,
}

#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) fork: u64,
    pub(crate) previous: u64,
    pub(crate) changes: Vec<Change>,
}

impl Scripted {
    /// A chain whose blocks are final when `depth` blocks follow.
    pub(crate) fn new(depth: u64) -> Self {
        Self {
            blocks: Mutex::default(),
            times: Mutex::default(),
            head: AtomicU64::new(0),
            depth,
            calls: AtomicUsize::new(0),
        }
    }

    /// Writes the changes of the one identity into a block, after all that were written before.
    pub(crate) fn write(&self, number: u64, changes: Vec<Change>) {
        let mut blocks = self.blocks.lock().unwrap();
        let previous = blocks.keys().next_back().copied().unwrap_or(0);
        blocks.insert(number, Written { fork: 0, previous, changes });
        self.head.fetch_max(number, Ordering::SeqCst);
    }

    pub(crate) fn at_time(&self, number: u64, seconds: u64) {
        self.times.lock().unwrap().insert(number, seconds);
    }

    pub(crate) fn grow_to(&self, head: u64) {
        self.head.store(head, Ordering::SeqCst);
    }

    /// Edits what was written, as a reorganisation or a faulty node does.
    pub(crate) fn tamper(&self, edit: impl FnOnce(&mut BTreeMap<u64, Written>)) {
        edit(&mut self.blocks.lock().unwrap());
    }

    pub(crate) fn take_calls(&self) -> usize {
        self.calls.swap(0, Ordering::SeqCst)
    }

    fn count(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }

    fn hash(&self, number: u64) -> B256 {
        let blocks = self.blocks.lock().unwrap();
        let forks: u64 = blocks.range(..=number).map(|(_, block)| block.fork).sum();
        keccak256([number.to_be_bytes(), forks.to_be_bytes()].concat())
    }
}

#[async_trait]
impl Ledger for Scripted {
    async fn changed(&self, _: Address, at: Option<u64>) -> Result<u64> {
        self.count();
        let blocks = self.blocks.lock().unwrap();
        let newest = blocks.range(..=at.unwrap_or(u64::MAX)).next_back();
        Ok(newest.map_or(0, |(number, _)| *number))
    }

    async fn events(&self, _: Address, block: u64) -> Result<Vec<Event>> {
        self.count();
        let hash = self.hash(block);
        let Some(written) = self.blocks.lock().unwrap().get(&block).cloned() else {
            return Ok(Vec::new());
        };
        let mut events: Vec<_> = (0..)
            .zip(written.changes)
            .map(|(index, change)| {
                let previous = if index == 0 { written.previous } else { block };
                Event::new(hash, index, previous, change)
            })
            .collect();
        // Nodes promise no order.
        events.reverse();
        Ok(events)
    }

    async fn block(&self, number: u64) -> Result<Option<BlockHead>> {
        self.count();
        if number > self.head.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let seconds = self.times.lock().unwrap().get(&number).copied();
        let time = Timestamp::from_secs(seconds.unwrap_or(number * 10));
        Ok(Some(BlockHead::new(self.hash(number), time)))
    }

    async fn finalised(&self) -> Result<u64> {
        self.count();
        Ok(self.head.load(Ordering::SeqCst).saturating_sub(self.depth))
    }
}
