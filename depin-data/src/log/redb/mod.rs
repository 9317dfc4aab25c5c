//! A log in one folder that acknowledges only what survives power loss, on a disk that loses no [block that it
//! rewrites](segment).
//!
//! The bytes of batches lie in [segments](segment), which only grow and are all that an append waits for:
//! appends wait in a queue, one [thread](writer) takes all that wait, writes them together and flushes once,
//! so a flush is shared by everyone who waited for the one before (group commit). A redb database indexes
//! them in [rows](index), and alone holds refusals and sealed epochs; another [thread](indexer) writes it,
//! batches many thousands at a time. What it lacks is in [memory](overlay), and a start learns it from the
//! segments.

use std::{
    fmt,
    ops::Range,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread::JoinHandle,
};

use async_trait::async_trait;
use depin_core::{
    B256, Bytes, Did, EpochId, Error, Result, Sequence,
    log::{Append, BatchLog, ChainTip, LogEntry, NewBatch, RefusedBatch, TreeHead},
};
use redb::ReadTransaction;
use tokio::sync::oneshot;

use self::{
    answer::Crowd,
    index::{META, REFUSALS},
    indexer::{Outcome, Reply},
    place::{Place, failed},
    store::Store,
};
use super::{
    growth::Growth, past_the_end, past_the_refusals, refusals_forgotten, sealed_otherwise,
};
use crate::{aside::aside, merkle::path};

mod answer;
mod disk;
mod draft;
mod frame;
mod index;
mod indexer;
mod medium;
mod overlay;
mod place;
#[cfg(test)]
mod power;
pub(super) mod refusal;
mod segment;
mod store;
#[cfg(test)]
mod tape;
mod writer;

/// Most appends that may wait for the disk.
const QUEUE: usize = 4096;
/// Batches that are read in one go; of 64 KiB each at most, so 16 MiB.
const SLICE: usize = 256;

/// A [`BatchLog`] in one folder, with group commit.
///
/// Writes never block the caller's thread: they wait for the writer thread without holding it. Neither do reads of
/// batches, refusals and epochs, which wait for one of four threads of tokio that may be held up, 256 batches at a
/// time; so readers are never in the way of acknowledgements, however many they are. (Outside of a runtime of tokio
/// they run on the caller's thread.) What an acknowledgement needs itself (chains, paths of the tree) is read at
/// once, usually from the page cache. One process at a time may hold the folder. When the disk fails or is full, calls answer [`ErrorKind::Unavailable`], nothing is acknowledged, and the
/// files are opened again before the next use, so that the log goes on when the disk does.
///
/// Batches lie in files of about 64 MiB, and [`forget`](BatchLog::forget) returns the space of whole files.
/// What is no batch (the tree, chains, refusals, epochs) lies in `index.redb`, about 150 bytes a batch. It
/// learns of batches in the background; up to 65,536 of them or 256 MiB are known to memory and to the
/// files of batches alone, and are read from there at the next start after a crash.
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
///
/// [`ErrorKind::Unavailable`]: depin_core::ErrorKind::Unavailable
pub struct RedbLog {
    store: Arc<Store>,
    growth: Arc<Growth>,
    crowd: Crowd,
    writer: Option<Thread<writer::Job>>,
    indexer: Option<Thread<indexer::Job>>,
}

/// A thread and the queue of what it has to do.
struct Thread<J> {
    jobs: SyncSender<J>,
    handle: JoinHandle<()>,
}

impl<J: Send + 'static> Thread<J> {
    fn start(name: &str, run: impl FnOnce(Receiver<J>) + Send + 'static) -> Result<Self> {
        let (jobs, queue) = mpsc::sync_channel(QUEUE);
        let handle = std::thread::Builder::new().name(name.into()).spawn(move || run(queue));
        let refused = |e| Error::unavailable("the log's threads cannot start").source(e);
        Ok(Self { jobs, handle: handle.map_err(refused)? })
    }

    /// Waits for what was queued.
    fn finish(self) {
        drop(self.jobs);
        let _ = self.handle.join();
    }
}

