//! What a till has taken: one redb file, or memory.
//!
//! A payment is taken in one durable write transaction, together with what it was taken for and the answer that
//! was bought with it. So a payment buys one thing, whatever happens afterwards, and what is due is known after
//! a crash. What is settled may be forgotten after a while: then the chain itself refuses it.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    path::Path,
};

use depin_core::{
    Address, Amount, B256, Error, ErrorKind, Result, U256, keccak256, payment::RailBalance,
};
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction, backends::InMemoryBackend,
};
use serde::{Deserialize, Serialize};

use super::{answer::Answer, pledge::Wire, refusal::Refusal};
use crate::rail::create;

#[derive(Debug)]
pub(super) struct Book(Database);

/// A payment that was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// What it was taken for.
    pub(super) purpose: String,
    /// A name that no other payment may have.
    pub(super) name: Option<B256>,
    pub(super) payer: String,
    pub(super) payment: Wire,
    /// How much is taken, in units.
    pub(super) amount: U256,
    /// The block at which it was verified: it cannot have been settled long before.
    pub(super) block: u64,
    /// The transaction that settled it; empty when there was nothing to settle.
    pub(super) settled: Option<String>,
    /// The last second at which nobody else refuses it, where there was nothing to settle.
    pub(super) until: Option<u64>,
}

/// A payment that is to be taken.
pub(super) struct Taking<'a> {
    pub(super) id: B256,
    pub(super) owed: Owed,
    /// When the answer to what has nothing to settle may be forgotten, in seconds.
    pub(super) forget: u64,
    pub(super) entry: &'a Entry,
    pub(super) answer: Option<&'a Answer>,
}

/// What a payer owes, or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) amount: Amount,
    /// Whether it uses up what the payer lets Permit2 move.
    pub(super) by_permit2: bool,
}

impl Entry {
    /// How much is taken.
    pub(super) const fn amount(&self) -> Amount {
        Amount::units(self.amount)
    }

    /// The transaction that settled it.
    pub(super) fn transaction(&self) -> Result<Option<B256>> {
        let settled = self.settled.as_deref().filter(|hash| !hash.is_empty());
        settled.map(|hash| hash.parse().map_err(|_| damaged())).transpose()
    }
}

impl Book {
    /// Opens the file, or memory when there is none, for `owner`.
    pub(super) fn open(path: Option<&Path>, owner: &str) -> Result<Self> {
        let opened = match path {
            Some(path) => create(path),
            None => Database::builder().create_with_backend(InMemoryBackend::new()),
        };
        let book = Self(opened.map_err(|error| match (path, error) {
            (_, DatabaseError::DatabaseAlreadyOpen) => Error::new(
                ErrorKind::Conflict,
                "the till's book is open elsewhere; share one till or end the other process",
            ),
            (Some(path), error) => broken(error).with("path", path.display()),
            (None, error) => broken(error),
        })?);
        book.write(|write| claim(write, owner))?;
        Ok(book)
    }

    /// What tells this book from every other one, wherever its file is moved to.
    pub(super) fn id(&self) -> Result<B256> {
        let read = self.0.begin_read().map_err(broken)?;
        let table = read.open_table(ID).map_err(broken)?;
        let id = table.get(()).map_err(broken)?.ok_or_else(damaged)?;
        Ok(B256::new(id.value()))
    }

    pub(super) fn entry(&self, id: B256) -> Result<Option<Entry>> {
        let read = self.0.begin_read().map_err(broken)?;
        let entries = read.open_table(ENTRIES).map_err(broken)?;
        let found = entries.get(id.0).map_err(broken)?;
        found.map(|entry| decode(entry.value())).transpose()
    }

    /// Which payment has a name.
    pub(super) fn named(&self, name: B256) -> Result<Option<B256>> {
        let read = self.0.begin_read().map_err(broken)?;
        let names = read.open_table(NAMES).map_err(broken)?;
        let found = names.get(name.0).map_err(broken)?;
        Ok(found.map(|id| B256::new(id.value())))
    }

