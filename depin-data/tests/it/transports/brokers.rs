//! At least once on the wire, exactly once in the log, over each broker and protocol.

use std::{collections::HashSet, sync::Arc, time::Duration};

use depin_core::{
    Algorithm, B256, ErrorKind, NetworkEvent, Sequence, SignedBatch, SoftwareKey,
    log::BatchLog,
    transport::{Answer, Refusal, RefusalCode, Standing, Transport},
};
use depin_data::{
    batch::MAX_BYTES,
    ingest::{DeviceLimits, Ingest, Rate},
    log::MemoryLog,
    receipt::HeadSigner,
    wire::{self, Nonce},
};
use depin_testkit::transport::{conforms, fails_without_ingest, tells_nothing_without_ingest};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    net,
    wire::{Kind, Wire},
};
use crate::{
    collector::sends_from_a_blank_store,
    support::{Device, NOW, Net, network, reading},
};

over_every_broker! {
    it_conforms
    receipts_and_refusals_are_those_of_ingest
    a_broker_that_dies_loses_nothing_and_doubles_nothing
    an_ingest_that_dies_loses_nothing_and_doubles_nothing
    servers_share_the_work_and_one_log
    forged_and_repeated_answers_are_ignored
    forged_and_repeated_standings_are_ignored
    a_device_that_lost_its_store_goes_on_where_the_log_stands
    whoever_publishes_the_signature_decides
    noise_is_refused_and_kept_and_others_are_served
    a_message_too_large_to_be_read_costs_nobody_a_batch
    while_ingest_cannot_answer_the_batch_waits
    a_large_batch_is_told_so
    a_device_that_sends_too_much_is_in_nobodys_way
    who_names_devices_that_nobody_registered_is_in_nobodys_way
}

/// Counts what an ingest takes.
pub(super) fn taken(ingest: &Ingest) -> watch::Receiver<u64> {
    let (count, counted) = watch::channel(0);
    ingest.subscribe(Arc::new(move |event| {
        if matches!(event, NetworkEvent::BatchAccepted { .. }) {
            count.send_modify(|count| *count += 1);
        }
    }));
    counted
}

fn refusal_of(answer: Answer) -> Refusal {
    match answer {
        Answer::Refusal(refusal) => refusal,
        Answer::Receipt(receipt) => panic!("taken: {receipt:?}"),
    }
}

