//! A registry or a log that never answers, behind each broker and protocol.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use depin_core::{ErrorKind, transport::Answer};
use depin_data::wire::{self, Nonce};

use super::{
    brokers::{holds, taken},
    net,
    wire::Wire,
};
use crate::{stuck::Stuck, support::Net};

over_every_broker! {
    a_registry_that_hangs_for_one_device_holds_up_no_other
    what_is_stored_too_late_is_stored_once
}

const ATTEMPT: Duration = Duration::from_millis(50);
/// Devices that the registry never answers for.
const HUNG: usize = 6;

async fn a_registry_that_hangs_for_one_device_holds_up_no_other(wire: Wire) {
    let net = net();
    let _server = wire.serve_within(ATTEMPT, 1, &net.ingest, Some("ingest-1")).await;
    let (mut a, mut b) = (net.enrol("a"), net.enrol("b"));
    let mut hung: Vec<_> = (0..HUNG).map(|n| net.enrol(&format!("hung-{n}"))).collect();
    let hung: Vec<_> =
        hung.iter_mut().map(|device| (device.did.clone(), device.measure())).collect();
    net.registry.hangs.lock().unwrap().extend(hung.iter().map(|(did, _)| did.clone()));
    // On their own topics and on that of a device that is well, more often than a topic has places.
    let mut stranger = wire.stranger().await;
    for (did, batch) in &hung {
        let framed = wire::encode_request(&Nonce::from_bytes([1; 16]), batch).unwrap();
        for _ in 0..20 {
            stranger.publish(did, &framed).await;
            stranger.publish(&a.did, &framed).await;
        }
    }
    for device in [&mut a, &mut b] {
        let transport = wire.connect(&net, &device.did).await;
        for _ in 0..2 {
            let answer = transport.send(&device.measure()).await.unwrap();
            assert!(matches!(answer, Answer::Receipt(_)), "{answer:?}");
        }
    }
    // Who has no answer keeps the batch and is told to come again.
    for (did, batch) in &hung {
        let transport = wire.hasty(&net, did, Duration::from_millis(50)).await;
        let error = transport.send(batch).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    }
    holds(&net, 4).await;
    net.registry.hangs.lock().unwrap().clear();
    for (did, batch) in &hung {
        let answer = wire.connect(&net, did).await.send(batch).await.unwrap();
        let Answer::Receipt(receipt) = answer else { panic!("{answer:?}") };
        net.receipts.verify(&receipt, batch).unwrap();
    }
    holds(&net, 4 + HUNG as u64).await;
}

async fn what_is_stored_too_late_is_stored_once(wire: Wire) {
    let log = Arc::new(Stuck::storing());
    let net = Arc::new(Net::over(log.clone()));
    let _server = wire.serve_within(ATTEMPT, 1, &net.ingest, Some("ingest-1")).await;
    let (mut device, count) = (net.enrol("a"), taken(&net.ingest));
    let transport = wire.connect(&net, &device.did).await;
    let batch = device.measure();
    let sending = tokio::spawn({
        let batch = batch.clone();
        async move { transport.send(&batch).await }
    });
    // The log has it; the time is over before it says so, and the next attempt finds it there.
    while log.begun.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!sending.is_finished(), "nothing is acknowledged before the log says so");
    log.gate.add_permits(1000);
    let Answer::Receipt(receipt) = sending.await.unwrap().unwrap() else { panic!("taken") };
    net.receipts.verify(&receipt, &batch).unwrap();
    holds(&net, 1).await;
    assert_eq!(*count.borrow(), 1, "told once");
}