impl RedbLog {
    /// Opens the folder, or creates it. After a crash this cuts off what was being written and reads what
    /// the index had not learned of, at most some hundred MiB. In any case the checksum of every page of the
    /// index is verified, so the time grows with it; the bytes of a batch are verified when they are read.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another process holds the folder, [`ErrorKind::Corrupt`] when it is
    /// damaged or no log, [`ErrorKind::Unsupported`] for a log of another format,
    /// [`ErrorKind::Unavailable`] when the disk does not let us.
    ///
    /// [`ErrorKind::Conflict`]: depin_core::ErrorKind::Conflict
    /// [`ErrorKind::Corrupt`]: depin_core::ErrorKind::Corrupt
    /// [`ErrorKind::Unsupported`]: depin_core::ErrorKind::Unsupported
    /// [`ErrorKind::Unavailable`]: depin_core::ErrorKind::Unavailable
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
        let growth = Arc::new(Growth::new(store.with(|files| Ok(files.head()))?.size));
        let theirs = Arc::clone(&store);
        let indexer = Thread::start("depin-index", move |jobs| indexer::run(&theirs, &jobs))?;
        let crowd = Crowd::default();
        let theirs = (Arc::clone(&store), Arc::clone(&growth), crowd.clone(), indexer.jobs.clone());
        let writer = Thread::start("depin-log", move |jobs| {
            let (store, growth, crowd, indexer) = theirs;
            writer::run(&store, &jobs, &growth, &crowd, &indexer);
        })?;
        Ok(Self { store, growth, crowd, writer: Some(writer), indexer: Some(indexer) })
    }

    /// The link that holds a place of a chain, if the chain reaches there.
    #[cfg(feature = "nats")]
    pub(super) fn link(&self, device: &Did, sequence: Sequence) -> Result<Option<super::Stored>> {
        self.store.with(|files| files.link(device, sequence))
    }

    /// Whether it lies in a folder, and not in memory.
    #[cfg(feature = "nats")]
    pub(super) fn is_durable(&self) -> bool {
        matches!(self.store.place(), Place::Folder(_))
    }

    /// How many epochs are sealed.
    #[cfg(feature = "nats")]
    pub(super) fn seals(&self) -> Result<u64> {
        self.store.with(|files| files.read(index::seals))
    }

    /// The epoch that was sealed as number `position`, and its record.
    #[cfg(feature = "nats")]
    pub(super) fn seal_at(&self, position: u64) -> Result<Option<(EpochId, Bytes)>> {
        self.store.with(|files| files.read(|tables| index::seal_at(tables, position)))
    }

    /// Reads on a thread that may wait for the disk.
    async fn aside<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(&self.store);
        aside(move || read(&store)).await?
    }

    async fn index(&self, job: impl FnOnce(Reply) -> indexer::Job) -> Result<Outcome> {
        let (reply, answer) = oneshot::channel();
        submit(self.indexer.as_ref(), job(reply))?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Hands a job to a thread.
fn submit<J>(thread: Option<&Thread<J>>, job: J) -> Result<()> {
    thread.ok_or_else(stopped)?.jobs.try_send(job).map_err(|error| match error {
        TrySendError::Full(_) => Error::unavailable("the log is busy; try again"),
        TrySendError::Disconnected(_) => stopped(),
    })
}

fn stopped() -> Error {
    Error::unavailable("the log's threads have stopped; open the log again")
}

impl Drop for RedbLog {
    /// Waits for what was queued, so that the files are free when the log is gone.
    fn drop(&mut self) {
        self.writer.take().into_iter().for_each(Thread::finish);
        self.indexer.take().into_iter().for_each(Thread::finish);
        // A read may be under way for somebody who does not wait for it any more.
        self.store.shut();
    }
}

impl fmt::Debug for RedbLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedbLog({:?})", self.store.place())
    }
}

#[async_trait]
impl BatchLog for RedbLog {
    async fn append(&self, batch: NewBatch) -> Result<Append> {
        let new = Box::new(batch);
        let (reply, answer) = self.crowd.ask();
        submit(self.writer.as_ref(), writer::Job::Append(new, reply))?;
        answer.await
    }

    async fn head(&self) -> Result<TreeHead> {
        self.store.with(|files| Ok(files.head()))
    }

    async fn grown(&self, size: u64) -> Result<u64> {
        Ok(self.growth.past(size).await)
    }

    async fn root(&self, size: u64) -> Result<B256> {
        self.store.with(|files| {
            files.tree(|end, nodes| match size <= end {
                true => path::root(size, nodes),
                false => Err(past_the_end()),
            })
        })
    }

    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<B256>> {
        self.store.with(|files| {
            files.tree(|end, nodes| match index < size && size <= end {
                true => path::inclusion(index, size, nodes),
                false => Err(past_the_end()),
            })
        })
    }