    pub(super) fn answer(&self, id: B256) -> Result<Option<Answer>> {
        let read = self.0.begin_read().map_err(broken)?;
        let answers = read.open_table(ANSWERS).map_err(broken)?;
        let Some(found) = answers.get(id.0).map_err(broken)? else { return Ok(None) };
        let (head, body) = found.value();
        let head = serde_json::from_slice(head).map_err(|error| damaged().source(error))?;
        Ok(Some(Answer { head, body: body.to_vec().into() }))
    }

    /// Takes a payment unless there is one with its id; says whether it did.
    pub(super) fn take(&self, taking: &Taking<'_>) -> Result<bool> {
        self.write(|write| {
            let mut entries = write.open_table(ENTRIES).map_err(broken)?;
            if entries.get(taking.id.0).map_err(broken)?.is_some() {
                return Ok(false);
            }
            if let Some(name) = taking.entry.name {
                let mut names = write.open_table(NAMES).map_err(broken)?;
                if names.insert(name.0, taking.id.0).map_err(broken)?.is_some() {
                    return Err(Refusal::Named.into());
                }
            }
            let free = taking.entry.settled.is_some();
            if free {
                let mut forgettable = write.open_table(FORGETTABLE).map_err(broken)?;
                forgettable.insert((taking.forget, taking.id.0), ()).map_err(broken)?;
            } else {
                owe(write, taking)?;
            }
            let bytes = encode(taking.entry)?;
            entries.insert(taking.id.0, bytes.as_slice()).map_err(broken)?;
            if let Some(answer) = taking.answer
                && (!free || is_room(write, taking.id, answer)?)
            {
                let mut answers = write.open_table(ANSWERS).map_err(broken)?;
                let head = encode(&answer.head)?;
                answers.insert(taking.id.0, (head.as_slice(), &*answer.body)).map_err(broken)?;
            }
            add(write, ACCEPTED, taking.entry.amount())?;
            Ok(true)
        })
    }

    /// Keeps the answer to a charge that another rail keeps; it may be forgotten at `forget` (seconds), or when an
    /// earlier one to the same charge might have been, whichever is later.
    pub(super) fn keep_answer(&self, charge: B256, answer: &Answer, forget: u64) -> Result<()> {
        self.write(|write| {
            let mut answers = write.open_table(ANSWERS).map_err(broken)?;
            let head = encode(&answer.head)?;
            answers.insert(charge.0, (head.as_slice(), &*answer.body)).map_err(broken)?;
            let mut forgettable = write.open_table(FORGETTABLE).map_err(broken)?;
            let mut kept = write.open_table(KEPT).map_err(broken)?;
            let earlier = kept.get(charge.0).map_err(broken)?.map(|earlier| earlier.value());
            if let Some(earlier) = earlier {
                forgettable.remove((earlier, charge.0)).map_err(broken)?;
            }
            let forget = forget.max(earlier.unwrap_or_default());
            kept.insert(charge.0, forget).map_err(broken)?;
            forgettable.insert((forget, charge.0), ()).map(drop).map_err(broken)
        })
    }

    /// Notes that a payment was settled, once, and that it may be forgotten at `forget` (seconds).
    pub(super) fn settled(&self, id: B256, transaction: B256, forget: u64) -> Result<()> {
        self.write(|write| {
            let mut entries = write.open_table(ENTRIES).map_err(broken)?;
            let Some(mut entry) = load(&entries, id)? else { return Ok(()) };
            if entry.settled.is_some() {
                return Ok(());
            }
            entry.settled = Some(transaction.to_string());
            let bytes = encode(&entry)?;
            entries.insert(id.0, bytes.as_slice()).map_err(broken)?;
            let amount = undue(write, &entry, id)?;
            let mut forgettable = write.open_table(FORGETTABLE).map_err(broken)?;
            forgettable.insert((forget, id.0), ()).map_err(broken)?;
            add(write, SETTLED, amount)
        })
    }

