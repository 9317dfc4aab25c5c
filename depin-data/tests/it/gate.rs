//! The gate under load and over time: limits per device, groups of signatures, receipts whatever became of
//! the device, clocks that jump.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use depin_core::{
    Algorithm, B256, Clock, Did, Error, ErrorKind, ManualClock, NetworkId, PublicKey, Result,
    Signature, SignedBatch, Signer, SoftwareKey, Timestamp,
    log::BatchLog,
    registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment},
    transport::{Answer, RefusalCode},
};
use depin_data::{
    ingest::{DeviceLimits, Ingest, Rate},
    log::{MemoryLog, RedbLog},
    receipt::ReceiptVerifier,
};

use crate::support::{Device, NOW, Net, Registry, network, reading};

fn tight() -> DeviceLimits {
    let mut limits = DeviceLimits::default();
    (limits.batches, limits.in_flight) = (Rate::new(1, 4), 8);
    limits
}

#[tokio::test]
async fn a_device_over_its_rate_waits_and_never_stops_another() {
    let net = Net::with(Arc::new(MemoryLog::new()), |b| b.device_limits(tight()));
    let (mut greedy, mut modest) = (net.enrol("greedy"), net.enrol("modest"));
    let first = greedy.measure();
    net.taken(&first).await;
    for _ in 0..3 {
        net.taken(&greedy.measure()).await;
    }
    let fifth = greedy.measure();
    for _ in 0..100 {
        let error = net.ingest.accept(fifth.as_bytes()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    }
    net.taken(&modest.measure()).await;
    // What is stored has its receipt at any rate, and being told to wait costs nothing.
    net.taken(&first).await;
    net.clock.advance(Duration::from_secs(1));
    net.taken(&fifth).await;
    assert!(net.ingest.log().refusals(0, 9).await.unwrap().is_empty(), "waiting is no refusal");
}

#[tokio::test]
async fn replays_by_a_stranger_use_up_nothing_of_a_device() {
    let net = Net::with(Arc::new(MemoryLog::new()), |b| b.device_limits(tight()));
    let mut device = net.enrol("a");
    let batch = device.measure();
    for _ in 0..100 {
        net.taken(&batch).await;
    }
    for _ in 0..3 {
        net.taken(&device.measure()).await;
    }
}

#[tokio::test]
async fn a_suspended_device_gets_its_receipt_again_and_nothing_else() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = net.enrol("a");
    let (stored, late) = (device.measure(), device.measure());
    let receipt = net.taken(&stored).await;
    for status in [DeviceStatus::Suspended, DeviceStatus::Revoked] {
        // Between sealing and arrival: what counts is the standing when the batch arrives.
        net.registry.set_status(&device.did, status).await.unwrap();
        net.ingest.forget(&device.did);
        assert_eq!(net.taken(&stored).await, receipt);
        assert_eq!(net.refused(late.as_bytes()).await.code, RefusalCode::NotActive);
    }
    // The same place with other bytes is no duplicate.
    let other = device.seal_at(0, B256::ZERO, &[reading("1", NOW)]);
    assert_eq!(net.refused(other.as_bytes()).await.code, RefusalCode::NotActive);
    let sequence = depin_core::Sequence::new(0);
    assert_eq!(net.ingest.receipt_of(&device.did, sequence).await.unwrap(), receipt);
    let beyond = net.ingest.receipt_of(&device.did, depin_core::Sequence::new(1)).await;
    assert_eq!(beyond.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Who stole a key can date a reading as it likes; only when the batch came is the log's own word.
#[tokio::test]
async fn a_revoked_key_that_dates_its_readings_before_the_revocation_is_refused() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = net.enrol("a");
    net.taken(&device.measure()).await;
    let revoked = NOW.plus(Duration::from_secs(3600));
    net.clock.set(revoked);
    net.registry.set_status(&device.did, DeviceStatus::Revoked).await.unwrap();
    net.ingest.forget(&device.did);
    for seconds in [1, 2, 1800, 3599] {
        let at = NOW.plus(Duration::from_secs(seconds));
        let backdated = device.seal_at(1, device.previous, &[reading("1", at)]);
        let refusal = net.refused(backdated.as_bytes()).await;
        assert_eq!(refusal.code, RefusalCode::NotActive, "{seconds}");
    }
    // Neither does the operator's second look let it in.
    for position in 0..4 {
        let Answer::Refusal(refusal) = net.ingest.replay(position).await.unwrap() else { panic!() };
        assert_eq!(refusal.code, RefusalCode::NotActive);
    }
}

#[tokio::test]
async fn a_device_that_changed_its_key_gets_old_receipts_again() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = net.enrol("a");
    let (stored, late) = (device.measure(), device.measure());
    net.taken(&stored).await;
    device.key = Arc::new(SoftwareKey::from_seed(Algorithm::Es256k, [5; 32]));
    net.registry.add(&device);
    net.ingest.forget(&device.did);
    net.taken(&stored).await;
    assert_eq!(net.refused(late.as_bytes()).await.code, RefusalCode::BadSignature);
    let late = device.seal_at(1, stored.hash(), &[reading("1", NOW)]);
    net.taken(&late).await;
}

