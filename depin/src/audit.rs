//! Audits: from the signed bytes to the root on chain.
//!
//! Trusted are registry and chain alone. A registry tells the owner of now; where the record pays somebody else,
//! that is counted and said.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use depin_core::{
    Address, B256, Did, EpochId, Error, ErrorKind, PublicKey, Result, SignedBatch, log::BatchLog,
    registry::DeviceRegistry,
};
use depin_data::{
    audit::replay,
    batch::{BatchVerifier, claimed_signer},
    epoch::{EpochRecord, MAX_KEYS},
};

use crate::{Network, epoch::Books};

/// An audit that found everything as it should be; one that did not is an error that says where.
///
/// What it could not recompute and took from records, it counts: [`Network::audit`] goes from the first epoch on and
/// takes nothing of the time before, [`audit_bundle`](crate::audit_bundle) has one epoch and believes what the record,
/// which is on chain, says of it. Both compare who is paid with who owns the device now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The epoch.
    pub epoch: EpochId,
    /// The root, recomputed and equal to the chain's.
    pub root: B256,
    /// Batches whose signatures were verified again.
    pub batches: u64,
    /// Readings in them.
    pub readings: u64,
    /// Devices of which is believed where they stood when the epoch began: the end of the chain, the time up to
    /// which readings were counted, and the key that signed last. A network that told a wrong one could have paid
    /// work in this epoch that was paid before.
    pub believed_standings: u64,
    /// Those of them that had work in epochs that were not settled: what they did there, and what they were
    /// paid for it, is believed. What this epoch pays for the one that [settles](crate::data::epoch::EpochRecord::settles)
    /// with it rests on that.
    pub believed_work: u64,
    /// Devices for which somebody was paid who does not own them now: they were transferred since, or the network
    /// wrote somebody else down. Their transfers in the registry tell which.
    pub believed_owners: u64,
}

impl Audit {
    /// Whether all that the root rests on was recomputed from signed batches and compared with the registry.
    pub const fn is_complete(&self) -> bool {
        self.believed_standings == 0 && self.believed_owners == 0
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64, one: &str, many: &str| {
            format!("{count} {}", if count == 1 { one } else { many })
        };
        let batches = plural(self.batches, "batch", "batches");
        let readings = plural(self.readings, "reading", "readings");
        write!(
            f,
            "epoch {}: {batches}, {readings}, root recomputed and equal to the chain's",
            self.epoch
        )?;
        if self.is_complete() {
            return Ok(());
        }
        let devices = |count| plural(count, "device", "devices");
        if self.believed_standings > 0 {
            let standings = devices(self.believed_standings);
            write!(f, "; taken from the record and not recomputed: where {standings} stood")?;
        }
        if self.believed_work > 0 {
            write!(f, ", and the unsettled work of {}", self.believed_work)?;
        }
        if self.believed_owners > 0 {
            let owners = devices(self.believed_owners);
            write!(f, "; {owners} paid to somebody who is not the owner now")?;
        }
        Ok(())
    }
}

impl Network {
    /// Recomputes an epoch from the signed batches in the log and compares with the chain.
    ///
    /// Amounts are cumulative, so the epochs before it are recomputed too. Every device that takes part
    /// must be in the registry with the key that its batches are verified with, the epochs must follow
    /// each other without a gap from the log's first batch on, and no batch may count twice.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] naming the first batch or value that differs,
    /// [`ErrorKind::NotFound`] when the epoch is not closed.
    pub async fn audit(&self, id: EpochId) -> Result<Audit> {
        self.audit_copy(id, &*self.0.log).await
    }

    /// As [`audit`](Self::audit), from a copy of the batches that anybody keeps.
    ///
    /// # Errors
    /// As [`audit`](Self::audit).
    pub async fn audit_copy(&self, id: EpochId, copy: &dyn BatchLog) -> Result<Audit> {
        let mut books = Books::default();
        let mut known = Known::default();
        let mut number = EpochId::new(0);
        loop {
            let record = self.sealed_record(number).await?.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "the epoch is not closed").with("epoch", number)
            })?;
            known.check_order(&record)?;
            known.check_settled(&record)?;
            self.check_roster(&record, &books, &mut known).await?;
            let batches = record.range().end - record.range().start;
            let mut scored = replay(copy, &record, &self.0.rules.checks_of(&record)?).await?;
            known.check_unverified(copy, &record, &scored.unverified).await?;
            let readings = scored.readings;
            let allocation = self.0.rules.allocate(&record, &mut scored)?;
            let commitment = *books.add(record.clone(), scored, allocation)?.commitment();
            let published = self.0.ledgers.distributor.published(number).await?;
            if published != Some(commitment) {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "the recomputed epoch is not the one on chain",
                )
                .with("epoch", number)
                .with("recomputed root", commitment.root)
                .with("root on chain", published.map_or(B256::ZERO, |published| published.root)));
            }
            if number == id {
                return Ok(Audit {
                    epoch: id,
                    root: commitment.root,
                    batches,
                    readings,
                    believed_standings: 0,
                    believed_work: 0,
                    believed_owners: known.elsewhere.len() as u64,
                });
            }
            known.policies.insert(number, record.policy().to_owned());
            known.previous = Some(record);
            number = number
                .next()
                .ok_or_else(|| Error::new(ErrorKind::Overflow, "there is no such epoch"))?;
        }
    }

    /// Whoever made the record could otherwise have invented devices.
    async fn check_roster(
        &self,
        record: &EpochRecord,
        books: &Books,
        known: &mut Known,
    ) -> Result<()> {
        if let Some(left_out) = books.unsettled().find(|did| record.member(did).is_none()) {
            let message = "the epoch leaves out a device whose work is not settled";
            return Err(Error::new(ErrorKind::Corrupt, message)
                .with("epoch", record.epoch())
                .with("did", left_out));
        }
        for member in record.roster() {
            if member.past.as_ref() != books.past(&member.device) {
                let message =
                    "the epoch does not begin where its device stood when the one before ended";
                return Err(Error::new(ErrorKind::Corrupt, message)
                    .with("epoch", record.epoch())
                    .with("did", &member.device));
            }
            if !known.keys.contains_key(&member.device) {
                let keys = self.0.ledgers.registry.keys(&member.device).await?;
                known.keys.insert(member.device.clone(), keys);
            }
            if !known.owners.contains_key(&member.device) {
                let owner = owner(&*self.0.ledgers.registry, &member.device).await?;
                known.owners.insert(member.device.clone(), owner);
            }
            let owner = known.owners.get(&member.device).copied();
            if !member.beneficiary.is_zero() && owner != Some(member.beneficiary) {
                known.elsewhere.insert(member.device.clone());
            }
            let history = known.keys.get(&member.device).map_or(&[][..], Vec::as_slice);
            if after(history, &member.keys).is_none() {
                let message =
                    "the epoch has a device that the registry does not know by these keys";
                return Err(Error::new(ErrorKind::Corrupt, message)
                    .with("epoch", record.epoch())
                    .with("did", &member.device));
            }
        }
        Ok(())
    }
}

