//! Chapter 5: an epoch is closed, and owners claim.

use anyhow::{Context, Result, ensure};
use depin::{Amount, EpochId};

use crate::{
    journey::{AT_ONCE, Journey},
    narrator::short,
    role::Role,
};

impl Journey {
    /// Findings, exact shares, reward tree, root on chain.
    pub async fn close(&mut self, id: EpochId) -> Result<()> {
        self.narrator.chapter(&format!("5.{} Epoch {id} is closed", id.value() + 1));
        let waiting = self.narrator.wait("verifying, scoring, sharing, publishing");
        let epoch = self.network.close_epoch(id).await?;
        waiting.finish_and_clear();
        let mut rows = Vec::new();
        for contribution in epoch.contributions() {
            let station =
                self.stations.iter().find(|station| *station.device.did() == contribution.device);
            let station = station.context("only enrolled stations contribute")?;
            let lost = contribution.readings - contribution.score;
            let reason = epoch.findings_of(&contribution.device).next();
            let reason = reason.map_or_else(String::new, |finding| {
                format!("{}: {}", finding.code, finding.detail)
            });
            let honest = !matches!(station.plan.role, Role::Stuck | Role::Hot);
            ensure!(
                !honest || lost == 0,
                "the honest station {} lost {lost} readings ({reason})",
                contribution.device
            );
            let amount = epoch.payout(&contribution.device);
            let numbers = [contribution.readings.to_string(), lost.to_string(), amount.to_string()];
            rows.push([vec![short(&contribution.device)], numbers.to_vec(), vec![reason]].concat());
        }
        rows.sort_by_key(|row| row[2] == "0");
        self.narrator.table(&["station", "readings", "lost", "tokens", "first reason"], &rows);
        self.narrator.say(&format!(
            "  emission {} tokens to {} stations, exactly",
            epoch.emission(),
            epoch.payouts().len()
        ));
        self.narrator.say(&format!("  root     {}  (on chain)", epoch.root()));
        self.report.readings +=
            epoch.contributions().iter().map(|contribution| contribution.readings).sum::<u64>();
        Ok(())
    }

    /// Every owner claims; claiming again pays nothing.
    pub async fn claim(&mut self, id: EpochId) -> Result<()> {
        let progress = self.narrator.progress("claiming", self.stations.len());
        let mut paid = Amount::ZERO;
        for stations in self.stations.chunks(AT_ONCE) {
            let claimed =
                self.network.claim_all(stations.iter().map(|station| station.device.did())).await?;
            self.report.claims +=
                claimed.iter().filter(|(_, amount)| !amount.is_zero()).count() as u64;
            paid = paid.checked_add(Amount::sum(claimed.iter().map(|(_, amount)| *amount))?)?;
            progress.inc(stations.len() as u64);
        }
        progress.finish_and_clear();
        self.narrator.say(&format!("  owners claimed {paid} tokens: what epoch {id} added"));
        let again = self.network.claim(self.stations[0].device.did()).await?;
        ensure!(again.is_zero(), "a second claim paid {again}");
        let mut rows = Vec::new();
        for station in self.stations.iter().take(6) {
            let balance = self.network.token().balance(station.plan.owner).await?;
            rows.push(vec![short(station.plan.owner), balance.to_string()]);
        }
        self.narrator.table(&["owner", "balance (tokens)"], &rows);
        self.narrator
            .say(&format!("  ... of {} owners; claiming once more pays 0", self.stations.len()));
        Ok(())
    }
}
