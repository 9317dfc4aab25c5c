//! The tables of the file, and the file itself: opened, checked, and opened again after the disk failed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use depin_core::{B256, Did, Error, ErrorKind, Result, Sequence, log::ChainTip};
use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageError, TableDefinition, TableHandle, WriteTransaction,
    backends::InMemoryBackend,
};

use super::super::Stored;

/// Index -> ms of receipt, signed bytes.
pub(super) const ENTRIES: TableDefinition<'_, u64, (u64, &[u8])> = TableDefinition::new("entries");
/// Leaf -> the nodes that it completed, from the leaf upwards, 32 bytes each.
pub(super) const NODES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("nodes");
/// Device and sequence at which a link ends -> index, hash of the batch there.
pub(super) const CHAINS: TableDefinition<'_, (&str, u64), (u64, [u8; 32])> =
    TableDefinition::new("chains");
/// Device and sequence at which a gap ends -> hash of its marker.
pub(super) const GAPS: TableDefinition<'_, (&str, u64), [u8; 32]> = TableDefinition::new("gaps");
/// Position -> encoded refusal.
pub(super) const REFUSALS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("refusals");
/// Epoch -> its record.
pub(super) const EPOCHS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("epochs");
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT_KEY: &str = "depin-log-format";
const FORMAT: u64 = 1;
/// Key of the index of the oldest entry.
pub(super) const OLDEST_KEY: &str = "oldest";
const CACHE_BYTES: usize = 128 << 20;
const HASH: usize = 32;

/// Where the database is.
#[derive(Debug)]
pub(super) enum Place {
    File(PathBuf),
    Memory,
}

/// The database, absent between a failure of the disk and the next use.
pub(super) struct Store {
    place: Place,
    database: RwLock<Option<Database>>,
}

impl Store {
    pub(super) fn open(place: Place) -> Result<Self> {
        let database = RwLock::new(Some(open(&place)?));
        Ok(Self { place, database })
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T>) -> Result<T> {
        self.with(|database| work(&database.begin_read().map_err(failed)?))
    }

    /// Runs `work` and makes what it wrote durable; aborts when it wrote nothing.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(T, bool)>,
    ) -> Result<T> {
        self.with(|database| {
            let transaction = database.begin_write().map_err(failed)?;
            let (value, wrote) = work(&transaction)?;
            if wrote {
                transaction.commit().map_err(failed)?;
            } else {
                transaction.abort().map_err(failed)?;
            }
            Ok(value)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        self.ensure_open()?;
        let result = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            work(database.as_ref().ok_or_else(closed)?)
        };
        // After a failed write redb refuses everything until the file is opened again.
        if result.as_ref().is_err_and(Error::is_retryable) && matches!(self.place, Place::File(_)) {
            *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        result
    }

    fn ensure_open(&self) -> Result<()> {
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some(open(&self.place)?);
        }
        Ok(())
    }
}

fn closed() -> Error {
    Error::unavailable("the log's file was closed after the disk failed; try again")
}

fn open(place: &Place) -> Result<Database> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let database = match place {
        Place::File(path) => create(&builder, path).map_err(failed)?,
        Place::Memory => builder.create_with_backend(InMemoryBackend::new()).map_err(failed)?,
    };
    let transaction = database.begin_write().map_err(failed)?;
    if prepare(&transaction)? {
        transaction.commit().map_err(failed)?;
    } else {
        transaction.abort().map_err(failed)?;
    }
    Ok(database)
}

/// Opens the file. A new one is made whole under another name first and then put in place, so that a
/// process that is killed meanwhile leaves no half of a file behind.
fn create(builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
    if !path.exists() {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let fresh = PathBuf::from(name);
        // Half a file that an earlier process with our id left behind.
        let _ = fs::remove_file(&fresh);
        drop(builder.create(&fresh)?);
        // A link never replaces what somebody else put there in the meantime.
        let placed = match fs::hard_link(&fresh, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&fresh, path),
            _ => fs::remove_file(&fresh),
        };
        placed.map_err(StorageError::Io)?;
    }
    builder.create(path)
}

