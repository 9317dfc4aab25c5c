//! The tables of the index, and the files: opened, checked, and opened again after the disk failed.
//!
//! The index is not flushed with every commit: after a crash it is as it was at its last flush, and learns
//! the rest from the [segments](super::segment).

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, RwLock},
};

use depin_core::{
    B256, Did, Error, ErrorKind, Result, Sequence, Timestamp,
    log::{Append, ChainTip, LogEntry},
};
use rand_core::{OsRng, RngCore};
use redb::{
    Builder, Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageError, Table, TableDefinition, TableHandle, WriteTransaction,
    backends::InMemoryBackend,
};

use super::{
    super::Stored,
    segment::{self, Bytes, Key, Segments, Span, Tail},
    writer::Tables,
};
use crate::merkle::leaf_hash;

/// Where a batch lies: file, offset, length and CRC-32 of its bytes.
pub(super) type Row = (u64, u64, u32, u32);
/// Index -> ms of receipt, place of the signed bytes.
pub(super) const ENTRIES: TableDefinition<'_, u64, (u64, Row)> = TableDefinition::new("entries");
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
const FORMAT: u64 = 3;
/// Keys of the halves of the secret that marks frames.
const SECRET_KEYS: [&str; 2] = ["frame-key-0", "frame-key-1"];
/// Keys of the file and length up to which the index knows the batches.
const TAIL_KEYS: [&str; 2] = ["tail-segment", "tail-offset"];
const INDEX: &str = "index.redb";
/// Key of the index of the oldest entry.
pub(super) const OLDEST_KEY: &str = "oldest";
const CACHE_BYTES: usize = 128 << 20;
const HASH: usize = 32;

/// Where the log is.
#[derive(Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    Memory,
}

/// The files, closed between a failure of the disk and the next use.
pub(super) struct Store {
    place: Place,
    files: RwLock<Option<Files>>,
}

pub(super) struct Files {
    index: Database,
    /// The writer's.
    pub(super) segments: Mutex<Segments>,
    /// The readers'.
    bytes: Bytes,
    /// Held by readers from when they learn a file's name until they have read it.
    naming: RwLock<()>,
}

/// What a commit owes to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owed {
    /// Nothing was written.
    Nothing,
    /// The index may be lost; the segments have it all.
    Segments,
    /// The index has something that nothing else has.
    Index,
}

impl Store {
    pub(super) fn open(place: Place) -> Result<Self> {
        let files = RwLock::new(Some(open(&place)?));
        Ok(Self { place, files })
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T>) -> Result<T> {
        self.with(|files| work(&files.index.begin_read().map_err(failed)?))
    }

    /// As [`read`](Self::read), for rows whose bytes are then read from the segments. When only that
    /// fails, nothing is wrong with what the writer holds, so it stays open.
    pub(super) fn entries(
        &self,
        find: impl FnOnce(&ReadTransaction) -> Result<Vec<(u64, (u64, Row))>>,
    ) -> Result<Vec<LogEntry>> {
        self.with(|files| {
            let _naming = files.naming.read().unwrap_or_else(PoisonError::into_inner);
            let rows = find(&files.index.begin_read().map_err(failed)?)?;
            let spans: Vec<_> = rows.iter().map(|(_, (_, row))| span(*row)).collect();
            let entry = |((index, (received, _)), batch): (&(u64, (u64, Row)), _)| LogEntry {
                index: *index,
                received: Timestamp::from_millis(*received),
                batch,
            };
            let batches = files.bytes.read(&spans);
            Ok(batches.map(|batches| rows.iter().zip(batches).map(entry).collect()))
        })?
    }

