//! What a payee must not forget: charges that were paid, payments that were used, and what stands behind them.
//!
//! One redb file per rail. An acceptance is one write transaction that is on disk before anybody hears of it.

use std::{fmt, path::Path, sync::Arc};

use depin_core::{
    Address, B256, Error, ErrorKind, Result,
    payment::{Accepted, Charge},
};
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition,
    backends::InMemoryBackend,
};

use super::disk::{broken, create};

/// The durable memory of one payment rail of a payee.
///
/// A file belongs to the rail that used it first, and is locked while open. Clones share it. One payee keeps one
/// store per contract and token: with two, a payment counts in each. Charges are kept for ever, about 250 bytes
/// each, for a charge that is forgotten could be paid with an old payment again.
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
pub struct RailStore(Arc<Database>);

impl RailStore {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when it is open elsewhere, [`ErrorKind::Corrupt`] when it is another kind of file,
    /// [`ErrorKind::Unavailable`] when it cannot be read or written.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = create(path).map_err(opening);
        opened.map(|database| Self(Arc::new(database))).map_err(|e| e.with("path", path.display()))
    }

    /// In memory, for tests: a restart forgets it, and then payments can be used again.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when there is no memory.
    pub fn in_memory() -> Result<Self> {
        let opened = Database::builder().create_with_backend(InMemoryBackend::new());
        opened.map(|database| Self(Arc::new(database))).map_err(opening)
    }

    /// Binds a new store to its owner, and refuses that of another one.
    pub(crate) fn claim(&self, owner: &str) -> Result<()> {
        self.write(|write| {
            let mut table = write.0.open_table(OWNER).map_err(broken)?;
            let found = table.get(()).map_err(broken)?.map(|found| found.value().to_owned());
            if let Some(found) = found.filter(|found| found != owner) {
                let text = "the store belongs to another rail; use another file";
                let error = Error::new(ErrorKind::Config, text);
                return Err(error.with("found", found).with("expected", owner));
            }
            table.insert((), owner).map_err(broken)?;
            for table in [CHARGES, USED, SOURCES, CLOSED] {
                write.0.open_table(table).map_err(broken)?;
            }
            Ok(())
        })
    }

    /// One transaction: all of it, durable when this answers, or nothing.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&Write) -> Result<T>) -> Result<T> {
        let write = Write(self.0.begin_write().map_err(broken)?);
        let answer = change(&write)?;
        write.0.commit().map_err(broken)?;
        Ok(answer)
    }

    /// The answer that was given to this charge and payment before, if any; refuses one used for another charge.
    pub(crate) fn answer(&self, paid: &Paid) -> Result<Option<Accepted>> {
        let read = self.0.begin_read().map_err(broken)?;
        let charges = read.open_table(CHARGES).map_err(broken)?;
        match charges.get(paid.charge.id.as_slice()).map_err(broken)? {
            Some(stored) => paid.same_as(stored.value()).map(Some),
            None => {
                let used = read.open_table(USED).map_err(broken)?;
                let found = used.get(paid.payment.as_slice()).map_err(broken)?;
                found.map_or(Ok(None), |_| Err(spent(paid.charge.id)))
            }
        }
    }

    /// Whether anything was ever taken out of a source.
    pub(crate) fn knows(&self, source: &[u8]) -> Result<bool> {
        let read = self.0.begin_read().map_err(broken)?;
        let sources = read.open_table(SOURCES).map_err(broken)?;
        sources.get(source).map(|found| found.is_some()).map_err(broken)
    }

    /// The records of all sources, by key.
    pub(crate) fn sources(&self, prefix: &[u8]) -> Result<Vec<Source>> {
        let read = self.0.begin_read().map_err(broken)?;
        collect(&read.open_table(SOURCES).map_err(broken)?, prefix)
    }
}

impl fmt::Debug for RailStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RailStore").finish_non_exhaustive()
    }
}

/// The key and the record of what stands behind payments: a lane of a channel, a stream, an escrow rail.
pub(crate) type Source = (Vec<u8>, Vec<u8>);

/// A charge and what pays it, by identity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paid {
    pub(crate) charge: Charge,
    pub(crate) payer: Address,
    /// What tells this payment from every other one, however often it is sent.
    pub(crate) payment: B256,
}

