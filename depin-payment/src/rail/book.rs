//! What a payer must not forget: which charges it paid, and how much it signed for.

use std::path::Path;

use depin_core::{Amount, B256, Bytes, Error, ErrorKind, Result, payment::Charge};
use redb::{Database, ReadableTable, TableDefinition, backends::InMemoryBackend};

use super::disk::{broken, create, damaged, split_amount};

/// Charges that were paid, with the signatures, and their sum.
#[derive(Debug)]
pub(crate) struct Book(Database);

impl Book {
    pub(crate) fn open(path: &Path, owner: B256) -> Result<Self> {
        let database = create(path);
        Self::claim(database.map_err(|e| broken(e).with("path", path.display()))?, owner)
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

    /// Enters a charge and what `sign` makes of the new sum, or finds what was signed for it before. `paid` is
    /// what was signed for elsewhere at least.
    pub(crate) fn pay(
        &self,
        charge: &Charge,
        paid: Amount,
        limit: Amount,
        sign: impl FnOnce(Amount) -> Result<Bytes>,
    ) -> Result<Bytes> {
        let write = self.0.begin_write().map_err(broken)?;
        let proof = {
            let mut charges = write.open_table(CHARGES).map_err(broken)?;
            if let Some(stored) = charges.get(charge.id.as_slice()).map_err(broken)? {
                return same(charge, stored.value());
            }
            let mut sums = write.open_table(SUM).map_err(broken)?;
            let sum = match sums.get(()).map_err(broken)? {
                Some(stored) => split_amount(stored.value())?.0,
                None => Amount::ZERO,
            };
            let sum = sum.max(paid).checked_add(charge.amount)?;
            if sum > limit {
                let text =
                    "the charge passes what this payer may spend; deposit more and raise its limit";
                let error = Error::new(ErrorKind::Rejected, text);
                return Err(error.with("needed", sum).with("limit", limit));
            }
            let proof = sign(sum)?;
            let bytes: [u8; 32] = sum.to_units().to_be_bytes();
            sums.insert((), bytes.as_slice()).map_err(broken)?;
            let record = encode(charge, &proof);
            charges.insert(charge.id.as_slice(), record.as_slice()).map_err(broken)?;
            proof
        };
        // Durable before anybody sees the signature: after a crash it would count without being remembered.
        write.commit().map_err(broken)?;
        Ok(proof)
    }
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
