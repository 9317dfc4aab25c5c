//! A log in one folder that acknowledges only what survives power loss.
//!
//! Appends wait in a queue; one thread takes all that wait, writes them together and flushes once, so a
//! flush is shared by everyone who waited for the one before (group commit). The bytes of batches lie in
//! [segments](segment), which only grow. A redb database indexes them: entries and refusals by position,
//! complete tree nodes by the leaf that completed them, chains by device and sequence, sealed epochs by
//! number.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::JoinHandle,
};

use async_trait::async_trait;
use depin_core::{
    B256, Bytes, Did, EpochId, Error, ErrorKind, Result, Sequence,
    log::{Append, BatchLog, ChainTip, LogEntry, NewBatch, RefusedBatch, TreeHead},
};
use tokio::sync::oneshot;

use self::{
    store::{
        CHAINS, ENTRIES, EPOCHS, GAPS, META, Place, REFUSALS, Store, failed, link_in, oldest_in,
        tip_in, tree_in,
    },
    writer::{Job, Reply},
};
use super::{forgotten, growth::Growth, past_the_end, sealed_otherwise};
use crate::merkle::path;

pub(super) mod refusal;
mod segment;
mod store;
mod writer;

/// Most appends that may wait for the disk.
const QUEUE: usize = 4096;

/// A [`BatchLog`] in one folder, with group commit.
///
/// Writes never block the caller's thread: they wait for the writer thread without holding it. Reads run
/// on the caller's thread, usually from the page cache. One process at a time may hold the folder. When
/// the disk fails or is full, calls answer [`ErrorKind::Unavailable`], nothing is acknowledged, and the
/// files are opened again before the next use, so that the log goes on when the disk does.
///
/// Batches lie in files of about 64 MiB, and [`forget`](BatchLog::forget) returns the space of whole files.
/// What is no batch (the tree, chains, refusals, epochs) lies in `index.redb`, about a tenth of the size.
/// A copy of the log is a copy of the whole folder, made while nobody holds it.
///
/// ```
/// use depin_core::log::BatchLog;
/// use depin_data::log::RedbLog;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> depin_data::Result<()> {
/// let log = RedbLog::open_in_memory()?;
/// assert_eq!(log.head().await?.size, 0);
/// # Ok(()) }
/// ```
pub struct RedbLog {
    store: Arc<Store>,
    growth: Arc<Growth>,
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl RedbLog {
    /// Opens the folder, or creates it. After a crash this cuts off what was being written and indexes
    /// what was written last. In any case the checksum of every page of the index is verified, so the time
    /// grows with it; the bytes of a batch are verified when they are read.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another process holds the folder, [`ErrorKind::Corrupt`] when it is
    /// damaged or no log, [`ErrorKind::Unsupported`] for a log of another format,
    /// [`ErrorKind::Unavailable`] when the disk does not let us.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::start(Place::Folder(path.as_ref().to_owned()))
    }