    /// Drops a payment that the chain refused for good. What it bought has gone out if no answer is kept here:
    /// then it stays accepted, and its name taken, for the loss is one.
    pub(super) fn failed(&self, id: B256) -> Result<()> {
        self.write(|write| {
            let mut entries = write.open_table(ENTRIES).map_err(broken)?;
            let Some(entry) = load(&entries, id)? else { return Ok(()) };
            if entry.settled.is_some() {
                return Ok(());
            }
            let amount = undue(write, &entry, id)?;
            entries.remove(id.0).map_err(broken)?;
            let mut answers = write.open_table(ANSWERS).map_err(broken)?;
            if answers.remove(id.0).map_err(broken)?.is_none() {
                return Ok(());
            }
            if let Some(name) = entry.name {
                write.open_table(NAMES).map_err(broken)?.remove(name.0).map_err(broken)?;
            }
            less(write, ACCEPTED, amount)
        })
    }

    /// Drops the answer that a payment bought.
    pub(super) fn drop_answer(&self, id: B256) -> Result<()> {
        self.write(|write| {
            let mut answers = write.open_table(ANSWERS).map_err(broken)?;
            answers.remove(id.0).map_err(broken)?;
            make_room(write, id)
        })
    }

    /// Forgets some of what may be forgotten at `now` (seconds).
    pub(super) fn forget(&self, now: u64) -> Result<()> {
        let read = self.0.begin_read().map_err(broken)?;
        let forgettable = read.open_table(FORGETTABLE).map_err(broken)?;
        let old = forgettable.range(..(now, [0; 32])).map_err(broken)?.take(FORGET_AT_ONCE);
        let old = old.map(|entry| entry.map(|(key, _)| key.value()).map_err(broken));
        let old = old.collect::<Result<Vec<_>>>()?;
        if old.is_empty() {
            return Ok(());
        }
        self.write(|write| {
            let mut forgettable = write.open_table(FORGETTABLE).map_err(broken)?;
            let mut entries = write.open_table(ENTRIES).map_err(broken)?;
            let mut answers = write.open_table(ANSWERS).map_err(broken)?;
            let mut names = write.open_table(NAMES).map_err(broken)?;
            let mut kept = write.open_table(KEPT).map_err(broken)?;
            for key in old {
                // It was kept again since this list was made.
                if forgettable.remove(key).map_err(broken)?.is_none() {
                    continue;
                }
                kept.remove(key.1).map_err(broken)?;
                answers.remove(key.1).map_err(broken)?;
                make_room(write, B256::new(key.1))?;
                let entry = load(&entries, B256::new(key.1))?;
                if let Some(until) = entry.as_ref().and_then(|entry| entry.until)
                    && until >= now
                {
                    forgettable.insert((until, key.1), ()).map_err(broken)?;
                    continue;
                }
                if let Some(name) = entry.and_then(|entry| entry.name) {
                    names.remove(name.0).map_err(broken)?;
                }
                entries.remove(key.1).map_err(broken)?;
            }
            Ok(())
        })
    }

    /// What is not settled yet.
    pub(super) fn due(&self) -> Result<Vec<B256>> {
        let read = self.0.begin_read().map_err(broken)?;
        let due = read.open_table(DUE).map_err(broken)?;
        let all = due.iter().map_err(broken)?;
        all.map(|entry| Ok(B256::new(entry.map_err(broken)?.0.value().1))).collect()
    }

    /// What is not settled yet of one payer.
    pub(super) fn due_of(&self, payer: Address) -> Result<BTreeMap<B256, Owed>> {
        let read = self.0.begin_read().map_err(broken)?;
        let due = read.open_table(DUE).map_err(broken)?;
        let payer = payer.into_array();
        let range = due.range((payer, [0; 32])..=(payer, [0xff; 32])).map_err(broken)?;
        let entries = range.map(|entry| {
            let (key, owed) = entry.map_err(broken)?;
            let (units, by_permit2) = owed.value();
            Ok((B256::new(key.value().1), Owed { amount: amount(units), by_permit2 }))
        });
        entries.collect()
    }

