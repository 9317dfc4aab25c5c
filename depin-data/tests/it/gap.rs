//! Gap markers: a device may say that it lost batches, and can say nothing else with them.

use std::sync::Arc;

use depin_core::{
    Algorithm, B256, EpochId, ErrorKind, NetworkId, Sequence, SignedBatch, Signer, Unverified,
    cbor::Encoder,
    envelope::{Envelope, EnvelopeError, Purpose},
    log::{BatchLog, ChainTip},
    transport::RefusalCode,
};
use depin_data::{
    batch::{BatchError, BatchVerifier, GAP_PURPOSE, Link, claimed_signer, seal_gap, tip_after},
    epoch::{Checks, EpochDraft, score},
    evidence::{Fork, ForkVerifier},
    ingest::Letters,
    log::MemoryLog,
};
use proptest::prelude::*;

use crate::{
    epoch::member,
    support::{Device, NOW, Net, network, reading},
};

fn end(sequence: u64, hash: B256) -> ChainTip {
    ChainTip { sequence: Sequence::new(sequence), hash }
}

fn gap(device: &Device, first: u64, previous: B256, last: ChainTip) -> SignedBatch {
    seal_gap(&*device.key, &device.did, &network(), Sequence::new(first), previous, last).unwrap()
}

fn verifier(device: &Device) -> BatchVerifier {
    BatchVerifier::new(&network(), device.key.public_key())
}

#[test]
fn a_marker_says_what_was_sealed_in_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let device = Device::new("a", algorithm);
        let (before, last) = (B256::repeat_byte(1), end(9, B256::repeat_byte(9)));
        let marker = gap(&device, 3, before, last);
        assert_eq!(claimed_signer(marker.as_bytes(), &network()), Ok(device.did.clone()));
        let link = verifier(&device).link(&marker).unwrap();
        assert_eq!((link.device(), link.sequence().value()), (&device.did, 3));
        assert_eq!((link.previous(), link.covers()), (before, Some(last)));
        assert!(link.readings().is_empty());
        let Link::Gap(gap) = &link else { panic!("a marker is a gap") };
        assert_eq!(gap.hash, marker.hash());
        let new = link.clone().into_new(NOW, marker.clone());
        assert_eq!((new.covers, new.sequence, new.batch), (Some(last), gap.first, marker));
    }
}

#[test]
fn a_batch_is_no_marker_and_a_marker_no_batch() {
    let mut device = Device::new("a", Algorithm::EdDsa);
    let batch = device.measure();
    assert!(matches!(verifier(&device).link(&batch).unwrap(), Link::Batch(_)));
    let marker = gap(&device, 0, B256::ZERO, end(0, batch.hash()));
    let as_batch = depin_core::Unverified::new(marker).verify(&verifier(&device));
    assert_eq!(as_batch.unwrap_err().code(), RefusalCode::WrongPurpose);
    let greeting =
        Envelope::seal(&*device.key, &device.did, &network(), Purpose::new("greeting", 1), &[0xa0]);
    let error = verifier(&device).link(&SignedBatch::new(greeting.unwrap())).unwrap_err();
    assert!(
        matches!(&error, BatchError::Envelope(EnvelopeError::Purpose { found }) if found.contains("greeting")),
        "{error}"
    );
}

#[test]
fn a_changed_bit_or_another_key_or_network_makes_a_marker_worthless() {
    let (device, other) = (Device::new("a", Algorithm::EdDsa), Device::new("b", Algorithm::EdDsa));
    let marker = gap(&device, 3, B256::repeat_byte(1), end(9, B256::repeat_byte(9)));
    let bytes = marker.as_bytes();
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(verifier(&device).link(&SignedBatch::new(flipped)).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        let cut = SignedBatch::new(bytes[..length].to_vec());
        assert!(verifier(&device).link(&cut).is_err(), "cut at {length}");
    }
    assert_eq!(verifier(&other).link(&marker).unwrap_err().code(), RefusalCode::BadSignature);
    let elsewhere =
        BatchVerifier::new(&NetworkId::parse("drive").unwrap(), device.key.public_key());
    assert_eq!(elsewhere.link(&marker).unwrap_err().code(), RefusalCode::WrongNetwork);
}

