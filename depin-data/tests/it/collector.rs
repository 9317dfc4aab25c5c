//! The collector: how long readings wait, how large batches get, and what a device does while nobody answers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use depin_core::{
    Decimal, Did, Error, ErrorKind, Reading, Result, SignedBatch, Signer, Timestamp,
    reading::Quantity,
    registry::{DeviceRegistry, DeviceStatus},
    transport::{Answer, RefusalCode, Standing, Transport},
};
use depin_data::{
    batch::{BatchVerifier, Link, MAX_BYTES, SaltSeed},
    collector::{Backoff, Collector, Next, Options},
    log::MemoryLog,
    outbox::{FileStore, Outbox, RamStore, Store},
    transport::InProcess,
};

use crate::support::{Device, NOW, Net, network, reading};

fn net() -> (Net, Device) {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    (net, device)
}

fn over(net: &Net, device: &Device, store: impl Store + 'static, options: Options) -> Collector {
    let mut outbox = Outbox::open(&network(), &device.did, net.receipts.clone(), store).unwrap();
    if !outbox.is_placed() {
        outbox.reconcile(None).unwrap();
    }
    Collector::new(outbox, options)
}

/// A device whose store was wiped.
fn blank(net: &Net, device: &Device, options: Options) -> Collector {
    Collector::new(Outbox::new(&network(), &device.did, net.receipts.clone()), options)
}

fn collector(net: &Net, device: &Device) -> Collector {
    over(net, device, RamStore::new(16, 64 * 1024), Options::default())
}

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

/// Ingest behind a line that can be cut, before or after it answers.
#[derive(Debug)]
struct Line {
    there: InProcess,
    up: Mutex<bool>,
    answers: Mutex<bool>,
}

impl Line {
    fn to(net: &Net) -> Self {
        let there = InProcess::new(net.ingest.clone());
        Self { there, up: Mutex::new(true), answers: Mutex::new(true) }
    }
}

#[async_trait]
impl Transport for Line {
    async fn send(&self, batch: &SignedBatch) -> Result<Answer> {
        let lost = || Error::unavailable("the line is down");
        if !*self.up.lock().unwrap() {
            return Err(lost());
        }
        let answer = self.there.send(batch).await?;
        if *self.answers.lock().unwrap() { Ok(answer) } else { Err(lost()) }
    }

    async fn standing(&self, device: &Did, signer: &dyn Signer) -> Result<Standing> {
        let lost = || Error::unavailable("the line is down");
        if !*self.up.lock().unwrap() || !*self.answers.lock().unwrap() {
            return Err(lost());
        }
        self.there.standing(device, signer).await
    }
}

/// Sizes of the batches in the log.
async fn sizes(net: &Net, device: &Device) -> Vec<usize> {
    let verifier = BatchVerifier::new(&network(), device.key.public_key());
    let entries = net.ingest.log().read(0, usize::MAX).await.unwrap();
    entries.iter().map(|entry| verifier.link(&entry.batch).unwrap().readings().len()).collect()
}

#[tokio::test]
async fn a_reading_waits_for_others_and_never_longer_than_the_latency() {
    let (net, device) = net();
    let (mut collector, key) = (collector(&net, &device), &*device.key);
    for second in 0..10 {
        collector.push(reading("1", after(second)), after(second), key).unwrap();
    }
    assert_eq!((collector.open().len(), collector.due()), (10, Some(after(10))));
    assert_eq!(collector.poll(after(9), key).unwrap(), None);
    assert!(collector.poll(after(10), key).unwrap().is_some());
    assert_eq!((collector.open().len(), collector.due()), (0, None));
    assert_eq!(collector.forward(&Line::to(&net), key).await.unwrap(), Next::Done);
    assert_eq!(sizes(&net, &device).await, [10]);
}

#[tokio::test]
async fn a_fast_sensor_fills_batches_to_the_target() {
    let (net, device) = net();
    let (mut collector, key, line) = (collector(&net, &device), &*device.key, Line::to(&net));
    for _ in 0..600 {
        if collector.push(reading("1", NOW), NOW, key).unwrap().is_some() {
            collector.forward(&line, key).await.unwrap();
        }
    }
    assert_eq!((sizes(&net, &device).await, collector.open().len()), (vec![256, 256], 88));
}

