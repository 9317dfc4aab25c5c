//! The file of a run: what is to be paid and how, then what became of it: who cannot receive, and by which
//! transactions the others were paid.
//!
//! Lines of text. Everything up to `end` is written to another file first and appears whole or not at all;
//! what follows, the [notes](super::notes), is appended line by line, and a line that a crash tore is as if it were not
//! written. Whoever
//! works with a journal, or makes one, holds a lock on a file beside it, which is there before the journal is.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use depin_core::{Address, Amount, B256, ChainId, EpochId, Error, ErrorKind, Result};

use super::{
    PayList, Refusal, Unpaid,
    notes::{self, Notes},
};
use crate::place::replace;

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

/// The place of a journal, which nobody else works at while this exists.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Held until it is dropped. Never the journal itself: that is replaced as a whole, and a lock would stay
    /// with what was replaced.
    _lock: File,
}

impl Place {
    pub(super) fn lock(path: &Path) -> Result<Self> {
        let mut beside = OsString::from(path);
        beside.push(".lock");
        let beside = PathBuf::from(beside);
        let opened = OpenOptions::new().create(true).append(true).open(&beside);
        let lock = opened.map_err(|error| broken(&beside, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let text = "another process has the journal of the run open";
                Err(Error::new(ErrorKind::Conflict, text).with("path", path.display()))
            }
            Err(TryLockError::Error(error)) => Err(broken(&beside, error)),
        }
    }

    /// Whether there is no journal yet.
    pub(super) fn is_new(&self) -> Result<bool> {
        let there = self.path.try_exists();
        there.map(|there| !there).map_err(|error| broken(&self.path, error))
    }
}

/// A journal that this process has open and nobody else.
#[derive(Debug)]
pub(super) struct Journal {
    place: Place,
    file: File,
    terms: Terms,
    notes: Notes,
}

