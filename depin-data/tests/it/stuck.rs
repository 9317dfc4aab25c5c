//! A log that does not answer until it may.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use depin_core::{
    B256, Bytes, Did, EpochId, Error, Result, Sequence,
    log::{Append, BatchLog, ChainTip, LogEntry, NewBatch, RefusedBatch, TreeHead},
};
use depin_data::log::MemoryLog;
use tokio::sync::Semaphore;

/// A log whose appends wait for a permit, and then fail; or are stored at once, and wait for one to say so.
#[derive(Debug)]
pub(crate) struct Stuck {
    log: MemoryLog,
    pub(crate) gate: Semaphore,
    /// For its readers.
    pub(crate) reads: Semaphore,
    /// How many appends came.
    pub(crate) begun: AtomicU32,
    /// How many reads.
    pub(crate) read: AtomicU32,
    stores: bool,
}

impl Stuck {
    pub(crate) fn failing() -> Self {
        let (log, gate) = (MemoryLog::new(), Semaphore::new(0));
        let reads = Semaphore::new(Semaphore::MAX_PERMITS);
        Self {
            log,
            gate,
            reads,
            begun: AtomicU32::default(),
            read: AtomicU32::default(),
            stores: false,
        }
    }

    #[cfg(any(feature = "http", feature = "mqtt"))]
    pub(crate) fn storing() -> Self {
        Self { stores: true, ..Self::failing() }
    }

    /// Takes what comes, and lets nobody read.
    #[cfg(feature = "http")]
    pub(crate) fn unread() -> Self {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Self { gate, reads: Semaphore::new(0), ..Self::storing() }
    }
}

#[async_trait]
impl BatchLog for Stuck {
    async fn append(&self, batch: NewBatch) -> Result<Append> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let stored = if self.stores { Some(self.log.append(batch).await) } else { None };
        let _permit = self.gate.acquire().await;
        stored.unwrap_or_else(|| Err(Error::unavailable("the disk is full")))
    }
    async fn head(&self) -> Result<TreeHead> {
        self.log.head().await
    }
    async fn grown(&self, size: u64) -> Result<u64> {
        self.log.grown(size).await
    }
    async fn root(&self, size: u64) -> Result<B256> {
        self.log.root(size).await
    }
    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<B256>> {
        self.log.inclusion(index, size).await
    }
    async fn read(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>> {
        self.read.fetch_add(1, Ordering::SeqCst);
        let _permit = self.reads.acquire().await;
        self.log.read(from, limit).await
    }
    async fn consistency(&self, old: u64, size: u64) -> Result<Vec<B256>> {
        self.log.consistency(old, size).await
    }
    async fn chain(&self, device: &Did, from: Sequence, limit: usize) -> Result<Vec<LogEntry>> {
        self.log.chain(device, from, limit).await
    }
    async fn forget(&self, before: u64) -> Result<()> {
        self.log.forget(before).await
    }
    async fn oldest(&self) -> Result<u64> {
        self.log.oldest().await
    }
    async fn tip(&self, device: &Did) -> Result<Option<ChainTip>> {
        self.log.tip(device).await
    }
    async fn find(&self, device: &Did, sequence: Sequence) -> Result<Option<(u64, B256)>> {
        self.log.find(device, sequence).await
    }
    async fn refuse(&self, refused: RefusedBatch) -> Result<()> {
        self.log.refuse(refused).await
    }
    async fn refusals(&self, from: u64, limit: usize) -> Result<Vec<RefusedBatch>> {
        self.log.refusals(from, limit).await
    }
    async fn refusal_range(&self) -> Result<std::ops::Range<u64>> {
        self.log.refusal_range().await
    }
    async fn forget_refusals(&self, before: u64) -> Result<()> {
        self.log.forget_refusals(before).await
    }
    async fn seal(&self, epoch: EpochId, record: Bytes) -> Result<()> {
        self.log.seal(epoch, record).await
    }
    async fn sealed(&self, epoch: EpochId) -> Result<Option<Bytes>> {
        self.log.sealed(epoch).await
    }
}