    /// Runs `work` and makes what it wrote durable; aborts when it wrote nothing.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction, &Files) -> Result<(T, Owed)>,
    ) -> Result<T> {
        self.with(|files| write(files, work))
    }

    /// Flushes the index, so that the next start has nothing to learn.
    pub(super) fn flush(&self) -> Result<()> {
        self.write(|_, _| Ok(((), Owed::Index)))
    }

    /// Deletes the files of batches that the index does not name any more.
    pub(super) fn remove(&self, before: u64) -> Result<()> {
        self.with(|files| {
            let last = files.segments.lock().unwrap_or_else(PoisonError::into_inner).end().segment;
            let _naming = files.naming.write().unwrap_or_else(PoisonError::into_inner);
            files.bytes.remove(before, last);
            Ok(())
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Files) -> Result<T>) -> Result<T> {
        self.ensure_open()?;
        let result = {
            let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
            work(files.as_ref().ok_or_else(closed)?)
        };
        // After any failure of its file redb refuses everything until the file is opened again.
        if result.as_ref().is_err_and(Error::is_retryable) && matches!(self.place, Place::Folder(_))
        {
            *self.files.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        result
    }

    fn ensure_open(&self) -> Result<()> {
        if self.files.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if files.is_none() {
            *files = Some(open(&self.place)?);
        }
        Ok(())
    }
}

fn write<T>(
    files: &Files,
    work: impl FnOnce(&WriteTransaction, &Files) -> Result<(T, Owed)>,
) -> Result<T> {
    let mut transaction = files.index.begin_write().map_err(failed)?;
    let (value, owed) = work(&transaction, files)?;
    match owed {
        Owed::Nothing => transaction.abort().map_err(failed)?,
        Owed::Segments => {
            transaction.set_durability(Durability::None).map_err(|_| unflushable())?;
            transaction.commit().map_err(failed)?;
        }
        Owed::Index => transaction.commit().map_err(failed)?,
    }
    Ok(value)
}

fn unflushable() -> Error {
    Error::new(ErrorKind::Corrupt, "the index of the log has a savepoint; it is not ours")
}

fn closed() -> Error {
    Error::unavailable("the log's files were closed after the disk failed; try again")
}

fn open(place: &Place) -> Result<Files> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    let index = match place {
        Place::Folder(folder) => open_index(&builder, folder)?,
        Place::Memory => builder.create_with_backend(InMemoryBackend::new()).map_err(failed)?,
    };
    let transaction = index.begin_write().map_err(failed)?;
    let (fresh, key) = prepare(&transaction)?;
    if fresh {
        transaction.commit().map_err(failed)?;
    } else {
        transaction.abort().map_err(failed)?;
    }
    let bytes = match place {
        Place::Folder(folder) => Bytes::Folder(folder.clone()),
        Place::Memory => Bytes::in_memory(),
    };
    let segments = Mutex::new(Segments::new(bytes.clone(), key));
    let files = Files { index, segments, bytes, naming: RwLock::new(()) };
    if let Place::Folder(folder) = place {
        recover(&files, folder, key)?;
    }
    Ok(files)
}

fn open_index(builder: &Builder, folder: &Path) -> Result<Database> {
    if folder.is_file() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a log is a folder; this is a file, perhaps a log of an earlier version",
        ));
    }
    make(folder).map_err(StorageError::Io).map_err(failed)?;
    let path = folder.join(INDEX);
    if !path.exists() && segment::any(folder)? {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "the log's index.redb is missing, with refusals and epochs; restore it from a copy",
        ));
    }
    let index = create(builder, &path).map_err(failed)?;
    // Whoever put the index in place may have died before its name was safe.
    segment::sync(folder).map_err(StorageError::Io).map_err(failed)?;
    Ok(index)
}

/// Makes the folder and those above it; their names survive power loss too.
fn make(folder: &Path) -> io::Result<()> {
    if folder.join(INDEX).exists() {
        return Ok(());
    }
    let above = folder.ancestors().skip(1);
    let missing = above.clone().take_while(|above| !above.exists()).count();
    fs::create_dir_all(folder)?;
    above.take(missing + 1).try_for_each(segment::sync)
}

