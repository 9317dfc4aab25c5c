//! The whole way of a fleet's batches into a log, and the parts of it that nothing can do without.

use std::{hint::black_box, sync::Arc};

use depin_core::{
    Algorithm, Did, ManualClock, Reading, SignedBatch, Signer, SoftwareKey, cbor::Encoder,
    transport::Answer,
};
use depin_data::{
    batch::leaf,
    ingest::Ingest,
    log::RedbLog,
    merkle::{self, Leaves},
};

use crate::fleet::{Device, Fleet, NOW, Registry};

#[derive(Clone, Copy)]
pub(crate) enum Runtime {
    OneThread,
    TwoThreads,
}

impl Runtime {
    fn build(self) -> tokio::runtime::Runtime {
        let runtime = match self {
            Self::OneThread => tokio::runtime::Builder::new_current_thread().build(),
            Self::TwoThreads => {
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()
            }
        };
        runtime.expect("a runtime")
    }
}

/// From bytes to receipts over durable batches: all devices send at once, each waiting for its receipt.
pub(crate) fn ingest(fleet: &Fleet, runtime: Runtime) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = Arc::new(RedbLog::open(folder.path().join("log")).expect("a log"));
    let registry = Arc::new(Registry::of(&fleet.devices));
    let clock = Arc::new(ManualClock::at(NOW));
    let key = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [9; 32]));
    let did = Did::parse("did:example:log").expect("a did");
    let network = fleet.network.clone();
    let ingest = Arc::new(Ingest::builder(network, log, registry, clock, key, did).build());
    runtime.build().block_on(async {
        let senders = fleet.devices.iter().map(|device| {
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

/// All signatures and hashes on so many threads, which share nothing.
pub(crate) fn bare(fleet: &Fleet, threads: usize) {
    let leaves: Vec<_> = fleet.readings.iter().map(leaf_data).collect();
    std::thread::scope(|scope| {
        for devices in fleet.devices.chunks(fleet.devices.len().div_ceil(threads)) {
            let leaves = &leaves;
            scope.spawn(move || {
                verify_all(devices);
                devices.iter().flat_map(|device| &device.batches).for_each(|batch| {
                    hash_batch(leaves, batch.as_bytes());
                });
            });
        }
    });
}

/// Signatures one after the other.
pub(crate) fn verify_signatures(fleet: &Fleet) {
    verify_all(&fleet.devices);
}

fn verify_all(devices: &[Device]) {
    for device in devices {
        for batch in &device.batches {
            let signature = &batch.as_bytes()[batch.as_bytes().len() - 64..];
            let signature = signature.try_into().expect("64 bytes at the end");
            // The message is not the signed one: a check that fails costs the same.
            black_box(device.key.public_key().verify(batch.as_bytes(), &signature).is_ok());
        }
    }
}

/// What is hashed of every batch by itself: leaves and tree of its readings, and its name. Its leaf in the
/// log is hashed together with others.
pub(crate) fn hash(fleet: &Fleet) {
    let leaves: Vec<_> = fleet.readings.iter().map(leaf_data).collect();
    for batch in fleet.batches() {
        hash_batch(&leaves, batch.as_bytes());
    }
}

fn hash_batch(leaves: &[Vec<u8>], batch: &[u8]) {
    hash_readings(leaves);
    black_box(SignedBatch::new(batch.to_vec()));
}

pub(crate) fn hash_readings(data: &[Vec<u8>]) {
    let mut leaves = Leaves::new();
    data.iter().for_each(|leaf| leaves.push(leaf));
    black_box(merkle::root(leaves.finish()));
}

/// What a reading's leaf is the hash of.
pub(crate) fn leaf_data(reading: &Reading) -> Vec<u8> {
    let (quantity, value, mut bytes) = (reading.quantity(), reading.value(), Vec::new());
    Encoder::new(&mut bytes)
        .array(5)
        .and_then(|e| e.str(quantity.name())?.str(quantity.unit()))
        .and_then(|e| e.u64(reading.at().millis())?.i64(value.mantissa())?.i8(value.exponent()))
        .expect("vectors take everything");
    assert_eq!(merkle::leaf_hash(&bytes), leaf(reading));
    bytes
}