/// Who owns a device now; nobody when the registry does not know it.
pub(crate) async fn owner(registry: &dyn DeviceRegistry, device: &Did) -> Result<Address> {
    Ok(registry.device(device).await?.map_or(Address::ZERO, |record| record.owner))
}

/// What an audit remembers from epoch to epoch.
#[derive(Default)]
struct Known {
    previous: Option<EpochRecord>,
    /// Devices with the keys that the registry has of them.
    keys: HashMap<Did, Vec<PublicKey>>,
    /// Who owns them now.
    owners: HashMap<Did, Address>,
    /// Devices for which somebody else was paid.
    elsewhere: BTreeSet<Did>,
    /// What epochs were sealed with.
    policies: HashMap<EpochId, String>,
}

impl Known {
    /// Batches that count for nothing because of their key: none of them may be signed with a key that the
    /// device got later, or whoever made the record could have left that key out.
    async fn check_unverified(
        &self,
        copy: &dyn BatchLog,
        record: &EpochRecord,
        unverified: &[u64],
    ) -> Result<()> {
        for index in unverified {
            let entries = copy.read(*index, 1).await?;
            let Some(entry) = entries.first() else { continue };
            let device = claimed_signer(entry.batch.as_bytes(), record.network())?;
            let history = self.keys.get(&device).map_or(&[][..], Vec::as_slice);
            check_left_out(record, &device, history, &entry.batch)?;
        }
        Ok(())
    }

    /// An epoch settles by the policy that it was sealed with.
    fn check_settled(&self, record: &EpochRecord) -> Result<()> {
        let sealed_with = record.settles().and_then(|settled| self.policies.get(&settled));
        if sealed_with.map(String::as_str) == record.settled_policy() {
            return Ok(());
        }
        let message = "the epoch settles another one by a policy that it was not sealed with";
        Err(Error::new(ErrorKind::Corrupt, message).with("epoch", record.epoch()))
    }

    /// No batch is left out: none between two epochs, none before the first. That none counts twice follows
    /// from the chain of its device, which goes on from epoch to epoch.
    fn check_order(&self, record: &EpochRecord) -> Result<()> {
        match &self.previous {
            Some(previous) => record.follows(previous)?,
            None if record.range().start == 0 => {}
            None => {
                let message = "the first epoch leaves out the beginning of the log";
                return Err(Error::new(ErrorKind::Corrupt, message)
                    .with("first batch", record.range().start));
            }
        }
        Ok(())
    }
}

/// A batch that counted for nothing because of its key must not be signed with one that the device got later.
pub(crate) fn check_left_out(
    record: &EpochRecord,
    device: &Did,
    history: &[PublicKey],
    batch: &SignedBatch,
) -> Result<()> {
    let roster = record.member(device).map_or(&[][..], |member| &member.keys);
    for key in after(history, roster).unwrap_or_default() {
        if BatchVerifier::new(record.network(), key).link(batch).is_ok() {
            let message = "the epoch leaves out a key that its device signed with";
            return Err(Error::new(ErrorKind::Corrupt, message)
                .with("epoch", record.epoch())
                .with("did", device)
                .with("batch", batch.hash()));
        }
    }
    Ok(())
}

/// The keys that a device got after those in a roster, which must be a run of its history that leaves out
/// none between and as few before as the roster has room for.
pub(crate) fn after<'a>(history: &'a [PublicKey], roster: &[PublicKey]) -> Option<&'a [PublicKey]> {
    if roster.is_empty() {
        return history.is_empty().then_some(history);
    }
    let fits = |start: &usize| {
        (*start == 0 || roster.len() == MAX_KEYS)
            && history.get(*start..).is_some_and(|rest| rest.starts_with(roster))
    };
    let start = (0..history.len()).find(fits)?;
    history.get(start.checked_add(roster.len())?..)
}