fn forged(batch: &SignedBatch) -> SignedBatch {
    let mut bytes = batch.as_bytes().to_vec();
    bytes.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    SignedBatch::new(bytes)
}

#[tokio::test]
async fn many_at_once_get_the_answers_of_one_by_one() {
    let (grouped, single) =
        (Net::over(Arc::new(MemoryLog::new())), Net::over(Arc::new(MemoryLog::new())));
    let mut batches = Vec::new();
    for n in 0..60 {
        let algorithm = Algorithm::ALL[n % 3];
        let mut device = Device::new(&format!("d{n}"), algorithm);
        grouped.registry.add(&device);
        single.registry.add(&device);
        // Chains, in their order; some with a forgery between.
        batches.push(device.measure());
        if n % 7 == 0 {
            let next = device.measure();
            batches.extend([forged(&next), next]);
        }
        if n % 11 == 0 {
            batches.push(SignedBatch::new(vec![n as u8; 9]));
        }
        batches.push(device.measure());
    }
    let answers = grouped.ingest.accept_many(&batches).await;
    assert_eq!(answers.len(), batches.len());
    for (batch, answer) in batches.iter().zip(answers) {
        match (answer.unwrap(), single.ingest.accept(batch.as_bytes()).await.unwrap()) {
            (Answer::Receipt(one), Answer::Receipt(other)) => {
                grouped.receipts.verify(&one, batch).unwrap();
                assert_eq!((one.batch, one.index), (other.batch, other.index));
            }
            (one, other) => assert_eq!(one, other),
        }
    }
    let refusals = grouped.ingest.log().refusals(0, 99).await.unwrap().len();
    assert_eq!(refusals, 9 + 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forgeries_among_grouped_signatures_hurt_nobody() {
    let net = Arc::new(Net::over(Arc::new(RedbLog::open_in_memory().unwrap())));
    let tasks = (0..64).map(|n| {
        let (net, mut device) = (Arc::clone(&net), net.enrol(&format!("d{n}")));
        tokio::spawn(async move {
            for round in 0..8 {
                let batch = device.measure();
                if (n + round) % 3 == 0 {
                    let refusal = net.refused(forged(&batch).as_bytes()).await;
                    assert_eq!(refusal.code, RefusalCode::BadSignature);
                }
                net.taken(&batch).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(net.ingest.log().head().await.unwrap().size, 64 * 8);
}

#[tokio::test]
async fn batches_that_nobody_waits_for_any_more_hold_up_nobody() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut devices: Vec<_> = (0..8).map(|n| net.enrol(&format!("d{n}"))).collect();
    let batches: Vec<_> = devices.iter_mut().map(Device::measure).collect();
    for _ in 0..100 {
        // Each is dropped while it gives way to others.
        let mut calls: Vec<_> =
            batches.iter().map(|b| Box::pin(net.ingest.accept(b.as_bytes()))).collect();
        for call in &mut calls {
            let _ = std::future::poll_fn(|cx| {
                let _ = call.as_mut().poll(cx);
                std::task::Poll::Ready(())
            })
            .await;
        }
    }
    let waiting = batches.iter().map(|batch| net.taken(batch));
    for taken in waiting {
        taken.await;
    }
}

/// A wall clock that somebody sets.
#[derive(Debug)]
struct Wall(AtomicU64);

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_clock_that_jumps_leaves_limits_and_caches_at_work() {
    let (registry, wall) = (Arc::new(Registry::default()), Arc::new(Wall(NOW.millis().into())));
    let log: Arc<dyn BatchLog> = Arc::new(MemoryLog::new());
    let key = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [77; 32]));
    let _ = key.public_key();
    let did = "did:example:log".parse().unwrap();
    let network: NetworkId = network();
    let builder = Ingest::builder(network, log, registry.clone(), wall.clone(), key, did);
    let ingest = builder.device_limits(tight()).build();
    let mut device = Device::new("a", Algorithm::EdDsa);
    registry.add(&device);
    let set = |time: Timestamp| wall.0.store(time.millis(), Ordering::SeqCst);
    let accept = async |batch: SignedBatch| ingest.accept(batch.as_bytes()).await;
    let code = async |batch: SignedBatch| match accept(batch).await.unwrap() {
        Answer::Receipt(_) => None,
        Answer::Refusal(refusal) => Some(refusal.code),
    };

    assert_eq!(code(device.measure()).await, None);
    // Back by a year: an answer of the registry from the future does not stay fresh for a year.
    let year = Duration::from_secs(365 * 86_400);
    set(NOW.minus(year));
    registry.set_status(&device.did, DeviceStatus::Suspended).await.unwrap();
    let early = |device: &mut Device| device.seal(&[reading("1", NOW.minus(year))]);
    let batch = early(&mut device);
    assert_eq!(code(batch.clone()).await, Some(RefusalCode::NotActive));
    registry.set_status(&device.did, DeviceStatus::Active).await.unwrap();
    ingest.forget(&device.did);
    assert_eq!(code(batch).await, None);
    assert_eq!(code(early(&mut device)).await, None);
    assert_eq!(code(early(&mut device)).await, None);
    let over = early(&mut device);
    let error = accept(over.clone()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)), "no lock for a year");
    // Forward again: one burst, and the cache asks anew.
    set(NOW);
    let asked = *registry.asked.lock().unwrap();
    assert_eq!(code(over).await, Some(RefusalCode::ClockBehind));
    assert_eq!(*registry.asked.lock().unwrap(), asked + 1);
}

#[tokio::test]
async fn the_worst_sources_are_named_first() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    for (name, ago) in [("a", 30), ("b", 90), ("c", 60)] {
        let mut device = net.enrol(name);
        let batch = device.seal(&[reading("1", NOW.minus(Duration::from_secs(ago)))]);
        net.taken(&batch).await;
    }
    net.enrol("silent");
    let lags = net.ingest.lags(2);
    let told: Vec<_> = lags.iter().map(|lag| (lag.device.as_str(), lag.behind.as_secs())).collect();
    assert_eq!(told, [("did:example:b", 90), ("did:example:c", 60)]);
}

/// A registry that never answers for invented names, and for others as `moods` say.
#[derive(Debug, Default)]
struct Moody {
    known: Registry,
    moods: Mutex<VecDeque<Mood>>,
}

#[derive(Clone, Copy, Debug)]
enum Mood {
    Down,
    Slow,
}

#[async_trait]
impl DeviceRegistry for Moody {
    async fn register(&self, enrolment: &Enrolment, owner: &dyn Signer) -> Result<DeviceRecord> {
        self.known.register(enrolment, owner).await
    }

    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>> {
        if did.as_str().starts_with("did:example:invented") {
            std::future::pending::<()>().await;
        }
        let mood = self.moods.lock().unwrap().pop_front();
        match mood {
            Some(Mood::Down) => return Err(Error::unavailable("not now")),
            Some(Mood::Slow) => {
                for _ in 0..9 {
                    tokio::task::yield_now().await;
                }
            }
            None => {}
        }
        self.known.device(did).await
    }

    async fn set_status(&self, did: &Did, status: DeviceStatus) -> Result<()> {
        self.known.set_status(did, status).await
    }
}

fn moody(registry: &Arc<Moody>, log: &Arc<MemoryLog>, clock: &Arc<ManualClock>) -> Arc<Ingest> {
    let (key, did) = (SoftwareKey::from_seed(Algorithm::EdDsa, [77; 32]), "did:example:log");
    let (log, registry) = (Arc::clone(log), Arc::clone(registry));
    let did = did.parse().unwrap();
    let builder =
        Ingest::builder(network(), log, registry, Arc::clone(clock) as _, Arc::new(key), did);
    Arc::new(builder.concurrency(16).build())
}

#[tokio::test]
async fn no_batch_overtakes_another_of_its_device_in_one_call() {
    let (registry, log) = (Arc::new(Moody::default()), Arc::new(MemoryLog::new()));
    let ingest = moody(&registry, &log, &Arc::new(ManualClock::at(NOW)));
    let (mut one, mut other) =
        (Device::new("a", Algorithm::EdDsa), Device::new("b", Algorithm::Es256));
    registry.known.add(&one);
    registry.known.add(&other);
    for round in 0..4 {
        // The question that comes first, for all, fails; then the first batch waits longest for its own.
        registry.moods.lock().unwrap().extend([Mood::Down, Mood::Down, Mood::Slow]);
        let mut batches = Vec::new();
        for _ in 0..4 {
            batches.extend([one.measure(), other.measure()]);
        }
        // What is refused holds up none of those behind it.
        batches.insert(round, forged(&batches[7]));
        let answers = ingest.accept_many(&batches).await;
        let receipts = answers.iter().filter(|a| matches!(a, Ok(Answer::Receipt(_)))).count();
        assert_eq!(receipts, 8, "{answers:?}");
        ingest.forget(&one.did);
        ingest.forget(&other.did);
    }
    assert_eq!(log.head().await.unwrap().size, 32);
}

#[tokio::test]
async fn a_flood_of_invented_names_is_in_the_way_of_no_device_that_was_ever_stored() {
    let (registry, log) = (Arc::new(Moody::default()), Arc::new(MemoryLog::new()));
    let clock = Arc::new(ManualClock::at(NOW));
    let mut device = Device::new("a", Algorithm::EdDsa);
    registry.known.add(&device);
    let mut ingest = moody(&registry, &log, &clock);
    let first = device.measure();
    assert!(matches!(ingest.accept_batch(&first).await.unwrap(), Answer::Receipt(_)));
    for restarted in [false, true] {
        if restarted {
            // A process that has just begun knows its devices by the log.
            ingest = moody(&registry, &log, &clock);
        }
        let flood = (0..40).map(|n| {
            let batch = Device::new(&format!("invented-{n}"), Algorithm::EdDsa).measure();
            let ingest = Arc::clone(&ingest);
            tokio::spawn(async move { ingest.accept_batch(&batch).await.map(drop) })
        });
        let flood: Vec<_> = flood.collect();
        tokio::task::yield_now().await;
        // Its record is no longer fresh: the registry must be asked, while strangers wait for it.
        clock.advance(Duration::from_secs(11));
        let batch = device.measure();
        let answer = ingest.accept_batch(&batch).await.unwrap();
        assert!(matches!(answer, Answer::Receipt(_)), "{answer:?}");
        let waiting = flood.iter().filter(|call| !call.is_finished()).count();
        assert_eq!(waiting, 4, "a quarter of the places; the others are told to come again");
        flood.iter().for_each(tokio::task::JoinHandle::abort);
        for call in flood {
            let told = call.await;
            assert!(told.is_err() || told.unwrap().unwrap_err().retry_after().is_some());
        }
    }
}

#[tokio::test]
async fn behind_a_throttled_batch_nothing_of_its_device_is_refused_or_charged() {
    let mut limits = DeviceLimits::default();
    limits.readings = Rate::new(1, 100);
    let net = Net::with(Arc::new(MemoryLog::new()), |b| b.device_limits(limits));
    let (mut greedy, mut modest) = (net.enrol("greedy"), net.enrol("modest"));
    let many = |count| vec![reading("1", NOW); count];
    let stored = greedy.seal(&many(20));
    net.taken(&stored).await;
    let large = greedy.seal(&many(90));
    // More than are under way together; each would find room for itself.
    let mut batches = vec![large.clone()];
    for n in 0..70 {
        let next = greedy.seal(&many(1));
        if n % 10 == 0 {
            batches.extend([forged(&next), stored.clone(), modest.measure()]);
        }
        batches.push(next);
    }
    let answers = net.ingest.accept_many(&batches).await;
    let (mut receipts, mut refusals, mut waits) = (0, 0, 0);
    for (batch, answer) in batches.iter().zip(answers) {
        match answer {
            Ok(Answer::Receipt(_)) => receipts += 1,
            Ok(Answer::Refusal(refusal)) => {
                assert_eq!(refusal.code, RefusalCode::BadSignature, "{refusal:?}");
                refusals += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                assert_eq!(error.retry_after(), Some(Duration::from_secs(10)), "{batch:?}");
                assert!(format!("{error:?}").contains("come again in 10000 ms"), "{error:?}");
                waits += 1;
            }
        }
    }
    assert_eq!((receipts, refusals, waits), (14, 7, 71));
    let letters = net.ingest.log().refusals(0, 999).await.unwrap();
    assert!(letters.iter().all(|letter| letter.refusal.code == RefusalCode::BadSignature));
    // Had they cost something, there would be no room yet.
    net.clock.advance(Duration::from_secs(10));
    net.taken(&large).await;
}

/// Signs, and lets something happen while it signs for the first time.
struct Distracted {
    key: SoftwareKey,
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Distracted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Distracted")
    }
}

