//! Streams of a log's batches to consumers, from any position and for as long as they like.
//!
//! A [`Subscription`] pulls: the log itself is the buffer, so nothing is kept per consumer but a position
//! and a few batches read ahead, and a slow consumer holds nobody up. It lags, and can see by how much.
//! Under a runtime of tokio batches are looked into aside, on few threads for all, so that those who search a long
//! log for what is rare leave the rest of the process to its work.
//! It waits in [`BatchLog::grown`], which costs an append one waker per consumer that waits, and nothing
//! for one that is busy.
//!
//! What is delivered are the bytes that devices signed and ingest verified, with their index; consumers
//! elsewhere check a [receipt](crate::receipt) with each (`http::StreamClient`).

use std::{collections::VecDeque, future::poll_fn, sync::Arc, task::Poll};

use depin_core::{
    Error, ErrorKind, NetworkId, Reading, Result,
    log::{BatchLog, LogEntry},
};

mod cursor;
mod filter;

pub use cursor::Cursor;
pub use filter::Filter;

#[cfg(feature = "hpke")]
use crate::privacy::{self, ReaderSecret};
use crate::{aside::aside, batch, observe};

/// Batches read ahead; of 64 KiB each at most, so 1 MiB.
const AHEAD: usize = 16;

/// A batch that a consumer asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The signed bytes and their place.
    pub entry: LogEntry,
    /// Positions of the readings that were asked for, where the filter chose by reading or the cursor
    /// stood inside the batch; `None` for all.
    pub matches: Option<Vec<usize>>,
}

impl Delivery {
    /// Where to go on when all of it is done with.
    pub const fn cursor(&self) -> Cursor {
        Cursor::batch(self.entry.index.saturating_add(1))
    }

    /// Where to go on when its readings are done with up to and including this position.
    pub const fn cursor_after(&self, reading: usize) -> Cursor {
        Cursor::reading_of(self.entry.index, reading.saturating_add(1))
    }

    /// The readings that the device sealed to this reader; none where it sealed nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when they are sealed to another reader, or come from another device;
    /// [`ErrorKind::Malformed`] when the bytes are no batch of the network, or the device sealed no readings.
    #[cfg(feature = "hpke")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hpke")))]
    pub fn open(&self, network: &NetworkId, reader: &ReaderSecret) -> Result<Vec<Reading>> {
        let claim = batch::claim(self.entry.batch.as_bytes(), network)?;
        match claim.sealed {
            Some(sealed) => privacy::open_readings(reader, network, &claim.device, &sealed),
            None => Ok(Vec::new()),
        }
    }

    /// The readings that were asked for, with their positions in the batch; a gap marker has none.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the bytes are no batch of the network.
    pub fn readings(&self, network: &NetworkId) -> Result<Vec<(usize, Reading)>> {
        let claim = batch::claim(self.entry.batch.as_bytes(), network)?;
        let readings = claim.readings.into_iter().enumerate();
        Ok(match &self.matches {
            None => readings.collect(),
            Some(matches) => readings.filter(|(at, _)| matches.binary_search(at).is_ok()).collect(),
        })
    }
}

/// The batches of a log from a position on, those there are and those to come.
///
/// ```
/// use std::sync::Arc;
/// use depin_core::{B256, NetworkId, Sequence, SignedBatch, Timestamp, log::{BatchLog, NewBatch}};
/// use depin_data::{log::MemoryLog, subscribe::{Cursor, Filter, Subscription}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> depin_data::Result<()> {
/// let (log, network) = (Arc::new(MemoryLog::new()), NetworkId::parse("climate")?);
/// let mut subscription = Subscription::new(log.clone(), Cursor::START, Filter::new(&network));
/// log.append(NewBatch {
///     device: "did:example:a".parse()?, sequence: Sequence::new(0), previous: B256::ZERO,
///     received: Timestamp::EPOCH, batch: SignedBatch::new(b"signed".as_slice()), covers: None,
/// }).await?;
/// let delivery = subscription.next().await?;
/// assert_eq!(delivery.entry.index, 0);
/// assert_eq!(delivery.cursor().to_string(), "1");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Subscription {
    log: Arc<dyn BatchLog>,
    filter: Arc<Filter>,
    cursor: Cursor,
    /// What is wanted of the batches before `read`.
    ahead: VecDeque<Delivery>,
    read: Cursor,
}

