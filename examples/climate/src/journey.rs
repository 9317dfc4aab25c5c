//! The journey of the network, chapter by chapter.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use depin::{
    Address, Amount, Device, EpochId, ErrorKind, ManualClock, Network, Reading, Unverified,
    core::{
        B256, keccak256,
        log::{BatchLog, NewBatch},
    },
    data::{
        batch::{self, BatchVerifier},
        http::{HttpServer, HttpTransport},
        log::MemoryLog,
    },
    hw::SimulatedPebble,
};
use tokio::task::JoinSet;

use crate::{
    narrator::{Narrator, short},
    network,
    report::{EpochReport, Report},
    role::{Attacker, Outcome, Role},
    stations::{self, DAY, DAYS, START, Slice},
};

/// Batches of a station in a day: one every six hours.
const BATCHES: u64 = 4;
/// Stations that enroll in one go, and that send at the same time.
const AT_ONCE: usize = 25;

/// One station: its hardware, its role, and what it will measure.
struct Station {
    pebble: SimulatedPebble,
    role: Role,
    owner: Address,
    slice: Slice,
    device: Device,
}

/// A run of the whole network.
pub struct Journey {
    narrator: Narrator,
    started: Instant,
    clock: Arc<ManualClock>,
    network: Network,
    server: HttpServer,
    line: HttpTransport,
    stations: Vec<Station>,
    report: Report,
    data: Option<PathBuf>,
}

impl Journey {
    /// Boots the chain, composes the network and enrolls its stations.
    pub async fn start(count: usize, data: Option<&Path>, narrator: Narrator) -> Result<Self> {
        let started = Instant::now();
        narrator.chapter("1. A chain and a network");
        let clock = Arc::new(ManualClock::at(START));
        let network = network::compose(clock.clone(), data).await?;
        if let Some(deployment) = network.deployment() {
            narrator.say(&format!("  DeviceRegistry     {}", deployment.registry));
            narrator.say(&format!("  NetworkToken       {}", deployment.token));
            narrator.say(&format!("  RewardDistributor  {}", deployment.distributor));
        }
        let server = network.serve(([127, 0, 0, 1], 0).into()).await?;
        let line = HttpTransport::new(&server.url())?;
        narrator.say(&format!("  ingest listens at  {}", server.url()));
        let report = Report { stations: count, ..Report::default() };
        let data = data.map(Path::to_owned);
        let mut journey = Self {
            narrator,
            started,
            clock,
            network,
            server,
            line,
            stations: Vec::new(),
            report,
            data,
        };
        journey.enroll(count).await?;
        Ok(journey)
    }