/// Sends this many batches, and checks the proof of each.
async fn deliver(net: Arc<Net>, transport: Box<dyn Transport>, mut device: Device, batches: usize) {
    for _ in 0..batches {
        let batch = device.measure();
        let answer = loop {
            match transport.send(&batch).await {
                Ok(answer) => break answer,
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        };
        let Answer::Receipt(receipt) = answer else { panic!("{answer:?}") };
        net.receipts.verify(&receipt, &batch).unwrap();
    }
}

/// The log holds this many batches, none twice.
pub(super) async fn holds(net: &Net, batches: u64) {
    let entries = net.ingest.log().read(0, usize::MAX).await.unwrap();
    let distinct: HashSet<B256> = entries.iter().map(|entry| entry.batch.hash()).collect();
    assert_eq!((entries.len() as u64, distinct.len() as u64), (batches, batches));
}

const DEVICES: usize = 4;
const EACH: usize = 25;

async fn fleet(wire: &Wire, net: &Arc<Net>) -> JoinSet<()> {
    let mut fleet = JoinSet::new();
    for n in 0..DEVICES {
        let device = net.enrol(&format!("d{n}"));
        let transport = wire.connect(net, &device.did).await;
        fleet.spawn(deliver(Arc::clone(net), transport, device, EACH));
    }
    fleet
}

async fn it_conforms(wire: Wire) {
    let net = net();
    let server = wire.serve(&net.ingest, None).await;
    let mut device = net.enrol("a");
    let transport = wire.connect(&net, &device.did).await;
    let (did, key) = (device.did.clone(), device.key.clone());
    conforms(&*transport, &did, &*key, || device.measure()).await;
    let hasty = wire.hasty(&net, &device.did, Duration::from_millis(700)).await;
    server.shutdown().await;
    fails_without_ingest(&*hasty, &device.measure()).await;
    tells_nothing_without_ingest(&*hasty, &did, &*key).await;
}

async fn receipts_and_refusals_are_those_of_ingest(wire: Wire) {
    let net = net();
    let _server = wire.serve(&net.ingest, None).await;
    let mut device = net.enrol("a");
    let transport = wire.connect(&net, &device.did).await;
    let batch = device.measure();
    let Answer::Receipt(receipt) = transport.send(&batch).await.unwrap() else {
        panic!("a good batch is taken")
    };
    net.receipts.verify(&receipt, &batch).unwrap();
    assert_eq!(receipt, net.taken(&batch).await);

    let fork = device.seal_at(0, B256::ZERO, &[reading("1", NOW)]);
    let stranger = Device::new("stranger", Algorithm::Es256).measure();
    for (batch, code) in [(fork, RefusalCode::Fork), (stranger, RefusalCode::NotRegistered)] {
        let refusal = refusal_of(transport.send(&batch).await.unwrap());
        assert_eq!((refusal.code, refusal.batch), (code, batch.hash()));
        let direct = net.refused(batch.as_bytes()).await;
        assert_eq!((refusal.detail, refusal.device), (direct.detail, direct.device));
    }
}

async fn a_broker_that_dies_loses_nothing_and_doubles_nothing(mut wire: Wire) {
    let net = Arc::new(net());
    let _server = wire.serve(&net.ingest, Some("ingest-1")).await;
    let mut count = taken(&net.ingest);
    let fleet = fleet(&wire, &net).await;
    for at in [10, 40, 70] {
        count.wait_for(|count| *count >= at).await.unwrap();
        wire.broker.kill();
        wire.broker.run();
    }
    fleet.join_all().await;
    holds(&net, (DEVICES * EACH) as u64).await;
}

async fn an_ingest_that_dies_loses_nothing_and_doubles_nothing(wire: Wire) {
    let net = Arc::new(net());
    let mut server = Some(wire.serve(&net.ingest, Some("ingest-1")).await);
    let mut count = taken(&net.ingest);
    let fleet = fleet(&wire, &net).await;
    for (at, gently) in [(10, false), (40, true), (70, false)] {
        count.wait_for(|count| *count >= at).await.unwrap();
        match server.take() {
            Some(server) if gently => server.shutdown().await,
            server => drop(server),
        }
        server = Some(wire.serve(&net.ingest, Some("ingest-1")).await);
    }
    fleet.join_all().await;
    holds(&net, (DEVICES * EACH) as u64).await;
}

async fn servers_share_the_work_and_one_log(wire: Wire) {
    let log: Arc<dyn BatchLog> = Arc::new(MemoryLog::new());
    let net = Arc::new(Net::over(Arc::clone(&log)));
    let key = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [77; 32]));
    let (registry, clock) = (net.registry.clone(), net.clock.clone());
    let did = "did:example:log".parse().unwrap();
    let second = Ingest::builder(network(), log, registry, clock, key, did).build();
    let second = Arc::new(second);
    let counts = [taken(&net.ingest), taken(&second)];
    let _servers = [wire.serve(&net.ingest, None).await, wire.serve(&second, None).await];
    fleet(&wire, &net).await.join_all().await;
    holds(&net, (DEVICES * EACH) as u64).await;
    let counts = counts.map(|count| *count.borrow());
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), (DEVICES * EACH) as u64);
}

