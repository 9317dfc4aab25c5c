//! How fast one core verifies and stores batches, beside the bare cost of signature and hashes.
//!
//! The program starts itself again on one core (`taskset`, where there is one), so that the log's writer
//! shares that core with verification. 256 devices send at once, each waiting for its receipt; every
//! group commit reaches the disk. Figures are per second of processor time of all threads (Linux), since
//! machines are shared and waiting for a disk occupies no core; the rate by the clock stands beside.
//! Arguments choose rows by name.

use std::{
    collections::HashMap,
    hint::black_box,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use depin_core::{
    Address, Algorithm, B256, Decimal, Did, Error, ErrorKind, ManualClock, NetworkId, Reading,
    Result, Sequence, SignedBatch, Signer, SoftwareKey, Timestamp, Verifier,
    cbor::{self, Decoder, Encoder},
    envelope::Envelope,
    reading::Quantity,
    registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment},
    transport::Answer,
};
use depin_data::{
    batch::{self, BatchVerifier, leaf, seal},
    ingest::Ingest,
    log::RedbLog,
    merkle::{self, Leaves},
};
use depin_testkit::bench::Row;

const PINNED: &str = "DEPIN_BENCH_PINNED";
const DEVICES: usize = 256;
const RUNS: usize = 5;
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn main() {
    if std::env::var_os(PINNED).is_none() {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(std::env::current_exe().expect("a path"));
        command.args(std::env::args().skip(1));
        match command.env(PINNED, "1").status() {
            Ok(status) => std::process::exit(status.code().unwrap_or(1)),
            Err(_) => println!("no taskset: the figures are for all cores"),
        }
    }
    let wanted: Vec<_> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let full = ["ingest_256", "ingest_256_es256", "ingest_256_eddsa"];
    for (name, algorithm) in full.into_iter().zip(Algorithm::ALL).filter(|(name, _)| wanted(name)) {
        measure(name, algorithm, 256, 8);
    }
    decode("decode", &PEBBLE, &wanted);
    decode("decode_climate", &CLIMATE, &wanted);
    let single = ["ingest_1", "ingest_1_es256", "ingest_1_eddsa"];
    for (name, algorithm) in single.into_iter().zip(Algorithm::ALL).filter(|(name, _)| wanted(name))
    {
        measure(name, algorithm, 1, 32);
    }
}

fn measure(name: &'static str, algorithm: Algorithm, readings: usize, rounds: usize) {
    let fleet = Fleet::new(algorithm, readings, rounds);
    let batches = (DEVICES * rounds) as f64;
    let parts: [&dyn Fn(); 3] =
        [&|| fleet.ingest(), &|| fleet.verify_signatures(), &|| fleet.hash()];
    let [whole, signatures, hashes] = best_of(RUNS, parts);
    let (signatures, hashes) = (signatures.cpu, hashes.cpu);
    let share = |part: f64| part / whole.cpu;
    let rate = |seconds: f64| batches * readings as f64 / seconds;
    let against = format!(
        "bare {algorithm} check and hashing; signature {:.0} %, hashes {:.0} %, rest {:.1} us a batch, {:.0}/s by the clock",
        100.0 * share(signatures),
        100.0 * share(hashes),
        1e6 * (whole.cpu - signatures - hashes) / batches,
        rate(whole.clock),
    );
    Row::new(name, rate(whole.cpu), "readings/s", against, share(signatures + hashes)).report();
}

const CLIMATE: [(&str, &str); 4] =
    [("temperature", "Cel"), ("humidity", "%RH"), ("pressure", "Pa"), ("wind", "m/s")];

/// What a Pebble tracker sends at once.
const PEBBLE: [(&str, &str); 13] = [
    ("temperature", "Cel"),
    ("humidity", "%RH"),
    ("pressure", "Pa"),
    ("gas", "Ohm"),
    ("light", "lx"),
    ("battery", "V"),
    ("signal", "dB"),
    ("gyro-x", "rad/s"),
    ("gyro-y", "rad/s"),
    ("gyro-z", "rad/s"),
    ("accel-x", "m/s2"),
    ("accel-y", "m/s2"),
    ("accel-z", "m/s2"),
];

