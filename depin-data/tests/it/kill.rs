//! Processes that die and disks that fill up: what was acknowledged is there afterwards.
//!
//! The test binary starts itself as the victim: `victim` does nothing unless [`FILE`] is set.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use depin_core::{
    Algorithm, B256, SignedBatch, Signer, Verifier, log::BatchLog, transport::Answer,
};
use depin_data::{batch::BatchVerifier, log::RedbLog, merkle};

use crate::support::{Device, NOW, Net, network, reading};

const FILE: &str = "DEPIN_VICTIM_FILE";
const UNTIL_FULL: &str = "DEPIN_VICTIM_UNTIL_FULL";
const DEVICES: usize = 8;
/// How often the log's process is killed, when more than 50 times.
const KILLS: &str = "DEPIN_KILLS";

pub(crate) fn devices() -> Vec<Device> {
    (0..DEVICES).map(|n| Device::new(&format!("d{n}"), Algorithm::EdDsa)).collect()
}

/// One write per line, so that a line is whole or absent.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let net = Arc::new(Net::over(Arc::new(RedbLog::open(path).unwrap())));
    let tasks = devices().into_iter().map(|device| tokio::spawn(ingest(Arc::clone(&net), device)));
    say("ready");
    let until_full = std::env::var_os(UNTIL_FULL).is_some();
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    if until_full {
        recovers(&net).await;
    }
}

/// Goes on with the device's chain until the log fails, and tells what was acknowledged.
async fn ingest(net: Arc<Net>, mut device: Device) {
    net.registry.add(&device);
    if let Some(tip) = net.ingest.log().tip(&device.did).await.unwrap() {
        (device.next, device.previous) = (tip.sequence.value() + 1, tip.hash);
    }
    // Small batches die in more places, large ones fill a disk sooner.
    let readings = if std::env::var_os(UNTIL_FULL).is_some() { 96 } else { 2 };
    loop {
        let batch = device.seal(&vec![reading("4.9", NOW); readings]);
        match net.ingest.accept(batch.as_bytes()).await {
            Ok(Answer::Receipt(receipt)) => {
                net.receipts.verify(&receipt, &batch).unwrap();
                say(&format!("ack {} {}", receipt.index, receipt.batch));
            }
            Ok(Answer::Refusal(refusal)) => panic!("{refusal:?}"),
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                say("full");
                return;
            }
        }
    }
}

/// Frees the disk, as an operator would, and finds the same log object at work again.
async fn recovers(net: &Net) {
    let before = net.ingest.log().head().await.unwrap();
    assert_eq!(net.ingest.log().read(0, usize::MAX).await.unwrap().len() as u64, before.size);
    let me = std::process::id().to_string();
    let freed = Command::new("prlimit").args(["--pid", &me, "--fsize=unlimited:"]).status();
    assert!(freed.unwrap().success());
    let mut device = Device::new("after", Algorithm::EdDsa);
    net.registry.add(&device);
    let receipt = net.taken(&device.measure()).await;
    say(&format!("ack {} {}", receipt.index, receipt.batch));
    say("recovered");
}

pub(crate) fn spawn(mut command: Command, path: &Path) -> Child {
    command
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

const ARGUMENTS: [&str; 4] = ["--exact", "kill::victim", "--nocapture", "--test-threads=1"];

pub(crate) fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok)
}

/// Index and hash of each acknowledged batch.
pub(crate) type Acknowledged = HashMap<u64, B256>;

pub(crate) fn note(line: &str, acknowledged: &mut Acknowledged) {
    // The test harness may print on the same line.
    let Some((_, rest)) = line.split_once("ack ") else { return };
    let (index, hash) = rest.split_once(' ').unwrap();
    let before = acknowledged.insert(index.parse().unwrap(), hash.parse().unwrap());
    assert_eq!(before, None, "index {index} was given to two batches");
}