async fn forged_and_repeated_answers_are_ignored(wire: Wire) {
    let net = Arc::new(net());
    let mut device = net.enrol("a");
    let (first, batch) = (device.measure(), device.measure());
    let of_first = net.taken(&first).await;
    let transport = wire.connect(&net, &device.did).await;
    let hash = batch.hash();
    let sending = tokio::spawn({
        let batch = batch.clone();
        async move { transport.send(&batch).await }
    });

    let thief = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [66; 32]));
    let thief = HeadSigner::new(&network(), thief, "did:example:log".parse().unwrap());
    let code = RefusalCode::Malformed;
    let refusal = Refusal { code, detail: "drop it".into(), batch: hash, device: None };
    let refusal = Answer::Refusal(refusal);
    let mut receipt = of_first.clone();
    receipt.batch = hash;
    let forgeries = |request: &[u8]| {
        let (nonce, sent) = wire::decode_request(request).unwrap();
        assert_eq!(sent, batch.as_bytes());
        let log = net.ingest.signer();
        let old = Nonce::from_bytes([0; 16]);
        vec![
            Vec::new(),
            b"noise".to_vec(),
            vec![0; 60_000],
            wire::encode_answer(&refusal, &nonce, &thief).unwrap(),
            wire::encode_answer(&refusal, &old, log).unwrap(),
            wire::encode_answer(&Answer::Receipt(of_first), &nonce, log).unwrap(),
            wire::encode_answer(&Answer::Receipt(receipt), &nonce, log).unwrap(),
        ]
    };
    wire.stranger().await.answer(&device.did, forgeries).await;
    assert!(!sending.is_finished(), "no forgery is an answer");

    let _server = wire.serve(&net.ingest, None).await;
    let Answer::Receipt(receipt) = sending.await.unwrap().unwrap() else { panic!("taken") };
    net.receipts.verify(&receipt, &batch).unwrap();
    holds(&net, 2).await;
}

async fn forged_and_repeated_standings_are_ignored(wire: Wire) {
    let net = Arc::new(net());
    let mut device = net.enrol("a");
    let (did, key) = (device.did.clone(), device.key.clone());
    let receipt = net.taken(&device.measure()).await;
    let transport = wire.connect(&net, &did).await;
    let asking = tokio::spawn({
        let did = did.clone();
        async move { transport.standing(&did, &*key).await }
    });

    let thief = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [66; 32]));
    let thief = HeadSigner::new(&network(), thief, "did:example:log".parse().unwrap());
    let blank = Standing::Tip(None);
    let forgeries = |request: &[u8]| {
        let (nonce, asked) = wire::decode_request(request).unwrap();
        let (asked, log) = (SignedBatch::new(asked.to_vec()).hash(), net.ingest.signer());
        let old = Nonce::from_bytes([0; 16]);
        vec![
            wire::encode_standing(&blank, asked, &nonce, &thief).unwrap(),
            wire::encode_standing(&blank, asked, &old, log).unwrap(),
            wire::encode_standing(&blank, B256::ZERO, &nonce, log).unwrap(),
            wire::encode_answer(&Answer::Receipt(receipt), &nonce, log).unwrap(),
        ]
    };
    wire.stranger().await.answer(&did, forgeries).await;
    assert!(!asking.is_finished(), "no forgery is an answer");

    let _server = wire.serve(&net.ingest, None).await;
    let tip = net.ingest.log().tip(&did).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap(), Standing::Tip(tip));
    holds(&net, 1).await;
}

async fn a_device_that_lost_its_store_goes_on_where_the_log_stands(wire: Wire) {
    let net = net();
    let _server = wire.serve(&net.ingest, None).await;
    let device = net.enrol("a");
    let transport = wire.connect(&net, &device.did).await;
    for _ in 0..3 {
        sends_from_a_blank_store(&net, &device, &*transport).await;
    }
    holds(&net, 3).await;
}

async fn whoever_publishes_the_signature_decides(wire: Wire) {
    let net = net();
    let _server = wire.serve(&net.ingest, None).await;
    let (mut a, mut b) = (net.enrol("a"), net.enrol("b"));
    let mut count = taken(&net.ingest);
    let batch = a.measure();
    let mut stranger = wire.stranger().await;
    // On the topic of another device, framed, bare and repeated.
    let framed = wire::encode_request(&Nonce::from_bytes([1; 16]), &batch).unwrap();
    for bytes in [&framed, &framed, &batch.as_bytes().to_vec(), &framed] {
        stranger.publish(&b.did, bytes).await;
    }
    count.wait_for(|count| *count == 1).await.unwrap();
    let transport = wire.connect(&net, &b.did).await;
    let Answer::Receipt(_) = transport.send(&b.measure()).await.unwrap() else { panic!("taken") };
    let transport = wire.connect(&net, &a.did).await;
    let Answer::Receipt(receipt) = transport.send(&batch).await.unwrap() else { panic!("taken") };
    net.receipts.verify(&receipt, &batch).unwrap();
    let Answer::Receipt(_) = transport.send(&a.measure()).await.unwrap() else { panic!("taken") };
    holds(&net, 3).await;
}

