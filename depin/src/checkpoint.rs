//! Books in a file, so that a network that starts again need not read what came out of every epoch.
//!
//! The file is derived and nobody's source: it has a checksum, names by hash the sealed epoch of the log that it goes
//! up to, and whatever is wrong with it, the books are made from the log instead.
//!
//! ```text
//! "depin books v2\n", SHA-256 of the sealed epoch, runs u64, as many times [place u64][first epoch u64], accounts u64 big-endian, as many times [account, 20 bytes][amount,
//! u256 big-endian] by rising account, standings as their file has them, SHA-256 of all before
//! ```

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use depin_core::{Address, Amount, B256, EpochId, U256};
use depin_data::epoch::Standings;
use depin_payment::Cumulative;
use sha2::{Digest, Sha256};

use crate::seals::Seals;

const MAGIC: &[u8; 15] = b"depin books v2\n";
/// Bytes of an account and an amount.
const ROW: usize = 20 + 32;
/// Bytes of a run of epochs.
const RUN: usize = 8 + 8;
/// Epochs after which the file is written anew: as many statements a start has to read at most.
const EVERY: u64 = 8;

/// Where books are kept, and up to which epoch they were.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    path: PathBuf,
    next: Option<EpochId>,
}

/// What is kept of books.
pub(crate) struct Kept {
    /// SHA-256 of the last epoch as the log keeps it.
    pub(crate) sealed: B256,
    pub(crate) balances: Cumulative,
    pub(crate) standings: Standings,
    pub(crate) seals: Seals,
}

impl Checkpoint {
    /// In a network's folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join("books"), next: None }
    }

    /// What is kept, if it is there and whole.
    pub(crate) fn read(&self) -> Option<Kept> {
        let bytes = fs::read(&self.path).ok()?;
        let (content, checksum) = bytes.split_last_chunk::<32>()?;
        (Sha256::digest(content)[..] == *checksum).then(|| parse(content)).flatten()
    }

    /// That the books in the file are those of the network, up to this epoch. Others are soon written over.
    pub(crate) const fn holds(&mut self, next: EpochId) {
        self.next = Some(next);
    }

    /// Keeps books, when those that are kept are old. A file that cannot be written costs time at the next start, and
    /// nothing else.
    pub(crate) fn keep(
        &mut self,
        sealed: &B256,
        balances: &Cumulative,
        standings: &Standings,
        seals: &Seals,
    ) {
        let before = self.next.map_or(0, EpochId::value);
        if standings.next().value().saturating_sub(before) < EVERY {
            return;
        }
        if self.write(sealed, balances, standings, seals).is_ok() {
            self.next = Some(standings.next());
        }
    }

    /// In one step: a file that is there is replaced by a whole one.
    fn write(
        &self,
        sealed: &B256,
        balances: &Cumulative,
        standings: &Standings,
        seals: &Seals,
    ) -> io::Result<()> {
        let part = self.path.with_extension("part");
        let mut out = Hashed { out: BufWriter::new(File::create(&part)?), hash: Sha256::new() };
        out.write_all(MAGIC)?;
        out.write_all(sealed.as_slice())?;
        let runs = seals.runs();
        out.write_all(&(runs.len() as u64).to_be_bytes())?;
        for number in runs.flatten() {
            out.write_all(&number.to_be_bytes())?;
        }
        let rows = balances.iter();
        out.write_all(&(rows.len() as u64).to_be_bytes())?;
        for (account, amount) in rows {
            out.write_all(account.as_slice())?;
            out.write_all(&amount.to_units().to_be_bytes::<32>())?;
        }
        standings.write(&mut out).map_err(io::Error::other)?;
        let checksum = out.hash.finalize();
        out.out.write_all(&checksum)?;
        out.out.flush()?;
        fs::rename(&part, &self.path)
    }
}

fn parse(content: &[u8]) -> Option<Kept> {
    let rest = content.strip_prefix(MAGIC)?;
    let (sealed, rest) = rest.split_first_chunk::<32>()?;
    let (runs, rest) = rows::<RUN>(rest)?;
    let (rows, rest) = rows::<ROW>(rest)?;
    let standings = Standings::read(rest).ok()?;
    let latest = EpochId::new(standings.next().value().checked_sub(1)?);
    let rows = rows.iter().map(|row| {
        let (account, amount) = row.split_at(20);
        (Address::from_slice(account), Amount::units(U256::from_be_slice(amount)))
    });
    let balances = Cumulative::from_rows(latest, rows).ok()?;
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let seals = Seals::from_runs(runs.iter().map(|run| {
        let (place, epoch) = run.split_at(8);
        [number(place), number(epoch)]
    }));
    Some(Kept { sealed: B256::new(*sealed), balances, standings, seals })
}

/// As many rows of a length as announced, and what follows.
fn rows<const LENGTH: usize>(bytes: &[u8]) -> Option<(&[[u8; LENGTH]], &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_be_bytes(*count)).ok()?.checked_mul(LENGTH)?;
    let (rows, rest) = rest.split_at_checked(length)?;
    Some((rows.as_chunks().0, rest))
}

/// Hashes what it writes.
struct Hashed<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use depin_core::{
        NetworkId,
        reward::{Allocation, Payout},
    };

    use super::*;

    #[test]
    fn books_are_read_as_they_were_kept_and_not_at_all_when_one_byte_differs_or_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let standings = {
            let network = NetworkId::parse("climate").unwrap();
            let mut bytes = Vec::new();
            Standings::new(network).write(&mut bytes).unwrap();
            // The same, before epoch 9.
            let at = MAGIC.len() + 4 + 4 + 2 + "climate".len();
            bytes[at] = 9;
            let root = depin_data::merkle::leaf_hash(&bytes[23..bytes.len() - 32]);
            let end = bytes.len() - 32;
            bytes[end..].copy_from_slice(root.as_slice());
            Standings::read(&bytes[..]).unwrap()
        };
        let amount = Amount::tokens(5);
        let payout = |number| Payout {
            device: "did:example:a".parse().unwrap(),
            beneficiary: Address::repeat_byte(number),
            amount,
        };
        let mut balances = Cumulative::default();
        let allocation = Allocation {
            epoch: EpochId::new(8),
            emission: Amount::tokens(10),
            unallocated: Amount::ZERO,
            payouts: vec![payout(1), payout(2)],
        };
        balances.add(&allocation).unwrap();
        let mut checkpoint = Checkpoint::new(folder.path());
        assert!(checkpoint.read().is_none());
        let mut seals = Seals::default();
        seals.withdraw(EpochId::new(4), EpochId::new(7));
        checkpoint.keep(&B256::repeat_byte(3), &balances, &standings, &seals);
        let kept = Checkpoint::new(folder.path()).read().unwrap();
        assert_eq!((kept.sealed, kept.standings), (B256::repeat_byte(3), standings));
        assert_eq!((kept.balances, kept.seals), (balances, seals));
        let path = folder.path().join("books");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).unwrap();
            assert!(checkpoint.read().is_none(), "{at}");
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert!(checkpoint.read().is_none(), "{at}");
        }
    }
}
