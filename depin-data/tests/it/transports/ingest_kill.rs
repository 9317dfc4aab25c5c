//! Processes of ingest that are killed behind a broker while devices send: nothing that was acknowledged is lost, and
//! nothing is there twice.
//!
//! The test binary starts itself as the victim: `victim` does nothing unless [`FILE`] is set.

use std::{
    collections::hash_map::Entry,
    hash::{BuildHasher, RandomState},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use depin_core::{
    log::BatchLog,
    transport::{Answer, Transport},
};
use depin_data::log::RedbLog;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    net,
    wire::{Kind, Wire},
};
use crate::{
    kill::{Acknowledged, chains_are_whole, devices, nothing_is_lost, spawn},
    support::{Device, NOW, Net, reading},
};

over_every_broker! {
    an_ingest_killed_again_and_again_loses_nothing_and_counts_nothing_twice
}

const FILE: &str = "DEPIN_BROKER_VICTIM_FILE";
const KIND: &str = "DEPIN_BROKER_VICTIM_KIND";
const PORT: &str = "DEPIN_BROKER_VICTIM_PORT";
/// Kills of ingest; `DEPIN_KILLS=1000` for the long run.
const KILLS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let (kind, port) = (std::env::var(KIND).unwrap(), std::env::var(PORT).unwrap());
    let kinds = [Kind::V3, Kind::V5, Kind::Nats];
    let kind = kinds.into_iter().find(|one| format!("{one:?}") == kind).unwrap();
    let net = Net::over(Arc::new(RedbLog::open(path).unwrap()));
    devices().iter().for_each(|device| net.registry.add(device));
    let (port, attempt) = (port.parse().unwrap(), Duration::from_secs(10));
    let _server = kind.serve(port, attempt, 64, &net.ingest, Some("ingest-1")).await;
    std::future::pending::<()>().await;
}

/// A process of ingest, which no test that fails leaves behind.
struct Victim(Child);

impl Victim {
    fn start(wire: &Wire, folder: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = "transports::ingest_kill::victim";
        command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
        command.env(KIND, format!("{:?}", wire.kind)).env(PORT, wire.broker.port.to_string());
        command.env(FILE, folder.join("log"));
        Self(spawn(command, folder))
    }

    fn assert_is_alive(&mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "ingest ended by itself");
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        let status = self.0.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it was killed and did not end by itself");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends until it is told to stop, each batch until it is answered; returns what was acknowledged.
async fn send(
    net: Arc<Net>,
    transport: Box<dyn Transport>,
    mut device: Device,
    answers: watch::Sender<usize>,
    stop: watch::Receiver<bool>,
) -> Acknowledged {
    let mut taken = Acknowledged::new();
    while !*stop.borrow() {
        let batch = device.seal(&[reading("4.9", NOW)]);
        let receipt = loop {
            match transport.send(&batch).await {
                Ok(Answer::Receipt(receipt)) => break receipt,
                Ok(Answer::Refusal(refusal)) => panic!("{refusal:?}"),
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        };
        net.receipts.verify(&receipt, &batch).unwrap();
        assert_eq!(taken.insert(receipt.index, batch.hash()), None, "{receipt:?}");
        answers.send_modify(|answers| *answers += 1);
    }
    taken
}

/// Kills ingest so often: now and then before it has answered anybody, else at some moment after some answers.
async fn kill(kills: usize, start: impl Fn() -> Victim, answers: &watch::Receiver<usize>) {
    for round in 0..kills {
        let mut victim = start();
        let random = RandomState::new().hash_one(round);
        let (after, pause) = (random as usize % 24, Duration::from_micros(random / 24 % 20_000));
        let enough = *answers.borrow() + after;
        while *answers.borrow() < enough {
            victim.assert_is_alive();
            sleep(Duration::from_millis(1)).await;
        }
        sleep(pause).await;
        victim.kill();
    }
}

async fn an_ingest_killed_again_and_again_loses_nothing_and_counts_nothing_twice(wire: Wire) {
    let kills = std::env::var("DEPIN_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let folder = tempfile::tempdir().unwrap();
    let (net, mut fleet) = (Arc::new(net()), JoinSet::new());
    let ((answers, answered), (stop, stopped)) = (watch::channel(0), watch::channel(false));
    for device in devices() {
        let transport = wire.connect(&net, &device.did).await;
        let (answers, stopped) = (answers.clone(), stopped.clone());
        fleet.spawn(send(Arc::clone(&net), transport, device, answers, stopped));
    }
    kill(kills, || Victim::start(&wire, folder.path()), &answered).await;
    // Whoever waits is answered by the one that lives.
    let last = Victim::start(&wire, folder.path());
    stop.send_replace(true);
    let mut acknowledged = Acknowledged::new();
    for (index, batch) in fleet.join_all().await.into_iter().flatten() {
        let Entry::Vacant(free) = acknowledged.entry(index) else {
            panic!("index {index} was given to two batches")
        };
        free.insert(batch);
    }
    last.kill();
    let log = RedbLog::open(folder.path().join("log")).unwrap();
    chains_are_whole(&nothing_is_lost(&log, &acknowledged, true).await);
    assert_eq!(log.head().await.unwrap().size, acknowledged.len() as u64, "all were answered");
    println!("{kills} kills, {} acknowledged", acknowledged.len());
    assert!(acknowledged.len() > kills, "ingest was not under load");
}