/// Tells the index what the segments have beyond it.
fn recover(files: &Files, folder: &Path, key: Key) -> Result<()> {
    let (segments, oldest) = write(files, |transaction, _| {
        let mut tables = Tables::open(transaction, None)?;
        let (size, known) = (tables.size(), tables.tail()?);
        let segments = Segments::recover(folder, key, known, size, |new, span| {
            match tables.append(&new, leaf_hash(new.batch.as_bytes()), |_| Ok(span))? {
                Append::Stored(_) => Ok(()),
                _ => Err(Error::new(ErrorKind::Corrupt, "the log's batches break a chain")),
            }
        })?;
        tables.reached(segments.end())?;
        let owed = if segments.end() == known { Owed::Nothing } else { Owed::Index };
        Ok(((segments, tables.oldest()?), owed))
    })?;
    let last = segments.end().segment;
    *files.segments.lock().unwrap_or_else(PoisonError::into_inner) = segments;
    files.bytes.remove(oldest, last);
    Ok(())
}

/// Opens the index. A new one is made whole under another name first and then put in place, so that a
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

/// Creates the tables of an empty file, or checks those of a used one. Returns whether it wrote,
/// and the key of the log's frames.
fn prepare(transaction: &WriteTransaction) -> Result<(bool, Key)> {
    let tables: Vec<_> = transaction.list_tables().map_err(failed)?.collect();
    let fresh = tables.is_empty();
    if !fresh && !tables.iter().any(|table| table.name() == META.name()) {
        return Err(Error::new(ErrorKind::Corrupt, "the file is a database but no depin log"));
    }
    let mut meta = transaction.open_table(META).map_err(failed)?;
    if fresh {
        meta.insert(FORMAT_KEY, FORMAT).map_err(failed)?;
        make_key(&mut meta)?;
    }
    let format = meta.get(FORMAT_KEY).map_err(failed)?.map(|format| format.value());
    if format != Some(FORMAT) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the log has another format; use the version that wrote it",
        )
        .with("format", format.unwrap_or_default()));
    }
    let key = key_in(&meta)?;
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
    Ok((fresh, key))
}

/// Made once per log, and kept where no device sees it.
fn make_key(meta: &mut Table<'_, &'static str, u64>) -> Result<()> {
    for half in SECRET_KEYS {
        let mut random = [0; 8];
        OsRng.try_fill_bytes(&mut random).map_err(|error| {
            Error::unavailable("the system has no random numbers; try again").with("cause", error)
        })?;
        meta.insert(half, u64::from_be_bytes(random)).map_err(failed)?;
    }
    Ok(())
}

fn key_in(meta: &impl ReadableTable<&'static str, u64>) -> Result<Key> {
    let half = |key: &str| -> Result<u64> {
        let half = meta.get(key).map_err(failed)?.map(|half| half.value());
        half.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the log lacks the key of its frames"))
    };
    let [first, second] = SECRET_KEYS;
    Ok(Key([half(first)?, half(second)?]))
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

fn span((segment, offset, length, crc): Row) -> Span {
    Span { segment, offset, length, crc }
}

/// Up to where the index knows the segments.
pub(super) fn tail_in(meta: &impl ReadableTable<&'static str, u64>) -> Result<Tail> {
    let value = |key: &str| -> Result<u64> {
        Ok(meta.get(key).map_err(failed)?.map_or(0, |value| value.value()))
    };
    let [segment, offset] = TAIL_KEYS;
    Ok(Tail { segment: value(segment)?, offset: value(offset)? })
}

/// Keeps up to where the index knows the segments.
pub(super) fn keep_tail(meta: &mut Table<'_, &'static str, u64>, tail: Tail) -> Result<()> {
    for (key, value) in TAIL_KEYS.into_iter().zip([tail.segment, tail.offset]) {
        meta.insert(key, value).map_err(failed)?;
    }
    Ok(())
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