    pub(super) fn sums(&self) -> Result<RailBalance> {
        let read = self.0.begin_read().map_err(broken)?;
        let sums = read.open_table(SUMS).map_err(broken)?;
        let sum = |name| -> Result<Amount> {
            let found = sums.get(name).map_err(broken)?;
            Ok(found.map_or(Amount::ZERO, |sum| amount(sum.value())))
        };
        Ok(RailBalance { accepted: sum(ACCEPTED)?, settled: sum(SETTLED)? })
    }

    fn write<T>(&self, change: impl FnOnce(&WriteTransaction) -> Result<T>) -> Result<T> {
        let mut write = self.0.begin_write().map_err(broken)?;
        write.set_durability(Durability::Immediate).map_err(broken)?;
        let done = change(&write)?;
        write.commit().map_err(broken)?;
        Ok(done)
    }
}

/// Binds a new book to its owner and refuses that of another one.
fn claim(write: &WriteTransaction, owner: &str) -> Result<()> {
    write.open_table(ENTRIES).map_err(broken)?;
    write.open_table(ANSWERS).map_err(broken)?;
    write.open_table(NAMES).map_err(broken)?;
    write.open_table(DUE).map_err(broken)?;
    write.open_table(FORGETTABLE).map_err(broken)?;
    write.open_table(SUMS).map_err(broken)?;
    write.open_table(FREE).map_err(broken)?;
    write.open_table(KEPT).map_err(broken)?;
    let mut id = write.open_table(ID).map_err(broken)?;
    if id.get(()).map_err(broken)?.is_none() {
        id.insert((), fresh_id()).map_err(broken)?;
    }
    let mut table = write.open_table(OWNER).map_err(broken)?;
    let found = table.get(()).map_err(broken)?.map(|found| found.value().to_owned());
    match found {
        Some(found) if found != owner => {
            let text = "the till's book belongs to another chain, token or payee; use another file";
            Err(Error::new(ErrorKind::Config, text).with("found", found).with("expected", owner))
        }
        _ => table.insert((), owner).map(drop).map_err(broken),
    }
}

/// Another one for every book. Nobody gains by guessing it, so what the standard library seeds its maps with will do.
fn fresh_id() -> [u8; 32] {
    let mut id = [0; 32];
    for part in id.chunks_exact_mut(8) {
        part.copy_from_slice(&RandomState::new().hash_one(0).to_be_bytes());
    }
    keccak256(id).0
}

fn load(entries: &Table<'_, [u8; 32], &[u8]>, id: B256) -> Result<Option<Entry>> {
    let found = entries.get(id.0).map_err(broken)?;
    found.map(|entry| decode(entry.value())).transpose()
}

/// Adds a payment to what is due.
fn owe(write: &WriteTransaction, taking: &Taking<'_>) -> Result<()> {
    let payer: Address = taking.entry.payer.parse().map_err(|_| damaged())?;
    let mut due = write.open_table(DUE).map_err(broken)?;
    let owed = (units(taking.owed.amount), taking.owed.by_permit2);
    due.insert((payer.into_array(), taking.id.0), owed).map(drop).map_err(broken)
}

/// Takes a payment off what is due and answers its amount.
fn undue(write: &WriteTransaction, entry: &Entry, id: B256) -> Result<Amount> {
    let payer: Address = entry.payer.parse().map_err(|_| damaged())?;
    let mut due = write.open_table(DUE).map_err(broken)?;
    let removed = due.remove((payer.into_array(), id.0)).map_err(broken)?;
    removed.map(|removed| amount(removed.value().0)).ok_or_else(damaged)
}