/// Whether a payment counts for the first time.
pub(crate) enum Answer {
    Before(Accepted),
    Fresh,
}

impl Paid {
    pub(crate) const fn accepted(&self) -> Accepted {
        Accepted { charge: self.charge.id, payer: self.payer, amount: self.charge.amount }
    }

    fn encode(&self) -> Vec<u8> {
        let Charge { payee, amount, .. } = &self.charge;
        let amount: [u8; 32] = amount.to_units().to_be_bytes();
        [payee.as_slice(), &amount, self.payer.as_slice(), self.payment.as_slice()].concat()
    }

    /// The stored answer, when it is about the same charge and payment.
    fn same_as(&self, stored: &[u8]) -> Result<Accepted> {
        if self.encode() == stored {
            return Ok(self.accepted());
        }
        let text = "the charge was paid with another payment, or is another one under its id";
        Err(Error::new(ErrorKind::Conflict, text).with("charge", self.charge.id))
    }
}

fn spent(charge: B256) -> Error {
    let text = "the payment was used for another charge; pay this one too";
    Error::new(ErrorKind::Rejected, text).with("charge", charge)
}

/// A transaction under way.
pub(crate) struct Write(redb::WriteTransaction);

impl Write {
    /// Enters a charge as paid, unless it is already.
    pub(crate) fn pay(&self, paid: &Paid) -> Result<Answer> {
        let mut charges = self.0.open_table(CHARGES).map_err(broken)?;
        let key = paid.charge.id;
        if let Some(stored) = charges.get(key.as_slice()).map_err(broken)? {
            return paid.same_as(stored.value()).map(Answer::Before);
        }
        let mut used = self.0.open_table(USED).map_err(broken)?;
        if used.get(paid.payment.as_slice()).map_err(broken)?.is_some() {
            return Err(spent(key));
        }
        used.insert(paid.payment.as_slice(), key.as_slice()).map_err(broken)?;
        charges.insert(key.as_slice(), paid.encode().as_slice()).map_err(broken)?;
        Ok(Answer::Fresh)
    }

    pub(crate) fn source(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let table = self.sources_table()?;
        let stored = table.get(key).map_err(broken)?;
        Ok(stored.map(|stored| stored.value().to_vec()))
    }

    pub(crate) fn sources(&self, prefix: &[u8]) -> Result<Vec<Source>> {
        collect(&self.sources_table()?, prefix)
    }

    pub(crate) fn put_source(&self, key: &[u8], record: &[u8]) -> Result<()> {
        self.sources_table()?.insert(key, record).map(drop).map_err(broken)
    }

    /// Takes nothing out of a channel from now on.
    pub(crate) fn close(&self, channel: B256) -> Result<()> {
        let mut table = self.0.open_table(CLOSED).map_err(broken)?;
        table.insert(channel.as_slice(), [].as_slice()).map(drop).map_err(broken)
    }

    pub(crate) fn is_closed(&self, channel: B256) -> Result<bool> {
        let table = self.0.open_table(CLOSED).map_err(broken)?;
        table.get(channel.as_slice()).map(|found| found.is_some()).map_err(broken)
    }

    fn sources_table(&self) -> Result<Table<'_, &'static [u8], &'static [u8]>> {
        self.0.open_table(SOURCES).map_err(broken)
    }
}

fn collect(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    prefix: &[u8],
) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for entry in table.range::<&[u8]>(prefix..).map_err(broken)? {
        let (key, record) = entry.map_err(broken)?;
        if !key.value().starts_with(prefix) {
            break;
        }
        found.push((key.value().to_vec(), record.value().to_vec()));
    }
    Ok(found)
}

fn opening(error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            let text = "the store is open elsewhere; share it or end the other process";
            Error::new(ErrorKind::Conflict, text)
        }
        error => broken(error),
    }
}

const OWNER: TableDefinition<'_, (), &str> = TableDefinition::new("owner");
/// By the id of the charge.
const CHARGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("charges");
/// The charge that a payment was used for.
const USED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("used");
/// Channels that the payee closes.
const CLOSED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("closed");
/// What stands behind payments.
const SOURCES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sources");