async fn noise_is_refused_and_kept_and_others_are_served(wire: Wire) {
    let net = net();
    let _server = wire.serve(&net.ingest, Some("ingest-1")).await;
    let mut device = net.enrol("a");
    let mut stranger = wire.stranger().await;
    let large = vec![0x55; 300_000];
    for noise in [b"noise".as_slice(), b"", &[0x82, 0x41, 0x00, 0x40], &large] {
        stranger.publish(&device.did, noise).await;
    }
    let transport = wire.connect(&net, &device.did).await;
    let batch = device.measure();
    let Answer::Receipt(_) = transport.send(&batch).await.unwrap() else { panic!("taken") };
    // What the broker gave us is kept as evidence, cut to what a batch may have.
    let kept = net.ingest.log().refusals(0, 10).await.unwrap();
    assert!(kept.iter().all(|refused| refused.bytes.len() <= MAX_BYTES));
    let codes: Vec<_> = kept.iter().map(|refused| refused.refusal.code).collect();
    assert!(codes.starts_with(&[RefusalCode::Malformed; 2]), "{codes:?}");
    assert_eq!(kept[0].bytes.as_ref(), b"noise");
    assert!(codes.contains(&RefusalCode::TooLarge), "{codes:?}");
}

async fn a_message_too_large_to_be_read_costs_nobody_a_batch(wire: Wire) {
    let net = net();
    let server = wire.serve(&net.ingest, Some("ingest-1")).await;
    let (mut early, mut late) = (net.enrol("early"), net.enrol("late"));
    if wire.kind == Kind::Nats {
        never_read(&wire, &net, &mut late).await;
    } else {
        // What waits for the server behind one that is only too large for a batch is still there.
        server.shutdown().await;
        let mut stranger = wire.stranger().await;
        stranger.publish(&early.did, &vec![0x55; 300_000]).await;
        let batch = early.measure();
        let framed = wire::encode_request(&Nonce::from_bytes([1; 16]), &batch).unwrap();
        stranger.publish(&early.did, &framed).await;
        let mut count = taken(&net.ingest);
        let _server = wire.serve(&net.ingest, Some("ingest-1")).await;
        count.wait_for(|count| *count == 1).await.unwrap();
        // Refusals are kept by another thread than batches.
        let letters = async || net.ingest.log().refusals(0, 9).await.unwrap();
        let kept = loop {
            match letters().await.pop() {
                Some(letter) => break letter,
                None => sleep(Duration::from_millis(5)).await,
            }
        };
        assert_eq!(kept.refusal.code, RefusalCode::TooLarge);
        never_read(&wire, &net, &mut late).await;
    }
}