/// From signed bytes to checked readings: all that verification does but the signature, whose time is
/// measured beside it and taken off.
fn decode(name: &'static str, kinds: &[(&str, &str)], wanted: &dyn Fn(&str) -> bool) {
    const ROUNDS: usize = 32;
    /// A walk is too short for the clock.
    const WALKS: usize = 64;
    if !wanted(name) {
        return;
    }
    let fleet = Fleet::of(Algorithm::EdDsa, 256, ROUNDS, 16, kinds);
    let parts: [&dyn Fn(); 3] =
        [&|| fleet.check(), &|| fleet.verify_signatures(), &|| fleet.walk()];
    let [whole, signatures, walk] = best_of(RUNS, parts);
    let batches = fleet.devices.iter().flat_map(|device| &device.batches);
    let bytes: usize = batches.clone().map(|batch| batch.as_bytes().len()).sum();
    let readings = 256.0 * batches.count() as f64;
    let (seconds, walk) = (whole.cpu - signatures.cpu, walk.cpu / WALKS as f64);
    let against = format!(
        "a bare walk over the integers, {:.1} M/s; leaves and root hashed too; {:.1} bytes a reading on the wire",
        readings / walk / 1e6,
        bytes as f64 / readings,
    );
    Row::new(name, readings / seconds, "readings/s", against, walk / seconds).report();
}

/// Seconds of processor time and by the clock.
#[derive(Clone, Copy)]
struct Spent {
    cpu: f64,
    clock: f64,
}

/// The least of each over several runs, in turns, so that all meet the same load.
fn best_of<const N: usize>(runs: usize, work: [&dyn Fn(); N]) -> [Spent; N] {
    let mut least = [Spent { cpu: f64::INFINITY, clock: f64::INFINITY }; N];
    for _ in 0..runs {
        for (least, work) in least.iter_mut().zip(work) {
            let (cpu, clock) = (cpu_seconds(), Instant::now());
            work();
            let clock = clock.elapsed().as_secs_f64();
            let cpu = cpu_seconds().zip(cpu).map_or(clock, |(after, before)| after - before);
            *least = Spent { cpu: least.cpu.min(cpu), clock: least.clock.min(clock) };
        }
    }
    least
}

/// Time that all threads of this process, also ended ones, spent on a processor, to a hundredth of a
/// second (fields 14 and 15 of `/proc/self/stat`).
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Some(ticks.sum::<Result<f64, std::num::ParseFloatError>>().ok()? / 100.0)
}

struct Device {
    did: Did,
    key: SoftwareKey,
    batches: Vec<SignedBatch>,
    /// What the readings' leaves are hashes of.
    leaves: Vec<Vec<u8>>,
}

struct Fleet {
    devices: Vec<Device>,
    network: NetworkId,
}

impl Fleet {
    fn new(algorithm: Algorithm, readings: usize, rounds: usize) -> Self {
        Self::of(algorithm, readings, rounds, DEVICES, &CLIMATE)
    }

    fn of(
        algorithm: Algorithm,
        readings: usize,
        rounds: usize,
        devices: usize,
        kinds: &[(&str, &str)],
    ) -> Self {
        let network = NetworkId::parse("bench").expect("a name");
        let readings = readings_of(readings, kinds);
        let devices = (0..devices).map(|n| Device::new(n, algorithm, &network, &readings, rounds));
        Self { devices: devices.collect(), network }
    }

    fn check(&self) {
        for device in &self.devices {
            let verifier = BatchVerifier::new(&self.network, device.key.public_key());
            for batch in &device.batches {
                black_box(verifier.check(batch).expect("a good batch"));
            }
        }
    }

    /// Reads every integer of the readings, and nothing more.
    fn walk(&self) {
        for batch in self.devices.iter().flat_map(|device| &device.batches) {
            let envelope =
                Envelope::parse(batch.as_bytes(), &self.network, batch::PURPOSE).expect("a batch");
            let mut decoder = Decoder::new(envelope.peek());
            decoder.map().expect("a map");
            for _ in 0..11 {
                decoder.skip().expect("an item");
            }
            let count = decoder.array().expect("an array").expect("a length");
            let sum = (0..count).try_fold(0, |sum: i64, _| Ok(sum.wrapping_add(decoder.i64()?)));
            black_box(sum.map_err(|error: cbor::decode::Error| error).expect("integers"));
        }
    }

