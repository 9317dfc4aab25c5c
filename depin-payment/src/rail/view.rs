//! What a store holds, as a question or a change sees it, and the changes that can be made to it.
//!
//! A change first looks and then says what is to be written, so whatever is refused has written nothing.

use depin_core::{
    Address, Amount, B256, Error, ErrorKind, Result, Timestamp,
    payment::{Accepted, Charge},
};
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction,
};

use super::disk::{broken, damaged, split_amount, split_number};

/// What a store holds.
pub(crate) struct View<T> {
    charges: T,
    used: T,
    floors: T,
    sources: T,
    closed: T,
}

/// A store as it was at one moment.
pub(crate) type Snapshot = View<ReadOnlyTable<&'static [u8], &'static [u8]>>;
/// A store with the changes that are about to be written.
pub(crate) type Draft<'a> = View<Table<'a, &'static [u8], &'static [u8]>>;

/// Something to be written.
#[derive(Debug)]
pub(crate) enum Edit {
    /// A charge is paid. `reached` is what must be settled before it may be forgotten, `purpose` what it is served for.
    Pay { paid: Paid, reached: Amount, at: Timestamp, purpose: B256 },
    /// What stands behind payments has this record.
    Source(Vec<u8>, Vec<u8>),
    /// Nothing is taken out of a channel from now on.
    Close(B256),
    /// A charge is forgotten, and what came before it in its source is not taken any more.
    Forget(Old),
}

/// A charge and what pays it, by identity.
#[derive(Clone, Debug)]
pub(crate) struct Paid {
    pub(crate) charge: Charge,
    pub(crate) payer: Address,
    /// What stands behind the payment: the key of a lane, a stream or an escrow rail.
    pub(crate) source: Vec<u8>,
    /// Tells this payment from every other one out of the source, and says which of two came first.
    pub(crate) order: [u8; 32],
}

/// A charge that may be forgotten.
#[derive(Debug)]
pub(crate) struct Old {
    used: Vec<u8>,
    charge: Vec<u8>,
}

/// Behind the refusal of a payment from a time that is forgotten: whether it was used is not known any more.
#[derive(Debug)]
pub(crate) struct Forgotten;

impl Forgotten {
    /// Whether this is why a payment was refused.
    #[cfg(feature = "x402")]
    pub(crate) fn is_behind(error: &Error) -> bool {
        std::error::Error::source(error).is_some_and(|source| source.is::<Self>())
    }
}

impl std::fmt::Display for Forgotten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the payment is from a time that is forgotten")
    }
}

impl std::error::Error for Forgotten {}

/// The key and the record of what stands behind payments: a lane of a channel, a stream, an escrow rail.
pub(crate) type Source = (Vec<u8>, Vec<u8>);

impl Paid {
    pub(crate) const fn accepted(&self) -> Accepted {
        Accepted { charge: self.charge.id, payer: self.payer, amount: self.charge.amount }
    }

    fn used(&self) -> Vec<u8> {
        [self.source.as_slice(), &self.order].concat()
    }

    fn encode(&self) -> Vec<u8> {
        let Charge { payee, amount, .. } = &self.charge;
        let amount: [u8; 32] = amount.to_units().to_be_bytes();
        [payee.as_slice(), &amount, self.payer.as_slice(), &self.used()].concat()
    }

    /// The stored answer, when it is about the same charge and payment.
    fn same_as(&self, stored: &[u8]) -> Result<Accepted> {
        if self.encode() == stored {
            return Ok(self.accepted());
        }
        let text = "the charge was paid with another payment, or is another one under its id";
        Err(Error::new(ErrorKind::Conflict, text).with("charge", self.charge.id))
    }
}

impl Snapshot {
    pub(super) fn open(read: &ReadTransaction) -> Result<Self> {
        let table = |definition| read.open_table(definition).map_err(broken);
        let [charges, used, floors, sources, closed] = [CHARGES, USED, FLOORS, SOURCES, CLOSED];
        Ok(Self {
            charges: table(charges)?,
            used: table(used)?,
            floors: table(floors)?,
            sources: table(sources)?,
            closed: table(closed)?,
        })
    }
}