impl Journal {
    /// Opens the journal of a run, or makes it. An existing one keeps its way of paying.
    pub(super) fn open(place: Place, terms: Terms, list: &PayList) -> Result<Self> {
        let path = &place.path;
        if place.is_new()? {
            write(path, &head(&terms, list))?;
        }
        let mut file = append_to(path)?;
        let length = file.metadata().map_err(|error| broken(path, error))?.len();
        // What is not read would be cut off below, as if a crash had torn it.
        if length > MAX_BYTES {
            return Err(too_large(path));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| broken(path, error))?;
        // Before it is text: the crash may have torn a letter too.
        let whole =
            bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(|error| broken(path, error))?;
            bytes.truncate(whole);
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| damaged().with("path", path.display()).source(error))?;
        let (terms, notes) =
            resume(&text, &terms, list).map_err(|error| error.with("path", path.display()))?;
        Ok(Self { place, file, terms, notes })
    }

    pub(super) const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Somebody of the list who gets nothing, if they do not.
    pub(super) fn unpaid(&self, account: Address, amount: Amount) -> Option<Unpaid> {
        self.notes.unpaid(account, amount)
    }

    /// The transaction in which a batch of these payments reverted, if any did.
    pub(super) fn reverted(&self, payments: &[(Address, Amount)]) -> Option<B256> {
        self.notes.reverted(payments)
    }

    /// The transactions of the run, by this process and earlier ones.
    pub(super) fn sent(&self) -> &[B256] {
        &self.notes.sent
    }

    /// Those of the payments that can be made.
    pub(super) fn payable(&self, payments: &[(Address, Amount)]) -> Vec<(Address, Amount)> {
        let mut payments = payments.to_vec();
        payments.retain(|(account, _)| !self.notes.is_out(account));
        payments
    }

    /// Writes down, before anything else happens, that an account is left out.
    pub(super) fn skip(&mut self, account: Address, reason: &str, refusal: Refusal) -> Result<()> {
        let reason = notes::plain(reason);
        self.note(&notes::line(&account, &reason, refusal))?;
        self.notes.leave_out(account, reason, refusal);
        Ok(())
    }

    /// Who of the payments was left out at any time, the latest first. Ends with nobody.
    pub(super) fn ever_out(&self, payments: &[(Address, Amount)]) -> Vec<BTreeSet<Address>> {
        self.notes.ever_out(payments)
    }

    /// Writes down whom the batch of these payments that the chain has leaves out, where it is another one than was sent
    /// last: others are paid after all, or are not.
    pub(super) fn agree(
        &mut self,
        payments: &[(Address, Amount)],
        out: &BTreeSet<Address>,
    ) -> Result<()> {
        for (account, _) in payments {
            match (self.notes.is_out(account), out.contains(account)) {
                (true, false) => {
                    self.note(&format!("back {account}\n"))?;
                    self.notes.take_back(*account);
                }
                (false, true) => drop(self.leave_out_again(*account)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes down that nobody of the payments is paid, as the chain has it.
    pub(super) fn leave_out(&mut self, payments: &[(Address, Amount)]) -> Result<()> {
        for (account, _) in payments {
            if !self.notes.is_out(account) && !self.leave_out_again(*account)? {
                self.skip(*account, CLOSED, Refusal::Earlier)?;
            }
        }
        Ok(())
    }

    /// Writes down that a batch is about to be sent; answers whether that was written down before.
    pub(super) fn begin(&mut self, batch: u64) -> Result<bool> {
        let news = !self.notes.begun.contains(&batch);
        if news {
            self.note(&format!("begin {batch}\n"))?;
            self.notes.begun.insert(batch);
        }
        Ok(!news)
    }

    /// Writes down a transaction that was mined; answers whether that was news.
    pub(super) fn send(&mut self, transaction: B256) -> Result<bool> {
        let new = !self.notes.sent.contains(&transaction);
        if new {
            self.note(&format!("sent {transaction}\n"))?;
            self.notes.sent.push(transaction);
        }
        Ok(new)
    }

    /// Fixes another size of the batches, for a run of which nothing was paid.
    pub(super) fn resize(&mut self, recipients: usize, list: &PayList) -> Result<()> {
        let Some((disperse, _)) = self.terms.disperse else { return Ok(()) };
        let terms = Terms { disperse: Some((disperse, recipients)), ..self.terms.clone() };
        if !self.notes.begun.is_empty() {
            // Whom those had is in some batch of the others.
            let batches = list.payments().len().div_ceil(recipients.max(1));
            self.notes.begun = (0..batches as u64).collect();
        }
        self.renew(terms, list)
    }

    /// Fixes other terms, for a run of which nothing was paid.
    pub(super) fn renew(&mut self, terms: Terms, list: &PayList) -> Result<()> {
        let text = head(&terms, list) + &self.notes.lines();
        write(&self.place.path, &text)?;
        self.terms = terms;
        self.file = append_to(&self.place.path)?;
        self.notes.sent.clear();
        Ok(())
    }

    /// Whether it is known why.
    fn leave_out_again(&mut self, account: Address) -> Result<bool> {
        let Some((reason, refusal)) = self.notes.said(&account) else { return Ok(false) };
        self.skip(account, &reason, refusal)?;
        Ok(true)
    }

    fn note(&mut self, line: &str) -> Result<()> {
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| broken(&self.place.path, error))
    }
}

fn append_to(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).append(true).open(path);
    opened.map_err(|error| broken(path, error))
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
fn resume(text: &str, terms: &Terms, list: &PayList) -> Result<(Terms, Notes)> {
    if !text.starts_with(MAGIC) {
        return Err(if text.starts_with(FORMER) { outdated() } else { damaged() });
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
    let rest = rest.strip_prefix(&payments(list)).ok_or_else(other)?;
    let mut notes = Notes::default();
    for line in rest.lines() {
        notes.read(line).ok_or_else(damaged)?;
    }
    Ok((found, notes))
}

fn damaged() -> Error {
    let text = "the file is no journal of a treasury run, or it is damaged; restore it from a copy";
    Error::new(ErrorKind::Corrupt, text)
}

fn too_large(path: &Path) -> Error {
    let text = "the file is larger than the journal of any run, and was left as it is; give the path of the run's \
                journal, or restore it from a copy";
    let error = Error::new(ErrorKind::Limit, text).with("path", path.display());
    error.with("most bytes", MAX_BYTES)
}

fn outdated() -> Error {
    let text = "the journal is of another version; finish the run with the version that began it";
    Error::new(ErrorKind::Unsupported, text)
}

/// Puts a text in place of what is there.
fn write(path: &Path, text: &str) -> Result<()> {
    let broken = |error| broken(path, error);
    replace(path, |file| file.write_all(text.as_bytes()).map_err(broken), broken)
}

fn broken(path: &Path, error: io::Error) -> Error {
    let text = "the journal of the run cannot be written or read";
    Error::new(ErrorKind::Unavailable, text).with("path", path.display()).source(error)
}

/// What is said of somebody of whom the chain alone tells.
const CLOSED: &str = "the chain has that nobody of the batch is paid";
/// Digested lists otherwise.
const FORMER: &str = "depin treasury run 1\n";
const MAGIC: &str = "depin treasury run 2";
/// A million payments and as many notes need less.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
