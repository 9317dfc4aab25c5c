//! The chain as a file, so that a network survives a restart.
//!
//! A file is a magic word, a version, the payload's length, the payload in RLP and the Keccak-256 of
//! all that. The payload holds every block with what it changed in the state; loading applies the
//! changes again and insists on every root and hash, so a file that loads is the same chain.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use alloy::primitives::keccak256;

use crate::{Devnet, accounts, error::Error};

mod decode;
mod encode;

impl Devnet {
    /// Writes the whole chain to a file: blocks, state and its history, waiting transactions and
    /// time. Snapshots and filters are not kept. The file is replaced in one step, so a crash
    /// leaves the old one or the new one.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when the file cannot be written.
    ///
    /// ```
    /// use depin_devnet::Devnet;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let file = folder.path().join("chain");
    /// let devnet = Devnet::start();
    /// devnet.mine(3);
    /// devnet.dump(&file)?;
    /// assert_eq!(Devnet::load(&file)?.block_number(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dump(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let bytes = seal(&encode::chain(&self.chain()));
        replace(path, &bytes).map_err(|source| {
            Error::io(format!("cannot write the dump {}", path.display()), source)
        })
    }

    /// Starts a chain from a file that [`Devnet::dump`] wrote. It answers every question as the
    /// dumped one did.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when the file cannot be read,
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) when it is not a whole dump of this version.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = read(path).map_err(|source| {
            Error::io(format!("cannot read the dump {}", path.display()), source)
        })?;
        let chain = decode::chain(open(&bytes)?)?;
        let signers = (0..chain.config.accounts).map(accounts::signer).collect();
        Ok(Self::over(chain, signers))
    }
}

/// Puts a frame around the payload.
fn seal(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + FRAME);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(keccak256(&bytes).as_slice());
    bytes
}

/// Takes the frame off and checks it.
fn open(bytes: &[u8]) -> Result<&[u8], Error> {
    let damaged = |what: &str| Error::damaged(format!("the dump {what}, start without it"));
    let (magic, rest) = bytes.split_at_checked(8).ok_or_else(|| damaged("is cut short"))?;
    if magic != MAGIC {
        return Err(damaged("is not a devnet dump"));
    }
    let (version, rest) = rest.split_first_chunk().ok_or_else(|| damaged("is cut short"))?;
    if u32::from_be_bytes(*version) != VERSION {
        return Err(damaged("was written by another version"));
    }
    let (length, rest) = rest.split_first_chunk().ok_or_else(|| damaged("is cut short"))?;
    let (payload, sum) = rest.split_last_chunk::<32>().ok_or_else(|| damaged("is cut short"))?;
    if payload.len() as u64 != u64::from_be_bytes(*length) {
        return Err(damaged("has the wrong length"));
    }
    let summed = bytes.get(..bytes.len().saturating_sub(32)).unwrap_or_default();
    if keccak256(summed).as_slice() != sum {
        return Err(damaged("does not match its checksum"));
    }
    Ok(payload)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if read as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Replaces a file in one step: write beside it, flush, rename, flush the folder.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (mut file, beside) = create_beside(path)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Nothing better can be done about a leftover than to try.
        let _ = fs::remove_file(&beside);
    }
    written?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    for attempt in 0..64 {
        let mut beside = name.to_owned();
        beside.push(format!(".{}-{attempt}.tmp", std::process::id()));
        let beside = path.with_file_name(beside);
        match OpenOptions::new().write(true).create_new(true).open(&beside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|file| (file, beside)),
        }
    }
    Err(io::Error::other("too many unfinished dumps lie beside it, remove the .tmp files"))
}

const MAGIC: &[u8; 8] = b"DEPINDEV";
const VERSION: u32 = 1;
/// Bytes around the payload.
const FRAME: usize = 8 + 4 + 8 + 32;
/// Largest dump that is read: 1 GiB.
const MAX_BYTES: u64 = 1 << 30;
