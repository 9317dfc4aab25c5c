//! Chapters 6 and 7: anybody audits, and the run is summed up.

use anyhow::{Context, Result, bail, ensure};
use depin::{
    Amount, EpochId, SignedBatch,
    core::{B256, log::BatchLog},
    data::{
        batch::{self, BatchVerifier},
        log::MemoryLog,
    },
};

use crate::{journey::Journey, report::EpochReport, stations::DAYS};

impl Journey {
    /// Recomputes both epochs from the signed bytes, then catches a doctored copy of the log.
    pub async fn audit(&mut self) -> Result<()> {
        self.narrator.chapter("6. Anybody audits");
        for day in 0..DAYS {
            let waiting = self.narrator.wait("recomputing from signed bytes");
            let audit = self.network.audit(EpochId::new(day as u64)).await?;
            waiting.finish_and_clear();
            self.narrator.say(&format!("  {audit}"));
        }
        let doctored = self.doctored_log().await?;
        match self.network.audit_copy(EpochId::new(0), &doctored).await {
            Ok(audit) => bail!("a doctored log passed the audit: {audit}"),
            Err(error) => {
                self.narrator.say(&format!("  a doctored copy of the log fails: {error}"))
            }
        }
        self.report.audit_ok = true;
        Ok(())
    }

    /// A copy of the log in which one byte of the last batch of the first epoch differs.
    async fn doctored_log(&self) -> Result<MemoryLog> {
        let (copy, log) = (MemoryLog::new(), self.network.log());
        let epoch = self.network.epoch(EpochId::new(0)).await?.context("epoch 0 is closed")?;
        let end = usize::try_from(epoch.record().range().end)?;
        for entry in log.read(0, end).await? {
            let device = batch::claimed_signer(entry.batch.as_bytes(), self.network.id())?;
            let key = self.network.device(&device).await?.key;
            let link = BatchVerifier::new(self.network.id(), &key).link(&entry.batch)?;
            let mut bytes = entry.batch.as_bytes().to_vec();
            if entry.index + 1 == end as u64 {
                *bytes.last_mut().context("a batch has bytes")? ^= 1;
            }
            copy.append(link.into_new(entry.received, SignedBatch::new(bytes))).await?;
        }
        Ok(copy)
    }

    /// Sums up from the log and the chain, so that runs before a crash count too.
    pub async fn conclude(&mut self) -> Result<()> {
        self.report.batches_accepted = self.network.log().head().await?.size;
        let refusals = self.network.log().refusal_range().await?;
        for refused in self.network.log().refusals(refusals.start, usize::MAX).await? {
            *self.report.batches_refused.entry(refused.refusal.code.to_string()).or_default() += 1;
        }
        let mut claimed = Amount::ZERO;
        for station in &self.stations {
            claimed = claimed
                .checked_add(self.network.distributor().claimed(station.plan.owner).await?)?;
        }
        let mut before = Amount::ZERO;
        for day in 0..DAYS {
            let id = EpochId::new(day as u64);
            let epoch =
                self.network.epoch(id).await?.with_context(|| format!("epoch {id} is closed"))?;
            let onchain = self.network.distributor().published(id).await?;
            let cumulative = epoch.commitment().cumulative;
            let paid = claimed.min(cumulative).checked_sub(claimed.min(before))?;
            before = cumulative;
            self.report.epochs.push(EpochReport {
                id,
                root: epoch.root(),
                onchain_root: onchain.map_or(B256::ZERO, |commitment| commitment.root),
                emission: epoch.emission(),
                paid,
                payouts: epoch.payouts().len(),
            });
        }
        ensure!(
            self.network.token().supply().await? == before,
            "more tokens exist than the epochs emitted"
        );
        self.report.elapsed = self.started.elapsed();
        self.end();
        Ok(())
    }

    fn end(&self) {
        let report = &self.report;
        self.narrator.chapter("7. The end");
        self.narrator.say(&format!(
            "  {} stations, {} batches, {} readings, {} claims in {:.1} s",
            report.stations,
            report.batches_accepted,
            report.readings,
            report.claims,
            report.elapsed.as_secs_f64()
        ));
        match &self.data {
            Some(folder) => self.narrator.say(&format!(
                "  everything is kept in {}: run again to continue",
                folder.display()
            )),
            None => self
                .narrator
                .say("  nothing is kept; with --data DIR a killed run continues where it was"),
        }
        self.narrator.say(&format!("  {} closes", self.server.url()));
    }
}
