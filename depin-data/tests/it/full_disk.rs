//! A disk that is full for batches and index alike: nothing that was acknowledged is lost, calls say why they fail, and
//! the log goes on when there is room, also after its process died on the full disk.
//!
//! The disk is a small tmpfs, which Linux lets a process mount that has namespaces of its own (`unshare -Urm`). The test
//! binary starts itself there as the victim: `victim` does nothing unless [`STEP`] is set.

use std::{collections::HashSet, fs, process::Command, sync::Arc};

use depin_core::{
    B256, Bytes, Decimal, EpochId, Error, ErrorKind, Reading, Result,
    log::{BatchLog, RefusedBatch},
    reading::Quantity,
    transport::{Answer, Refusal, RefusalCode},
};
use depin_data::log::RedbLog;

use crate::{
    kill::{Acknowledged, chains_are_whole, devices, lines, note, nothing_is_lost, say, spawn},
    support::{Device, NOW, Net},
};

/// Which victim it is: the one that fills the disk, or the one that finds it full.
const STEP: &str = "DEPIN_FULL_DISK";
/// Where the victim leaves the log for others to look at.
const COPY: &str = "DEPIN_FULL_DISK_COPY";
/// What lies on the disk beside the log, until somebody makes room.
const BALLAST: [&str; 2] = ["ballast-1", "ballast-2"];

/// Quantities of a batch: long names fill a disk sooner than many readings.
const QUANTITIES: usize = 64;

/// Mounts the disk in a folder, and sends both victims there, one after the other; the first does not end well.
const SCRIPT: &str = r#"
    mount -t tmpfs -o "size=$0" none "$1" && cd "$1" && shift || exit 1
    DEPIN_FULL_DISK=fills "$@"
    DEPIN_FULL_DISK=finds "$@"
"#;

/// More than a page of redb, so that the index grows with each.
fn record(epoch: u64) -> Bytes {
    vec![epoch as u8; 50_000].into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    match std::env::var(STEP).as_deref() {
        Ok("fills") => fills().await,
        Ok("finds") => finds().await,
        _ => {}
    }
}

/// Fills the disk, goes on when there is room, fills it again and dies.
async fn fills() {
    for ballast in BALLAST {
        fs::write(ballast, vec![1; 512 << 10]).unwrap();
    }
    let net = Arc::new(Net::over(Arc::new(RedbLog::open("log").unwrap())));
    for ballast in BALLAST {
        write_until_full(&net).await;
        say("full now");
        if ballast == BALLAST[0] {
            fs::remove_file(ballast).unwrap();
            goes_on(&net, ballast).await;
        }
    }
    std::process::abort();
}

/// Finds the disk full, makes room, and leaves a copy where it can be looked at.
async fn finds() {
    match RedbLog::open("log") {
        Ok(log) => drop(log),
        Err(error) => is_typed(&error),
    }
    fs::remove_file(BALLAST[1]).unwrap();
    let net = Arc::new(Net::over(Arc::new(RedbLog::open("log").unwrap())));
    goes_on(&net, "recovered").await;
    drop(net);
    let copy = std::env::var_os(COPY).unwrap();
    assert!(Command::new("cp").args(["-r", "log"]).arg(copy).status().unwrap().success());
    say("recovered");
}

/// The disk's trouble is told as such: it heals, and no file is called damaged for it.
fn is_typed(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.is_retryable() && error.to_string().contains("try again"), "{error:?}");
}

/// A log with room takes a batch of a new device at once.
async fn goes_on(net: &Net, name: &str) {
    let head = net.ingest.log().head().await.unwrap();
    assert_eq!(net.ingest.log().read(0, usize::MAX).await.unwrap().len() as u64, head.size);
    let receipt = net.taken(&net.enrol(name).measure()).await;
    say(&format!("ack {} {}", receipt.index, receipt.batch));
}

/// How often a writer tries again on a full disk.
struct Patience(usize);

impl Patience {
    fn is_left(&self) -> bool {
        self.0 > 0
    }

    /// What was answered, or none when the disk was full.
    fn take<T>(&mut self, answer: Result<T>) -> Option<T> {
        let failed = |error: Error| {
            is_typed(&error);
            self.0 -= 1;
        };
        answer.map_err(failed).ok()
    }
}