    /// Key, DID, evidence, appraisal, device token and account, for every station that lacks them.
    async fn enroll(&mut self, count: usize) -> Result<()> {
        self.narrator.chapter(&format!("2. {count} stations enroll"));
        let slices = stations::slices()?;
        let progress = self.narrator.progress("enrolling", count);
        for first in (0..count).step_by(AT_ONCE) {
            let mut newcomers = Vec::new();
            for number in first..count.min(first + AT_ONCE) {
                let role = Role::of(number);
                let pebble = SimulatedPebble::new(number as u64);
                let owner = Address::from_word(keccak256(format!("climate owner {number}")));
                let slice = role
                    .tamper(slices.get(number % slices.len()).context("there are slices")?.clone());
                match self.network.resume(pebble.clone()).await {
                    Ok(device) => {
                        let device = device.over(self.line.clone());
                        self.stations.push(Station { pebble, role, owner, slice, device });
                    }
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        newcomers.push((pebble, role, owner, slice))
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let wishes =
                newcomers.iter().map(|(pebble, _, owner, _)| (pebble.clone().into(), *owner));
            let devices = self.network.enroll_all(wishes).await?;
            for (device, (pebble, role, owner, slice)) in devices.into_iter().zip(newcomers) {
                let device = device.over(self.line.clone());
                self.stations.push(Station { pebble, role, owner, slice, device });
            }
            progress.set_position(self.stations.len() as u64);
        }
        progress.finish_and_clear();
        self.show_stations(slices.len());
        Ok(())
    }

    fn show_stations(&self, slices: usize) {
        let row = |station: &Station| {
            let account = station.device.account().map_or_else(|| "-".into(), short);
            vec![
                short(station.device.did()),
                station.slice.label.clone(),
                short(station.owner),
                account,
            ]
        };
        let rows: Vec<_> = self.stations.iter().map(row).collect();
        self.narrator.table(&["station", "replays", "owner", "its account (ERC-6551)"], &rows);
        self.narrator.say("  measurements are real, shifted by whole days onto the same two days (see data/README.md)");
        if self.stations.len() > slices {
            self.narrator
                .say(&format!("  there are {slices} slices; later stations replay them again"));
        }
    }

    /// Two days, two epochs, two audits.
    pub async fn run(mut self) -> Result<Report> {
        for day in 0..DAYS {
            let epoch = EpochId::new(day as u64);
            if self.network.epoch(epoch).await?.is_none() {
                self.measure(day).await?;
                if day == 0 {
                    self.mischief().await?;
                }
            }
            self.close(epoch).await?;
            self.claim(epoch).await?;
        }
        self.audit().await?;
        self.conclude().await?;
        Ok(self.report)
    }

    /// Every station sends its day in four batches, many stations at a time.
    async fn measure(&mut self, day: usize) -> Result<()> {
        self.narrator.chapter(&format!(
            "3.{} Day {} is measured and sent over HTTP",
            day + 1,
            day + 1
        ));
        let before = self.network.log().head().await?.size;
        let progress = self.narrator.progress("sending", self.stations.len() * BATCHES as usize);
        for quarter in 0..BATCHES {
            let number = day as u64 * BATCHES + quarter;
            let (from, to) = span(number);
            self.clock.set(to);
            let mut senders = JoinSet::new();
            for station in &self.stations {
                let tip = self.network.log().tip(station.device.did()).await?;
                if tip.is_some_and(|tip| tip.sequence.value() >= number) {
                    continue; // stored before the process was killed
                }
                if senders.len() >= AT_ONCE {
                    senders.join_next().await.context("a sender runs")???;
                }
                let readings = within(&station.slice.days[day], from, to);
                let device = station.device.clone();
                senders.spawn(async move { device.send(&readings).await.map(drop) });
                progress.inc(1);
            }
            while let Some(sent) = senders.join_next().await {
                sent??;
            }
        }
        progress.finish_and_clear();
        let head = self.network.log().head().await?;
        let new = head.size - before;
        self.narrator.say(&format!(
            "  {new} batches verified, durable and receipted; log root {}",
            head.root
        ));
        Ok(())
    }

    /// Tricks against ingest; the ones that only lose score show when the epoch closes.
    async fn mischief(&mut self) -> Result<()> {
        self.narrator.chapter("4. Some stations are up to no good");
        let mut outcomes: Vec<Outcome> = Vec::new();
        let (from, to) = span(BATCHES);
        for station in &self.stations {
            let next = within(&station.slice.days[1], from, to);
            let did = station.device.did();
            let attacker =
                Attacker { network: &self.network, line: &self.line, pebble: &station.pebble, did };
            outcomes.extend(attacker.attack(station.role, &next).await?);
        }
        let stranger = SimulatedPebble::new(u64::MAX);
        let did = depin::identity::methods::io::did_io(stranger.signer().public_key())?;
        let attacker =
            Attacker { network: &self.network, line: &self.line, pebble: &stranger, did: &did };
        outcomes.push(attacker.intrude(START).await?);
        let repeated = outcomes.iter().filter(|outcome| outcome.code == "duplicate").count() as u64;
        self.report.batches_refused.insert("duplicate".into(), repeated);
        let row = |outcome: &Outcome| {
            vec![
                short(&outcome.did),
                outcome.story.into(),
                outcome.code.clone(),
                outcome.detail.clone(),
            ]
        };
        let rows: Vec<_> = outcomes.iter().map(row).collect();
        self.narrator.table(&["station", "trick", "code", "answer"], &rows);
        Ok(())
    }

    /// Findings, exact shares, reward tree, root on chain.
    async fn close(&mut self, id: EpochId) -> Result<()> {
        self.narrator.chapter(&format!("5.{} Epoch {id} is closed", id.value() + 1));
        let epoch = self.network.close_epoch(id).await?;
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
            let honest = !matches!(station.role, Role::Stuck | Role::Hot);
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
    async fn claim(&mut self, id: EpochId) -> Result<()> {
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
            let balance = self.network.token().balance(station.owner).await?;
            rows.push(vec![short(station.owner), balance.to_string()]);
        }
        self.narrator.table(&["owner", "balance (tokens)"], &rows);
        self.narrator
            .say(&format!("  ... of {} owners; claiming once more pays 0", self.stations.len()));
        Ok(())
    }

    /// Recomputes both epochs from the signed bytes, then catches a doctored copy of the log.
    async fn audit(&mut self) -> Result<()> {
        self.narrator.chapter("6. Anybody audits");
        for day in 0..DAYS {
            let audit = self.network.audit(EpochId::new(day as u64)).await?;
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
            let content = Unverified::new(entry.batch.clone())
                .verify(&BatchVerifier::new(self.network.id(), &key))?;
            let mut bytes = entry.batch.as_bytes().to_vec();
            if entry.index + 1 == end as u64 {
                *bytes.last_mut().context("a batch has bytes")? ^= 1;
            }
            let (sequence, previous) = (content.sequence, content.previous);
            let batch = depin::SignedBatch::new(bytes);
            copy.append(NewBatch { device, sequence, previous, received: entry.received, batch })
                .await?;
        }
        Ok(copy)
    }

    /// Sums up from the log and the chain, so that runs before a crash count too.
    async fn conclude(&mut self) -> Result<()> {
        self.report.batches_accepted = self.network.log().head().await?.size;
        for refused in self.network.log().refusals(0, usize::MAX).await? {
            *self.report.batches_refused.entry(refused.refusal.code.to_string()).or_default() += 1;
        }
        let mut claimed = Amount::ZERO;
        for station in &self.stations {
            claimed =
                claimed.checked_add(self.network.distributor().claimed(station.owner).await?)?;
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

/// The six hours of the batch with a number.
fn span(number: u64) -> (depin::Timestamp, depin::Timestamp) {
    let quarter = DAY / BATCHES as u32;
    let at = |number: u64| START.plus(Duration::from_secs(quarter.as_secs() * number));
    (at(number), at(number + 1))
}

fn within(readings: &[Reading], from: depin::Timestamp, to: depin::Timestamp) -> Vec<Reading> {
    readings.iter().filter(|reading| (from..to).contains(&reading.at())).cloned().collect()
}
