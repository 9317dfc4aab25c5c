//! Where signed transactions are kept before they are sent.
//!
//! One redb file per account and chain: it is locked while open, so that two processes cannot allocate
//! nonces of one account from it. Choosing a nonce, signing and storing is one database transaction,
//! which is durable before the caller learns the bytes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use depin_core::{Error, ErrorKind, Result};
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    WriteTransaction, backends::InMemoryBackend,
};

use super::record::Record;

/// Records by nonce, and nonces by the caller's keys.
#[derive(Debug)]
pub(crate) struct Store(Database);

/// Who got a nonce.
#[derive(Debug)]
pub(crate) enum Allocation {
    /// The caller, just now.
    New(Record),
    /// An earlier caller with the same key.
    Earlier(Record),
}

impl Store {
    /// Opens the file, or memory when there is none, for `owner`.
    ///
    /// # Errors
    /// See [`ChainBuilder::connect`](crate::ChainBuilder::connect).
    pub(crate) fn open(path: Option<&Path>, owner: &str) -> Result<Self> {
        let opened = match path {
            Some(path) => create(path),
            None => Database::builder().create_with_backend(InMemoryBackend::new()),
        };
        let store = Self(opened.map_err(|error| match path {
            Some(path) => opening(error).with("path", path.display()),
            None => opening(error),
        })?);
        store.claim(owner)?;
        Ok(store)
    }

    /// Gives the next nonce, at least `floor`, to the transaction that `sign` makes of it, unless `key`
    /// has one already. Drops what is far behind the nonces that are `used`.
    pub(crate) fn allocate(
        &self,
        key: Option<&str>,
        used: u64,
        floor: u64,
        sign: impl FnOnce(u64) -> Result<Record>,
    ) -> Result<Allocation> {
        let write = self.0.begin_write().map_err(broken)?;
        let record = {
            let mut records = write.open_table(RECORDS).map_err(broken)?;
            let mut keys = write.open_table(KEYS).map_err(broken)?;
            if let Some(key) = key
                && let Some(nonce) = keys.get(key).map_err(broken)?
            {
                let stored = records.get(nonce.value()).map_err(broken)?.ok_or_else(damaged)?;
                return decode(stored.value()).map(Allocation::Earlier);
            }
            let last = records.last().map_err(broken)?.map(|(nonce, _)| nonce.value());
            let nonce = last.map_or(floor, |last| floor.max(last.saturating_add(1)));
            let record = sign(nonce)?;
            records.insert(nonce, encode(&record)?.as_slice()).map_err(broken)?;
            if let Some(key) = key {
                keys.insert(key, nonce).map_err(broken)?;
            }
            record
        };
        forget_old(&write, used)?;
        write.commit().map_err(broken)?;
        Ok(Allocation::New(record))
    }

    /// Stores a record of a nonce that lies before others and has none.
    pub(crate) fn insert(&self, record: &Record) -> Result<()> {
        let write = self.0.begin_write().map_err(broken)?;
        {
            let mut records = write.open_table(RECORDS).map_err(broken)?;
            if records.get(record.nonce).map_err(broken)?.is_some() {
                let text = "the transaction store has another transaction of the same nonce";
                return Err(Error::new(ErrorKind::Conflict, text).with("nonce", record.nonce));
            }
            records.insert(record.nonce, encode(record)?.as_slice()).map_err(broken)?;
        }
        write.commit().map_err(broken)
    }

    /// Changes a record in one transaction; `change` says whether there is something to keep.
    pub(crate) fn update(
        &self,
        nonce: u64,
        change: impl FnOnce(&mut Record) -> Result<bool>,
    ) -> Result<Record> {
        let write = self.0.begin_write().map_err(broken)?;
        let (record, changed) = {
            let mut records = write.open_table(RECORDS).map_err(broken)?;
            let stored = records.get(nonce).map_err(broken)?.ok_or_else(damaged)?;
            let mut record = decode(stored.value())?;
            drop(stored);
            let changed = change(&mut record)?;
            if changed {
                records.insert(nonce, encode(&record)?.as_slice()).map_err(broken)?;
            }
            (record, changed)
        };
        if changed {
            write.commit().map_err(broken)?;
        }
        Ok(record)
    }