#[tokio::test]
async fn batches_grow_while_nobody_answers_and_shrink_when_the_line_is_back() {
    let (net, device) = net();
    let (mut collector, key, line) = (collector(&net, &device), &*device.key, Line::to(&net));
    *line.up.lock().unwrap() = false;
    // A day without a line, a reading every ten seconds.
    for step in 0..8640 {
        let now = after(10 * step);
        net.clock.set(now);
        collector.push(reading("1", now), now, key).unwrap();
        if step % 100 == 0 {
            assert!(matches!(collector.forward(&line, key).await, Ok(Next::Done | Next::Later(_))));
        }
    }
    // One batch every ten minutes, instead of one every ten seconds.
    let kept = collector.outbox().len();
    assert!((140..150).contains(&kept), "{kept}");
    *line.up.lock().unwrap() = true;
    collector.seal(key).unwrap();
    assert_eq!(collector.forward(&line, key).await.unwrap(), Next::Done);
    let stored = sizes(&net, &device).await;
    assert_eq!(stored.iter().sum::<usize>(), 8640);
    let now = after(86_400);
    collector.push(reading("1", now), now, key).unwrap();
    assert_eq!(collector.due(), Some(now.plus(Options::default().latency)));
}

#[tokio::test]
async fn memory_bounds_a_batch_by_readings_and_by_bytes() {
    let (net, device) = net();
    let key = &*device.key;
    let mut options = Options::default();
    (options.hold, options.most) = (Duration::MAX, 300);
    let mut few = over(&net, &device, RamStore::new(8, 64 * 1024), options);
    for _ in 0..2000 {
        few.push(reading("1", NOW), NOW, key).unwrap();
        assert!(few.open().len() <= 300);
    }
    (options.most, options.bytes) = (usize::MAX, 4000);
    let mut small = over(&net, &device, RamStore::new(8, 64 * 1024), options);
    let long = |n: u32| Quantity::new(&format!("quantity-{n:0>20}"), "Cel");
    for n in 0..3000 {
        let value =
            Decimal::new(i64::MIN + i64::from(n) * 7 + 1, 0).unwrap_or_else(|_| Decimal::from(1));
        small.push(Reading::new(long(n % 400), value, NOW), NOW, key).unwrap();
    }
    small.seal(key).unwrap();
    let verifier = BatchVerifier::new(&network(), key.public_key());
    let mut total = 0;
    for batch in small.outbox_mut().pending().unwrap() {
        assert!(batch.as_bytes().len() <= 4000, "{}", batch.as_bytes().len());
        total += verifier.link(&batch).unwrap().readings().len();
    }
    assert_eq!(total, 3000);
    // Everything a batch may hold stays below its limit in bytes.
    options.bytes = usize::MAX;
    let mut large = over(&net, &device, RamStore::new(8, 64 * 1024), options);
    for n in 0..1024u32 {
        let at = Timestamp::from_millis(if n % 2 == 0 { 0 } else { i64::MAX as u64 });
        let value = Decimal::new(i64::MAX - 1, -12).unwrap_or_else(|_| Decimal::from(1));
        large.push(Reading::new(long(n % 256), value, at), NOW, key).unwrap();
    }
    large.seal(key).unwrap();
    let sealed = large.outbox_mut().pending().unwrap();
    assert!(sealed.iter().all(|batch| batch.as_bytes().len() <= MAX_BYTES));
}

#[tokio::test]
async fn what_no_batch_can_carry_spoils_no_batch() {
    let (net, device) = net();
    let (mut collector, key) = (collector(&net, &device), &*device.key);
    collector.push(reading("1", NOW), NOW, key).unwrap();
    let bad = Reading::new(Quantity::new("", ""), Decimal::from(1), NOW);
    assert_eq!(collector.push(bad, NOW, key).unwrap_err().kind(), ErrorKind::Malformed);
    let late = Timestamp::from_millis(u64::MAX);
    assert_eq!(collector.push(reading("1", late), NOW, key).unwrap_err().kind(), ErrorKind::Limit);
    assert!(collector.seal(key).unwrap().is_some());
    assert_eq!(collector.forward(&Line::to(&net), key).await.unwrap(), Next::Done);
}

