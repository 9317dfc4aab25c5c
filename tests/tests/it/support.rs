//! What the stories share: a moment, owners, readings.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use depin::{
    Address, Did, EpochId, Quantity, Reading, Result, Sequence, Timestamp,
    core::{
        B256, Bytes,
        log::{Append, BatchLog, ChainTip, LogEntry, NewBatch, RefusedBatch, TreeHead},
    },
    dec,
};

/// When every story plays.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_767_225_600);

pub(crate) fn owner(number: u8) -> Address {
    Address::repeat_byte(number)
}

/// A reading a minute after [`celsius`]: the next epoch counts only what is later.
pub(crate) fn later(value: i32) -> Reading {
    Reading::new(
        Quantity::new("temperature", "Cel"),
        dec(value),
        Timestamp::from_secs(NOW.secs() + 60),
    )
}

/// A reading at [`NOW`].
pub(crate) fn celsius(value: i32) -> Reading {
    Reading::new(Quantity::new("temperature", "Cel"), dec(value), NOW)
}

/// Which places of a log somebody asked for.
pub(crate) type Asked = Arc<Mutex<Vec<u64>>>;

/// A log that several processes share, and that notes it.
#[derive(Debug)]
pub(crate) struct Watched(pub(crate) Arc<dyn BatchLog>, pub(crate) Asked);

#[async_trait]
impl BatchLog for Watched {
    async fn append(&self, batch: NewBatch) -> Result<Append> {
        self.0.append(batch).await
    }
    async fn head(&self) -> Result<TreeHead> {
        self.0.head().await
    }
    async fn grown(&self, size: u64) -> Result<u64> {
        self.0.grown(size).await
    }
    async fn root(&self, size: u64) -> Result<B256> {
        self.0.root(size).await
    }
    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<B256>> {
        self.0.inclusion(index, size).await
    }
    async fn read(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>> {
        self.0.read(from, limit).await
    }
    async fn consistency(&self, old: u64, size: u64) -> Result<Vec<B256>> {
        self.0.consistency(old, size).await
    }
    async fn chain(&self, device: &Did, from: Sequence, limit: usize) -> Result<Vec<LogEntry>> {
        self.0.chain(device, from, limit).await
    }
    async fn forget(&self, before: u64) -> Result<()> {
        self.0.forget(before).await
    }
    async fn oldest(&self) -> Result<u64> {
        self.0.oldest().await
    }
    async fn tip(&self, device: &Did) -> Result<Option<ChainTip>> {
        self.0.tip(device).await
    }
    async fn find(&self, device: &Did, sequence: Sequence) -> Result<Option<(u64, B256)>> {
        self.0.find(device, sequence).await
    }
    async fn refuse(&self, refused: RefusedBatch) -> Result<()> {
        self.0.refuse(refused).await
    }
    async fn refusals(&self, from: u64, limit: usize) -> Result<Vec<RefusedBatch>> {
        self.0.refusals(from, limit).await
    }
    async fn refusal_range(&self) -> Result<Range<u64>> {
        self.0.refusal_range().await
    }
    async fn forget_refusals(&self, before: u64) -> Result<()> {
        self.0.forget_refusals(before).await
    }
    async fn seal(&self, epoch: EpochId, record: Bytes) -> Result<()> {
        self.0.seal(epoch, record).await
    }
    async fn sealed(&self, epoch: EpochId) -> Result<Option<Bytes>> {
        self.1.lock().unwrap().push(epoch.value());
        self.0.sealed(epoch).await
    }
}