    /// Frees the key of a record whose transaction has no effect and never will.
    pub(crate) fn free(&self, record: &Record) -> Result<()> {
        let Some(key) = record.key.as_deref() else { return Ok(()) };
        let write = self.0.begin_write().map_err(broken)?;
        {
            let mut keys = write.open_table(KEYS).map_err(broken)?;
            let owned = keys.get(key).map_err(broken)?.is_some_and(|n| n.value() == record.nonce);
            if owned {
                keys.remove(key).map_err(broken)?;
            }
        }
        write.commit().map_err(broken)
    }

    pub(crate) fn record(&self, nonce: u64) -> Result<Record> {
        let read = self.0.begin_read().map_err(broken)?;
        let records = read.open_table(RECORDS).map_err(broken)?;
        let stored = records.get(nonce).map_err(broken)?.ok_or_else(damaged)?;
        decode(stored.value())
    }

    pub(crate) fn by_key(&self, key: &str) -> Result<Option<Record>> {
        let read = self.0.begin_read().map_err(broken)?;
        let keys = read.open_table(KEYS).map_err(broken)?;
        let nonce = keys.get(key).map_err(broken)?.map(|nonce| nonce.value());
        nonce.map(|nonce| self.record(nonce)).transpose()
    }

    /// The first nonce from `nonce` on that has a record.
    pub(crate) fn first_from(&self, nonce: u64) -> Result<Option<u64>> {
        let read = self.0.begin_read().map_err(broken)?;
        let records = read.open_table(RECORDS).map_err(broken)?;
        let first = records.range(nonce..).map_err(broken)?.next().transpose().map_err(broken)?;
        Ok(first.map(|(nonce, _)| nonce.value()))
    }

    /// All records from `nonce` on, in order.
    pub(crate) fn since(&self, nonce: u64) -> Result<Vec<Record>> {
        let read = self.0.begin_read().map_err(broken)?;
        let records = read.open_table(RECORDS).map_err(broken)?;
        let range = records.range(nonce..).map_err(broken)?;
        range.map(|entry| decode(entry.map_err(broken)?.1.value())).collect()
    }

    /// Binds a new file to its owner, and refuses the file of another one.
    fn claim(&self, owner: &str) -> Result<()> {
        let write = self.0.begin_write().map_err(broken)?;
        {
            let mut table = write.open_table(OWNER).map_err(broken)?;
            let found = table.get(()).map_err(broken)?.map(|found| found.value().to_owned());
            match found {
                Some(found) if found != owner => {
                    return Err(Error::new(
                        ErrorKind::Config,
                        "the transaction store belongs to another account or chain; use another file",
                    )
                    .with("found", found)
                    .with("expected", owner));
                }
                _ => table.insert((), owner).map_err(broken)?,
            };
            write.open_table(RECORDS).map_err(broken)?;
            write.open_table(KEYS).map_err(broken)?;
        }
        write.commit().map_err(broken)
    }
}

/// Drops records that are far behind what is used, once each is. Those with a key stay, so that their key is never used
/// twice.
fn forget_old(write: &WriteTransaction, used: u64) -> Result<()> {
    let end = used.saturating_sub(KEPT);
    let mut forgotten = write.open_table(FORGOTTEN).map_err(broken)?;
    let start = forgotten.get(()).map_err(broken)?.map_or(0, |start| start.value());
    if start >= end {
        return Ok(());
    }
    let mut records = write.open_table(RECORDS).map_err(broken)?;
    let stays = |_, stored: &[u8]| decode(stored).map_or(true, |record| record.key.is_some());
    records.retain_in(start..end, stays).map_err(broken)?;
    forgotten.insert((), end).map_err(broken)?;
    Ok(())
}

fn encode(record: &Record) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "a transaction has no JSON form").source(error)
    })
}

fn decode(bytes: &[u8]) -> Result<Record> {
    serde_json::from_slice(bytes).map_err(|error| damaged().source(error))
}