/// Whether one more answer that cost nothing is kept. Nobody pays for the room, so there is not much.
fn is_room(write: &WriteTransaction, id: B256, answer: &Answer) -> Result<bool> {
    let bytes = u64::try_from(answer.body.len()).unwrap_or(u64::MAX);
    let mut free = write.open_table(FREE).map_err(broken)?;
    let sums = write.open_table(SUMS).map_err(broken)?;
    let kept = sums.get(FREE_BYTES).map_err(broken)?;
    let kept = kept.map_or(Amount::ZERO, |sum| amount(sum.value()));
    if kept.checked_add(bytes.into())? > Amount::from(MOST_FREE) {
        return Ok(false);
    }
    drop(sums);
    free.insert(id.0, bytes).map_err(broken)?;
    add(write, FREE_BYTES, bytes.into()).map(|()| true)
}

/// Gives back the room of an answer, if it cost nothing.
fn make_room(write: &WriteTransaction, id: B256) -> Result<()> {
    let mut free = write.open_table(FREE).map_err(broken)?;
    let bytes = free.remove(id.0).map_err(broken)?.map(|bytes| bytes.value());
    bytes.map_or(Ok(()), |bytes| less(write, FREE_BYTES, bytes.into()))
}

fn add(write: &WriteTransaction, name: &str, more: Amount) -> Result<()> {
    change(write, name, |sum| sum.checked_add(more))
}

fn less(write: &WriteTransaction, name: &str, by: Amount) -> Result<()> {
    change(write, name, |sum| sum.checked_sub(by))
}

fn change(
    write: &WriteTransaction,
    name: &str,
    to: impl FnOnce(Amount) -> Result<Amount>,
) -> Result<()> {
    let mut sums = write.open_table(SUMS).map_err(broken)?;
    let sum = sums.get(name).map_err(broken)?.map_or(Amount::ZERO, |sum| amount(sum.value()));
    sums.insert(name, units(to(sum)?)).map_err(broken)?;
    Ok(())
}

const fn units(amount: Amount) -> [u8; 32] {
    amount.to_units().to_be_bytes()
}

const fn amount(units: [u8; 32]) -> Amount {
    Amount::units(U256::from_be_bytes(units))
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| damaged().source(error))
}

fn decode(bytes: &[u8]) -> Result<Entry> {
    serde_json::from_slice(bytes).map_err(|error| damaged().source(error))
}

fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "the till's book lacks or garbles an entry")
}

fn broken(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let (kind, text) = match &error {
        redb::Error::Io(_) | redb::Error::PreviousIo => {
            (ErrorKind::Unavailable, "the till's book cannot be written or read")
        }
        _ => (ErrorKind::Corrupt, "the till's book is damaged or another kind of file"),
    };
    Error::new(kind, text).source(error)
}

/// Units, and whether Permit2 moves them.
type UnitsByPermit2 = ([u8; 32], bool);

const ID: TableDefinition<'_, (), [u8; 32]> = TableDefinition::new("id");
const OWNER: TableDefinition<'_, (), &str> = TableDefinition::new("owner");
const ENTRIES: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("entries");
const ANSWERS: TableDefinition<'_, [u8; 32], (&[u8], &[u8])> = TableDefinition::new("answers");
/// Payer and payment, to the amount and whether Permit2 moves it.
const DUE: TableDefinition<'_, ([u8; 20], [u8; 32]), UnitsByPermit2> = TableDefinition::new("due");
/// Answers that cost nothing, to the bytes of their bodies.
const FREE: TableDefinition<'_, [u8; 32], u64> = TableDefinition::new("free");
/// Charges that another rail keeps, to when their answer may be forgotten.
const KEPT: TableDefinition<'_, [u8; 32], u64> = TableDefinition::new("kept");
const NAMES: TableDefinition<'_, [u8; 32], [u8; 32]> = TableDefinition::new("names");
const FORGETTABLE: TableDefinition<'_, (u64, [u8; 32]), ()> = TableDefinition::new("forgettable");
const SUMS: TableDefinition<'_, &str, [u8; 32]> = TableDefinition::new("sums");
const ACCEPTED: &str = "accepted";
const SETTLED: &str = "settled";

