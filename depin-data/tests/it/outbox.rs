//! The device's side: nothing is forgotten before it is proven to be stored.

use std::sync::Arc;

use depin_core::{
    Algorithm, B256, ErrorKind, Sequence, SignedBatch, Signer, Unverified,
    log::ChainTip,
    registry::DeviceRegistry,
    transport::{Answer, RefusalCode, Transport},
};
use depin_data::{
    batch::{BatchVerifier, claimed_signer},
    evidence::{Fork, ForkError, ForkVerifier},
    log::MemoryLog,
    outbox::{Outbox, RamStore},
    transport::InProcess,
};

use crate::support::{Device, NOW, Net, network, reading};

fn outbox(net: &Net, device: &Device) -> Outbox {
    let mut outbox = blank(net, device);
    outbox.reconcile(None).unwrap();
    outbox
}

fn blank(net: &Net, device: &Device) -> Outbox {
    Outbox::new(&network(), &device.did, net.receipts.clone())
}

fn kept_of(outbox: &mut Outbox) -> Vec<SignedBatch> {
    outbox.pending().unwrap()
}

#[tokio::test]
async fn a_batch_is_kept_until_its_receipt_holds() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut outbox = outbox(&net, &device);
    let first = outbox.push(&*device.key, &[reading("1", NOW)]).unwrap();
    let second = outbox.push(&*device.key, &[reading("2", NOW)]).unwrap();
    let receipt = net.taken(&first).await;

    let mut forged = receipt.clone();
    forged.root = B256::ZERO;
    assert_eq!(outbox.acknowledge(&forged).unwrap_err().kind(), ErrorKind::Rejected);
    forged.batch = second.hash();
    assert!(outbox.acknowledge(&forged).is_err());
    assert_eq!(outbox.len(), 2);

    outbox.acknowledge(&receipt).unwrap();
    assert_eq!(kept_of(&mut outbox), std::slice::from_ref(&second));
    assert_eq!(outbox.acknowledge(&receipt).unwrap_err().kind(), ErrorKind::NotFound);
    outbox.acknowledge(&net.taken(&second).await).unwrap();
    assert!(outbox.is_empty());
    assert_eq!(outbox.tip(), net.ingest.log().tip(&device.did).await.unwrap());
}

/// Sends all that waits, in order, and returns how many links that were.
async fn drain(net: &Net, outbox: &mut Outbox, device: &Device) -> usize {
    let mut sent = 0;
    while let Some(link) = outbox.next(&*device.key).unwrap() {
        match InProcess::new(net.ingest.clone()).send(&link).await.unwrap() {
            Answer::Receipt(receipt) => outbox.acknowledge(&receipt).unwrap(),
            Answer::Refusal(refusal) if refusal.code == RefusalCode::Superseded => {
                outbox.superseded(refusal.batch).unwrap();
            }
            Answer::Refusal(refusal) => panic!("{refusal:?}"),
        }
        sent += 1;
    }
    assert!(outbox.is_empty());
    assert_eq!(outbox.tip(), net.ingest.log().tip(&device.did).await.unwrap());
    sent
}

/// The values of all readings in the log, in order.
async fn logged(net: &Net) -> Vec<String> {
    let entries = net.ingest.log().read(0, usize::MAX).await.unwrap();
    let mut values = Vec::new();
    for entry in entries {
        let did = claimed_signer(entry.batch.as_bytes(), &network()).unwrap();
        let key = net.registry.device(&did).await.unwrap().unwrap().key;
        let link = BatchVerifier::new(&network(), &key).link(&entry.batch).unwrap();
        values.extend(link.readings().iter().map(|reading| reading.value().to_string()));
    }
    values
}

fn small(net: &Net, device: &Device) -> Outbox {
    // Four sectors of fifteen batches or so.
    let store = RamStore::new(4, 8192);
    let mut outbox = Outbox::open(&network(), &device.did, net.receipts.clone(), store).unwrap();
    outbox.reconcile(None).unwrap();
    outbox
}

