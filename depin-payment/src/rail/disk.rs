//! What files of both ends share: making them, errors and amounts.

use std::{fs, io, path::Path};

use depin_core::{Amount, Error, ErrorKind, Result, U256};
use redb::{Database, DatabaseError, StorageError};

use crate::place;

/// Opens a file. A new one is made whole under another name first and then put in place, so that a process that
/// is killed meanwhile leaves no half of a file behind.
pub(crate) fn create(path: &Path) -> Result<Database, DatabaseError> {
    if !path.exists() {
        let (fresh, _) = place::beside(path).map_err(StorageError::Io)?;
        drop(Database::create(&fresh)?);
        // A link never replaces what somebody else put there in the meantime.
        let placed = match fs::hard_link(&fresh, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&fresh, path),
            _ => fs::remove_file(&fresh),
        };
        placed.map_err(StorageError::Io)?;
    }
    let database = Database::create(path)?;
    // Nothing is promised before the name is safe, also when whoever put the file in place has died.
    place::sync_folder(path).map_err(StorageError::Io)?;
    Ok(database)
}

/// Opens a file of one end of a rail, and says who else may have it open.
pub(super) fn open(path: &Path) -> Result<Database> {
    let opened = create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => {
            let text =
                "the file is open elsewhere; share what has it open, or end the other process";
            Error::new(ErrorKind::Conflict, text)
        }
        error => broken(error),
    });
    opened.map_err(|error| error.with("path", path.display()))
}

/// Gives redb's errors their kind.
pub(crate) fn broken(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let (kind, text) = kind_of(&error);
    Error::new(kind, text).source(error)
}

/// What kind of error one of redb's is, and what to say of it.
pub(super) fn kind_of(error: &redb::Error) -> (ErrorKind, &'static str) {
    match error {
        redb::Error::Io(io) if io.kind() == io::ErrorKind::InvalidData => {
            (ErrorKind::Corrupt, NOT_A_STORE)
        }
        redb::Error::Io(_) => (ErrorKind::Unavailable, "the store cannot be read or written now"),
        redb::Error::PreviousIo => {
            (ErrorKind::Unavailable, "the store failed before; open it again")
        }
        _ => (ErrorKind::Corrupt, NOT_A_STORE),
    }
}

/// A record that is not what was written.
pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "the store garbles a record; restore it from a copy")
}

/// The amount at the front of a record, and the rest.
pub(crate) fn split_amount(bytes: &[u8]) -> Result<(Amount, &[u8])> {
    let (amount, rest) = bytes.split_first_chunk::<32>().ok_or_else(damaged)?;
    Ok((Amount::units(U256::from_be_bytes(*amount)), rest))
}

/// The number at the front of a record, and the rest.
pub(crate) fn split_number(bytes: &[u8]) -> Result<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    Ok((u64::from_be_bytes(*number), rest))
}

const NOT_A_STORE: &str = "the store is damaged or another kind of file";