#[test]
fn a_clock_that_jumps_neither_reorders_nor_holds_back() {
    let (net, device) = net();
    let (mut collector, key) = (collector(&net, &device), &*device.key);
    let times = [NOW, after(1_000_000_000), Timestamp::EPOCH, after(5), Timestamp::from_secs(1)];
    let mut sealed = 0;
    for at in times {
        sealed += usize::from(collector.push(reading("1", at), at, key).unwrap().is_some());
    }
    assert!(sealed > 0, "years later is late enough");
    // Back at the epoch the wait begins again, and ends.
    assert_eq!(collector.poll(Timestamp::EPOCH, key).unwrap(), None);
    let due = collector.due().unwrap();
    assert!(due <= Timestamp::EPOCH.plus(Options::default().hold), "{due}");
    assert!(collector.poll(due, key).unwrap().is_some());
    let verifier = BatchVerifier::new(&network(), key.public_key());
    let batches = collector.outbox_mut().pending().unwrap();
    let links: Vec<Link> = batches.iter().map(|batch| verifier.link(batch).unwrap()).collect();
    let kept = links.iter().flat_map(Link::readings).map(Reading::at);
    assert!(kept.eq(times), "as they came");
    let forever = Timestamp::from_millis(u64::MAX);
    collector.push(reading("1", NOW), forever, key).unwrap();
    collector.poll(forever, key).unwrap();
}

#[tokio::test]
async fn lost_answers_are_asked_for_again_and_nothing_counts_twice() {
    let (net, device) = net();
    let (mut collector, key, line) = (collector(&net, &device), &*device.key, Line::to(&net));
    for value in ["1", "2", "3"] {
        collector.push(reading(value, NOW), NOW, key).unwrap();
        collector.seal(key).unwrap();
    }
    *line.answers.lock().unwrap() = false;
    assert!(matches!(collector.forward(&line, key).await.unwrap(), Next::Later(_)));
    assert!(matches!(collector.forward(&line, key).await.unwrap(), Next::Later(_)));
    *line.answers.lock().unwrap() = true;
    assert_eq!(collector.forward(&line, key).await.unwrap(), Next::Done);
    assert_eq!(sizes(&net, &device).await, [1, 1, 1]);
    assert!(collector.outbox().is_empty());
}

/// One more life of a device whose store was wiped: it asks, and what it signs is taken.
pub(crate) async fn sends_from_a_blank_store(net: &Net, device: &Device, line: &dyn Transport) {
    let (mut collector, key) = (blank(net, device, Options::default()), &*device.key);
    assert_eq!(collector.forward(line, key).await.unwrap(), Next::Done);
    collector.push(reading("1", NOW), NOW, key).unwrap();
    collector.seal(key).unwrap();
    assert_eq!(collector.forward(line, key).await.unwrap(), Next::Done);
    assert!(collector.outbox().is_empty());
}

