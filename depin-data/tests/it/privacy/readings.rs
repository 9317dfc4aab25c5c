//! Sealed readings go the whole way, and nobody but their reader gains anything from them.

use std::sync::Arc;

use depin_core::{
    Decimal, EpochId, ErrorKind, Reading, Sequence, SignedBatch, Signer, Unverified, cbor::Encoder,
    envelope::Envelope, reading::Quantity, transport::RefusalCode,
};
use depin_data::{
    batch::{BatchError, BatchVerifier, Extras, PURPOSE, SaltSeed, seal_with},
    collector::{Collector, Next, Options},
    epoch::{EpochDraft, score},
    ingest::{DeviceLimits, Rate},
    log::MemoryLog,
    outbox::Outbox,
    privacy::{
        Context, ReaderSecret, SEALED_READINGS, Sealing, open_readings, seal, seal_readings,
    },
    subscribe::{Cursor, Filter, Subscription},
    transport::InProcess,
};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    epoch::{checks, member},
    support::{Device, NOW, Net, network, reading, receipts},
};

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn pulse(value: i32) -> Reading {
    Reading::new(Quantity::new("pulse", "1/min"), Decimal::from(value), NOW)
}

fn with(device: &Device, readings: &[Reading], sealed: &[u8]) -> SignedBatch {
    let extras = Extras { sealed: Some(sealed), seed: None };
    let (at, before) = (Sequence::new(device.next), device.previous);
    seal_with(&*device.key, &device.did, &network(), at, before, readings, extras).unwrap()
}

fn sealed_by(device: &Device, reader: &ReaderSecret, readings: &[Reading]) -> Vec<u8> {
    let key = reader.public_key();
    seal_readings(&key, &network(), &device.did, readings, &mut rng(9)).unwrap()
}

#[tokio::test]
async fn a_consumer_opens_what_ingest_stored_unread_and_it_earns_nothing() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let (device, doctor, other) =
        (net.enrol("a"), ReaderSecret::generate(&mut rng(1)), ReaderSecret::generate(&mut rng(2)));
    let mut outbox = Outbox::new(&network(), &device.did, net.receipts.clone());
    outbox.reconcile(None).unwrap();
    let sealing = Sealing::of(["pulse"], doctor.public_key(), rng(3));
    let mut collector = Collector::new(outbox, Options::default())
        .salted(|| SaltSeed::from_bytes([7; 16]))
        .sealed(sealing);
    // Some of both, and a batch that hides all it has.
    for readings in [vec![reading("4.9", NOW), pulse(61), pulse(62)], vec![pulse(63)]] {
        for reading in readings {
            collector.push(reading, NOW, &*device.key).unwrap();
        }
        collector.seal(&*device.key).unwrap();
    }
    let transport = InProcess::new(net.ingest.clone());
    assert_eq!(collector.forward(&transport, &*device.key).await.unwrap(), Next::Done);

    let log = net.ingest.log();
    let mut consumer = Subscription::new(Arc::clone(log), Cursor::START, Filter::new(&network()));
    let mut opened = Vec::new();
    for shown in [1, 0] {
        let delivery = consumer.next().await.unwrap();
        assert_eq!(delivery.readings(&network()).unwrap().len(), shown);
        let bytes = delivery.entry.batch.as_bytes();
        assert!(!bytes.windows(5).any(|bytes| bytes == b"pulse"), "not even the name shows");
        assert_eq!(delivery.open(&network(), &other).unwrap_err().kind(), ErrorKind::Rejected);
        opened.extend(delivery.open(&network(), &doctor).unwrap());
    }
    assert_eq!(opened, [pulse(61), pulse(62), pulse(63)]);
    let mut searched = Subscription::new(
        Arc::clone(log),
        Cursor::START,
        Filter::new(&network()).quantity("pulse"),
    );
    assert_eq!(searched.scan().await.unwrap(), None, "a filter does not see it either");

    // Nothing but the open reading counts, and an audit comes to the same without any key.
    let draft = EpochDraft::read(&**log, &network(), EpochId::new(0), 0..2).await.unwrap();
    let record = draft.close(vec![member(&device)], checks().names(), "policy").unwrap();
    let scored = score(&**log, &record, &checks()).await.unwrap();
    assert_eq!((scored.readings, scored.findings.len()), (1, 0));
    assert_eq!(scored.contributions.entries[0].score, 1);
}

#[tokio::test]
async fn sealed_bytes_that_were_changed_swapped_or_stolen_are_found_out() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let (mut device, thief, doctor) =
        (net.enrol("a"), net.enrol("b"), ReaderSecret::generate(&mut rng(1)));
    let hidden = sealed_by(&device, &doctor, &[pulse(61)]);
    let swapped = sealed_by(&device, &doctor, &[pulse(99)]);
    assert_eq!(hidden.len(), swapped.len());
    let batch = with(&device, &[reading("4.9", NOW)], &hidden);
    let at = batch.as_bytes().windows(hidden.len()).position(|bytes| bytes == hidden).unwrap();
    for (other, what) in [(&swapped, "swapped"), (&vec![7; hidden.len()], "noise")] {
        let mut bytes = batch.as_bytes().to_vec();
        bytes[at..at + other.len()].copy_from_slice(other);
        assert_eq!(net.refused(&bytes).await.code, RefusalCode::BadSignature, "{what}");
    }
    for bit in 0..hidden.len() * 8 {
        let mut bytes = batch.as_bytes().to_vec();
        bytes[at + bit / 8] ^= 1 << (bit % 8);
        let verifier = BatchVerifier::new(&network(), device.key.public_key());
        assert!(Unverified::new(SignedBatch::new(bytes)).verify(&verifier).is_err(), "bit {bit}");
    }
    net.taken(&batch).await;
    (device.next, device.previous) = (1, batch.hash());
    // Somebody else's in a batch of one's own, under one's own signature: ingest cannot know, the reader does.
    net.taken(&with(&thief, &[], &hidden)).await;
    let stolen = open_readings(&doctor, &network(), &thief.did, &hidden).unwrap_err();
    assert_eq!(stolen.kind(), ErrorKind::Rejected);
    // What was sealed is no readings: the reader is told, and nobody else is held up.
    let context = Context::new(&network(), &device.did, SEALED_READINGS);
    for junk in [&b"junk"[..], b"\xa3\x04\x80\x05\x00\x06\x80"] {
        let junk = seal(&doctor.public_key(), &context, junk, &mut rng(5)).unwrap();
        let error = open_readings(&doctor, &network(), &device.did, &junk).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        let batch = with(&device, &[], &junk);
        net.taken(&batch).await;
        (device.next, device.previous) = (device.next + 1, batch.hash());
    }
}