/// Creates the tables of an empty file, or checks those of a used one. Returns whether it wrote.
fn prepare(transaction: &WriteTransaction) -> Result<bool> {
    let tables: Vec<_> = transaction.list_tables().map_err(failed)?.collect();
    let fresh = tables.is_empty();
    if !fresh && !tables.iter().any(|table| table.name() == META.name()) {
        return Err(Error::new(ErrorKind::Corrupt, "the file is a database but no depin log"));
    }
    let mut meta = transaction.open_table(META).map_err(failed)?;
    if fresh {
        meta.insert(FORMAT_KEY, FORMAT).map_err(failed)?;
    }
    let format = meta.get(FORMAT_KEY).map_err(failed)?.map(|format| format.value());
    if format != Some(FORMAT) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the log has another format; use the version that wrote it",
        )
        .with("format", format.unwrap_or_default()));
    }
    let entries = transaction.open_table(ENTRIES).map_err(failed)?;
    let nodes = transaction.open_table(NODES).map_err(failed)?;
    let chains = transaction.open_table(CHAINS).map_err(failed)?;
    transaction.open_table(GAPS).map_err(failed)?;
    transaction.open_table(REFUSALS).map_err(failed)?;
    transaction.open_table(EPOCHS).map_err(failed)?;
    let oldest = oldest_in(&meta)?;
    let sizes = [entries.len(), nodes.len(), chains.len()];
    let [Ok(kept), Ok(nodes), Ok(chains)] = sizes else {
        return Err(Error::new(ErrorKind::Corrupt, "a table of the log cannot be counted"));
    };
    let last = entries.last().map_err(failed)?.map(|(index, _)| index.value());
    let last_fits = last.is_none_or(|last| Some(last) == nodes.checked_sub(1));
    if chains != nodes || nodes.checked_sub(kept) != Some(oldest) || !last_fits {
        return Err(Error::new(ErrorKind::Corrupt, "the tables of the log disagree on its size"));
    }
    Ok(fresh)
}

/// Translates redb's errors; what a repeated call can heal is [`ErrorKind::Unavailable`].
pub(super) fn failed(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let (kind, message) = match &error {
        redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed => (
            ErrorKind::Unavailable,
            "the log's disk failed; free space or repair it, then try again",
        ),
        redb::Error::DatabaseAlreadyOpen => {
            (ErrorKind::Conflict, "another process holds the log's file")
        }
        redb::Error::UpgradeRequired(_) => {
            (ErrorKind::Unsupported, "the log's file has an older database format")
        }
        _ => (ErrorKind::Corrupt, "the log's file is damaged; restore it from a copy"),
    };
    Error::new(kind, message).with("cause", &error).source(error)
}

/// Index of the oldest entry.
pub(super) fn oldest_in(meta: &impl ReadableTable<&'static str, u64>) -> Result<u64> {
    Ok(meta.get(OLDEST_KEY).map_err(failed)?.map_or(0, |oldest| oldest.value()))
}

/// The size of the tree, and a way to its complete nodes: `(level, i)` is kept with the leaf that
/// completed it.
pub(super) fn tree_in(
    tables: &ReadTransaction,
) -> Result<(u64, impl FnMut(u32, u64) -> Result<B256> + use<>)> {
    let nodes = tables.open_table(NODES).map_err(failed)?;
    let size = nodes.len().map_err(failed)?;
    Ok((size, move |level, index| node(&nodes, level, index)))
}

pub(super) fn node(
    nodes: &impl ReadableTable<u64, &'static [u8]>,
    level: u32,
    index: u64,
) -> Result<B256> {
    let damaged = || Error::new(ErrorKind::Corrupt, "the log lacks a node of its tree");
    let leaf = ((index + 1) << level) - 1;
    let row = nodes.get(leaf).map_err(failed)?.ok_or_else(damaged)?;
    let start = level as usize * HASH;
    let hash = row.value().get(start..start + HASH).ok_or_else(damaged)?;
    Ok(B256::from_slice(hash))
}

/// The last row of a device's chain.
pub(super) fn tip_in(
    chains: &impl ReadableTable<(&'static str, u64), (u64, [u8; 32])>,
    device: &Did,
) -> Result<Option<ChainTip>> {
    let did = device.as_str();
    let last = chains.range((did, 0)..=(did, u64::MAX)).map_err(failed)?.next_back();
    last.map(|row| {
        let (key, value) = row.map_err(failed)?;
        let (sequence, hash) = (key.value().1, value.value().1);
        Ok(ChainTip { sequence: Sequence::new(sequence), hash: B256::new(hash) })
    })
    .transpose()
}

/// The link that holds a place of a chain, if the chain reaches there.
pub(super) fn link_in(
    chains: &impl ReadableTable<(&'static str, u64), (u64, [u8; 32])>,
    gaps: &impl ReadableTable<(&'static str, u64), [u8; 32]>,
    device: &Did,
    sequence: Sequence,
) -> Result<Option<Stored>> {
    let did = device.as_str();
    let mut links = chains.range((did, sequence.value())..=(did, u64::MAX)).map_err(failed)?;
    let Some(row) = links.next() else { return Ok(None) };
    let (key, value) = row.map_err(failed)?;
    let (end, (index, hash)) = (key.value().1, value.value());
    let tip = ChainTip { sequence: Sequence::new(end), hash: B256::new(hash) };
    let marker = gaps.get((did, end)).map_err(failed)?;
    let hash = marker.map_or(tip.hash, |marker| B256::new(marker.value()));
    Ok(Some(Stored { index, hash, tip }))
}