const FREE_BYTES: &str = "free bytes";

/// Bytes of answers that cost nothing and are kept all the same.
const MOST_FREE: u64 = 8 * 1024 * 1024;

const FORGET_AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use depin_core::{Algorithm, ChainId, Signer, SoftwareKey, Timestamp};

    use super::*;
    use crate::x402::exact::{Authorization, ExactTerms, TokenDomain};

    fn free(until: u64) -> Entry {
        let (amount, asset) = (Amount::from(60), Address::repeat_byte(2));
        let key = SoftwareKey::from_seed(Algorithm::Es256k, [1; 32]);
        let payer = key.public_key().to_address().unwrap();
        let domain = TokenDomain { name: "T".to_owned(), version: "1".to_owned() };
        let (chain, timeout) = (ChainId::new(1), Duration::from_secs(60));
        let terms = ExactTerms { chain, asset, pay_to: Address::ZERO, amount, timeout, domain };
        let payment = Authorization::new(&terms, payer, Timestamp::from_secs(60), B256::ZERO);
        Entry {
            purpose: B256::ZERO.to_string(),
            name: None,
            payer: payer.to_string(),
            payment: Wire::Exact(payment.sign(&terms, &key).unwrap().to_wire()),
            amount: U256::ZERO,
            block: 0,
            settled: Some(String::new()),
            until: Some(until),
        }
    }

    #[test]
    fn an_answer_that_is_kept_again_is_kept_for_the_later_time() {
        let book = Book::open(None, "owner").unwrap();
        let (head, _) = http::Response::new(()).into_parts();
        let (charge, again) = (B256::with_last_byte(1), Answer::of(&head, Bytes::from("again")));
        book.keep_answer(charge, &Answer::of(&head, Bytes::from("first")), 300).unwrap();
        book.keep_answer(charge, &again, 590).unwrap();
        // Also where the clock went back in between.
        book.keep_answer(charge, &again, 290).unwrap();
        book.forget(301).unwrap();
        assert_eq!(book.answer(charge).unwrap(), Some(again));
        book.forget(591).unwrap();
        assert_eq!(book.answer(charge).unwrap(), None);
    }

    #[test]
    fn answers_that_cost_nothing_get_little_room_and_make_room_when_they_are_forgotten() {
        let book = Book::open(None, "owner").unwrap();
        let body = Bytes::from(vec![7; 2 * 1024 * 1024]);
        let (head, _) = http::Response::new(()).into_parts();
        let (answer, entry) = (Answer::of(&head, body), free(100));
        let take = |id| {
            let owed = Owed { amount: Amount::ZERO, by_permit2: true };
            let (id, answer) = (B256::with_last_byte(id), Some(&answer));
            let taking = Taking { id, owed, forget: 5, entry: &entry, answer };
            assert!(book.take(&taking).unwrap());
            book.answer(id).unwrap().is_some()
        };
        assert_eq!([1, 2, 3, 4, 5].map(take), [true, true, true, true, false]);
        book.drop_answer(B256::with_last_byte(1)).unwrap();
        assert_eq!([6, 7].map(take), [true, false]);
        // The answers are forgotten soon, what they were for is not before the payments end.
        book.forget(6).unwrap();
        assert_eq!(book.answer(B256::with_last_byte(2)).unwrap(), None);
        assert!(take(8), "there is room again");
        book.forget(100).unwrap();
        assert!(book.entry(B256::with_last_byte(2)).unwrap().is_some());
        book.forget(101).unwrap();
        assert!(book.entry(B256::with_last_byte(2)).unwrap().is_none());
    }
}
