//! How long it takes to close and to audit an epoch of a million readings from ten thousand devices.
//!
//! Closing is everything from the log in a file to the reward root: reading, hashing, verifying, checking,
//! sharing, and the tree of cumulative amounts. An audit starts from the sealed record and the same file.
//! The program starts itself again for each measurement of memory, since a process remembers its peak.
//! Arguments choose rows by name.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use depin_core::{
    Address, Algorithm, B256, Decimal, Did, EpochId, NetworkId, PublicKey, Reading, Sequence,
    Signature, Signer, SoftwareKey, Timestamp,
    envelope::Envelope,
    key::{Check, verify_all},
    log::{BatchLog, LogEntry, NewBatch},
    reading::Quantity,
    reward::RewardPolicy,
};
use depin_data::{
    audit::replay,
    batch::{PURPOSE, seal},
    epoch::{Checks, EpochDraft, EpochRecord, Member, Scored},
    log::RedbLog,
    quality::{Bounds, Duplicate, Jump, Stuck},
};
use depin_payment::{Cumulative, ProRata};
use depin_testkit::bench::{Row, best_of};
use tokio::runtime::Runtime;

/// The log that a child process audits.
const CHILD: &str = "DEPIN_BENCH_AUDIT";
const DEVICES: u64 = 10_000;
const READINGS: usize = 100;
const RUNS: usize = 3;
const LIMIT: Duration = Duration::from_secs(5);
const START: Timestamp = Timestamp::from_secs(1_700_000_000);
const FIRST: EpochId = EpochId::new(0);

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    if let Some(path) = std::env::var_os(CHILD) {
        runtime.block_on(audit(&open(Path::new(&path))));
        println!("{}", peak());
        return;
    }
    let wanted: Vec<_> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let folder = tempfile::tempdir().expect("a folder");
    let million = folder.path().join("1m");
    fill(&runtime, &million, 1);
    if wanted("epoch_1m") || wanted("epoch_1m_audit") {
        measure(&runtime, &million);
    }
    if wanted("epoch_1m_memory") {
        let more = folder.path().join("4m");
        fill(&runtime, &more, 4);
        let [one, four] = [million, more].map(|path| {
            runtime.block_on(close(&open(&path), &fleet()));
            audited_in(&path)
        });
        let against = format!("peak of 4,000,000 readings; {one:.0} MiB for 1,000,000");
        Row::new("epoch_1m_memory", four, "MiB", against, four / one).report();
    }
}

fn measure(runtime: &Runtime, path: &Path) {
    let log = open(path);
    let fleet = fleet();
    let (closing, closing_busy) = time(|| runtime.block_on(close(&log, &fleet)));
    let signed = signed(runtime, &log, &fleet);
    let (_, floor_busy) = time(|| signatures(&signed));
    let (seconds, limit) = (closing.as_secs_f64(), LIMIT.as_secs_f64());
    let against = format!(
        "limit of {limit} s; {closing_busy:.2} s of processor time, of which bare signatures {floor_busy:.2} s"
    );
    Row::new("epoch_1m", seconds, "s", against, seconds / limit).report();
    let (auditing, auditing_busy) = time(|| runtime.block_on(audit(&log)));
    let against =
        format!("closing; processor time {auditing_busy:.2} s against {closing_busy:.2} s");
    let ratio = auditing_busy / closing_busy;
    Row::new("epoch_1m_audit", auditing.as_secs_f64(), "s", against, ratio).report();
}

/// The shortest run by the clock, and the least processor time of all threads of a run (Linux): machines are
/// shared, and the clock counts the others too.
fn time(mut work: impl FnMut()) -> (Duration, f64) {
    let mut least = f64::INFINITY;
    let shortest = best_of(RUNS, || {
        let before = cpu_seconds();
        work();
        least = least.min(cpu_seconds() - before);
    });
    (shortest, least)
}

/// Processor time of all threads so far, in ticks of a hundredth of a second (fields 14 and 15 of
/// `/proc/self/stat`).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<f64>);
    ticks.sum::<f64>() / 100.0
}

fn open(path: &Path) -> RedbLog {
    RedbLog::open(path).expect("a log")
}

fn network() -> NetworkId {
    NetworkId::parse("bench").expect("a name")
}

fn device(number: u64) -> (Did, SoftwareKey) {
    let did = Did::parse(&format!("did:example:{number:05}")).expect("a did");
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    (did, SoftwareKey::from_seed(Algorithm::ALL[number as usize % 3], seed))
}

fn fleet() -> Vec<Member> {
    let member = |number| {
        let (device, key) = device(number);
        let beneficiary = Address::left_padding_from(&(number + 1).to_be_bytes());
        Member { device, keys: vec![key.public_key().clone()], beneficiary, past: None }
    };
    (0..DEVICES).map(member).collect()
}

