//! How long it takes to close and to audit an epoch of a million readings from ten thousand devices.
//!
//! Closing is everything from the log in a file to the reward root: reading, hashing, verifying, checking,
//! sharing, and the tree of cumulative amounts. An audit starts from the sealed record and the same file.
//! Rows with `climate` are the same with the shipped preset of weather stations, which compares all devices with
//! each other, over series as stations have them: one weather, and noise of their own.
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
    epoch::{Checks, EpochDraft, EpochRecord, Member, Scored, Standings},
    geo::{LATITUDE, LONGITUDE},
    log::RedbLog,
    quality::{Bounds, Duplicate, Jump, Stuck, presets},
};
use depin_payment::{Cumulative, ProRata};
use depin_testkit::bench::{Row, best_of};
use tokio::runtime::Runtime;

/// The log that a child process audits, and by which rules.
const CHILD: &str = "DEPIN_BENCH_AUDIT";
const CHILD_RULES: &str = "DEPIN_BENCH_RULES";
const DEVICES: u64 = 10_000;
const READINGS: usize = 100;
const RUNS: usize = 3;
const LIMIT: Duration = Duration::from_secs(5);
const START: Timestamp = Timestamp::from_secs(1_700_000_000);
const FIRST: EpochId = EpochId::new(0);

/// What an epoch is judged by, and the series that it is judged on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// Four checks of a device by itself, and readings of a temperature.
    Plain,
    /// [`presets::climate`], and readings of temperature and humidity.
    Climate,
}

/// Closing, auditing, and the memory of auditing.
const ROWS: [(Rules, [&str; 3]); 2] = [
    (Rules::Plain, ["epoch_1m", "epoch_1m_audit", "epoch_1m_memory"]),
    (Rules::Climate, ["epoch_1m_climate", "epoch_1m_climate_audit", "epoch_1m_climate_memory"]),
];

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    if let Some(path) = std::env::var_os(CHILD) {
        let climate = std::env::var_os(CHILD_RULES).is_some();
        let rules = if climate { Rules::Climate } else { Rules::Plain };
        runtime.block_on(audit(&open(Path::new(&path)), rules));
        println!("{}", peak());
        return;
    }
    let wanted: Vec<_> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    for (rules, names) in ROWS {
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|it| it == name);
        if names.iter().any(|name| is_wanted(name)) {
            rows(&runtime, rules, names, is_wanted);
        }
    }
}