    /// The same log in memory, for tests.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in_memory() -> Result<Self> {
        Self::start(Place::Memory)
    }

    fn start(place: Place) -> Result<Self> {
        let store = Arc::new(Store::open(place)?);
        let (jobs, queue) = mpsc::sync_channel(QUEUE);
        let size = store.read(|tables| Ok(tree_in(tables)?.0))?;
        let growth = Arc::new(Growth::new(size));
        let theirs = (Arc::clone(&store), Arc::clone(&growth));
        let writer = std::thread::Builder::new()
            .name("depin-log".into())
            .spawn(move || writer::run(&theirs.0, &queue, &theirs.1))
            .map_err(|e| Error::unavailable("the log's writer thread cannot start").source(e))?;
        Ok(Self { store, growth, jobs: Some(jobs), writer: Some(writer) })
    }

    /// The link that holds a place of a chain, if the chain reaches there.
    #[cfg(feature = "nats")]
    pub(super) fn link(&self, device: &Did, sequence: Sequence) -> Result<Option<super::Stored>> {
        self.store.read(|tables| {
            let chains = tables.open_table(CHAINS).map_err(failed)?;
            let gaps = tables.open_table(GAPS).map_err(failed)?;
            link_in(&chains, &gaps, device, sequence)
        })
    }

    /// Hands a job to the writer and waits for the commit that holds it.
    async fn submit(&self, job: impl FnOnce(Reply) -> Job) -> Result<writer::Outcome> {
        let stopped = || Error::unavailable("the log's writer has stopped; open the log again");
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.try_send(job(reply)).map_err(|error| match error {
            TrySendError::Full(_) => Error::unavailable("the log is busy; try again"),
            TrySendError::Disconnected(_) => stopped(),
        })?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for RedbLog {
    /// Waits for what was queued, so that the file is free when the log is gone.
    fn drop(&mut self) {
        self.jobs = None;
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

impl fmt::Debug for RedbLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedbLog({:?})", self.store.place())
    }
}

fn impossible() -> Error {
    Error::new(ErrorKind::Corrupt, "the log's writer answered another question")
}

#[async_trait]
impl BatchLog for RedbLog {
    async fn append(&self, batch: NewBatch) -> Result<Append> {
        match self.submit(|reply| Job::Append { new: Box::new(batch), reply }).await? {
            writer::Outcome::Append(append) => Ok(append),
            _ => Err(impossible()),
        }
    }

    async fn head(&self) -> Result<TreeHead> {
        self.store.read(|tables| {
            let (size, nodes) = tree_in(tables)?;
            Ok(TreeHead { size, root: path::root(size, nodes)? })
        })
    }

    async fn grown(&self, size: u64) -> Result<u64> {
        Ok(self.growth.past(size).await)
    }

    async fn root(&self, size: u64) -> Result<B256> {
        self.store.read(|tables| {
            let (end, nodes) = tree_in(tables)?;
            if size > end {
                return Err(past_the_end());
            }
            path::root(size, nodes)
        })
    }

    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<B256>> {
        self.store.read(|tables| {
            let (end, nodes) = tree_in(tables)?;
            if index >= size || size > end {
                return Err(past_the_end());
            }
            path::inclusion(index, size, nodes)
        })
    }

    async fn consistency(&self, old: u64, size: u64) -> Result<Vec<B256>> {
        self.store.read(|tables| {
            let (end, nodes) = tree_in(tables)?;
            if old > size || size > end {
                return Err(past_the_end());
            }
            path::consistency(old, size, nodes)
        })
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>> {
        self.store.entries(|tables| {
            let oldest = oldest_in(&tables.open_table(META).map_err(failed)?)?;
            if from < oldest {
                return Err(forgotten(oldest));
            }
            let entries = tables.open_table(ENTRIES).map_err(failed)?;
            let range = entries.range(from..).map_err(failed)?.take(limit);
            range
                .map(|row| row.map(|(index, row)| (index.value(), row.value())).map_err(failed))
                .collect()
        })
    }

    async fn chain(&self, device: &Did, from: Sequence, limit: usize) -> Result<Vec<LogEntry>> {
        self.store.entries(|tables| {
            let oldest = oldest_in(&tables.open_table(META).map_err(failed)?)?;
            let entries = tables.open_table(ENTRIES).map_err(failed)?;
            let chains = tables.open_table(CHAINS).map_err(failed)?;
            let did = device.as_str();
            let places = chains.range((did, from.value())..=(did, u64::MAX)).map_err(failed)?;
            places
                .take(limit)
                .map(|row| {
                    let (index, _) = row.map_err(failed)?.1.value();
                    let row = entries.get(index).map_err(failed)?;
                    Ok((index, row.ok_or_else(|| forgotten(oldest))?.value()))
                })
                .collect()
        })
    }

    async fn forget(&self, before: u64) -> Result<()> {
        match self.submit(|reply| Job::Forget { before, reply }).await? {
            writer::Outcome::Done => Ok(()),
            _ => Err(past_the_end()),
        }
    }

    async fn oldest(&self) -> Result<u64> {
        self.store.read(|tables| oldest_in(&tables.open_table(META).map_err(failed)?))
    }

    async fn tip(&self, device: &Did) -> Result<Option<ChainTip>> {
        self.store.read(|tables| tip_in(&tables.open_table(CHAINS).map_err(failed)?, device))
    }

    async fn find(&self, device: &Did, sequence: Sequence) -> Result<Option<(u64, B256)>> {
        self.store.read(|tables| {
            let chains = tables.open_table(CHAINS).map_err(failed)?;
            let gaps = tables.open_table(GAPS).map_err(failed)?;
            let link = link_in(&chains, &gaps, device, sequence)?;
            Ok(link.map(|link| (link.index, link.hash)))
        })
    }

    async fn refuse(&self, refused: RefusedBatch) -> Result<()> {
        let record = refusal::encode(&refused)?;
        self.submit(|reply| Job::Refuse { record, reply }).await.map(|_| ())
    }

    async fn refusals(&self, from: u64, limit: usize) -> Result<Vec<RefusedBatch>> {
        self.store.read(|tables| {
            let refusals = tables.open_table(REFUSALS).map_err(failed)?;
            let range = refusals.range(from..).map_err(failed)?.take(limit);
            range.map(|row| refusal::decode(row.map_err(failed)?.1.value())).collect()
        })
    }

    async fn seal(&self, epoch: EpochId, record: Bytes) -> Result<()> {
        match self.submit(|reply| Job::Seal { epoch, record, reply }).await? {
            writer::Outcome::Done => Ok(()),
            writer::Outcome::Conflict => Err(sealed_otherwise().with("epoch", epoch)),
            writer::Outcome::Append(_) => Err(impossible()),
        }
    }

    async fn sealed(&self, epoch: EpochId) -> Result<Option<Bytes>> {
        self.store.read(|tables| {
            let epochs = tables.open_table(EPOCHS).map_err(failed)?;
            let record = epochs.get(epoch.value()).map_err(failed)?;
            Ok(record.map(|record| record.value().to_vec().into()))
        })
    }
}