/// Writes batches, epochs and refusals at once, until none of them finds room.
async fn write_until_full(net: &Arc<Net>) {
    let mut fleet = devices();
    for device in &mut fleet {
        net.registry.add(device);
        if let Some(tip) = net.ingest.log().tip(&device.did).await.unwrap() {
            (device.next, device.previous) = (tip.sequence.value() + 1, tip.hash);
        }
    }
    let writers = fleet.into_iter().map(|device| tokio::spawn(ingest(Arc::clone(net), device)));
    let mut writers: Vec<_> = writers.collect();
    writers.push(tokio::spawn(seal(Arc::clone(net))));
    writers.push(tokio::spawn(refuse(Arc::clone(net))));
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Goes on with the device's chain; what is not answered is sent again.
async fn ingest(net: Arc<Net>, mut device: Device) {
    let (mut patience, mut waiting) = (Patience(3), None);
    while patience.is_left() {
        let batch = waiting.take().unwrap_or_else(|| device.seal(&readings()));
        match patience.take(net.ingest.accept(batch.as_bytes()).await) {
            Some(Answer::Receipt(receipt)) => {
                net.receipts.verify(&receipt, &batch).unwrap();
                say(&format!("ack {} {}", receipt.index, receipt.batch));
            }
            Some(Answer::Refusal(refusal)) => panic!("{refusal:?}"),
            None => waiting = Some(batch),
        }
    }
}

fn readings() -> Vec<Reading> {
    let name = |n| format!("{n:0>width$}", width = Quantity::MAX_LEN);
    let quantities = (0..QUANTITIES).map(|n| Quantity::new(&name(n), &name(n)));
    quantities.map(|quantity| Reading::new(quantity, Decimal::from(1), NOW)).collect()
}

async fn seal(net: Arc<Net>) {
    let log = net.ingest.log();
    let (mut patience, mut epoch) = (Patience(3), 0);
    while patience.is_left() {
        if patience.take(log.seal(EpochId::new(epoch), record(epoch)).await).is_some() {
            say(&format!("sealed {epoch}"));
            epoch += 1;
        }
    }
}

async fn refuse(net: Arc<Net>) {
    let mut patience = Patience(3);
    while patience.is_left() {
        if patience.take(net.ingest.log().refuse(refused()).await).is_some() {
            say("kept");
        }
    }
}

fn refused() -> RefusedBatch {
    let (code, detail) = (RefusalCode::Malformed, "noise".into());
    let refusal = Refusal { code, detail, batch: B256::ZERO, device: None };
    RefusedBatch { refusal, received: NOW, bytes: record(7), against: None }
}

/// Whether the system lets us mount a disk. No package brings that and a container may forbid it, so where it is not
/// so nothing fails, whatever is required; `cargo xtask test` names it.
fn may_mount() -> bool {
    let tried =
        Command::new("unshare").args(["-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// What the victims were told.
#[derive(Default)]
struct Told {
    batches: Acknowledged,
    epochs: HashSet<u64>,
    refusals: u64,
    full: usize,
    recovered: bool,
}

impl Told {
    fn hear(&mut self, line: &str) {
        note(line, &mut self.batches);
        if let Some((_, epoch)) = line.split_once("sealed ") {
            self.epochs.insert(epoch.parse().unwrap());
        }
        self.refusals += u64::from(line.contains("kept"));
        self.full += usize::from(line.contains("full now"));
        self.recovered |= line.contains("recovered");
    }
}

async fn check(log: &RedbLog, told: &Told) {
    chains_are_whole(&nothing_is_lost(log, &told.batches, true).await);
    for epoch in &told.epochs {
        let there = log.sealed(EpochId::new(*epoch)).await.unwrap();
        assert_eq!(there, Some(record(*epoch)), "epoch {epoch} is lost");
    }
    let kept = log.refusal_range().await.unwrap();
    assert!(kept.end - kept.start >= told.refusals, "a refusal is lost");
}

#[tokio::test]
async fn a_disk_full_of_batches_and_index_loses_nothing_that_was_acknowledged() {
    if !may_mount() {
        println!("skipped: this kernel lets nobody mount a small disk (unshare -Urm)");
        return;
    }
    // Who finds the disk full first, and at which write, is another one each time.
    for kib in (0..3).map(|n| 3_300 + n * 37) {
        let folder = tempfile::tempdir().unwrap();
        let (disk, copy) = (folder.path().join("disk"), folder.path().join("copy"));
        fs::create_dir(&disk).unwrap();
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", SCRIPT]).arg(format!("{kib}k")).arg(&disk);
        command.arg(std::env::current_exe().unwrap());
        command.args(["--exact", "full_disk::victim", "--nocapture", "--test-threads=1"]);
        command.env(COPY, &copy);
        let (mut child, mut told) = (spawn(command, &disk), Told::default());
        lines(&mut child).for_each(|line| told.hear(&line));
        assert!(child.wait().unwrap().success(), "the second victim ends well");
        assert_eq!((told.full, told.recovered), (BALLAST.len(), true));
        let Told { batches, epochs, refusals, .. } = &told;
        println!(
            "{kib} KiB: {} batches, {} epochs, {refusals} refusals",
            batches.len(),
            epochs.len()
        );
        check(&RedbLog::open(&copy).unwrap(), &told).await;
    }
}
