//! The file of a run: what is to be paid and how, then who turned out not to be able to receive.
//!
//! Lines of text. Everything up to `end` is written to another file first and appears whole or not at all;
//! what follows is appended line by line, and a line that a crash tore is as if it were not written.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use depin_core::{Address, Amount, ChainId, EpochId, Error, ErrorKind, Result};

use super::PayList;

/// What is fixed with the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    chain: ChainId,
    account: Address,
    token: Address,
    /// The contract, and how many recipients a batch has.
    pub(super) disperse: Option<(Address, usize)>,
    /// The contract, and the epoch that the run is; when transfers are not the way.
    pub(super) distributor: Option<(Address, EpochId)>,
}

impl Terms {
    pub(super) const fn new(chain: ChainId, account: Address, token: Address) -> Self {
        Self { chain, account, token, disperse: None, distributor: None }
    }
}

/// A journal that this process has open and nobody else.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    terms: Terms,
    skipped: BTreeMap<Address, String>,
}

impl Journal {
    /// Opens the journal of a run, or makes it. An existing one keeps its way of paying.
    pub(super) fn open(path: &Path, terms: Terms, list: &PayList) -> Result<Self> {
        let result = if path.exists() {
            Ok(())
        } else {
            create(path, &head(&terms, list)).map_err(|error| broken(path, error))
        };
        result?;
        let opened = OpenOptions::new().read(true).append(true).open(path);
        let mut file = opened.map_err(|error| broken(path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = "another process has the journal of the run open";
                return Err(Error::new(ErrorKind::Conflict, text).with("path", path.display()));
            }
            Err(TryLockError::Error(error)) => return Err(broken(path, error)),
        }
        let mut text = String::new();
        let limited = Read::by_ref(&mut file).take(MAX_BYTES).read_to_string(&mut text);
        limited.map_err(|error| broken(path, error))?;
        let whole = text.rfind('\n').map_or(0, |at| at.saturating_add(1));
        if whole < text.len() {
            file.set_len(whole as u64).map_err(|error| broken(path, error))?;
            text.truncate(whole);
        }
        let (terms, skipped) =
            resume(&text, &terms, list).map_err(|error| error.with("path", path.display()))?;
        Ok(Self { file, path: path.to_owned(), terms, skipped })
    }

    pub(super) const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Why an account cannot receive, if it cannot.
    pub(super) fn skipped(&self, account: &Address) -> Option<&str> {
        self.skipped.get(account).map(String::as_str)
    }

    /// Those of the payments that can be made.
    pub(super) fn payable(&self, payments: &[(Address, Amount)]) -> Vec<(Address, Amount)> {
        let mut payments = payments.to_vec();
        payments.retain(|(account, _)| !self.skipped.contains_key(account));
        payments
    }

    /// Writes down, before anything else happens, that an account is left out for good.
    pub(super) fn skip(&mut self, account: Address, reason: &str) -> Result<()> {
        let plain = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
        let reason: String = plain.take(MAX_REASON).collect();
        let line = format!("skip {account} {reason}\n");
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| broken(&self.path, error))?;
        self.skipped.insert(account, reason);
        Ok(())
    }
}

/// Everything up to `end`.
fn head(terms: &Terms, list: &PayList) -> String {
    let mut text = start(terms, list);
    if let Some((disperse, batch)) = terms.disperse {
        let _ = writeln!(text, "transfers {disperse} {batch}");
    }
    if let Some((distributor, epoch)) = terms.distributor {
        let _ = writeln!(text, "claims {distributor} {}", epoch.value());
    }
    text.push_str(&payments(list));
    text
}

fn start(terms: &Terms, list: &PayList) -> String {
    let Terms { chain, account, token, .. } = terms;
    let (chain, id) = (chain.value(), list.id());
    format!("{MAGIC}\nid {id}\nchain {chain}\naccount {account}\ntoken {token}\n")
}

fn payments(list: &PayList) -> String {
    let mut text = String::new();
    for (account, amount) in list.payments() {
        let _ = writeln!(text, "pay {account} {}", amount.to_units());
    }
    let _ = writeln!(text, "end {}", list.digest());
    text
}

/// The terms and notes of an existing journal, if it is of this list, account and chain.
fn resume(text: &str, terms: &Terms, list: &PayList) -> Result<(Terms, BTreeMap<Address, String>)> {
    if !text.starts_with(MAGIC) {
        return Err(damaged());
    }
    let other = || {
        let text = "the journal is of another list, account or chain; take the one of this run";
        Error::new(ErrorKind::Conflict, text).with("run", list.id())
    };
    let rest = text.strip_prefix(&start(terms, list)).ok_or_else(other)?;
    let (way, rest) = rest.split_once('\n').ok_or_else(damaged)?;
    let mut found = Terms { disperse: None, distributor: None, ..terms.clone() };
    match *way.split(' ').collect::<Vec<_>>() {
        ["transfers", contract, batch] => {
            let batch = batch.parse().ok().filter(|batch| *batch > 0).ok_or_else(damaged)?;
            found.disperse = Some((contract.parse().map_err(|_| damaged())?, batch));
        }
        ["claims", contract, epoch] => {
            let epoch = EpochId::new(epoch.parse().map_err(|_| damaged())?);
            found.distributor = Some((contract.parse().map_err(|_| damaged())?, epoch));
        }
        _ => return Err(damaged()),
    }
    let notes = rest.strip_prefix(&payments(list)).ok_or_else(other)?;
    let mut skipped = BTreeMap::new();
    for line in notes.lines() {
        let note = line.strip_prefix("skip ").and_then(|note| note.split_once(' '));
        let (account, reason) = note.ok_or_else(damaged)?;
        skipped.insert(account.parse().map_err(|_| damaged())?, reason.to_owned());
    }
    Ok((found, skipped))
}

/// Makes a file that is there whole or not at all.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Windows cannot open folders, and keeps renames without.
    if cfg!(unix) {
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn damaged() -> Error {
    let text = "the file is no journal of a treasury run, or it is damaged; restore it from a copy";
    Error::new(ErrorKind::Corrupt, text)
}

fn broken(path: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::InvalidData {
        return damaged().with("path", path.display()).source(error);
    }
    let text = "the journal of the run cannot be written or read";
    Error::new(ErrorKind::Unavailable, text).with("path", path.display()).source(error)
}

const MAGIC: &str = "depin treasury run 1";
/// A million payments and as many notes need less.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
const MAX_REASON: usize = 200;
