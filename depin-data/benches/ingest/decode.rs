//! From signed bytes to readings, beside what others need for the same readings.

use std::{hint::black_box, sync::Arc};

use depin_core::{
    Algorithm, Decimal, Reading, Signer, Verifier,
    log::{BatchLog, NewBatch},
};
use depin_data::{
    batch::BatchVerifier,
    log::MemoryLog,
    subscribe::{Cursor, Delivery, Filter, Subscription},
};
use depin_testkit::bench::Row;

use crate::{
    RUNS,
    clock::best_of,
    fleet::{Fleet, Kind, NOW},
    work,
};

const DEVICES: usize = 16;
const ROUNDS: usize = 32;

/// A reading as others would take it in, with nothing checked: name, unit, time, value.
type Plain = Vec<(String, String, u64, i64, i8)>;

/// What a consumer does with a batch that a log has verified, and what who verifies it does beside the
/// signature.
pub(crate) fn rows(
    plain: &'static str,
    checked: &'static str,
    kinds: &[Kind],
    wanted: &dyn Fn(&str) -> bool,
) {
    if wanted(plain) {
        decode(plain, kinds);
    }
    if wanted(checked) {
        check(checked, kinds);
    }
}

fn fleet(kinds: &[Kind]) -> (Fleet, f64) {
    let fleet = Fleet::of(kinds, Algorithm::EdDsa, 256, DEVICES, ROUNDS);
    let readings = (256 * DEVICES * ROUNDS) as f64;
    (fleet, readings)
}

/// Envelope, deterministic encoding and payload; no signature, and no leaves, whose root the log has
/// compared already.
fn decode(name: &'static str, kinds: &[Kind]) {
    let (fleet, readings) = fleet(kinds);
    let deliveries = deliveries(&fleet);
    let plain: Plain = fleet.readings.iter().map(plain).collect();
    let mut cbor = Vec::new();
    ciborium::into_writer(&plain, &mut cbor).expect("vectors take everything");
    let json = serde_json::to_vec(&plain).expect("vectors take everything");
    let times = DEVICES * ROUNDS;
    let ours = || {
        for delivery in &deliveries {
            black_box(delivery.readings(&fleet.network).expect("a batch"));
        }
    };
    let ciborium = || {
        for _ in 0..times {
            let read = ciborium::from_reader::<Plain, _>(black_box(cbor.as_slice()));
            black_box(read.expect("what was written"));
        }
    };
    let json_too = || {
        for _ in 0..times {
            let read = serde_json::from_slice::<Plain>(black_box(&json));
            black_box(read.expect("what was written"));
        }
    };
    let [ours, ciborium, serde_json] = best_of(RUNS, [&ours, &ciborium, &json_too]);
    let bytes: usize = fleet.batches().map(|batch| batch.as_bytes().len()).sum();
    let against = format!(
        "ciborium, {:.2} M/s from {:.1} bytes a reading (serde_json {:.2} M/s from {:.1}); {:.1} bytes a reading on the wire, signature and all",
        readings / ciborium.cpu / 1e6,
        cbor.len() as f64 / 256.0,
        readings / serde_json.cpu / 1e6,
        json.len() as f64 / 256.0,
        bytes as f64 / readings,
    );
    let ratio = ciborium.cpu / ours.cpu;
    Row::new(name, readings / ours.cpu, "readings/s", against, ratio).report();
}

fn plain(reading: &Reading) -> (String, String, u64, i64, i8) {
    let (quantity, value): (_, Decimal) = (reading.quantity(), reading.value());
    let (name, unit) = (quantity.name().to_owned(), quantity.unit().to_owned());
    (name, unit, reading.at().millis(), value.mantissa(), value.exponent())
}

/// As [`decode`], with every leaf and the root hashed; the signature is measured beside it and taken off.
fn check(name: &'static str, kinds: &[Kind]) {
    let (fleet, readings) = fleet(kinds);
    let leaves: Vec<_> = fleet.readings.iter().map(work::leaf_data).collect();
    let whole = || {
        for device in &fleet.devices {
            let verifier = BatchVerifier::new(&fleet.network, device.key.public_key());
            for batch in &device.batches {
                black_box(verifier.check(batch).expect("a good batch"));
            }
        }
    };
    let signatures = || work::verify_signatures(&fleet);
    let hashes = || (0..DEVICES * ROUNDS).for_each(|_| work::hash_readings(&leaves));
    let [whole, signatures, hashes] = best_of(RUNS, [&whole, &signatures, &hashes]);
    let seconds = whole.cpu - signatures.cpu;
    let against =
        format!("the bare hashes of leaves and root, {:.2} M/s", readings / hashes.cpu / 1e6,);
    Row::new(name, readings / seconds, "readings/s", against, hashes.cpu / seconds).report();
}

/// The batches as a consumer gets them.
fn deliveries(fleet: &Fleet) -> Vec<Delivery> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let log = Arc::new(MemoryLog::new());
        for device in &fleet.devices {
            let verifier = BatchVerifier::new(&fleet.network, device.key.public_key());
            for batch in &device.batches {
                let link = verifier.link(batch).expect("a good batch");
                let new: NewBatch = link.into_new(NOW, batch.clone());
                log.append(new).await.expect("memory");
            }
        }
        let filter = Filter::new(&fleet.network);
        let mut subscription = Subscription::new(log, Cursor::START, filter);
        let mut deliveries = Vec::new();
        for _ in 0..fleet.batches().count() {
            deliveries.push(subscription.next().await.expect("a batch"));
        }
        deliveries
    })
}