/// A marker with any four values under any keys, validly signed.
fn forged(device: &Device, keys: [u8; 4], first: u64, last: u64, hash: &[u8]) -> SignedBatch {
    let mut payload = Vec::new();
    Encoder::new(&mut payload)
        .map(4)
        .and_then(|e| e.u8(keys[0])?.u64(first)?.u8(keys[1])?.bytes(hash))
        .and_then(|e| e.u8(keys[2])?.u64(last)?.u8(keys[3])?.bytes(&[7; 32]))
        .unwrap();
    let sealed = Envelope::seal(&*device.key, &device.did, &network(), GAP_PURPOSE, &payload);
    SignedBatch::new(sealed.unwrap())
}

#[test]
fn a_gap_that_runs_backwards_or_has_another_shape_is_malformed() {
    let device = Device::new("a", Algorithm::EdDsa);
    let refused = |marker: &SignedBatch| verifier(&device).link(marker).unwrap_err().code();
    let keys = [1, 2, 3, 4];
    assert!(verifier(&device).link(&forged(&device, keys, u64::MAX, u64::MAX, &[0; 32])).is_ok());
    for bad in [
        forged(&device, keys, 5, 4, &[0; 32]),
        forged(&device, keys, u64::MAX, 0, &[0; 32]),
        forged(&device, [1, 2, 3, 5], 1, 4, &[0; 32]),
        forged(&device, [0, 2, 3, 4], 1, 4, &[0; 32]),
        forged(&device, keys, 1, 4, &[0; 31]),
        forged(&device, keys, 1, 4, &[0; 33]),
    ] {
        assert_eq!(refused(&bad), RefusalCode::Malformed);
    }
    let (key, last) = (&*device.key, end(4, B256::ZERO));
    let backwards =
        seal_gap(key, &device.did, &network(), Sequence::new(5), B256::ZERO, last).unwrap_err();
    assert_eq!(backwards.kind(), ErrorKind::Malformed);
}

#[test]
fn a_chain_goes_on_after_a_gap_and_only_there() {
    let (hash, held) = (B256::repeat_byte(1), end(4, B256::repeat_byte(4)));
    let after = |sequence: u64, previous, covers| {
        tip_after(Some(held), Sequence::new(sequence), previous, hash, covers)
    };
    let last = end(9, B256::repeat_byte(9));
    assert_eq!(after(5, held.hash, None), Some(end(5, hash)));
    assert_eq!(after(5, held.hash, Some(last)), Some(last));
    assert_eq!(after(2, B256::ZERO, Some(last)), Some(last), "what was before 2 is not known here");
    assert_eq!(after(5, B256::ZERO, Some(last)), None);
    assert_eq!(after(6, held.hash, Some(last)), None);
    assert_eq!(after(2, B256::ZERO, Some(held)), None, "nothing new");
    assert_eq!(tip_after(None, Sequence::new(0), B256::ZERO, hash, Some(last)), Some(last));
    assert_eq!(tip_after(None, Sequence::new(1), B256::ZERO, hash, Some(last)), None);
    let full = Some(end(u64::MAX, hash));
    assert_eq!(tip_after(full, Sequence::new(0), B256::ZERO, hash, full), None);
}