#[tokio::test]
async fn a_full_outbox_drops_the_oldest_and_the_chain_goes_on_over_the_gap() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut outbox = small(&net, &device);
    for value in 0..10 {
        outbox.push(&*device.key, &[reading(&value.to_string(), NOW)]).unwrap();
    }
    assert_eq!(drain(&net, &mut outbox, &device).await, 10);
    for value in 10..500 {
        outbox.push(&*device.key, &[reading(&value.to_string(), NOW)]).unwrap();
    }
    let (kept, dropped) = (outbox.len(), outbox.dropped());
    assert!(kept > 20 && dropped as usize + kept == 490, "{kept} kept, {dropped} dropped");
    // The signatures of what is kept are those of old; one marker comes before them.
    let before = kept_of(&mut outbox);
    assert_eq!(drain(&net, &mut outbox, &device).await, kept + 1);
    let stored = net.ingest.log().read(11, usize::MAX).await.unwrap();
    assert!(stored.iter().map(|entry| &entry.batch).eq(&before));
    let expected: Vec<_> = (0..10).chain(500 - kept..500).map(|v| v.to_string()).collect();
    assert_eq!(logged(&net).await, expected);
}

#[tokio::test]
async fn a_marker_on_its_way_stays_as_it_is_and_a_later_drop_makes_a_second() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut outbox = small(&net, &device);
    let fill = |outbox: &mut Outbox, count| {
        (0..count).for_each(|_| drop(outbox.push(&*device.key, &[reading("1", NOW)]).unwrap()));
    };
    fill(&mut outbox, 200);
    let first = outbox.next(&*device.key).unwrap().unwrap();
    fill(&mut outbox, 200);
    assert_eq!(outbox.next(&*device.key).unwrap().as_ref(), Some(&first), "frozen");
    // Its receipt is lost, and the device forgets the marker with its power.
    net.taken(&first).await;
    let receipt = net.taken(&first).await;
    outbox.acknowledge(&receipt).unwrap();
    let second = outbox.next(&*device.key).unwrap().unwrap();
    let link = BatchVerifier::new(&network(), device.key.public_key()).link(&second).unwrap();
    assert!(link.covers().is_some() && link.sequence().value() > 0, "a marker after the first");
    drain(&net, &mut outbox, &device).await;
}

#[tokio::test]
async fn a_marker_that_is_made_again_wider_or_for_what_is_stored_is_no_fork() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut outbox = small(&net, &device);
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(outbox.push(&*device.key, &[reading("1", NOW)]).unwrap());
    }
    // The log took some, and no receipt came back. Then they were dropped.
    for batch in &all[..5] {
        net.taken(batch).await;
    }
    let narrow = outbox.next(&*device.key).unwrap().unwrap();
    net.taken(&narrow).await;
    outbox.rekey(&*device.key, outbox.tip()).unwrap();
    let mut again = small(&net, &device);
    for _ in 0..200 {
        again.push(&*device.key, &[reading("1", NOW)]).unwrap();
    }
    drain(&net, &mut again, &device).await;

    // All that the marker gives up is stored: ingest says so, and the device goes on.
    let device = net.enrol("b");
    let mut outbox = small(&net, &device);
    let mut gone = Vec::new();
    while outbox.dropped() == 0 {
        gone.push(outbox.push(&*device.key, &[reading("1", NOW)]).unwrap());
    }
    for batch in &gone {
        net.taken(batch).await;
    }
    let marker = outbox.next(&*device.key).unwrap().unwrap();
    assert_eq!(net.refused(marker.as_bytes()).await.code, RefusalCode::Superseded);
    assert_eq!(outbox.superseded(B256::ZERO).unwrap_err().kind(), ErrorKind::NotFound);
    drain(&net, &mut outbox, &device).await;
}