fn checks() -> Checks {
    let (name, unit, minute) = ("temperature", "Cel", Duration::from_secs(60));
    Checks::new()
        .check(Bounds::new(name, unit, Decimal::from(-60)..=Decimal::from(60)))
        .check(Stuck::new(name, unit, 30, 60 * minute))
        .check(Jump::new(name, unit, Decimal::from(5), minute))
        .check(Duplicate::same_moment())
}

fn policy() -> ProRata {
    ProRata::per_epoch(depin_core::Amount::tokens(1_000))
}

/// What a station measures: a slow wave, and now and then nonsense.
fn readings(device: u64, batch: u64) -> Vec<Reading> {
    let reading = |i: usize| {
        let minute = batch * READINGS as u64 + i as u64;
        let wave = 2_000 + ((minute + device) % 50) as i64;
        let value = if (minute + device).is_multiple_of(97) { 9_999 } else { wave };
        let value = Decimal::new(value, -2).expect("a decimal");
        let at = Timestamp::from_millis(START.millis() + 60_000 * minute);
        Reading::new(Quantity::new("temperature", "Cel"), value, at)
    };
    (0..READINGS).map(reading).collect()
}

/// Writes `batches` batches of each device, the devices in turns.
fn fill(runtime: &Runtime, path: &Path, batches: u64) {
    let log = Arc::new(open(path));
    let mut previous = vec![B256::ZERO; DEVICES as usize];
    for batch in 0..batches {
        let appends = (0..DEVICES).map(|number| {
            let (did, key) = device(number);
            let (sequence, before) = (Sequence::new(batch), previous[number as usize]);
            let readings = readings(number, batch);
            let batch = seal(&key, &did, &network(), sequence, before, &readings).expect("sealed");
            previous[number as usize] = batch.hash();
            let (previous, covers, received) = (before, None, START);
            let new = NewBatch { device: did, sequence, previous, covers, received, batch };
            let log = log.clone();
            runtime.spawn(async move { log.append(new).await.expect("appended") })
        });
        for append in appends.collect::<Vec<_>>() {
            runtime.block_on(append).expect("a task");
        }
    }
}

async fn close(log: &RedbLog, fleet: &[Member]) {
    let end = log.head().await.expect("a head").size;
    let draft = EpochDraft::read(log, &network(), FIRST, 0..end).await.expect("a draft");
    let record = draft.close(fleet.to_vec(), checks().names(), policy().name()).expect("a record");
    let scored = replay(log, &record, &checks()).await.expect("scored");
    commit(&record, &scored);
    log.seal(FIRST, record.to_bytes().into()).await.expect("sealed");
}

async fn audit(log: &RedbLog) {
    let bytes = log.sealed(FIRST).await.expect("read").expect("a sealed epoch");
    let record = EpochRecord::parse(&bytes).expect("a record");
    let scored = replay(log, &record, &checks()).await.expect("scored");
    commit(&record, &scored);
}

fn commit(record: &EpochRecord, scored: &Scored) {
    let allocation = policy().allocate(&scored.contributions).expect("shares");
    let mut balances = Cumulative::default();
    balances.add(&allocation).expect("an epoch");
    let tree = balances.tree().expect("a tree");
    let commitment = balances.commitment(&tree, record.manifest()).expect("a commitment");
    assert_eq!(scored.contributions.entries.len() as u64, DEVICES);
    std::hint::black_box(commitment);
}

/// A key, what it signed, and the signature.
type Signed = (PublicKey, Vec<u8>, Signature);

/// The signatures of the first batches, everything parsed.
fn signed(runtime: &Runtime, log: &RedbLog, fleet: &[Member]) -> Vec<Signed> {
    let entries = runtime.block_on(log.read(0, DEVICES as usize)).expect("batches");
    let signed = |entry: &LogEntry| {
        let envelope = Envelope::parse(entry.batch.as_bytes(), &network(), PURPOSE);
        let envelope = envelope.expect("a batch");
        let place = fleet.binary_search_by(|member| member.device.cmp(envelope.signer()));
        let key = &fleet[place.expect("a member")].keys[0];
        let (message, signature) = envelope.signed(key).expect("signed with this key");
        (key.clone(), message, signature)
    };
    entries.iter().map(signed).collect()
}

/// Verifies them and nothing else, half of them on each of two threads.
fn signatures(signed: &[Signed]) {
    std::thread::scope(|scope| {
        for half in signed.chunks(signed.len() / 2) {
            scope.spawn(move || {
                let checks: Vec<_> = half
                    .iter()
                    .map(|(key, message, signature)| Check { key, message, signature })
                    .collect();
                assert!(verify_all(&checks).iter().all(Result::is_ok));
            });
        }
    });
}

/// Peak memory in MiB of a process that audits the log.
fn audited_in(path: &Path) -> f64 {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    let output = command.env(CHILD, path).output().expect("a child process");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().expect("a figure")
}

/// Peak memory of this process in MiB (Linux), else 0.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}
