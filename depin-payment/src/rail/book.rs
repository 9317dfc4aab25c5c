//! What a payer must not forget: which charges it paid, and how much it signed for.

use std::path::Path;

use depin_core::{Amount, B256, Bytes, Error, ErrorKind, Result, payment::Charge};
use redb::{Database, ReadableTable, TableDefinition, backends::InMemoryBackend};

use super::disk::{broken, damaged, open, split_amount, split_number};

/// Charges that were paid, with the signatures, and their sum.
#[derive(Debug)]
pub(crate) struct Book(Database);

impl Book {
    pub(crate) fn open(path: &Path, owner: B256) -> Result<Self> {
        Self::claim(open(path)?, owner)
    }

    pub(crate) fn in_memory(owner: B256) -> Result<Self> {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        Self::claim(database.map_err(broken)?, owner)
    }

    fn claim(database: Database, owner: B256) -> Result<Self> {
        let write = database.begin_write().map_err(broken)?;
        {
            let mut table = write.open_table(OWNER).map_err(broken)?;
            let found = table.get(()).map_err(broken)?.map(|found| found.value().to_vec());
            if found.is_some_and(|found| found != owner.as_slice()) {
                let text =
                    "the file belongs to a payer of another lane or contract; use another one";
                return Err(Error::new(ErrorKind::Config, text));
            }
            table.insert((), owner.as_slice()).map_err(broken)?;
        }
        write.commit().map_err(broken)?;
        Ok(Self(database))
    }

    /// Enters a charge and what `sign` makes of the new sum and of how many were signed, or finds what was signed for
    /// it before. `signed` is what was signed for elsewhere at least.
    pub(crate) fn pay(
        &self,
        charge: &Charge,
        signed: Signed,
        limit: Amount,
        sign: impl FnOnce(Signed) -> Result<Bytes>,
    ) -> Result<Bytes> {
        let write = self.0.begin_write().map_err(broken)?;
        let proof = {
            let mut charges = write.open_table(CHARGES).map_err(broken)?;
            if let Some(stored) = charges.get(charge.id.as_slice()).map_err(broken)? {
                return same(charge, stored.value());
            }
            let mut sums = write.open_table(SUM).map_err(broken)?;
            let before = match sums.get(()).map_err(broken)? {
                Some(stored) => Signed::decode(stored.value())?,
                None => Signed::default(),
            };
            let sum = before.sum.max(signed.sum).checked_add(charge.amount)?;
            let count = before.count.max(signed.count).checked_add(1).ok_or_else(too_many)?;
            let signed = Signed { sum, count };
            if sum > limit {
                let text =
                    "the charge passes what this payer may spend; deposit more and raise its limit";
                let error = Error::new(ErrorKind::Rejected, text);
                return Err(error.with("needed", sum).with("limit", limit));
            }
            let proof = sign(signed)?;
            sums.insert((), signed.encode().as_slice()).map_err(broken)?;
            let record = encode(charge, &proof);
            charges.insert(charge.id.as_slice(), record.as_slice()).map_err(broken)?;
            proof
        };
        // Durable before anybody sees the signature: after a crash it would count without being remembered.
        write.commit().map_err(broken)?;
        Ok(proof)
    }
}

/// What was signed for out of one source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signed {
    pub(crate) sum: Amount,
    pub(crate) count: u64,
}

impl Signed {
    fn encode(self) -> Vec<u8> {
        let sum: [u8; 32] = self.sum.to_units().to_be_bytes();
        [sum.as_slice(), &self.count.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let (sum, rest) = split_amount(bytes)?;
        let (count, rest) = split_number(rest)?;
        rest.is_empty().then_some(Self { sum, count }).ok_or_else(damaged)
    }
}

fn too_many() -> Error {
    Error::new(
        ErrorKind::Overflow,
        "the payer's numbers are used up; it was told of too high a one",
    )
}

fn encode(charge: &Charge, proof: &[u8]) -> Vec<u8> {
    let amount: [u8; 32] = charge.amount.to_units().to_be_bytes();
    [amount.as_slice(), charge.payee.as_slice(), proof].concat()
}

/// What was signed for this very charge.
fn same(charge: &Charge, stored: &[u8]) -> Result<Bytes> {
    let (amount, rest) = split_amount(stored)?;
    let (payee, proof) = rest.split_first_chunk::<20>().ok_or_else(damaged)?;
    if amount == charge.amount && payee == charge.payee.as_slice() {
        return Ok(Bytes::copy_from_slice(proof));
    }
    let text = "another charge was paid under this id; the payee must choose a new one";
    Err(Error::new(ErrorKind::Conflict, text).with("charge", charge.id))
}

const OWNER: TableDefinition<'_, (), &[u8]> = TableDefinition::new("owner");
const CHARGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("charges");
const SUM: TableDefinition<'_, (), &[u8]> = TableDefinition::new("sum");
