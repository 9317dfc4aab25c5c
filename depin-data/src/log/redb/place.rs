//! Where a log lies: its folder and its index, made, opened and checked.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use depin_core::{Error, ErrorKind, Result};
use rand_core::{OsRng, RngCore};
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, Table,
    TableHandle, WriteTransaction, backends::InMemoryBackend,
};

use super::{
    frame::{Key, Tail},
    index::{self, CHAINS, ENTRIES, EPOCHS, GAPS, META, NODES, REFUSALS, SEALS},
    medium,
    overlay::Overlay,
    segment::{self, Bytes, Segments},
    store::Files,
};
use crate::merkle::{Accumulator, path};

const FORMAT_KEY: &str = "depin-log-format";
pub(super) const FORMAT: u64 = 6;
/// Keys of the halves of the secret that marks frames.
const SECRET_KEYS: [&str; 2] = ["frame-key-0", "frame-key-1"];
const INDEX: &str = "index.redb";
const CACHE_BYTES: usize = 128 << 20;

/// Where the log is.
#[derive(Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    Memory,
}

pub(super) fn open(place: &Place) -> Result<Files> {
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
    let (size, tail, overlay) = begin(&index)?;
    let segments = |bytes| Segments::new(bytes, key, size, tail);
    let files = Files::new(index, segments(bytes.clone()), bytes.clone(), overlay);
    if let Place::Folder(folder) = place {
        files.rows_lie_in(folder)?;
        let segments = segments(bytes);
        let segments = segments.recover(folder, |records, tail| files.learn(records, tail))?;
        files.recovered(segments);
    }
    Ok(files)
}

/// What the index knows: number of batches, end of the segments, and the overlay that goes on from there.
fn begin(index: &Database) -> Result<(u64, Tail, Overlay)> {
    let tables = index.begin_read().map_err(failed)?;
    let (oldest, size, tail) = index::extent(&tables.open_table(META).map_err(failed)?)?;
    let nodes = tables.open_table(NODES).map_err(failed)?;
    if !index::ends_fit(&tables.open_table(ENTRIES).map_err(failed)?, &nodes, oldest, size)? {
        return Err(Error::new(ErrorKind::Corrupt, "the tables of the log disagree on its size"));
    }
    let mut find = |level, place| index::node(&nodes, level, place);
    let edge = Accumulator::resume(size, path::peaks(0, size, &mut find)?);
    Ok((size, tail, Overlay::new(edge, tail, oldest)))
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
    medium::sync_folder(folder).map_err(StorageError::Io).map_err(failed)?;
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
    above.take(missing + 1).try_for_each(medium::sync_folder)
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
    existing(builder, path)
}

#[cfg(not(test))]
fn existing(builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
    builder.create(path)
}

/// With what it does put down.
#[cfg(test)]
fn existing(builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
    let file = super::tape::Watched::open(path).map_err(StorageError::Io)?;
    builder.create_with_backend(file)
}

/// Creates the tables of an empty file, or checks the format of a used one. Returns whether it wrote, and
/// the key of the log's frames.
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
        .with("format", format.unwrap_or_default())
        .with("expected", FORMAT));
    }
    transaction.open_table(CHAINS).map_err(failed)?;
    transaction.open_table(GAPS).map_err(failed)?;
    transaction.open_table(SEALS).map_err(failed)?;
    for table in [ENTRIES, NODES, REFUSALS, EPOCHS] {
        transaction.open_table(table).map_err(failed)?;
    }
    Ok((fresh, key_in(&meta)?))
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
