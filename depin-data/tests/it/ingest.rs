//! Hostile input at the gate: each kind is refused with its code, and honest devices lose nothing.

use std::{
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use depin_core::{
    Algorithm, B256, Bytes, ErrorKind, NetworkEvent, NetworkId, Sequence, SignedBatch, Timestamp,
    log::{BatchLog, ChainTip},
    registry::{DeviceRegistry, DeviceStatus},
    transport::{Answer, RefusalCode, Standing, Transport},
};
use depin_data::{
    batch::MAX_BYTES,
    ingest::{Letters, Listener},
    log::{MemoryLog, RedbLog},
    transport::InProcess,
    wire::{self, Nonce},
};

use crate::{
    stuck::Stuck,
    support::{Device, NOW, Net, reading},
};

fn net() -> Net {
    Net::over(Arc::new(MemoryLog::new()))
}

#[tokio::test]
async fn the_in_process_transport_conforms() {
    let net = net();
    let mut device = net.enrol("a");
    let transport = InProcess::new(net.ingest.clone());
    let (did, key) = (device.did.clone(), device.key.clone());
    depin_testkit::transport::conforms(&transport, &did, &*key, || device.measure()).await;
}

#[tokio::test]
async fn each_kind_of_bad_batch_is_refused_with_its_code_and_kept() {
    let net = net();
    let mut honest = net.enrol("honest");
    let stranger = Device::new("stranger", Algorithm::EdDsa);
    let mut suspended = net.enrol("suspended");
    net.registry.set_status(&suspended.did, DeviceStatus::Suspended).await.unwrap();
    let mut revoked = net.enrol("revoked");
    net.registry.set_status(&revoked.did, DeviceStatus::Revoked).await.unwrap();

    let first = honest.measure();
    net.taken(&first).await;
    let second = honest.measure();
    let mut flipped = second.as_bytes().to_vec();
    flipped.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let one = |at: Timestamp| [reading("4.9", at)];
    let bad = [
        (RefusalCode::Malformed, b"noise".to_vec()),
        (RefusalCode::TooLarge, vec![0; MAX_BYTES + 1]),
        (RefusalCode::BadSignature, flipped),
        (
            RefusalCode::NotRegistered,
            stranger.seal_at(0, B256::ZERO, &one(NOW)).as_bytes().to_vec(),
        ),
        (RefusalCode::NotActive, suspended.measure().as_bytes().to_vec()),
        (RefusalCode::NotActive, revoked.measure().as_bytes().to_vec()),
        (
            RefusalCode::ClockAhead,
            honest.seal_at(1, first.hash(), &one(NOW.plus(days(2)))).as_bytes().to_vec(),
        ),
        (
            RefusalCode::ClockBehind,
            honest.seal_at(1, first.hash(), &one(NOW.minus(days(31)))).as_bytes().to_vec(),
        ),
        (RefusalCode::Fork, honest.seal_at(0, B256::ZERO, &one(NOW)).as_bytes().to_vec()),
        (RefusalCode::SequenceGap, honest.seal_at(5, first.hash(), &one(NOW)).as_bytes().to_vec()),
    ];
    for (code, bytes) in &bad {
        let refusal = net.refused(bytes).await;
        assert_eq!(refusal.code, *code, "{refusal:?}");
        assert!(!refusal.detail.is_empty());
    }
    let kept = net.ingest.log().refusals(0, 100).await.unwrap();
    assert_eq!(kept.len(), bad.len());
    for (kept, (code, bytes)) in kept.iter().zip(&bad) {
        assert_eq!(kept.refusal.code, *code);
        assert_eq!(kept.bytes, bytes[..bytes.len().min(MAX_BYTES)], "evidence is kept as received");
    }
    // The honest device loses nothing by what others did in its name.
    assert_eq!(net.taken(&second).await.index, 1);
}

#[tokio::test]
async fn a_batch_sent_twice_counts_once_and_is_receipted_twice() {
    let net = net();
    let mut device = net.enrol("a");
    let batch = device.measure();
    let (first, again) = (net.taken(&batch).await, net.taken(&batch).await);
    assert_eq!(first, again);
    assert_eq!(net.ingest.log().head().await.unwrap().size, 1);
    // Also long after the clock rule would refuse it.
    net.clock.advance(Duration::from_secs(60 * 86_400));
    assert_eq!(net.taken(&batch).await.index, 0);
}

#[tokio::test]
async fn a_second_spelling_of_a_name_is_no_second_chain() {
    let net = net();
    let device = net.enrol("a");
    net.registry.alias("did:example:A", &device);
    let twin =
        Device { did: "did:example:A".parse().unwrap(), ..Device::new("a", Algorithm::EdDsa) };
    let batch = twin.seal_at(0, B256::ZERO, &[reading("1", NOW)]);
    let refusal = net.refused(batch.as_bytes()).await;
    assert_eq!(refusal.code, RefusalCode::NotRegistered);
    assert!(refusal.detail.contains("did:example:a"), "{}", refusal.detail);
}

#[tokio::test]
async fn a_batch_in_the_name_of_another_device_is_a_bad_signature() {
    let net = net();
    let (victim, attacker) = (net.enrol("victim"), net.enrol("attacker"));
    let forged = Device { did: victim.did, ..attacker };
    let batch = forged.seal_at(0, B256::ZERO, &[reading("1", NOW)]);
    assert_eq!(net.refused(batch.as_bytes()).await.code, RefusalCode::BadSignature);
}

#[tokio::test]
async fn standing_is_asked_rarely_and_a_change_counts_in_time() {
    let net = net();
    let mut device = net.enrol("a");
    for _ in 0..5 {
        net.taken(&device.measure()).await;
    }
    assert_eq!(*net.registry.asked.lock().unwrap(), 1);
    net.registry.set_status(&device.did, DeviceStatus::Suspended).await.unwrap();
    net.clock.advance(Duration::from_secs(10));
    let batch = device.measure();
    assert_eq!(net.refused(batch.as_bytes()).await.code, RefusalCode::NotActive);
    net.registry.set_status(&device.did, DeviceStatus::Active).await.unwrap();
    net.ingest.forget(&device.did);
    net.taken(&batch).await;
}

#[tokio::test]
async fn a_device_enrolled_after_its_first_try_is_taken_at_once() {
    let net = net();
    let mut device = Device::new("late", Algorithm::EdDsa);
    let batch = device.measure();
    assert_eq!(net.refused(batch.as_bytes()).await.code, RefusalCode::NotRegistered);
    net.registry.add(&device);
    net.taken(&batch).await;
}

#[tokio::test]
async fn a_registry_that_does_not_answer_refuses_nobody() {
    let net = net();
    let mut device = net.enrol("a");
    *net.registry.down.lock().unwrap() = true;
    let batch = device.measure();
    let error = net.ingest.accept(batch.as_bytes()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    *net.registry.down.lock().unwrap() = false;
    net.taken(&batch).await;
    assert!(net.ingest.log().refusals(0, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn unknown_senders_cannot_fill_the_disk() {
    let net = net();
    for n in 0..500u32 {
        net.refused(&n.to_be_bytes()).await;
    }
    let kept = net.ingest.log().refusals(0, 1000).await.unwrap().len();
    assert_eq!((kept, net.ingest.unkept()), (60, 440));
    net.clock.advance(Duration::from_secs(60));
    for _ in 0..10 {
        net.refused(&[0xff; MAX_BYTES]).await;
    }
    assert_eq!(net.ingest.log().refusals(60, 1000).await.unwrap().len(), 4);
    assert_eq!(net.ingest.unkept(), 446, "none is lost without being counted");
}

/// It fills its room with what it signed, then forks; another fork before, which convicts nobody, changes nothing.
#[tokio::test]
async fn a_device_does_not_push_out_what_convicts_it() {
    let net = net();
    let mut device = net.enrol("forker");
    let large = |first: u64, at| -> Vec<_> {
        let value = |n: u64| ((first + n) * 1_000_000_000_000).to_string();
        (0..1000).map(|n| reading(&value(n), at)).collect()
    };
    net.taken(&device.seal(&large(0, NOW))).await;
    device.key = Device::new("next-key", Algorithm::EdDsa).key;
    net.registry.add(&device);
    net.ingest.forget(&device.did);
    let of_two_keys = device.seal_at(0, B256::ZERO, &large(1, NOW));
    assert_eq!(net.refused(of_two_keys.as_bytes()).await.code, RefusalCode::Fork);
    let (place, previous) = (device.next, device.previous);
    net.taken(&device.seal(&large(0, NOW))).await;
    let ahead = NOW.plus(Duration::from_secs(1 << 30));
    for sequence in 10..30 {
        for at in [NOW, ahead] {
            let readings = large(0, at);
            net.refused(device.seal_at(sequence, B256::ZERO, &readings).as_bytes()).await;
        }
    }
    assert!(net.ingest.unkept() > 0, "its room is full");
    let fork = device.seal_at(place, previous, &large(1, NOW));
    net.refused(fork.as_bytes()).await;
    let kept = net.ingest.log().refusals(0, 1000).await.unwrap();
    let last = kept.last().unwrap();
    assert_eq!(
        (&last.bytes, last.against.is_some()),
        (&Bytes::from(fork.as_bytes().to_vec()), true)
    );
    let unkept = net.ingest.unkept();
    net.refused(device.seal_at(place, previous, &large(2, NOW)).as_bytes()).await;
    assert_eq!(net.ingest.unkept(), unkept + 1, "one convicts; the disk is bounded");
}

#[tokio::test]
async fn a_flood_of_letters_leaves_room_for_those_of_others() {
    let net = net();
    // Noise, a name that is invented, and devices that conspire.
    for n in 0..500u32 {
        net.refused(&n.to_be_bytes()).await;
    }
    let mut invented = Device::new("invented", Algorithm::EdDsa);
    for _ in 0..100 {
        net.refused(invented.measure().as_bytes()).await;
    }
    for n in 0..20 {
        let conspirator = net.enrol(&format!("conspirator-{n}"));
        let readings: Vec<_> = (0..1000).map(|value| reading(&value.to_string(), NOW)).collect();
        for sequence in 1..20 {
            net.refused(conspirator.seal_at(sequence, B256::ZERO, &readings).as_bytes()).await;
        }
    }
    // Of a device that is not registered yet, and of one that is, there is still a letter to replay.
    let mut late = Device::new("late", Algorithm::EdDsa);
    let honest = net.enrol("honest");
    net.refused(late.measure().as_bytes()).await;
    net.refused(honest.seal_at(3, B256::ZERO, &[reading("1", NOW)]).as_bytes()).await;
    for device in [&late, &honest] {
        let which = Letters::default().device(device.did.clone());
        assert_eq!(net.ingest.dead_letters(&which, 0, 9).await.unwrap().letters.len(), 1);
    }
    let kept = net.ingest.log().refusal_range().await.unwrap().end;
    assert_eq!(kept + net.ingest.unkept(), 500 + 100 + 20 * 19 + 2);
}

#[tokio::test]
async fn one_noisy_device_leaves_room_for_the_evidence_of_others() {
    let net = net();
    let (noisy, quiet) = (net.enrol("noisy"), net.enrol("quiet"));
    for sequence in 1..100 {
        let batch = noisy.seal_at(sequence, B256::ZERO, &[reading("1", NOW)]);
        assert_eq!(net.refused(batch.as_bytes()).await.code, RefusalCode::SequenceGap);
    }
    net.refused(quiet.seal_at(3, B256::ZERO, &[reading("1", NOW)]).as_bytes()).await;
    let kept = net.ingest.log().refusals(0, 1000).await.unwrap();
    assert_eq!(kept.len(), 21);
    assert_eq!(kept[20].refusal.device, Some(quiet.did));
}

/// Writes down what it hears.
fn listener(heard: &Arc<Mutex<Vec<NetworkEvent>>>) -> Listener {
    let heard = Arc::clone(heard);
    Arc::new(move |event: &NetworkEvent| heard.lock().unwrap().push(event.clone()))
}

#[tokio::test]
async fn listeners_hear_what_was_taken_and_refused() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let net = Net::with(Arc::new(MemoryLog::new()), |b| b.on_event(listener(&heard)));
    let late = Arc::new(Mutex::new(Vec::new()));
    let mut device = net.enrol("a");
    let batch = device.measure();
    net.taken(&batch).await;
    net.ingest.subscribe(listener(&late));
    net.taken(&batch).await;
    net.refused(b"noise").await;
    let heard = heard.lock().unwrap();
    assert!(matches!(
        &heard[..],
        [
            NetworkEvent::BatchAccepted { index: 0, readings: 2, .. },
            NetworkEvent::BatchRefused { did: None, code: RefusalCode::Malformed, .. },
        ]
    ));
    assert_eq!(late.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_event_is_told_once_also_when_the_answer_was_lost() {
    let heard = Arc::default();
    let log = Arc::new(RedbLog::open_in_memory().unwrap());
    let net = Net::with(log.clone(), |b| b.on_event(listener(&heard)));
    let mut device = net.enrol("a");
    for index in 0..100 {
        let batch = device.measure();
        {
            // Handed to the log, and nobody waits for what it says.
            let mut sending = std::pin::pin!(net.ingest.accept(batch.as_bytes()));
            std::future::poll_fn(|context| Poll::Ready(sending.as_mut().poll(context).is_ready()))
                .await;
        }
        log.grown(index).await.unwrap();
        net.taken(&batch).await;
        net.taken(&batch).await;
    }
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    let told = heard.iter().map(|event| match event {
        NetworkEvent::BatchAccepted { index, readings: 2, .. } => *index,
        other => panic!("{other:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    // What another process stored, or this one before it started again, is no news.
    let heard = Arc::default();
    let again = Net::with(log, |b| b.on_event(listener(&heard)));
    again.registry.add(&device);
    let entries = again.ingest.log().read(0, 9).await.unwrap();
    for entry in entries {
        again.taken(&entry.batch).await;
    }
    assert_eq!(heard.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_saturated_ingest_says_come_again_and_recovers() {
    let log = Arc::new(Stuck::failing());
    let net = Net::with(log.clone(), |builder| builder.concurrency(2));
    let batches = ["a", "b"].map(|name| net.enrol(name).measure());
    let waiting = batches.map(|batch| {
        let ingest = net.ingest.clone();
        tokio::spawn(async move { ingest.accept(batch.as_bytes()).await })
    });
    // Both are inside as soon as they wait for the log.
    while *net.registry.asked.lock().unwrap() < 2 {
        tokio::task::yield_now().await;
    }
    let error = net.ingest.accept(b"noise").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    log.gate.add_permits(2);
    for waiting in waiting {
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "nothing is acknowledged");
    }
    assert!(matches!(net.ingest.accept(b"noise").await, Ok(Answer::Refusal(_))));
}

#[tokio::test]
async fn nobody_is_told_where_his_chain_stands_while_a_batch_of_it_is_under_way() {
    let log = Arc::new(Stuck::failing());
    let net = Net::over(log.clone());
    let (mut busy, idle) = (net.enrol("a"), net.enrol("b"));
    let (transport, batch) = (InProcess::new(net.ingest.clone()), busy.measure());
    let mut sending = std::pin::pin!(net.ingest.accept(batch.as_bytes()));
    std::future::poll_fn(|context| {
        assert!(sending.as_mut().poll(context).is_pending(), "it waits for the log");
        Poll::Ready(())
    })
    .await;
    let error = transport.standing(&busy.did, &*busy.key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.retry_after().is_some(), "{error:?}");
    let of_another = transport.standing(&idle.did, &*idle.key).await.unwrap();
    assert_eq!(of_another, Standing::Tip(None));
    log.gate.add_permits(1);
    sending.await.unwrap_err();
    assert_eq!(transport.standing(&busy.did, &*busy.key).await.unwrap(), Standing::Tip(None));
}

/// A device posts a batch, loses power and its store, and the server drops the request; the log stores it all the same.
#[tokio::test]
async fn a_batch_whose_sender_has_gone_counts_in_what_the_device_is_told() {
    let net = Net::over(Arc::new(RedbLog::open_in_memory().unwrap()));
    let transport = InProcess::new(net.ingest.clone());
    for number in 0..100 {
        let mut device = net.enrol(&format!("d{number}"));
        let batch = device.measure();
        let mut sending = Box::pin(net.ingest.accept(batch.as_bytes()));
        let begun =
            std::future::poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await;
        drop((begun, sending));
        let end = ChainTip { sequence: Sequence::new(0), hash: batch.hash() };
        let told = transport.standing(&device.did, &*device.key).await.unwrap();
        assert_eq!(told, Standing::Tip(Some(end)));
        net.taken(&device.measure()).await;
    }
}

#[tokio::test]
async fn only_a_device_in_good_standing_is_told_where_its_chain_stands() {
    let net = net();
    let transport = InProcess::new(net.ingest.clone());
    let (stranger, suspended) = (Device::new("stranger", Algorithm::Es256), net.enrol("a"));
    net.registry.set_status(&suspended.did, DeviceStatus::Suspended).await.unwrap();
    for (device, code) in
        [(&stranger, RefusalCode::NotRegistered), (&suspended, RefusalCode::NotActive)]
    {
        let told = transport.standing(&device.did, &*device.key).await.unwrap();
        let Standing::Refusal(refusal) = told else { panic!("{told:?}") };
        assert_eq!((refusal.code, refusal.device.as_ref()), (code, Some(&device.did)));
    }
    // What is no question is no dead letter either.
    let mut device = net.enrol("b");
    let elsewhere = NetworkId::parse("drive").unwrap();
    let foreign = wire::question(&*device.key, &device.did, &elsewhere, &Nonce::default()).unwrap();
    for (bytes, code) in [
        (device.measure(), RefusalCode::WrongPurpose),
        (foreign, RefusalCode::WrongNetwork),
        (SignedBatch::new(b"noise".as_slice()), RefusalCode::Malformed),
        (SignedBatch::new(vec![0; wire::MAX_QUESTION + 1]), RefusalCode::Malformed),
    ] {
        let told = net.ingest.standing(&bytes).await.unwrap();
        let Standing::Refusal(refusal) = told else { panic!("{told:?}") };
        assert_eq!((refusal.code, refusal.batch), (code, bytes.hash()));
    }
    assert_eq!(net.ingest.log().refusal_range().await.unwrap(), 0..0);
    assert_eq!(net.ingest.log().head().await.unwrap().size, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_devices_at_once_get_receipts_that_hold() {
    let log = Arc::new(depin_data::log::RedbLog::open_in_memory().unwrap());
    let net = Arc::new(Net::over(log));
    let tasks = (0..32).map(|n| {
        let (net, mut device) = (Arc::clone(&net), net.enrol(&format!("d{n}")));
        tokio::spawn(async move {
            for _ in 0..10 {
                net.taken(&device.measure()).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(net.ingest.log().head().await.unwrap().size, 320);
}