    async fn consistency(&self, old: u64, size: u64) -> Result<Vec<B256>> {
        self.store.with(|files| {
            files.tree(|end, nodes| match old <= size && size <= end {
                true => path::consistency(old, size, nodes),
                false => Err(past_the_end()),
            })
        })
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        while entries.len() < limit {
            let first = from.saturating_add(entries.len() as u64);
            let slice = SLICE.min(limit - entries.len());
            let read = self.aside(move |store| store.entries(|files| files.rows(first, slice)));
            let read = read.await?;
            let last = read.len() < slice;
            entries.extend(read);
            if last {
                break;
            }
        }
        Ok(entries)
    }

    async fn chain(&self, device: &Did, from: Sequence, limit: usize) -> Result<Vec<LogEntry>> {
        let device = device.clone();
        let read =
            move |store: &Store| store.entries(|files| files.chain_rows(&device, from, limit));
        self.aside(read).await
    }

    async fn forget(&self, before: u64) -> Result<()> {
        match self.index(|reply| indexer::Job::Forget { before, reply }).await? {
            Outcome::Done => Ok(()),
            Outcome::Conflict => Err(past_the_end()),
        }
    }

    async fn oldest(&self) -> Result<u64> {
        self.store.with(|files| Ok(files.overlay().oldest()))
    }

    async fn tip(&self, device: &Did) -> Result<Option<ChainTip>> {
        self.store.with(|files| files.tip(device))
    }

    /// Comes behind what waits for the disk: whoever sent that may have given up waiting, and the writer stores it all
    /// the same.
    async fn latest_tip(&self, device: &Did) -> Result<Option<ChainTip>> {
        let (reply, level) = oneshot::channel();
        submit(self.writer.as_ref(), writer::Job::Level(reply))?;
        level.await.map_err(|_| stopped())?;
        self.tip(device).await
    }

    async fn find(&self, device: &Did, sequence: Sequence) -> Result<Option<(u64, B256)>> {
        let link = self.store.with(|files| files.link(device, sequence))?;
        Ok(link.map(|link| (link.index, link.hash)))
    }

    async fn refuse(&self, refused: RefusedBatch) -> Result<()> {
        let record = refusal::encode(&refused)?;
        self.index(|reply| indexer::Job::Refuse { record, reply }).await.map(|_| ())
    }

    async fn refusals(&self, from: u64, limit: usize) -> Result<Vec<RefusedBatch>> {
        let read = move |tables: &ReadTransaction| {
            let refusals = tables.open_table(REFUSALS).map_err(failed)?;
            let meta = tables.open_table(META).map_err(failed)?;
            let oldest = index::refusal_range(&meta, &refusals)?.start;
            if from < oldest {
                return Err(refusals_forgotten(oldest));
            }
            let range = refusals.range(from..).map_err(failed)?.take(limit);
            range.map(|row| refusal::decode(row.map_err(failed)?.1.value())).collect()
        };
        self.aside(move |store| store.with(|files| files.read(read))).await
    }

    async fn refusal_range(&self) -> Result<Range<u64>> {
        self.store.with(|files| {
            files.read(|tables| {
                let meta = tables.open_table(META).map_err(failed)?;
                index::refusal_range(&meta, &tables.open_table(REFUSALS).map_err(failed)?)
            })
        })
    }

    async fn forget_refusals(&self, before: u64) -> Result<()> {
        match self.index(|reply| indexer::Job::ForgetRefusals { before, reply }).await? {
            Outcome::Done => Ok(()),
            Outcome::Conflict => Err(past_the_refusals()),
        }
    }

    async fn seal(&self, epoch: EpochId, record: Bytes) -> Result<()> {
        match self.index(|reply| indexer::Job::Seal { epoch, record, reply }).await? {
            Outcome::Done => Ok(()),
            Outcome::Conflict => Err(sealed_otherwise().with("epoch", epoch)),
        }
    }

    async fn sealed(&self, epoch: EpochId) -> Result<Option<Bytes>> {
        let read = move |tables: &ReadTransaction| index::record(tables, epoch.value());
        self.aside(move |store| store.with(|files| files.read(read))).await
    }
}