impl Subscription {
    /// From a position on; one past the end waits until the log has come there.
    pub fn new(log: Arc<dyn BatchLog>, from: Cursor, filter: Filter) -> Self {
        let filter = Arc::new(filter);
        Self { log, filter, cursor: from, ahead: VecDeque::new(), read: from }
    }

    /// From now on.
    ///
    /// # Errors
    /// Whatever the log objects to.
    pub async fn from_now(log: Arc<dyn BatchLog>, filter: Filter) -> Result<Self> {
        let end = log.head().await?.size;
        Ok(Self::new(log, Cursor::batch(end), filter))
    }

    /// From the oldest batch whose bytes the log still has.
    ///
    /// # Errors
    /// Whatever the log objects to.
    pub async fn from_oldest(log: Arc<dyn BatchLog>, filter: Filter) -> Result<Self> {
        let oldest = log.oldest().await?;
        Ok(Self::new(log, Cursor::batch(oldest), filter))
    }

    /// Waits for the next batch that is wanted. To drop the future loses nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the log has given up the bytes at the cursor; its context `oldest` names
    /// the first position there is, and [`from_oldest`](Self::from_oldest) goes on there. Else whatever
    /// the log objects to; the next call tries again from the same position.
    pub async fn next(&mut self) -> Result<Delivery> {
        loop {
            if let Some(delivery) = self.scan().await? {
                return Ok(delivery);
            }
            self.grown().await?;
        }
    }

    /// The next batch that is wanted among the next few of the log. `None` when none of them is: the
    /// [cursor](Self::cursor) has moved past them, or stays at the end. For whoever looks for something rare and
    /// keeps how far that came. To drop the future loses nothing.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    #[tracing::instrument(level = "trace", skip_all)]
    pub async fn scan(&mut self) -> Result<Option<Delivery>> {
        if self.ahead.is_empty() {
            self.cursor = self.read;
            self.read_ahead().await?;
        }
        let delivery = self.ahead.pop_front();
        self.cursor = delivery.as_ref().map_or(self.read, Delivery::cursor);
        delivery.iter().for_each(|_| observe::delivered());
        Ok(delivery)
    }

    /// Waits until the log holds more than lies before the [cursor](Self::cursor).
    ///
    /// # Errors
    /// Whatever the log objects to.
    pub async fn grown(&self) -> Result<()> {
        self.log.grown(self.cursor.index()).await.map(drop)
    }

    /// Where this goes on: after what was delivered, and after what was passed over since.
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// How many batches of the log lie after the cursor, wanted or not.
    ///
    /// # Errors
    /// Whatever the log objects to.
    pub async fn lag(&self) -> Result<u64> {
        Ok(self.log.head().await?.size.saturating_sub(self.cursor.index()))
    }

    async fn read_ahead(&mut self) -> Result<()> {
        let entries = match self.log.read(self.cursor.index(), AHEAD).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(self.forgotten(error).await);
            }
            read => read?,
        };
        #[cfg(feature = "metrics")]
        if let Ok(behind) = self.lag().await {
            observe::reads_on(behind);
        }
        let read = entries.len();
        (self.ahead, self.read) = self.pick(entries).await?;
        observe::passed_over(read.saturating_sub(self.ahead.len()));
        give_way().await;
        Ok(())
    }

    /// What of the entries is wanted, and where they end.
    async fn pick(&self, entries: Vec<LogEntry>) -> Result<(VecDeque<Delivery>, Cursor)> {
        let (filter, mut cursor) = (Arc::clone(&self.filter), self.cursor);
        let trivial = filter.takes_all() || entries.is_empty();
        let pick = move || {
            let entries = entries.into_iter();
            let wanted = entries.filter_map(|entry| filter.pick(&mut cursor, entry)).collect();
            (wanted, cursor)
        };
        // To look into the batches takes longer than to fetch them.
        if trivial { Ok(pick()) } else { aside(pick).await }
    }

    async fn forgotten(&self, error: Error) -> Error {
        let Ok(oldest) = self.log.oldest().await else { return error };
        Error::new(
            ErrorKind::NotFound,
            "the log has given up these batches; go on at the oldest, or read their epoch's bundle",
        )
        .with("oldest", oldest)
        .source(error)
    }
}

/// A consumer far behind leaves room for others of its thread.
async fn give_way() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