/// Several of 3 MB are never read, and a device is answered all the same: no session begins anew for ever.
async fn never_read(wire: &Wire, net: &Net, device: &mut Device) {
    let transport = wire.connect(net, &device.did).await;
    let mut stranger = wire.stranger().await;
    for _ in 0..3 {
        if wire.kind != Kind::Nats {
            stranger.publish(&device.did, &vec![0x55; 3 << 20]).await;
        }
        let batch = device.measure();
        let answer = loop {
            match transport.send(&batch).await {
                Ok(answer) => break answer,
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        };
        assert!(matches!(answer, Answer::Receipt(_)), "{answer:?}");
    }
    assert_eq!(
        net.ingest.log().tip(&device.did).await.unwrap().unwrap().sequence,
        Sequence::new(2)
    );
}

async fn while_ingest_cannot_answer_the_batch_waits(wire: Wire) {
    let net = Arc::new(net());
    *net.registry.down.lock().unwrap() = true;
    let server = wire.serve(&net.ingest, Some("ingest-1")).await;
    let mut device = net.enrol("a");
    let batch = device.measure();
    let transport = wire.connect(&net, &device.did).await;
    let sending = tokio::spawn({
        let batch = batch.clone();
        async move { transport.send(&batch).await }
    });
    while *net.registry.asked.lock().unwrap() < 3 {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(!sending.is_finished(), "there is no answer yet");
    if wire.kind == Kind::Nats {
        *net.registry.down.lock().unwrap() = false;
        assert!(matches!(sending.await.unwrap(), Ok(Answer::Receipt(_))));
        return;
    }
    // The device is gone and the server dies: the broker has the batch still.
    sending.abort();
    drop(server);
    *net.registry.down.lock().unwrap() = false;
    let mut count = taken(&net.ingest);
    let _server = wire.serve(&net.ingest, Some("ingest-1")).await;
    count.wait_for(|count| *count == 1).await.unwrap();
    holds(&net, 1).await;
}

async fn a_large_batch_is_told_so(wire: Wire) {
    let net = net();
    let _server = wire.serve(&net.ingest, None).await;
    let device = net.enrol("a");
    let transport = wire.connect(&net, &device.did).await;
    let large = SignedBatch::new(vec![0; MAX_BYTES + 10]);
    let refusal = refusal_of(transport.send(&large).await.unwrap());
    assert_eq!((refusal.code, refusal.batch), (RefusalCode::TooLarge, large.hash()));
    let huge = SignedBatch::new(vec![0; 2 * MAX_BYTES]);
    assert_eq!(transport.send(&huge).await.unwrap_err().kind(), ErrorKind::Limit);
}

async fn a_device_that_sends_too_much_is_in_nobodys_way(wire: Wire) {
    let mut limits = DeviceLimits::default();
    limits.batches = Rate::new(1, 1);
    let log = Arc::new(MemoryLog::new());
    let net = Net::with(log, |ingest| ingest.device_limits(limits));
    let _server = wire.serve_at_a_time(1, &net.ingest, None).await;
    let (mut greedy, mut other) = (net.enrol("a"), net.enrol("b"));
    let transport = wire.connect(&net, &greedy.did).await;
    let Answer::Receipt(_) = transport.send(&greedy.measure()).await.unwrap() else {
        panic!("the first is taken")
    };
    let batch = greedy.measure();
    let sending = tokio::spawn(async move { transport.send(&batch).await });
    let transport = wire.connect(&net, &other.did).await;
    let answer = transport.send(&other.measure()).await.unwrap();
    assert!(matches!(answer, Answer::Receipt(_)), "{answer:?}");
    assert!(!sending.is_finished());
    net.clock.advance(Duration::from_secs(5));
    assert!(matches!(sending.await.unwrap(), Ok(Answer::Receipt(_))));
}

async fn who_names_devices_that_nobody_registered_is_in_nobodys_way(wire: Wire) {
    let net = net();
    let _server = wire.serve(&net.ingest, None).await;
    let mut honest = JoinSet::new();
    let mut devices: Vec<_> = (0..8).map(|n| net.enrol(&format!("honest-{n}"))).collect();
    for device in &mut devices {
        net.taken(&device.measure()).await;
    }
    // From now on only those who are known by now can be served. More come from one topic than there are places.
    *net.registry.down.lock().unwrap() = true;
    let invented = Device::new("invented", Algorithm::EdDsa).measure();
    let framed = wire::encode_request(&Nonce::from_bytes([1; 16]), &invented).unwrap();
    let (mut stranger, own) = (wire.stranger().await, Device::new("stranger", Algorithm::EdDsa));
    for _ in 0..400 {
        stranger.publish(&own.did, &framed).await;
    }
    for mut device in devices {
        // Sooner than ingest gives up what waits for the registry.
        let transport = wire.hasty(&net, &device.did, Duration::from_secs(20)).await;
        honest.spawn(async move { transport.send(&device.measure()).await });
    }
    while let Some(answer) = honest.join_next().await {
        let answer = answer.unwrap().expect("nobody stands in line behind the stranger");
        assert!(matches!(answer, Answer::Receipt(_)), "{answer:?}");
    }
}