#[tokio::test]
async fn a_device_that_lost_its_store_asks_before_it_signs_and_never_contradicts_itself() {
    let (net, device) = net();
    let (key, line) = (&*device.key, Line::to(&net));
    for life in 0..5 {
        let mut collector = blank(&net, &device, Options::default());
        *line.up.lock().unwrap() = false;
        let now = after(100 * life);
        net.clock.set(now);
        collector.push(reading(&life.to_string(), now), now, key).unwrap();
        assert_eq!(collector.seal(key).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(collector.poll(collector.due().unwrap(), key).unwrap(), None, "it waits on");
        assert!(matches!(collector.forward(&line, key).await.unwrap(), Next::Later(_)));
        *line.up.lock().unwrap() = true;
        assert_eq!(collector.forward(&line, key).await.unwrap(), Next::Done);
        assert!(collector.poll(collector.due().unwrap(), key).unwrap().is_some());
        // The answer to the last is lost with the store: the log holds it, and the next life is told.
        *line.answers.lock().unwrap() = life % 2 == 0;
        let _ = collector.forward(&line, key).await.unwrap();
        *line.answers.lock().unwrap() = true;
    }
    assert_eq!(sizes(&net, &device).await, [1; 5], "one chain, nothing twice");
    assert_eq!(net.ingest.log().refusal_range().await.unwrap(), 0..0, "and no fork");
}

#[tokio::test]
async fn readings_of_a_device_that_cannot_ask_wait_in_bounded_memory() {
    let (net, device) = net();
    let (key, line) = (&*device.key, Line::to(&net));
    *line.up.lock().unwrap() = false;
    let mut options = Options::default();
    options.most = 10;
    let mut collector = blank(&net, &device, options);
    for _ in 0..10 {
        collector.push(reading("1", NOW), NOW, key).unwrap();
    }
    let full = collector.push(reading("2", NOW), NOW, key).unwrap_err();
    assert_eq!((full.kind(), collector.open().len()), (ErrorKind::Unavailable, 10));
    *line.up.lock().unwrap() = true;
    assert_eq!(collector.forward(&line, key).await.unwrap(), Next::Done);
    collector.push(reading("2", NOW), NOW, key).unwrap();
    collector.seal(key).unwrap();
    assert_eq!(collector.forward(&line, key).await.unwrap(), Next::Done);
    assert_eq!(sizes(&net, &device).await, [10, 1]);
}

#[tokio::test]
async fn a_device_that_may_not_send_is_told_so_when_it_asks() {
    let (net, stranger) = (net().0, Device::new("stranger", depin_core::Algorithm::EdDsa));
    let (key, line) = (&*stranger.key, Line::to(&net));
    let mut collector = blank(&net, &stranger, Options::default());
    let next = collector.forward(&line, key).await.unwrap();
    let Next::Refused(refusal) = next else { panic!("{next:?}") };
    assert_eq!(refusal.code, RefusalCode::NotRegistered);
    net.registry.add(&stranger);
    assert_eq!(collector.forward(&line, key).await.unwrap(), Next::Done);
    assert!(collector.outbox().is_placed());
}

#[tokio::test]
async fn an_older_copy_of_a_store_asks_and_goes_on_where_the_log_stands() {
    let (net, device) = net();
    let (key, line) = (&*device.key, Line::to(&net));
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("outbox"), folder.path().join("copy"));
    let sends = async |collector: &mut Collector| {
        collector.push(reading("1", NOW), NOW, key).unwrap();
        collector.seal(key).unwrap();
        assert_eq!(collector.forward(&line, key).await.unwrap(), Next::Done);
    };
    let mut collector = over(&net, &device, FileStore::open(&path, 0).unwrap(), Options::default());
    sends(&mut collector).await;
    std::fs::copy(&path, &copy).unwrap();
    sends(&mut collector).await;
    drop(collector);
    let mut older = over(&net, &device, FileStore::open(&copy, 0).unwrap(), Options::default());
    assert_eq!(older.ask(&line, key).await.unwrap(), Next::Done);
    sends(&mut older).await;
    assert_eq!(sizes(&net, &device).await, [1, 1, 1]);
}

#[tokio::test]
async fn refusals_are_told_and_what_is_taken_later_is_sent_again() {
    let (net, device) = net();
    let (mut collector, key, line) = (collector(&net, &device), &*device.key, Line::to(&net));
    let ahead = after(3600);
    collector.push(reading("1", ahead), ahead, key).unwrap();
    collector.seal(key).unwrap();
    let Next::Refused(refusal) = collector.forward(&line, key).await.unwrap() else {
        panic!("a device whose clock is ahead is told so")
    };
    assert_eq!(refusal.code, RefusalCode::ClockAhead);
    net.clock.set(ahead);
    assert_eq!(collector.forward(&line, key).await.unwrap(), Next::Done);

    net.registry.set_status(&device.did, DeviceStatus::Suspended).await.unwrap();
    net.ingest.forget(&device.did);
    collector.push(reading("1", ahead), ahead, key).unwrap();
    collector.seal(key).unwrap();
    let Next::Refused(refusal) = collector.forward(&line, key).await.unwrap() else {
        panic!("a suspended device is told so")
    };
    assert_eq!(refusal.code, RefusalCode::NotActive);
    net.registry.set_status(&device.did, DeviceStatus::Active).await.unwrap();
    net.ingest.forget(&device.did);
    assert_eq!(collector.forward(&line, key).await.unwrap(), Next::Done);
}

#[tokio::test]
async fn a_batch_from_far_ahead_is_told_and_discarded_and_holds_nothing_up() {
    let (net, device) = net();
    let (mut collector, key, line) = (collector(&net, &device), &*device.key, Line::to(&net));
    let years = after(10 * 365 * 86_400);
    for at in [years, NOW] {
        collector.push(reading("1", at), NOW, key).unwrap();
        collector.seal(key).unwrap();
    }
    let Next::Refused(refusal) = collector.forward(&line, key).await.unwrap() else {
        panic!("it would wait for years and nobody would know")
    };
    assert_eq!(refusal.code, RefusalCode::ClockAhead);
    let lost = collector.outbox_mut().discard(refusal.batch).unwrap();
    assert_eq!(lost, [reading("1", years)]);
    assert_eq!(collector.forward(&line, key).await.unwrap(), Next::Done);
    assert_eq!(sizes(&net, &device).await, [0, 1], "a marker, and what came after");
}