#[test]
fn sealed_readings_stay_when_a_batch_is_signed_anew() {
    let (device, doctor) =
        (Device::new("a", depin_core::Algorithm::EdDsa), ReaderSecret::generate(&mut rng(1)));
    let mut outbox = Outbox::new(&network(), &device.did, receipts());
    outbox.reconcile(None).unwrap();
    let hidden = sealed_by(&device, &doctor, &[pulse(61)]);
    let extras = Extras { sealed: Some(&hidden), seed: None };
    outbox.push_with(&*device.key, &[], extras).unwrap();
    let next = Device::new("b", depin_core::Algorithm::EdDsa).key;
    outbox.rekey(&*next, None).unwrap();
    let anew = outbox.next(&*next).unwrap().unwrap();
    let batch = Unverified::new(anew).verify(&BatchVerifier::new(&network(), next.public_key()));
    assert_eq!(batch.unwrap().sealed.as_deref(), Some(&*hidden));
}

/// A batch whose payload ends as `tail` writes it, after the keys 1 to 3.
fn written(
    device: &Device,
    entries: u64,
    tail: impl FnOnce(&mut Encoder<&mut Vec<u8>>),
) -> Result<(), BatchError> {
    let mut payload = Vec::new();
    let mut e = Encoder::new(&mut payload);
    let root = depin_data::batch::root(&[], None);
    e.map(entries).unwrap().u8(1).unwrap().u64(0).unwrap().u8(2).unwrap().bytes(&[0; 32]).unwrap();
    e.u8(3).unwrap().bytes(root.as_slice()).unwrap();
    tail(&mut e);
    let bytes = Envelope::seal(&*device.key, &device.did, &network(), PURPOSE, &payload).unwrap();
    let verifier = BatchVerifier::new(&network(), device.key.public_key());
    Unverified::new(SignedBatch::new(bytes)).verify(&verifier).map(|_| ())
}

/// No readings, at this time.
fn nothing(e: &mut Encoder<&mut Vec<u8>>, base: u64) {
    e.u8(4).unwrap().array(0).unwrap().u8(5).unwrap().u64(base).unwrap();
    e.u8(6).unwrap().array(0).unwrap();
}

#[test]
fn there_is_one_way_to_write_a_batch_of_sealed_readings_alone() {
    let device = Device::new("a", depin_core::Algorithm::EdDsa);
    let sealed = |e: &mut Encoder<&mut Vec<u8>>, length: usize| {
        e.u8(8).unwrap().bytes(&vec![7; length]).unwrap();
    };
    let of = |entries, base, seed: bool, length: Option<usize>| {
        written(&device, entries, |e| {
            nothing(e, base);
            if seed {
                e.u8(7).unwrap().bytes(&[1; 16]).unwrap();
            }
            length.into_iter().for_each(|length| sealed(e, length));
        })
    };
    assert_eq!(of(7, 0, false, Some(49)), Ok(()));
    for (what, verdict) in [
        ("nothing at all", of(6, 0, false, None)),
        ("a time of nothing", of(7, 1, false, Some(49))),
        ("salts for nothing", of(8, 0, true, Some(49))),
        ("salts alone", of(7, 0, true, None)),
        ("nothing sealed", of(7, 0, false, Some(48))),
    ] {
        assert!(matches!(verdict, Err(BatchError::Format(_))), "{what}: {verdict:?}");
    }
    let odd = written(&device, 7, |e| {
        nothing(e, 0);
        e.u8(9).unwrap().bytes(&[7; 49]).unwrap();
    });
    assert!(matches!(odd, Err(BatchError::Format(_))), "another key");
}

#[tokio::test]
async fn sealed_readings_are_no_way_around_the_limits() {
    let mut limits = DeviceLimits::default();
    limits.readings = Rate::new(1, 100);
    let net = Net::with(Arc::new(MemoryLog::new()), |builder| builder.device_limits(limits));
    let (mut device, doctor) = (net.enrol("a"), ReaderSecret::generate(&mut rng(1)));
    let hidden: Vec<_> = (0..500).map(pulse).collect();
    let hidden = sealed_by(&device, &doctor, &hidden);
    let batch = with(&device, &[], &hidden);
    net.taken(&batch).await;
    (device.next, device.previous) = (1, batch.hash());
    let error = net.ingest.accept(with(&device, &[], &hidden).as_bytes()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.retry_after().is_some());
}