#[tokio::test]
async fn a_device_takes_the_word_of_the_log_for_where_its_chain_stands() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut before = outbox(&net, &device);
    for value in ["1", "2", "3"] {
        before.push(&*device.key, &[reading(value, NOW)]).unwrap();
    }
    // The log took two; the receipt of the second was lost on the way.
    let pending = kept_of(&mut before);
    net.taken(&pending[0]).await;
    net.taken(&pending[1]).await;
    let tip = net.ingest.log().tip(&device.did).await.unwrap();
    before.reconcile(tip).unwrap();
    assert_eq!(kept_of(&mut before), &pending[2..]);
    assert_eq!(drain(&net, &mut before, &device).await, 1);

    // A device that lost its store signs nothing before it has asked, and goes on from the log's tip.
    let mut fresh = blank(&net, &device);
    let error = fresh.push(&*device.key, &[reading("4", NOW)]).unwrap_err();
    assert_eq!((error.kind(), fresh.is_placed()), (ErrorKind::Unavailable, false));
    assert!(error.to_string().contains("reconcile the outbox with the log's tip"), "{error}");
    assert_eq!(fresh.next(&*device.key).unwrap(), None);
    fresh.reconcile(before.tip()).unwrap();
    fresh.push(&*device.key, &[reading("4", NOW)]).unwrap();
    assert_eq!(drain(&net, &mut fresh, &device).await, 1);

    // One whose store is older than the log has to say that it gives up what is kept, and goes on.
    let mut older = outbox(&net, &device);
    let again = older.push(&*device.key, &[reading("1", NOW)]).unwrap();
    assert_eq!(older.reconcile(fresh.tip()).unwrap_err().kind(), ErrorKind::Conflict);
    older.discard(again.hash()).unwrap();
    older.reconcile(fresh.tip()).unwrap();
    older.push(&*device.key, &[reading("5", NOW)]).unwrap();
    assert_eq!(drain(&net, &mut older, &device).await, 1);
    assert_eq!(logged(&net).await, ["1", "2", "3", "4", "5"]);

    // Another batch in the same place is somebody else's.
    let mut foreign = outbox(&net, &device);
    foreign.push(&*device.key, &[reading("9", NOW)]).unwrap();
    let there = ChainTip { sequence: Sequence::new(0), hash: pending[0].hash() };
    assert_eq!(foreign.reconcile(Some(there)).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(foreign.len(), 1);
}

#[tokio::test]
async fn a_log_that_was_put_back_gets_a_marker_for_what_it_lost() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut outbox = outbox(&net, &device);
    for value in ["1", "2", "3"] {
        outbox.push(&*device.key, &[reading(value, NOW)]).unwrap();
    }
    drain(&net, &mut outbox, &device).await;
    let restored = Net::over(Arc::new(MemoryLog::new()));
    restored.registry.add(&device);
    let first = net.ingest.log().read(0, 1).await.unwrap();
    restored.taken(&first[0].batch).await;
    outbox.push(&*device.key, &[reading("4", NOW)]).unwrap();
    let next = outbox.next(&*device.key).unwrap().unwrap();
    assert_eq!(restored.refused(next.as_bytes()).await.code, RefusalCode::SequenceGap);
    outbox.reconcile(restored.ingest.log().tip(&device.did).await.unwrap()).unwrap();
    assert_eq!(drain(&restored, &mut outbox, &device).await, 2);
    assert_eq!(logged(&restored).await, ["1", "4"]);
}

#[tokio::test]
async fn a_marker_made_for_a_log_that_was_put_back_is_made_again() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut outbox = small(&net, &device);
    for _ in 0..10 {
        outbox.push(&*device.key, &[reading("1", NOW)]).unwrap();
    }
    drain(&net, &mut outbox, &device).await;
    for _ in 0..200 {
        outbox.push(&*device.key, &[reading("2", NOW)]).unwrap();
    }
    let marker = outbox.next(&*device.key).unwrap().unwrap();
    let restored = Net::over(Arc::new(MemoryLog::new()));
    restored.registry.add(&device);
    for stored in net.ingest.log().read(0, 5).await.unwrap() {
        restored.taken(&stored.batch).await;
    }
    assert_eq!(restored.refused(marker.as_bytes()).await.code, RefusalCode::SequenceGap);
    let tip = restored.ingest.log().tip(&device.did).await.unwrap();
    outbox.reconcile(tip).unwrap();
    let wider = outbox.next(&*device.key).unwrap().unwrap();
    assert_ne!(wider, marker);
    // Also where the word of the log is not new.
    outbox.reconcile(tip).unwrap();
    assert!(drain(&restored, &mut outbox, &device).await > 1, "and everything is taken");
    let keys = [device.key()];
    let verdict =
        Unverified::new(Fork::new(marker, wider)).verify(&ForkVerifier::new(&network(), &keys));
    assert_eq!(verdict, Err(ForkError::Consistent));
}

