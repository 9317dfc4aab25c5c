//! How fast batches are verified and stored, and how fast they are decoded.
//!
//! Figures are per second of processor time of all threads, since machines are shared and waiting for a
//! disk occupies no core; the rate by the clock stands beside. Everything runs on one core, the log's
//! writer too, but for the row that asks for two. Parts and peers are measured in turns with the whole, so
//! that all meet the same load. Arguments choose rows by name.
//!
//! With the feature `fast` the rows are those whose signatures C and assembly verify, and have its name.

use std::hint::black_box;

use depin_core::Algorithm;

use self::{
    clock::{Spent, best_of, pin},
    fleet::{CLIMATE, Fleet, PEBBLE},
    work::Runtime,
};
use depin_testkit::bench::Row;

mod clock;
mod decode;
mod fleet;
mod work;

const RUNS: usize = 7;
const DEVICES: usize = 256;
/// Batches of each device, where they are full and where they hold one reading.
const ROUNDS: [usize; 2] = [8, 32];

const FULL: [[&str; 3]; 2] = [
    ["ingest_256", "ingest_256_es256", "ingest_256_eddsa"],
    ["fast_ingest_256", "fast_ingest_256_es256", ""],
];
const TWO_CORES: [[&str; 3]; 2] = [
    ["ingest_256_2core", "ingest_256_2core_es256", "ingest_256_2core_eddsa"],
    ["fast_ingest_256_2core", "", ""],
];
const SINGLE: [[&str; 3]; 2] = [
    ["ingest_1", "ingest_1_es256", "ingest_1_eddsa"],
    ["fast_ingest_1", "fast_ingest_1_es256", ""],
];

fn main() {
    if !pin(1) {
        println!("threads cannot be kept on one core here: the figures are for all cores");
    }
    let wanted: Vec<_> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wanted = |name: &str| {
        !name.is_empty() && (wanted.is_empty() || wanted.iter().any(|wanted| wanted == name))
    };
    let of = |rows: [[&'static str; 3]; 2]| {
        let [plain, fast] = rows;
        let names = if cfg!(feature = "fast") { fast } else { plain };
        names.into_iter().zip(Algorithm::ALL).filter(|(name, _)| wanted(name)).collect::<Vec<_>>()
    };
    of(FULL).into_iter().for_each(|(name, algorithm)| full(name, algorithm));
    of(TWO_CORES).into_iter().for_each(|(name, algorithm)| two_cores(name, algorithm));
    of(SINGLE).into_iter().for_each(|(name, algorithm)| single(name, algorithm));
    if cfg!(not(feature = "fast")) {
        decode::rows("decode", "decode_checked", &PEBBLE, &wanted);
        decode::rows("decode_climate", "decode_climate_checked", &CLIMATE, &wanted);
    }
}

/// Batches of 256 readings, beside the bare cost of their signatures and hashes.
fn full(name: &'static str, algorithm: Algorithm) {
    let [whole, signatures, hashes] = parts(&Fleet::new(algorithm, 256, DEVICES, ROUNDS[0]));
    let batches = DEVICES * ROUNDS[0];
    let (known, rest) = (signatures.cpu + hashes.cpu, whole.cpu - signatures.cpu - hashes.cpu);
    let against = format!(
        "bare {algorithm} check and hashing; signature {:.0} %, hashes {:.0} %, rest {:.1} us a batch; {:.0}/s by the clock",
        100.0 * signatures.cpu / whole.cpu,
        100.0 * hashes.cpu / whole.cpu,
        1e6 * rest / batches as f64,
        (256 * batches) as f64 / whole.clock,
    );
    let rate = (256 * batches) as f64 / whole.cpu;
    Row::new(name, rate, "readings/s", against, known / whole.cpu).report();
}

/// Batches of one reading, beside signatures verified one after the other. Ingest verifies those of Ed25519
/// that wait at the same time together, which costs half, and pays the rest from that.
fn single(name: &'static str, algorithm: Algorithm) {
    let [whole, signatures, hashes] = parts(&Fleet::new(algorithm, 1, DEVICES, ROUNDS[1]));
    let batches = (DEVICES * ROUNDS[1]) as f64;
    let against = format!(
        "the bare {algorithm} check, {:.0}/s; hashes {:.1} us, the rest {:.1} us a batch; {:.0}/s by the clock",
        batches / signatures.cpu,
        1e6 * hashes.cpu / batches,
        1e6 * (whole.cpu - signatures.cpu - hashes.cpu) / batches,
        batches / whole.clock,
    );
    Row::new(name, batches / whole.cpu, "readings/s", against, signatures.cpu / whole.cpu).report();
}

/// The whole, all signatures alone, and all hashes alone.
fn parts(fleet: &Fleet) -> [Spent; 3] {
    let whole = || work::ingest(fleet, Runtime::OneThread);
    let signatures = || work::verify_signatures(fleet);
    let hashes = || work::hash(fleet);
    best_of(RUNS, [&whole, &signatures, &hashes])
}

/// The same on two cores as on one, by the clock: the machine has to be idle otherwise. The limit stands beside
/// it: what two cores of this machine gain where they share nothing, on bare checks and hashes.
fn two_cores(name: &'static str, algorithm: Algorithm) {
    let fleet = Fleet::new(algorithm, 256, DEVICES, ROUNDS[0]);
    let one = || {
        pin(1);
        work::ingest(&fleet, Runtime::OneThread);
    };
    let two = || {
        pin(2);
        work::ingest(&fleet, Runtime::TwoThreads);
    };
    let bare_one = || {
        pin(1);
        work::bare(&fleet, 1);
    };
    let bare_two = || {
        pin(2);
        work::bare(&fleet, 2);
    };
    let [one, two, bare_one, bare_two] = best_of(RUNS, [&one, &two, &bare_one, &bare_two]);
    pin(1);
    let readings = (256 * DEVICES * ROUNDS[0]) as f64;
    let against = format!(
        "one core, {:.0}/s by the clock; processor time a reading is {:.2} of that on one; bare checks and hashes gain {:.2}x",
        readings / one.clock,
        two.cpu / one.cpu,
        bare_one.clock / bare_two.clock,
    );
    Row::new(name, readings / two.clock, "readings/s", against, one.clock / two.clock).report();
    black_box(fleet);
}