    /// Everything: from bytes to receipts over durable batches.
    fn ingest(&self) {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Arc::new(RedbLog::open(folder.path().join("log")).expect("a log"));
        let registry = Arc::new(Registry::of(&self.devices));
        let clock = Arc::new(ManualClock::at(NOW));
        let key = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [9; 32]));
        let did = Did::parse("did:example:log").expect("a did");
        let network = self.network.clone();
        let ingest = Arc::new(Ingest::builder(network, log, registry, clock, key, did).build());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let senders = self.devices.iter().map(|device| {
                let (ingest, batches) = (Arc::clone(&ingest), device.batches.clone());
                tokio::spawn(async move {
                    for batch in batches {
                        let answer = ingest.accept(batch.as_bytes()).await.expect("an answer");
                        assert!(matches!(answer, Answer::Receipt(_)), "{answer:?}");
                    }
                })
            });
            for sender in senders.collect::<Vec<_>>() {
                sender.await.expect("no panic");
            }
        });
    }

    fn verify_signatures(&self) {
        for device in &self.devices {
            for batch in &device.batches {
                let signature = &batch.as_bytes()[batch.as_bytes().len() - 64..];
                let signature = signature.try_into().expect("64 bytes at the end");
                // The message is not the signed one: a check that fails costs the same.
                black_box(device.key.public_key().verify(batch.as_bytes(), &signature).is_ok());
            }
        }
    }

    fn hash(&self) {
        for device in &self.devices {
            for batch in &device.batches {
                let mut leaves = Leaves::new();
                device.leaves.iter().for_each(|leaf| leaves.push(leaf));
                black_box(merkle::root(leaves.finish()));
                black_box(batch.hash());
                black_box(merkle::leaf_hash(batch.as_bytes()));
            }
        }
    }
}

impl Device {
    fn new(
        n: usize,
        algorithm: Algorithm,
        network: &NetworkId,
        readings: &[Reading],
        rounds: usize,
    ) -> Self {
        let did = Did::parse(&format!("did:example:device-{n}")).expect("a did");
        let key = SoftwareKey::from_seed(algorithm, merkle::leaf_hash(&n.to_be_bytes()).0);
        let (mut batches, mut previous) = (Vec::new(), B256::ZERO);
        for sequence in 0..rounds as u64 {
            let sequence = Sequence::new(sequence);
            let batch = seal(&key, &did, network, sequence, previous, readings).expect("a batch");
            previous = batch.hash();
            batches.push(batch);
        }
        Self { did, key, batches, leaves: readings.iter().map(leaf_data).collect() }
    }
}

fn readings_of(count: usize, kinds: &[(&str, &str)]) -> Vec<Reading> {
    let quantities: Vec<_> = kinds.iter().map(|(name, unit)| Quantity::new(name, unit)).collect();
    let reading = |i: usize| {
        let value = Decimal::new(100 + (i as i64 * 37) % 900, -1).expect("a decimal");
        let at = NOW.plus(Duration::from_secs((i / kinds.len()) as u64));
        Reading::new(quantities[i % kinds.len()].clone(), value, at)
    };
    (0..count).map(reading).collect()
}

fn leaf_data(reading: &Reading) -> Vec<u8> {
    let (quantity, value, mut bytes) = (reading.quantity(), reading.value(), Vec::new());
    Encoder::new(&mut bytes)
        .array(5)
        .and_then(|e| e.str(quantity.name())?.str(quantity.unit()))
        .and_then(|e| e.u64(reading.at().millis())?.i64(value.mantissa())?.i8(value.exponent()))
        .expect("vectors take everything");
    assert_eq!(merkle::leaf_hash(&bytes), leaf(reading));
    bytes
}

#[derive(Debug)]
struct Registry(HashMap<Did, DeviceRecord>);

impl Registry {
    fn of(devices: &[Device]) -> Self {
        let record = |device: &Device| DeviceRecord {
            did: device.did.clone(),
            key: device.key.public_key().clone(),
            owner: Address::ZERO,
            account: None,
            status: DeviceStatus::Active,
            next_key: None,
            nullifier: None,
            document_hash: B256::ZERO,
            document_uri: String::new(),
            appraisal: B256::ZERO,
            registered: NOW,
        };
        Self(devices.iter().map(|device| (device.did.clone(), record(device))).collect())
    }
}

#[async_trait]
impl DeviceRegistry for Registry {
    async fn register(&self, _: &Enrolment, _: &dyn Signer) -> Result<DeviceRecord> {
        Err(Error::new(ErrorKind::Unsupported, "the fleet is fixed"))
    }

    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>> {
        Ok(self.0.get(did).cloned())
    }

    async fn set_status(&self, _: &Did, _: DeviceStatus) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "the fleet is fixed"))
    }
}