#[tokio::test]
async fn what_is_kept_is_not_settled_by_what_somebody_else_wrote_with_the_key() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut mine = outbox(&net, &device);
    let first = mine.push(&*device.key, &[reading("1", NOW)]).unwrap();
    mine.acknowledge(&net.taken(&first).await).unwrap();
    let tip = mine.tip();
    let mut theirs = blank(&net, &device);
    theirs.reconcile(tip).unwrap();
    for _ in 0..3 {
        theirs.push(&*device.key, &[reading("7", NOW)]).unwrap();
    }
    drain(&net, &mut theirs, &device).await;

    let kept = mine.push(&*device.key, &[reading("2", NOW)]).unwrap();
    let before = (mine.tip(), mine.settled_at());
    assert_eq!(mine.reconcile(theirs.tip()).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(kept_of(&mut mine), std::slice::from_ref(&kept));
    assert_eq!((mine.tip(), mine.settled_at()), before);
    // What the next key has not signed yet is not settled either, and stands in no way.
    let next = Device::new("b", Algorithm::EdDsa).key;
    mine.rekey(&*next, theirs.tip()).unwrap();
    let [again] = kept_of(&mut mine).try_into().unwrap();
    let again = Unverified::new(again).verify(&BatchVerifier::new(&network(), next.public_key()));
    assert_eq!(again.unwrap().readings, [reading("2", NOW)]);
}

#[tokio::test]
async fn a_batch_refused_for_good_is_given_up_and_the_chain_goes_on() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut outbox = outbox(&net, &device);
    let late = NOW.plus(core::time::Duration::from_secs(2 * 86_400));
    for at in [NOW, late, NOW] {
        outbox.push(&*device.key, &[reading("1", at)]).unwrap();
    }
    let pending = kept_of(&mut outbox);
    outbox.acknowledge(&net.taken(&pending[0]).await).unwrap();
    let refusal = net.refused(pending[1].as_bytes()).await;
    assert_eq!(refusal.code, RefusalCode::ClockAhead);

    let lost = outbox.discard(refusal.batch).unwrap();
    assert_eq!(lost, [reading("1", late)]);
    assert_eq!(kept_of(&mut outbox), &pending[2..], "what came after needs no new signature");
    assert_eq!(drain(&net, &mut outbox, &device).await, 2);
    assert_eq!(outbox.discard(B256::ZERO).unwrap_err().kind(), ErrorKind::NotFound);

    // Also when it is the last.
    let last = outbox.push(&*device.key, &[reading("1", late)]).unwrap();
    outbox.discard(last.hash()).unwrap();
    assert!(!outbox.is_empty());
    assert_eq!(drain(&net, &mut outbox, &device).await, 1);
    outbox.push(&*device.key, &[reading("1", NOW)]).unwrap();
    assert_eq!(drain(&net, &mut outbox, &device).await, 1);
}

#[test]
fn sealing_is_deterministic_where_the_signature_is() {
    let device = Device::new("a", Algorithm::EdDsa);
    let again = || device.seal_at(0, B256::ZERO, &[reading("1", NOW)]);
    assert_eq!(again(), again());
}

