//! Audits: from the signed bytes to the root on chain.
//!
//! Trusted are registry and chain alone. A registry tells the owner of now; where the record pays somebody else,
//! that is counted and said.

use std::fmt;

use depin_core::{B256, EpochId, Error, ErrorKind, Result, log::BatchLog};
use depin_data::{
    audit::replay,
    epoch::{Break, EpochRecord},
};

use crate::{Network, books::Books, roll::Roll};

/// An audit that found everything as it should be; one that did not is an error that says where.
///
/// What it could not recompute and took from records, it counts: [`Network::audit`], and a row of bundles from the
/// first epoch on, take nothing of the time before; [`audit_bundle`](crate::audit_bundle) has one epoch, and a
/// [row](crate::RowAudit) may begin in the middle: they believe what the record, which is on chain, says of it. All
/// compare who is paid with who owns the device now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The epoch.
    pub epoch: EpochId,
    /// The first of the epochs up to this one that were recomputed one after the other, in the log or in one row.
    pub since: EpochId,
    /// The root, recomputed and equal to the chain's.
    pub root: B256,
    /// Manifest of the record that was [withdrawn](Network::withdraw_epoch) before this one took its place.
    pub replaces: Option<B256>,
    /// Batches whose signatures were verified again.
    pub batches: u64,
    /// Readings in them.
    pub readings: u64,
    /// Devices of which is believed where they stood when they first took part [since](Self::since): that they were
    /// new, or the end of the chain, the time up to which readings were counted, and the key that signed last. A
    /// network that told a wrong one could have paid work again that was paid before.
    pub believed_standings: u64,
    /// Those of them that had work in epochs that were not settled: what they did there, and what they were
    /// paid for it, is believed. What is paid for epochs that
    /// [settle](crate::data::epoch::EpochRecord::settles) rests on that.
    pub believed_work: u64,
    /// Epochs that settled since, of which is believed by what policy they were sealed.
    pub believed_policies: u64,
    /// Devices for which somebody was paid who neither owns them now nor is their own account: they were transferred
    /// since, or the network wrote somebody else down. Their transfers in the registry tell which.
    pub believed_owners: u64,
}

impl Audit {
    /// Whether all that the root rests on was recomputed from signed batches and compared with the registry.
    pub const fn is_complete(&self) -> bool {
        self.believed_standings == 0 && self.believed_policies == 0 && self.believed_owners == 0
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
        if self.replaces.is_some() {
            write!(f, "; it replaces a withdrawn one")?;
        }
        let devices = |count| plural(count, "device", "devices");
        if self.believed_standings > 0 {
            let standings = devices(self.believed_standings);
            write!(f, "; taken from the record and not recomputed: where {standings} stood")?;
        }
        if self.believed_work > 0 {
            write!(f, ", and the unsettled work of {}", self.believed_work)?;
        }
        if self.believed_policies > 0 {
            let epochs = plural(self.believed_policies, "settled epoch", "settled epochs");
            write!(f, "; the policy of {epochs} taken from the record")?;
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
        let seals = self.seals().await?;
        let mut books = Books::new(self.0.id.clone());
        let mut roll = Roll::new(&*self.0.ledgers.registry);
        let mut number = EpochId::new(0);
        loop {
            let record = self.audited_record(&seals, number).await?;
            books.standings().check(&record).map_err(|found| broken(&record, found))?;
            roll.check(&record).await?;
            let batches = record.range().end - record.range().start;
            let mut scored = replay(copy, &record, &self.0.rules.checks_of(&record)?).await?;
            for index in &scored.unverified {
                for entry in copy.read(*index, 1).await? {
                    roll.check_left_out(&record, &entry.batch)?;
                }
            }
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
                    since: EpochId::new(0),
                    root: commitment.root,
                    replaces: record.replaces(),
                    batches,
                    readings,
                    believed_standings: 0,
                    believed_work: 0,
                    believed_policies: 0,
                    believed_owners: roll.elsewhere(),
                });
            }
            number = number
                .next()
                .ok_or_else(|| Error::new(ErrorKind::Overflow, "there is no such epoch"))?;
        }
    }
}

/// An epoch that does not begin where the one before it ended.
pub(crate) fn broken(record: &EpochRecord, found: Break) -> Error {
    Error::from(found).with("epoch", record.epoch())
}
