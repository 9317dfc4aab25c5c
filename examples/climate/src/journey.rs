//! The journey of the network, chapter by chapter.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use depin::{
    EpochId, ManualClock, Network, Reading,
    data::{
        http::{HttpServer, HttpTransport},
        receipt::ReceiptVerifier,
    },
    hw::SimulatedPebble,
};
use tokio::task::JoinSet;

use crate::{
    enroll::Station,
    narrator::{Narrator, short},
    network,
    report::Report,
    role::{Attacker, Outcome},
    stations::{DAY, DAYS, START},
};

/// Batches of a station in a day: one every six hours.
const BATCHES: u64 = 4;
/// Stations that enroll in one go, and that send at the same time.
pub const AT_ONCE: usize = 25;

/// A run of the whole network.
pub struct Journey {
    pub narrator: Narrator,
    pub started: Instant,
    pub clock: Arc<ManualClock>,
    pub network: Network,
    pub server: HttpServer,
    pub line: HttpTransport,
    pub stations: Vec<Station>,
    pub report: Report,
    pub data: Option<PathBuf>,
}

impl Journey {
    /// Boots the chain, composes the network and enrolls its stations.
    pub async fn start(
        count: usize,
        data: Option<&Path>,
        nats: Option<&str>,
        narrator: Narrator,
    ) -> Result<Self> {
        let started = Instant::now();
        narrator.chapter("1. A chain and a network");
        let clock = Arc::new(ManualClock::at(START));
        let network = network::compose(clock.clone(), data, nats).await?;
        if let Some(deployment) = network.deployment() {
            narrator.say(&format!("  DeviceRegistry     {}", deployment.registry));
            narrator.say(&format!("  NetworkToken       {}", deployment.token));
            narrator.say(&format!("  RewardDistributor  {}", deployment.distributor));
        }
        let server = network.serve(([127, 0, 0, 1], 0).into()).await?;
        let receipts = ReceiptVerifier::new(network.id(), network.log_key());
        let line = HttpTransport::new(&server.url(), receipts, &mut rand::thread_rng())?;
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
                let readings = within(&station.plan.slice.days[day], from, to);
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
            let next = within(&station.plan.slice.days[1], from, to);
            let did = station.device.did();
            let attacker = Attacker {
                network: &self.network,
                line: &self.line,
                pebble: &station.plan.pebble,
                did,
            };
            outcomes.extend(attacker.attack(station.plan.role, &next).await?);
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