impl Signer for Distracted {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        meanwhile.into_iter().for_each(|meanwhile| meanwhile());
        self.key.sign(message)
    }

    fn sign_prehash(&self, digest: &[u8; 32]) -> Result<Signature> {
        self.key.sign_prehash(digest)
    }
}

#[tokio::test]
async fn whoever_signs_late_shows_the_larger_head_that_was_signed_meanwhile() {
    let (log, clock) = (Arc::new(MemoryLog::new()), Arc::new(ManualClock::at(NOW)));
    let (key, did) = (SoftwareKey::from_seed(Algorithm::EdDsa, [77; 32]), "did:example:log");
    let receipts = ReceiptVerifier::new(&network(), key.public_key());
    let signer = Arc::new(Distracted { key, meanwhile: Mutex::default() });
    let (registry, mut device) =
        (Arc::new(Registry::default()), Device::new("a", Algorithm::EdDsa));
    registry.add(&device);
    let signs = Arc::clone(&signer) as _;
    let builder = Ingest::builder(
        network(),
        log,
        registry,
        Arc::clone(&clock) as _,
        signs,
        did.parse().unwrap(),
    );
    let ingest = Arc::new(builder.build());
    let (other, batch) = (Arc::clone(&ingest), device.measure());
    *signer.meanwhile.lock().unwrap() = Some(Box::new(move || {
        let accept = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(other.accept_batch(&batch)).unwrap();
        };
        std::thread::spawn(accept).join().unwrap();
        clock.advance(Duration::from_secs(1));
    }));
    let shown = receipts.head(&ingest.head().await.unwrap()).unwrap();
    assert_eq!((shown.tree.size, shown.at), (1, NOW));
}