/// Everything acknowledged is there, under a root that proves it, and nothing is there twice.
pub(crate) async fn nothing_is_lost(
    log: &dyn BatchLog,
    acknowledged: &Acknowledged,
    prove: bool,
) -> Vec<SignedBatch> {
    let (head, entries) = (log.head().await.unwrap(), log.read(0, usize::MAX).await.unwrap());
    assert_eq!(head.size, entries.len() as u64);
    let leaves = entries.iter().map(|entry| merkle::batch_leaf(&entry.batch));
    assert_eq!(merkle::root(leaves), head.root);
    let hashes: Vec<_> = entries.iter().map(|entry| entry.batch.hash()).collect();
    assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len(), "a batch is there twice");
    for (index, hash) in acknowledged {
        let found = usize::try_from(*index).ok().and_then(|index| hashes.get(index));
        assert_eq!(found, Some(hash), "an acknowledged batch is lost");
        if prove {
            let path = log.inclusion(*index, head.size).await.unwrap();
            let leaf = merkle::batch_leaf(&entries[*index as usize].batch);
            merkle::verify_inclusion(&leaf, *index, head.size, &path, &head.root).unwrap();
        }
    }
    entries.into_iter().map(|entry| entry.batch).collect()
}

pub(crate) fn chains_are_whole(batches: &[SignedBatch]) {
    let mut tips: HashMap<String, (u64, B256)> = HashMap::new();
    let verifiers: HashMap<_, _> = devices()
        .into_iter()
        .map(|d| (d.did.clone(), BatchVerifier::new(&network(), d.key.public_key())))
        .collect();
    for signed in batches {
        let did = depin_data::batch::claimed_signer(signed.as_bytes(), &network()).unwrap();
        let Some(verifier) = verifiers.get(&did) else { continue };
        let batch = verifier.check(signed).unwrap();
        let expected = tips.get(did.as_str()).copied().unwrap_or_default();
        assert_eq!((batch.sequence.value(), batch.previous), expected, "a chain is broken");
        tips.insert(did.to_string(), (batch.sequence.value() + 1, batch.hash));
    }
}

#[tokio::test]
async fn kills_under_load_lose_nothing_that_was_acknowledged() {
    let kills = std::env::var(KILLS).map_or(50, |kills| kills.parse().expect("a number of kills"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut acknowledged = Acknowledged::new();
    for round in 0..kills {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(ARGUMENTS);
        let mut child = spawn(command, &path);
        let random = RandomState::new().hash_one(round);
        let lines = lines(&mut child);
        // Now and then it dies while it opens the log, else at some moment after some answers.
        let (after, pause) = (random % 24, Duration::from_micros(random / 24 % 20_000));
        let mut answers = 0;
        if after == 0 {
            std::thread::sleep(pause);
            child.kill().unwrap();
        }
        for line in lines {
            note(&line, &mut acknowledged);
            answers += u64::from(line.contains("ack "));
            if answers == after && after > 0 {
                std::thread::sleep(pause);
                child.kill().unwrap();
                answers += 1;
            }
        }
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the victim was killed and did not end by itself");
        let log = RedbLog::open(&path).unwrap();
        let last = round + 1 == kills;
        let batches = nothing_is_lost(&log, &acknowledged, last).await;
        if last {
            chains_are_whole(&batches);
        }
    }
    println!("{kills} kills, {} acknowledged", acknowledged.len());
    assert!(acknowledged.len() > kills, "the victim was not under load");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_the_log_goes_on_when_there_is_room() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        depin_testkit::skip::skipped("there is no prlimit to make a full disk with");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut command = Command::new("sh");
    // With the signal ignored, a write past the limit fails as on a full disk.
    let limited = r#"trap "" XFSZ; exec prlimit --fsize=2000000: "$0" "$@""#;
    command.args(["-c", limited]).arg(std::env::current_exe().unwrap()).args(ARGUMENTS);
    command.env(UNTIL_FULL, "1");
    let mut child = spawn(command, &path);
    let (mut acknowledged, mut full, mut recovered) = (Acknowledged::new(), 0, false);
    for line in lines(&mut child) {
        note(&line, &mut acknowledged);
        full += usize::from(line.contains("full"));
        recovered |= line.contains("recovered");
    }
    assert!(child.wait().unwrap().success());
    assert_eq!((full, recovered), (DEVICES, true));
    let log = RedbLog::open(&path).unwrap();
    chains_are_whole(&nothing_is_lost(&log, &acknowledged, true).await);
    assert!(acknowledged.len() > 100);
}