impl<'a> Draft<'a> {
    pub(super) fn open(write: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            charges: write.open_table(CHARGES)?,
            used: write.open_table(USED)?,
            floors: write.open_table(FLOORS)?,
            sources: write.open_table(SOURCES)?,
            closed: write.open_table(CLOSED)?,
        })
    }

    pub(super) fn apply(&mut self, edit: Edit) -> Result<(), redb::Error> {
        match edit {
            Edit::Pay { paid, reached, at, purpose } => {
                let id = paid.charge.id;
                let (at, reached) = (at.millis().to_be_bytes(), reached.to_units().to_be_bytes());
                let reached: [u8; 32] = reached;
                let record = [id.as_slice(), &at, &reached, purpose.as_slice()].concat();
                self.used.insert(paid.used().as_slice(), record.as_slice())?;
                self.charges.insert(id.as_slice(), paid.encode().as_slice())?;
            }
            Edit::Source(key, record) => {
                self.sources.insert(key.as_slice(), record.as_slice())?;
            }
            Edit::Close(channel) => {
                self.closed.insert(channel.as_slice(), [].as_slice())?;
            }
            Edit::Forget(Old { used, charge }) => {
                self.used.remove(used.as_slice())?;
                self.charges.remove(charge.as_slice())?;
                self.raise_floor(&used)?;
            }
        }
        Ok(())
    }

    fn raise_floor(&mut self, used: &[u8]) -> Result<(), redb::Error> {
        let Some((source, order)) = used.split_last_chunk::<32>() else { return Ok(()) };
        let higher = match self.floors.get(source)? {
            Some(floor) => floor.value() < order.as_slice(),
            None => true,
        };
        if higher {
            self.floors.insert(source, order.as_slice())?;
        }
        Ok(())
    }
}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> View<T> {
    /// The answer that was given to this charge and payment before, if any. Refuses a payment that was used for
    /// another charge, and one from a time that is forgotten.
    pub(crate) fn answer(&self, paid: &Paid) -> Result<Option<Accepted>> {
        let id = paid.charge.id;
        if let Some(stored) = self.charges.get(id.as_slice()).map_err(broken)? {
            return paid.same_as(stored.value()).map(Some);
        }
        if self.used.get(paid.used().as_slice()).map_err(broken)?.is_some() {
            let text = "the payment was used for another charge; pay this one too";
            return Err(Error::new(ErrorKind::Rejected, text).with("charge", id));
        }
        let floor = self.floors.get(paid.source.as_slice()).map_err(broken)?;
        if floor.is_some_and(|floor| paid.order.as_slice() <= floor.value()) {
            let text = "the payment is older than what the payee remembers; sign a new one";
            return Err(Error::new(ErrorKind::Rejected, text).with("charge", id).source(Forgotten));
        }
        Ok(None)
    }

    /// What a payment that was used is served for.
    #[cfg(feature = "x402")]
    pub(crate) fn purpose(&self, paid: &Paid) -> Result<B256> {
        let record = self.used.get(paid.used().as_slice()).map_err(broken)?.ok_or_else(damaged)?;
        let (_, purpose) = record.value().split_last_chunk::<32>().ok_or_else(damaged)?;
        Ok(B256::new(*purpose))
    }

    /// Whether a charge was accepted.
    pub(crate) fn is_paid(&self, charge: B256) -> Result<bool> {
        self.charges.get(charge.as_slice()).map(|found| found.is_some()).map_err(broken)
    }

    pub(crate) fn source(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let stored = self.sources.get(key).map_err(broken)?;
        Ok(stored.map(|stored| stored.value().to_vec()))
    }

    /// The records of sources, by key.
    pub(crate) fn sources(&self, prefix: &[u8]) -> Result<Vec<Source>> {
        let mut found = Vec::new();
        for entry in self.sources.range::<&[u8]>(prefix..).map_err(broken)? {
            let (key, record) = entry.map_err(broken)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            found.push((key.value().to_vec(), record.value().to_vec()));
        }
        Ok(found)
    }

    /// Whether the payee closes a channel.
    pub(crate) fn is_closed(&self, channel: B256) -> Result<bool> {
        self.closed.get(channel.as_slice()).map(|found| found.is_some()).map_err(broken)
    }

    /// Charges out of a source that were accepted before `accepted`, and need no more than `settled` to be
    /// settled; in order, at most `most`.
    pub(super) fn old(
        &self,
        source: &[u8],
        settled: Amount,
        accepted: Timestamp,
        most: usize,
    ) -> Result<Vec<Old>> {
        let (mut old, mut young) = (Vec::new(), 0_usize);
        for entry in self.used.range::<&[u8]>(source..).map_err(broken)? {
            let (used, record) = entry.map_err(broken)?;
            if !used.value().starts_with(source) || old.len() >= most || young >= STRAGGLERS {
                break;
            }
            let (charge, rest) = record.value().split_first_chunk::<32>().ok_or_else(damaged)?;
            let (at, rest) = split_number(rest)?;
            if Timestamp::from_millis(at) >= accepted {
                young = young.saturating_add(1);
            } else if split_amount(rest)?.0 > settled {
                break;
            } else {
                old.push(Old { used: used.value().to_vec(), charge: charge.to_vec() });
            }
        }
        Ok(old)
    }
}

/// Payments that came long after those that follow them in their source, and keep nobody from forgetting those.
const STRAGGLERS: usize = 64;

/// By the id of the charge.
const CHARGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("charges");
/// Source and order of a payment, to the charge it was used for, when that was, what settles it, and its purpose.
const USED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("used");
/// Up to which order the payments out of a source may be forgotten.
const FLOORS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("floors");
/// What stands behind payments.
const SOURCES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sources");
/// Channels that the payee closes.
const CLOSED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("closed");
