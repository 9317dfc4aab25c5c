//! Audits: from the signed bytes to the root on chain, trusting nobody.

use std::fmt;

use depin_core::{B256, EpochId, Error, ErrorKind, Result, log::BatchLog};
use depin_data::{audit::replay, epoch::EpochRecord};

use crate::{Network, epoch::Books};

/// An audit that found everything as it should be; one that did not is an error that says where.
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
        )
    }
}

impl Network {
    /// Recomputes an epoch from the signed batches in the log and compares with the chain.
    ///
    /// Amounts are cumulative, so the epochs before it are recomputed too.
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
        let mut previous: Option<EpochRecord> = None;
        let mut number = EpochId::new(0);
        loop {
            let record = self.sealed_record(number).await?;
            if let Some(previous) = &previous {
                record.follows(previous)?;
            }
            let batches = record.range().end - record.range().start;
            let scored = replay(copy, &record, &self.0.checks).await?;
            let readings = scored.contributions.entries.iter().map(|entry| entry.readings).sum();
            let allocation = self.allocate(&record, &scored)?;
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
                return Ok(Audit { epoch: id, root: commitment.root, batches, readings });
            }
            previous = Some(record);
            number = number
                .next()
                .ok_or_else(|| Error::new(ErrorKind::Overflow, "there is no such epoch"))?;
        }
    }

    async fn sealed_record(&self, id: EpochId) -> Result<EpochRecord> {
        let bytes = self.0.log.sealed(id).await?;
        let bytes = bytes.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the epoch is not closed").with("epoch", id)
        })?;
        Ok(EpochRecord::parse(&bytes)?)
    }
}
