//! What a payee must not forget: charges that were paid, payments that were used, and what stands behind them.
//!
//! One redb file per rail. An acceptance is on disk before anybody hears of it; acceptances that are asked for at the
//! same time share one write. What is settled and old is forgotten, and refused from then on.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use depin_core::{
    Amount, Clock, Error, ErrorKind, Result, SystemClock, Timestamp, payment::Accepted,
};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, backends::InMemoryBackend};

use super::{
    disk::{broken, open},
    group::Group,
    view::{Draft, Edit, Paid, Snapshot, Source},
};

/// The durable memory of one payment rail of a payee.
///
/// A file belongs to the rail that used it first: it is locked while open, and one rail at a time uses it. One payee
/// keeps one store per contract and token: with two, a payment counts in each.
///
/// A charge is forgotten when it was accepted longer ago than [`keep`](Self::keep) says and its settlement is 64 blocks
/// deep; that happens when the rail settles. Payments out of one source have an order, vouchers by what they grant and
/// spends by their number, and the store remembers how far it forgot: what comes from before that is refused. So it
/// holds about 400 bytes for every charge that is younger or not settled, and as much for every lane, stream and
/// escrow rail that ever paid, each of which cost its payer a transaction.
///
/// ```
/// use depin_payment::rail::RailStore;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("channel.redb");
/// let store = RailStore::open(&path)?;
/// assert!(RailStore::open(&path).is_err(), "one process at a time");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RailStore {
    shared: Arc<Shared>,
    keep: Duration,
    clock: Arc<dyn Clock>,
}

struct Shared {
    group: Arc<Group>,
    in_use: AtomicBool,
}

impl RailStore {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when it is open elsewhere, [`ErrorKind::Corrupt`] when it is another kind of file,
    /// [`ErrorKind::Unavailable`] when it cannot be read or written.
    pub fn open(path: &Path) -> Result<Self> {
        open(path).map(Self::of)
    }

    /// A store that forgets with the process: for tests.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when there is no memory.
    pub fn in_memory() -> Result<Self> {
        let opened = Database::builder().create_with_backend(InMemoryBackend::new());
        opened.map(Self::of).map_err(broken)
    }

    fn of(database: Database) -> Self {
        let group = Arc::new(Group::new(database));
        let shared = Arc::new(Shared { group, in_use: AtomicBool::new(false) });
        Self { shared, keep: KEEP, clock: Arc::new(SystemClock) }
    }

    /// Remembers what is settled for this long, 30 days unless told. Longer than any client repeats a request for:
    /// the same charge and payment get the same answer only for as long.
    #[must_use]
    pub const fn keep(mut self, time: Duration) -> Self {
        self.keep = time;
        self
    }

    /// Reads the time from this clock, the machine's unless told.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Binds a new store to its owner, and refuses that of another one, or one that a rail uses already.
    pub(crate) fn claim(self, owner: &str) -> Result<RailBook> {
        let write = self.database().begin_write().map_err(broken)?;
        {
            let mut table = write.open_table(OWNER).map_err(broken)?;
            let found = table.get(()).map_err(broken)?.map(|found| found.value().to_owned());
            if let Some(found) = found.filter(|found| found != owner) {
                let text = "the store belongs to another rail; use another file";
                let error = Error::new(ErrorKind::Config, text);
                return Err(error.with("found", found).with("expected", owner));
            }
            table.insert((), owner).map_err(broken)?;
            Draft::open(&write).map_err(broken)?;
        }
        write.commit().map_err(broken)?;
        if self.shared.in_use.swap(true, Ordering::AcqRel) {
            let text = "another rail uses the store; share that rail, or drop it first";
            return Err(Error::new(ErrorKind::Conflict, text).with("owner", owner));
        }
        Ok(RailBook(self))
    }

    fn database(&self) -> &Database {
        self.shared.group.database()
    }
}

impl fmt::Debug for RailStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RailStore").field("keep", &self.keep).finish_non_exhaustive()
    }
}

/// A store in the hands of the one rail that uses it.
#[derive(Debug)]
pub(crate) struct RailBook(RailStore);

impl RailBook {
    /// Binds a new store to the till that has the answers which were sold, and refuses another one.
    #[cfg(feature = "x402")]
    pub(crate) fn serve_for(&self, till: depin_core::B256) -> Result<()> {
        let write = self.0.database().begin_write().map_err(broken)?;
        {
            let mut table = write.open_table(TILL).map_err(broken)?;
            let found = table.get(()).map_err(broken)?.map(|found| found.value());
            match found {
                Some(found) if found == till.0 => return Ok(()),
                Some(_) => {
                    let text = "another till serves for this rail's vouchers; open that till's file, or settle \
                                and give each till a rail with a store of its own";
                    return Err(Error::new(ErrorKind::Conflict, text));
                }
                None => table.insert((), till.0).map_err(broken)?,
            };
        }
        write.commit().map_err(broken)
    }

    /// What `change` answers, once its edits are on disk; nothing is written when it fails.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Draft<'_>) -> Result<(T, Vec<Edit>)> + Send + 'static,
    ) -> Result<T> {
        self.0.shared.group.commit(change).await
    }

    /// What is on disk now.
    pub(crate) fn view(&self) -> Result<Snapshot> {
        Snapshot::open(&self.0.database().begin_read().map_err(broken)?)
    }

    /// As [`View::answer`](super::view::View::answer), of what is on disk.
    pub(crate) fn answer(&self, paid: &Paid) -> Result<Option<Accepted>> {
        self.view()?.answer(paid)
    }

    /// The records of all sources that begin with this, by key.
    pub(crate) fn sources(&self, prefix: &[u8]) -> Result<Vec<Source>> {
        self.view()?.sources(prefix)
    }

    /// The time by the store's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Forgets the charges out of a source that are old enough, of those that are settled for good when `settled` is.
    pub(crate) async fn forget(&self, source: &[u8], settled: Amount) -> Result<()> {
        let accepted = self.now().minus(self.0.keep);
        while !self.view()?.old(source, settled, accepted, 1)?.is_empty() {
            let source = source.to_vec();
            let forget = move |draft: &Draft<'_>| {
                let old = draft.old(&source, settled, accepted, FORGET_AT_ONCE)?;
                Ok(((), old.into_iter().map(Edit::Forget).collect()))
            };
            self.commit(forget).await?;
        }
        Ok(())
    }
}

impl Drop for RailBook {
    fn drop(&mut self) {
        self.0.shared.in_use.store(false, Ordering::Release);
    }
}

/// For how long what is settled is remembered, unless told.
const KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Charges that are forgotten in one write.
const FORGET_AT_ONCE: usize = 1_024;
const OWNER: TableDefinition<'_, (), &str> = TableDefinition::new("owner");
/// The book of the till that serves for what the rail accepts.
#[cfg(feature = "x402")]
const TILL: TableDefinition<'_, (), [u8; 32]> = TableDefinition::new("till");