#[tokio::test]
async fn what_waits_is_signed_anew_with_the_next_key_and_nothing_is_lost() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let (device, next) = (net.enrol("a"), Device::new("b", Algorithm::EdDsa).key);
    let mut outbox = outbox(&net, &device);
    let stored = outbox.push(&*device.key, &[reading("1", NOW)]).unwrap();
    outbox.push(&*device.key, &[reading("2", NOW)]).unwrap();
    let tip = ChainTip { sequence: Sequence::new(0), hash: stored.hash() };
    outbox.rekey(&*next, Some(tip)).unwrap();
    let [again] = kept_of(&mut outbox).try_into().unwrap();
    let verifier = BatchVerifier::new(&network(), next.public_key());
    let again = Unverified::new(again).verify(&verifier).unwrap();
    assert_eq!((again.sequence.value(), again.previous), (1, stored.hash()));
    assert_eq!(again.readings, [reading("2", NOW)]);

    // A thief with the old key was faster: what waits goes on from his batch, with one more key.
    let thief = ChainTip { sequence: Sequence::new(1), hash: B256::repeat_byte(7) };
    assert_eq!(outbox.rekey(&*next, Some(thief)).unwrap_err().kind(), ErrorKind::Conflict);
    let third = Device::new("c", Algorithm::EdDsa).key;
    outbox.rekey(&*third, Some(thief)).unwrap();
    let [again] = kept_of(&mut outbox).try_into().unwrap();
    let verifier = BatchVerifier::new(&network(), third.public_key());
    let again = Unverified::new(again).verify(&verifier).unwrap();
    assert_eq!((again.sequence.value(), again.previous), (2, thief.hash));
    assert_eq!(again.readings, [reading("2", NOW)]);
}

#[tokio::test]
async fn one_key_signs_one_chain_whatever_tips_it_is_told() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let (device, next) = (net.enrol("a"), Device::new("b", Algorithm::EdDsa).key);
    let mut outbox = small(&net, &device);
    let batches: Vec<_> = (0..6)
        .map(|n| outbox.push(&*device.key, &[reading(&n.to_string(), NOW)]).unwrap())
        .collect();
    let tip = |n: usize| ChainTip { sequence: Sequence::new(n as u64), hash: batches[n].hash() };
    outbox.rekey(&*next, Some(tip(3))).unwrap();
    let mut shown = kept_of(&mut outbox);
    let forged = ChainTip { sequence: Sequence::new(9), hash: B256::repeat_byte(7) };
    for told in [None, Some(tip(0)), Some(tip(5)), Some(tip(3)), Some(forged)] {
        // It may object, and what it signs stays as it is.
        let _ = outbox.rekey(&*next, told);
        shown.push(outbox.push(&*next, &[reading("7", NOW)]).unwrap());
        shown.extend(kept_of(&mut outbox));
        shown.extend(outbox.next(&*next).unwrap());
    }
    // Nor does the key before sign again.
    let late = outbox.push(&*device.key, &[reading("7", NOW)]);
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Conflict);
    let verifier = ForkVerifier::new(&network(), &[next.public_key().clone()]);
    for one in &shown {
        for other in shown.iter().filter(|other| *other != one) {
            let fork = Fork::new(one.clone(), other.clone());
            let verdict = Unverified::new(fork).verify(&verifier);
            assert_eq!(verdict, Err(ForkError::Consistent));
        }
    }
}

#[tokio::test]
async fn neither_receipts_nor_refusals_cost_a_batch_that_waits_however_full_the_store_is() {
    for fill in 0..35 {
        let net = Net::over(Arc::new(MemoryLog::new()));
        let device = net.enrol("a");
        let mut outbox = small(&net, &device);
        let mut left = fill;
        while outbox.dropped() == 0 || left > 0 {
            left -= usize::from(outbox.dropped() > 0).min(left);
            outbox.push(&*device.key, &[reading("1", NOW)]).unwrap();
        }
        let (kept, dropped) = (kept_of(&mut outbox), outbox.dropped());
        outbox.discard(kept[7].hash()).unwrap();
        outbox.discard(kept[3].hash()).unwrap();
        drain(&net, &mut outbox, &device).await;
        assert_eq!(outbox.dropped(), dropped, "at {fill}");
        assert_eq!(logged(&net).await.len(), kept.len() - 2, "at {fill}");
    }
}
