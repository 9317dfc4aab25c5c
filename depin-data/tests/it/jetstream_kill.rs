//! Ingest processes that die while they write one log, and a server that dies under them: nothing that
//! was acknowledged is lost or counted twice, and all replicas agree.
//!
//! The test binary starts itself as the victims: `victim` does nothing unless [`URL`] is set.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use depin_core::{
    Algorithm, B256, EpochId,
    log::{BatchLog, TreeHead},
    transport::Answer,
};
use depin_data::{
    log::{JetStreamLog, MemoryLog, RedbLog},
    merkle,
    nats::NatsOptions,
};

use crate::{
    broker::{Broker, jetstream, small},
    support::{Device, NOW, Net, network, reading},
};

const URL: &str = "DEPIN_STREAM_URL";
const VIEW: &str = "DEPIN_STREAM_VIEW";
const NAME: &str = "DEPIN_STREAM_NAME";
const PROCESSES: usize = 3;
const DEVICES: usize = 4;

/// How many times something is killed; 1,000 by `DEPIN_KILLS=1000`.
fn kills() -> usize {
    std::env::var("DEPIN_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(16)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Ok(url) = std::env::var(URL) else { return };
    let (view, name) = (std::env::var(VIEW).unwrap(), std::env::var(NAME).unwrap());
    let server = NatsOptions::new(url);
    let log = loop {
        match JetStreamLog::open(&server, &network(), RedbLog::open(&view).unwrap()).await {
            Ok(log) => break Arc::new(log),
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    };
    let net = Arc::new(Net::over(log));
    let tasks = (0..DEVICES).map(|n| {
        let device = Device::new(&format!("{name}-{n}"), Algorithm::EdDsa);
        tokio::spawn(ingest(Arc::clone(&net), device))
    });
    let tasks = tasks.chain([tokio::spawn(seal(Arc::clone(&net), name.clone()))]);
    for task in tasks.collect::<Vec<_>>() {
        if let Err(error) = task.await {
            say(&format!("panic {error}"));
        }
    }
}

/// Goes on with the device's chain for ever; tries again what was not answered.
async fn ingest(net: Arc<Net>, mut device: Device) {
    net.registry.add(&device);
    if let Some(tip) = net.ingest.log().tip(&device.did).await.unwrap() {
        (device.next, device.previous) = (tip.sequence.value() + 1, tip.hash);
    }
    loop {
        let batch = device.seal(&[reading("4.9", NOW)]);
        let receipt = loop {
            match net.ingest.accept(batch.as_bytes()).await {
                Ok(Answer::Receipt(receipt)) => break receipt,
                Ok(Answer::Refusal(refusal)) => panic!("{refusal:?}"),
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
            tokio::task::yield_now().await;
        };
        net.receipts.verify(&receipt, &batch).unwrap();
        say(&format!("ack {} {}", receipt.index, receipt.batch));
    }
}

/// What an epoch is sealed with: as long as several messages of a server with little `max_payload`.
fn record(epoch: u64) -> Vec<u8> {
    (0..50_000 + epoch % 1000).flat_map(|i| (i * epoch).to_be_bytes().into_iter().take(1)).collect()
}

/// Seals epochs of its own for ever; tries again what was not answered.
async fn seal(net: Arc<Net>, name: String) {
    let process: u64 = name.trim_start_matches('p').parse().unwrap();
    for epoch in (0..).map(|n| n * PROCESSES as u64 + process) {
        while let Err(error) =
            net.ingest.log().seal(EpochId::new(epoch), record(epoch).into()).await
        {
            assert!(error.is_retryable(), "{error:?}");
            tokio::task::yield_now().await;
        }
        say(&format!("sealed {epoch}"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One write per line, so that a line is whole or absent.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

struct Victim {
    child: Child,
    reader: JoinHandle<Vec<String>>,
}

impl Victim {
    fn start(server: &Broker, folder: &Path, name: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "jetstream_kill::victim", "--nocapture", "--test-threads=1"])
            .env(URL, server.url())
            .env(VIEW, folder.join(name))
            .env(NAME, name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect());
        Self { child, reader }
    }

    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.join().unwrap()
    }
}

/// What victims were told.
#[derive(Default)]
struct Acknowledged {
    /// Index and hash of each batch.
    batches: HashMap<u64, B256>,
    epochs: HashSet<u64>,
}

fn note(lines: Vec<String>, acknowledged: &mut Acknowledged) {
    for line in lines {
        assert!(!line.contains("panic"), "a victim could not go on: {line}");
        if let Some((_, epoch)) = line.split_once("sealed ") {
            acknowledged.epochs.insert(epoch.parse().unwrap());
        }
        // The test harness may print on the same line.
        let Some((_, rest)) = line.split_once("ack ") else { continue };
        let (index, hash) = rest.split_once(' ').unwrap();
        let (index, hash) = (index.parse().unwrap(), hash.parse().unwrap());
        let before = acknowledged.batches.insert(index, hash);
        assert!(
            before.is_none_or(|before| before == hash),
            "index {index} was given to two batches"
        );
    }
}

async fn check(server: &Broker, view: RedbLog, sealed: &HashSet<u64>) -> TreeHead {
    let log = JetStreamLog::open(&server.options(), &network(), view).await.unwrap();
    let head = log.level().await.unwrap();
    for epoch in sealed {
        let there = log.sealed(EpochId::new(*epoch)).await.unwrap();
        assert!(there.is_some_and(|there| *there == *record(*epoch)), "epoch {epoch} is lost");
    }
    head
}

async fn kill_and_check(mut server: Broker, kills: usize, hit_server: impl Fn(usize) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..PROCESSES).map(|n| format!("p{n}")).collect();
    let start = |server: &Broker, name: &String| Victim::start(server, folder.path(), name);
    let mut victims: Vec<_> = names.iter().map(|name| start(&server, name)).collect();
    let mut acknowledged = Acknowledged::default();
    for round in 0..kills {
        let random = RandomState::new().hash_one(round);
        std::thread::sleep(Duration::from_millis(50 + random % 400));
        if hit_server(round) {
            server.kill();
            server.run();
        } else {
            let n = usize::try_from(random).unwrap_or(round) % PROCESSES;
            let dead = std::mem::replace(&mut victims[n], start(&server, &names[n]));
            note(dead.kill(), &mut acknowledged);
        }
    }
    // Time to come back, for those who lost the server or were just started.
    std::thread::sleep(Duration::from_secs(3));
    for victim in victims {
        note(victim.kill(), &mut acknowledged);
    }
    // On a busy machine they may have come to nothing yet.
    for _ in 0..20 {
        if acknowledged.batches.len() > kills {
            break;
        }
        let victims: Vec<_> = names.iter().map(|name| start(&server, name)).collect();
        std::thread::sleep(Duration::from_secs(3));
        victims.into_iter().for_each(|victim| note(victim.kill(), &mut acknowledged));
    }
    let Acknowledged { batches: acknowledged, epochs } = acknowledged;
    println!("{kills} kills, {} batches, {} epochs", acknowledged.len(), epochs.len());
    assert!(acknowledged.len() > kills, "the victims were not under load");
    let log = JetStreamLog::open(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    let mut heads = Vec::new();
    // Each gives back what it alone has; then all are alike.
    for name in names.iter().chain(&names) {
        let view = RedbLog::open(folder.path().join(name)).unwrap();
        heads.push(check(&server, view, &epochs).await);
    }
    heads.drain(..names.len());
    check(&server, RedbLog::open_in_memory().unwrap(), &epochs).await;
    let head = log.level().await.unwrap();
    assert!(heads.iter().all(|other| *other == head), "{heads:?} {head:?}");
    let entries = log.read(0, usize::MAX).await.unwrap();
    let leaves = entries.iter().map(|entry| merkle::batch_leaf(&entry.batch));
    assert_eq!(merkle::root(leaves), head.root);
    let hashes: Vec<_> = entries.iter().map(|entry| entry.batch.hash()).collect();
    assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len(), "a batch is there twice");
    for (index, hash) in &acknowledged {
        let found = usize::try_from(*index).ok().and_then(|index| hashes.get(index));
        assert_eq!(found, Some(hash), "an acknowledged batch is lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_die_while_they_write_lose_nothing() {
    let Some(server) = Broker::nats(jetstream) else { return };
    kill_and_check(server, kills(), |_| false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_mid_stream_loses_nothing() {
    let Some(server) = Broker::nats(jetstream) else { return };
    kill_and_check(server, kills().div_ceil(2), |round| round % 2 == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_in_parts_outlive_who_seals_them_and_the_server() {
    let Some(server) = Broker::nats(small) else { return };
    kill_and_check(server, kills().div_ceil(2), |round| round % 3 == 0).await;
}