fn rows(runtime: &Runtime, rules: Rules, names: [&'static str; 3], wanted: impl Fn(&str) -> bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let million = folder.path().join("1m");
    fill(runtime, &million, 1, rules);
    let [closing, auditing, memory] = names;
    if wanted(closing) || wanted(auditing) {
        measure(runtime, &million, rules, [closing, auditing]);
    }
    if wanted(memory) {
        let more = folder.path().join("4m");
        fill(runtime, &more, 4, rules);
        let [one, four] = [million, more].map(|path| {
            runtime.block_on(close(&open(&path), &fleet(), rules));
            audited_in(&path, rules)
        });
        let against = format!("peak of 4,000,000 readings; {one:.0} MiB for 1,000,000");
        Row::new(memory, four, "MiB", against, four / one).report();
    }
}

fn measure(
    runtime: &Runtime,
    path: &Path,
    rules: Rules,
    [close_row, audit_row]: [&'static str; 2],
) {
    let log = open(path);
    let fleet = fleet();
    let (closing, closing_busy) = time(|| runtime.block_on(close(&log, &fleet, rules)));
    let signed = signed(runtime, &log, &fleet);
    let (_, floor_busy) = time(|| signatures(&signed));
    let (seconds, limit) = (closing.as_secs_f64(), LIMIT.as_secs_f64());
    let against = format!(
        "limit of {limit} s; {closing_busy:.2} s of processor time, of which bare signatures {floor_busy:.2} s"
    );
    Row::new(close_row, seconds, "s", against, seconds / limit).report();
    let (auditing, auditing_busy) = time(|| runtime.block_on(audit(&log, rules)));
    let against =
        format!("closing; processor time {auditing_busy:.2} s against {closing_busy:.2} s");
    let ratio = auditing_busy / closing_busy;
    Row::new(audit_row, auditing.as_secs_f64(), "s", against, ratio).report();
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

fn checks(rules: Rules) -> Checks {
    if rules == Rules::Climate {
        let preset = presets::climate(Duration::from_secs(60));
        return Checks::of(preset.checks, preset.fleet);
    }
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

/// What a station measures.
fn readings(device: u64, batch: u64, rules: Rules) -> Vec<Reading> {
    match rules {
        Rules::Plain => (0..READINGS as u64).map(|i| plain(device, batch, i)).collect(),
        Rules::Climate => {
            let moments = READINGS as u64 / 2 - 1;
            let minutes = batch * moments..(batch + 1) * moments;
            let place = place(device, minutes.start);
            place.into_iter().chain(minutes.flat_map(|minute| weather(device, minute))).collect()
        }
    }
}

/// A slow wave, and now and then nonsense.
fn plain(device: u64, batch: u64, i: u64) -> Reading {
    let minute = batch * READINGS as u64 + i;
    let wave = 2_000 + ((minute + device) % 50) as i64;
    let value = if (minute + device).is_multiple_of(97) { 9_999 } else { wave };
    measured("temperature", "Cel", value, minute)
}

/// Where a station is: a hundred by a hundred of them, a kilometre apart, so that each has neighbours and no cell is full.
fn place(device: u64, minute: u64) -> [Reading; 2] {
    let (row, column) = ((device / 100) as i64, (device % 100) as i64);
    let at = Timestamp::from_millis(START.millis() + 60_000 * minute);
    let degrees = |(name, unit): (&str, &str), thousandths: i64| {
        let value = Decimal::new(thousandths, -3).expect("a decimal");
        Reading::new(Quantity::new(name, unit), value, at)
    };
    [degrees(LATITUDE, 47_000 + 9 * row), degrees(LONGITUDE, 8_000 + 13 * column)]
}

/// One weather for all, each station's own level, and noise; now and then nonsense.
fn weather(device: u64, minute: u64) -> [Reading; 2] {
    let front = 3 * ((minute % 40) as i64 - 20).abs();
    let level = noise(device, 0, 200);
    let nonsense = (minute + device).is_multiple_of(997);
    let warmth = 2_000 + front + level + noise(device, 2 * minute + 1, 40);
    let damp = 6_000 - 4 * front + 3 * level + noise(device, 2 * minute + 2, 150);
    let warmth = if nonsense { 9_999 } else { warmth };
    [measured("temperature", "Cel", warmth, minute), measured("humidity", "%RH", damp, minute)]
}

/// An even choice from `-most..=most` (the finaliser of MurmurHash3, which is in the public domain).
fn noise(device: u64, draw: u64, most: i64) -> i64 {
    let mut bits = device.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(draw);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        bits = (bits ^ (bits >> 33)).wrapping_mul(factor);
    }
    ((bits >> 33) % (2 * most as u64 + 1)) as i64 - most
}

/// A value in hundredths.
fn measured(name: &str, unit: &str, value: i64, minute: u64) -> Reading {
    let value = Decimal::new(value, -2).expect("a decimal");
    let at = Timestamp::from_millis(START.millis() + 60_000 * minute);
    Reading::new(Quantity::new(name, unit), value, at)
}

/// Writes `batches` batches of each device, the devices in turns.
fn fill(runtime: &Runtime, path: &Path, batches: u64, rules: Rules) {
    let log = Arc::new(open(path));
    let mut previous = vec![B256::ZERO; DEVICES as usize];
    for batch in 0..batches {
        let appends = (0..DEVICES).map(|number| {
            let (did, key) = device(number);
            let (sequence, before) = (Sequence::new(batch), previous[number as usize]);
            let readings = readings(number, batch, rules);
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

async fn close(log: &RedbLog, fleet: &[Member], rules: Rules) {
    let end = log.head().await.expect("a head").size;
    let draft = EpochDraft::read(log, &network(), FIRST, 0..end).await.expect("a draft");
    let mut standings = Standings::new(network());
    let (draft, checks) = (draft.standings(&standings), checks(rules));
    let record = draft.close(fleet.to_vec(), checks.names(), policy().name()).expect("a record");
    let scored = replay(log, &record, &checks).await.expect("scored");
    commit(&record, &scored);
    log.seal(FIRST, record.to_bytes().into()).await.expect("sealed");
    // What the next epoch commits to.
    standings.advance(&record, &scored.pasts);
    std::hint::black_box(standings.commitment());
}

async fn audit(log: &RedbLog, rules: Rules) {
    let bytes = log.sealed(FIRST).await.expect("read").expect("a sealed epoch");
    let record = EpochRecord::parse(&bytes).expect("a record");
    let mut standings = Standings::new(network());
    standings.check(&record).expect("it begins where nothing was before");
    let scored = replay(log, &record, &checks(rules)).await.expect("scored");
    commit(&record, &scored);
    standings.advance(&record, &scored.pasts);
    std::hint::black_box(standings.commitment());
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
fn audited_in(path: &Path, rules: Rules) -> f64 {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.env(CHILD, path);
    if rules == Rules::Climate {
        command.env(CHILD_RULES, "climate");
    }
    let output = command.output().expect("a child process");
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