/// Opens the file. A new one is made whole under another name first and then put in place, so that a
/// process that is killed meanwhile leaves no half of a file behind.
fn create(path: &Path) -> Result<Database, DatabaseError> {
    if !path.exists() {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let fresh = PathBuf::from(name);
        // Half a file that an earlier process with our id left behind.
        let _ = fs::remove_file(&fresh);
        drop(Database::create(&fresh)?);
        // A link never replaces what somebody else put there in the meantime.
        let placed = match fs::hard_link(&fresh, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&fresh, path),
            _ => fs::remove_file(&fresh),
        };
        placed.map_err(StorageError::Io)?;
    }
    let database = Database::create(path)?;
    // Nothing is sent before the name is safe, also when whoever put the file in place has died.
    sync_folder(path).map_err(StorageError::Io)?;
    Ok(database)
}

/// Makes a new name in a folder last. Windows cannot open folders, and keeps names without.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match cfg!(unix) {
        true => fs::File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all(),
        false => Ok(()),
    }
}

fn opening(error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::new(
            ErrorKind::Conflict,
            "the transaction store is open elsewhere; share one chain handle or end the other process",
        ),
        error => broken(error),
    }
}

fn broken(error: impl Into<redb::Error>) -> Error {
    use std::io::ErrorKind::{InvalidData, NotFound, PermissionDenied};

    let error = error.into();
    let (kind, text) = match &error {
        redb::Error::Io(io) => match io.kind() {
            InvalidData => (ErrorKind::Corrupt, NOT_A_STORE),
            NotFound | PermissionDenied => {
                (ErrorKind::Config, "the transaction store's directory is missing or closed to us")
            }
            _ => (ErrorKind::Unavailable, "the transaction store cannot be written or read"),
        },
        redb::Error::PreviousIo => {
            (ErrorKind::Unavailable, "the transaction store failed before; connect again")
        }
        _ => (ErrorKind::Corrupt, NOT_A_STORE),
    };
    Error::new(kind, text).source(error)
}

fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "the transaction store lacks or garbles a record")
}

const OWNER: TableDefinition<'_, (), &str> = TableDefinition::new("owner");
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
const KEYS: TableDefinition<'_, &str, u64> = TableDefinition::new("keys");

/// Below which nonce records were dropped.
const FORGOTTEN: TableDefinition<'_, (), u64> = TableDefinition::new("forgotten");

/// How many nonces back bytes are kept, for reorganisations and rolled back chains.
pub(super) const KEPT: u64 = 4_096;

const NOT_A_STORE: &str = "the transaction store is damaged or another kind of file";

#[cfg(test)]
mod tests {
    use alloy::{rpc::types::TransactionRequest, signers::local::PrivateKeySigner};

    use super::{super::record::Variant, *};

    fn stored(store: &Store, key: Option<&str>, used: u64, floor: u64) -> u64 {
        let sign = |nonce| {
            let tx = TransactionRequest::default().to(Default::default()).gas_limit(21_000);
            let tx = tx.max_fee_per_gas(1).max_priority_fee_per_gas(1);
            let variant = Variant::sign(&PrivateKeySigner::random(), tx, nonce, false)?;
            Ok(Record::new(nonce, key.map(str::to_owned), variant))
        };
        match store.allocate(key, used, floor, sign).unwrap() {
            Allocation::New(record) | Allocation::Earlier(record) => record.nonce,
        }
    }

    fn nonces(store: &Store) -> Vec<u64> {
        store.since(0).unwrap().iter().map(|record| record.nonce).collect()
    }

    #[test]
    fn records_far_behind_are_dropped_also_where_nonces_were_skipped() {
        let store = Store::open(None, "test").unwrap();
        for (nonce, key) in [(0, None), (1, Some("rent")), (5, None), (900, None)] {
            assert_eq!(stored(&store, key, nonce, nonce), nonce);
        }
        stored(&store, None, KEPT + 6, KEPT + 6);
        assert_eq!(nonces(&store), [1, 900, KEPT + 6]);
        stored(&store, None, KEPT + 901, KEPT + 901);
        assert_eq!(nonces(&store), [1, KEPT + 6, KEPT + 901]);
        assert_eq!(stored(&store, Some("rent"), 9_999, 9_999), 1);
    }

    #[test]
    fn what_is_not_mined_is_never_dropped() {
        let store = Store::open(None, "test").unwrap();
        stored(&store, None, 3, 3);
        stored(&store, None, 3, 3 + 2 * KEPT);
        assert_eq!(nonces(&store), [3, 3 + 2 * KEPT]);
    }
}