#[tokio::test]
async fn a_batch_never_outgrows_a_small_store() {
    let (net, device) = net();
    let key = &*device.key;
    let mut options = Options::default();
    (options.hold, options.latency) = (Duration::MAX, Duration::MAX);
    (options.target, options.most, options.bytes) = (usize::MAX, usize::MAX, usize::MAX);
    let mut small = over(&net, &device, RamStore::new(4, 4096), options);
    let mut largest = 0;
    for n in 0..4000_u32 {
        // As large as readings get, in names, numbers and times.
        let name = format!("{:0>32}", n % 300);
        let value = Decimal::new(i64::MAX - i64::from(n), -12).unwrap();
        let reading = Reading::new(Quantity::new(&name, "Cel"), value, after(u64::from(n % 7)));
        if small.push(reading, NOW, key).unwrap().is_none() {
            continue;
        }
        let kept = small.outbox_mut().pending().unwrap();
        largest = kept.iter().map(|batch| batch.as_bytes().len()).chain([largest]).max().unwrap();
    }
    small.seal(key).unwrap();
    assert!(largest > 5000, "what fits is used: {largest}");
    // Also signed anew there is room.
    let next = Device::new("b", depin_core::Algorithm::Es256).key;
    small.outbox_mut().rekey(&*next, None).unwrap();
    assert!(small.seal(&*next).unwrap().is_none());
    assert!(!small.outbox().is_empty());
}