#[tokio::test]
async fn ingest_takes_a_marker_and_the_batches_signed_before_it() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = net.enrol("a");
    let sealed: Vec<_> = (0..5).map(|_| device.measure()).collect();
    net.taken(&sealed[0]).await;
    assert_eq!(net.refused(sealed[3].as_bytes()).await.code, RefusalCode::SequenceGap);
    let marker = gap(&device, 1, sealed[0].hash(), end(2, sealed[2].hash()));
    assert_eq!(net.taken(&marker).await.index, 1);
    assert_eq!(net.taken(&marker).await.index, 1, "sent again, the same receipt");
    // They were signed before anybody knew of the gap, and count as they are.
    assert_eq!(net.taken(&sealed[3]).await.index, 2);
    assert_eq!(net.taken(&sealed[4]).await.index, 3);
    assert_eq!(net.refused(sealed[1].as_bytes()).await.code, RefusalCode::Superseded);
    let needless = gap(&device, 1, sealed[0].hash(), end(4, sealed[4].hash()));
    assert_eq!(net.refused(needless.as_bytes()).await.code, RefusalCode::Superseded);
    let lie = gap(&device, 1, sealed[0].hash(), end(4, B256::repeat_byte(1)));
    assert_eq!(net.refused(lie.as_bytes()).await.code, RefusalCode::Fork);
    // What is kept convinces whoever judges the device: its batch at the place where the lie ends.
    let letters = net.ingest.dead_letters(&Letters::default(), 0, 9).await.unwrap();
    let evidence = net.ingest.fork(letters.letters.last().unwrap().position).await.unwrap();
    assert_eq!(evidence, Fork::new(sealed[4].clone(), lie));
    let verifier = ForkVerifier::new(&network(), &[device.key()]);
    let proof = Unverified::new(evidence).verify(&verifier).unwrap();
    assert_eq!(proof.position, Sequence::new(4));
}

#[tokio::test]
async fn an_epoch_with_a_gap_is_scored_and_audited() {
    let log = Arc::new(MemoryLog::new());
    let net = Net::over(log.clone());
    let mut device = net.enrol("a");
    let sealed: Vec<_> = (0..5).map(|_| device.measure()).collect();
    let marker = gap(&device, 1, sealed[0].hash(), end(2, sealed[2].hash()));
    for taken in [&sealed[0], &marker, &sealed[3]] {
        net.taken(taken).await;
    }
    let close = async |epoch, range, past| {
        let draft = EpochDraft::read(&*log, &network(), EpochId::new(epoch), range).await.unwrap();
        let member = depin_data::epoch::Member { past, ..member(&device) };
        draft.close(vec![member], Vec::new(), "policy").unwrap()
    };
    let scored = score(&*log, &close(0, 0..3, None).await, &Checks::new()).await.unwrap();
    assert_eq!(scored.contributions.entries[0].readings, 4, "two batches of two readings");
    // An epoch that ends with the marker hands on where the chain stands after it.
    let scored = score(&*log, &close(0, 0..2, None).await, &Checks::new()).await.unwrap();
    let past = scored.pasts[&device.did].clone();
    assert_eq!(past.tip, end(2, sealed[2].hash()));
    let scored = score(&*log, &close(1, 2..3, Some(past)).await, &Checks::new()).await.unwrap();
    assert_eq!(scored.contributions.entries[0].readings, 2);
    // An epoch of a marker alone earns nothing.
    let first = score(&*log, &close(0, 0..1, None).await, &Checks::new()).await.unwrap();
    let alone = close(1, 1..2, Some(first.pasts[&device.did].clone())).await;
    let scored = score(&*log, &alone, &Checks::new()).await.unwrap();
    assert_eq!((scored.contributions.entries[0].readings, scored.unverified.len()), (0, 0));
    assert_eq!(log.head().await.unwrap().size, 3);
}

#[tokio::test]
async fn a_clock_that_is_off_does_not_keep_a_marker_out() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = net.enrol("a");
    let late = NOW.plus(core::time::Duration::from_secs(40 * 86_400));
    let ahead = device.seal(&[reading("1", late)]);
    assert_eq!(net.refused(ahead.as_bytes()).await.code, RefusalCode::ClockAhead);
    net.taken(&gap(&device, 0, B256::ZERO, end(0, ahead.hash()))).await;
    net.taken(&device.seal(&[reading("1", NOW)])).await;
}

proptest! {
    #[test]
    fn arbitrary_payloads_are_no_gap(payload in prop::collection::vec(any::<u8>(), 0..120)) {
        let device = Device::new("a", Algorithm::EdDsa);
        let sealed = Envelope::seal(&*device.key, &device.did, &network(), GAP_PURPOSE, &payload);
        let sealed = SignedBatch::new(sealed.unwrap());
        prop_assert!(verifier(&device).link(&sealed).is_err());
    }
}