/// A device that takes no bytes is a disk that is full, and reads as zeros all the same.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_failed_once_is_not_believed_until_it_is_opened_again() {
    type Step = fn(&mut FileStore) -> Result<()>;
    let steps: [(&str, Step); 3] = [
        ("write", |store| store.write(0, 0, &[1; 4096])),
        ("erase", |store| store.erase(0)),
        ("sync", Store::sync),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, step) in steps {
        let path = folder.path().join(name);
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut store = FileStore::open(&path, 0).unwrap();
        let mut bytes = [1; 16];
        store.read(0, 0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 16]);
        assert_eq!(step(&mut store).unwrap_err().kind(), ErrorKind::Unavailable, "{name}");
        assert_eq!(store.read(0, 0, &mut bytes).unwrap_err().kind(), ErrorKind::Unavailable);
        for (after, step) in steps {
            let error = step(&mut store).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{after} after {name}");
            assert!(format!("{error}").contains("open it again"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let mut repaired = FileStore::open(&path, 0).unwrap();
        repaired.write(0, 0, &[1; 4096]).and_then(|()| repaired.sync()).unwrap();
    }
}

/// A transport that makes up receipts.
#[derive(Debug)]
struct Forger(InProcess);

#[async_trait]
impl Transport for Forger {
    async fn send(&self, batch: &SignedBatch) -> Result<Answer> {
        Ok(match self.0.send(batch).await? {
            Answer::Receipt(mut receipt) => {
                receipt.root = depin_core::B256::ZERO;
                Answer::Receipt(receipt)
            }
            refusal => refusal,
        })
    }

    async fn standing(&self, device: &Did, signer: &dyn Signer) -> Result<Standing> {
        self.0.standing(device, signer).await
    }
}

#[tokio::test]
async fn a_forged_receipt_lets_nothing_be_forgotten() {
    let (net, device) = net();
    let (mut collector, key) = (collector(&net, &device), &*device.key);
    collector.push(reading("1", NOW), NOW, key).unwrap();
    collector.seal(key).unwrap();
    let forger = Forger(InProcess::new(net.ingest.clone()));
    let error = collector.forward(&forger, key).await.unwrap_err();
    assert_eq!((error.kind(), collector.outbox().len()), (ErrorKind::Rejected, 1));
}

#[test]
fn waits_grow_to_five_minutes_and_differ_between_devices() {
    let waits = |name: &str| {
        let mut backoff = Backoff::new(&name.parse().unwrap());
        (0..40).map(|_| backoff.failed()).collect::<Vec<_>>()
    };
    let (a, b) = (waits("did:example:a"), waits("did:example:b"));
    assert!(a[0] <= Duration::from_secs(1) && a[0] >= Duration::from_millis(500));
    for waits in [&a, &b] {
        let bounds = Duration::from_secs(150)..=Duration::from_secs(300);
        assert!(waits[12..].iter().all(|wait| bounds.contains(wait)));
    }
    assert_ne!(a, b, "a fleet does not come back at once");
    let mut backoff = Backoff::new(&"did:example:a".parse().unwrap());
    (0..9).for_each(|_| _ = backoff.failed());
    backoff.succeeded();
    assert_eq!(backoff.failed(), a[0]);
}

#[tokio::test]
async fn salts_are_fresh_in_every_batch_and_stay_with_readings_that_are_signed_anew() {
    let (net, device) = net();
    let key = &*device.key;
    let mut count = 0;
    let mut collector = collector(&net, &device).salted(move || {
        count += 1;
        SaltSeed::from_bytes([count; 16])
    });
    for value in ["1", "2"] {
        collector.push(reading(value, NOW), NOW, key).unwrap();
        collector.seal(key).unwrap();
    }
    let seeds = |collector: &mut Collector, key: &dyn Signer| -> Vec<_> {
        let verifier = BatchVerifier::new(&network(), key.public_key());
        let batches = collector.outbox_mut().pending().unwrap();
        let seed = |batch| match verifier.link(batch).unwrap() {
            Link::Batch(batch) => batch.salt_seed,
            Link::Gap(_) => None,
        };
        batches.iter().map(seed).collect()
    };
    let expected = [Some([1; 16]), Some([2; 16])];
    assert_eq!(seeds(&mut collector, key), expected);
    let next = Device::new("b", depin_core::Algorithm::EdDsa).key;
    collector.outbox_mut().rekey(&*next, None).unwrap();
    assert_eq!(seeds(&mut collector, &*next), expected);
}

#[tokio::test]
async fn a_file_brings_a_device_back_and_belongs_to_one_at_a_time() {
    let (net, device) = net();
    let (folder, key) = (tempfile::tempdir().unwrap(), &*device.key);
    let path = folder.path().join("outbox");
    let open = || FileStore::open(&path, 0);
    let mut collector = over(&net, &device, open().unwrap(), Options::default());
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Conflict);
    for value in 0..5 {
        collector.push(reading(&value.to_string(), NOW), NOW, key).unwrap();
        collector.seal(key).unwrap();
    }
    drop(collector);
    let mut collector = over(&net, &device, open().unwrap(), Options::default());
    assert_eq!(collector.outbox().len(), 5);
    assert_eq!(collector.forward(&Line::to(&net), key).await.unwrap(), Next::Done);
    // Far more than fits: the newest stay, and the file keeps its size.
    for value in 0..200 {
        collector.push(reading(&value.to_string(), NOW), NOW, key).unwrap();
        collector.seal(key).unwrap();
    }
    drop(collector);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 256 * 1024);
    let mut collector = over(&net, &device, open().unwrap(), Options::default());
    assert!((30..200).contains(&collector.outbox().len()), "{}", collector.outbox().len());
    assert_eq!(collector.forward(&Line::to(&net), key).await.unwrap(), Next::Done);

    drop(collector);
    let other = net.enrol("b");
    let theirs = Outbox::open(&network(), &other.did, net.receipts.clone(), open().unwrap());
    // Everything in it is settled and some still lies there.
    assert_eq!(theirs.unwrap_err().kind(), ErrorKind::Conflict);
    std::fs::write(&path, b"something else").unwrap();
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_store_that_is_too_small_says_so() {
    let (net, device) = net();
    let open = |store: RamStore| Outbox::open(&network(), &device.did, net.receipts.clone(), store);
    for (sectors, size) in [(0, 4096), (3, 4096), (4, 64), (4, 100), (4, 0)] {
        let error = open(RamStore::new(sectors, size)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{sectors} sectors of {size}");
    }
    let mut tiny = open(RamStore::new(4, 1024)).unwrap();
    tiny.reconcile(None).unwrap();
    let error = tiny.push(&*device.key, &vec![reading("1", NOW); 600]).unwrap_err();
    assert_eq!((error.kind(), tiny.len(), tiny.tip()), (ErrorKind::Limit, 0, None));
    tiny.push(&*device.key, &[reading("1", NOW)]).unwrap();
}
