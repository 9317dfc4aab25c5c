//! What the owner says about places, where firmware that knows nothing of it pushes exact ones.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use depin_core::{
    Decimal, Did, ErrorKind, Reading, Result, SignedBatch, Signer, Timestamp,
    reading::Quantity,
    transport::{Answer, Standing, Transport},
};
use depin_data::{
    batch::BatchVerifier,
    collector::{Collector, Next, Options},
    geo::{Cell, Position},
    log::MemoryLog,
    outbox::{FileStore, Outbox},
    privacy::{Coarsen, Zone},
    transport::InProcess,
};
use proptest::prelude::*;

use crate::support::{Device, NOW, Net, network, reading, receipts};

/// Where the track begins, in the middle of the zone.
const HOME: (i32, i32) = (474_844_817, 109_756_893);
/// Fixes of the track, one a second, some 28 m apart.
const FIXES: i32 = 120;

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

/// The coordinates of the fix, none of which is another's, and whose mantissas take four bytes each.
fn place(fix: i32) -> (i32, i32) {
    (HOME.0 + 2_502 * fix, HOME.1 + 1_002 * fix)
}

/// What firmware pushes of one fix.
fn moment(fix: i32) -> [Reading; 3] {
    let at = after(u64::try_from(fix).unwrap());
    let of = |name, unit, value: i32| {
        Reading::new(Quantity::new(name, unit), Decimal::new(value.into(), -7).unwrap(), at)
    };
    let (north, east) = place(fix);
    [of("latitude", "lat", north), of("longitude", "lon", east), reading("4.9", at)]
}

fn home() -> Zone {
    Zone::Circle { centre: Position::try_new(HOME.0, HOME.1).unwrap(), radius: 500 }
}

fn is_outside(fix: &i32) -> bool {
    let (north, east) = place(*fix);
    !home().holds(Position::try_new(north, east).unwrap())
}

/// How many exact coordinates of the track are written in these bytes, as numbers or as text.
fn exact_in(bytes: &[u8]) -> usize {
    let parts: HashSet<&[u8]> = [4, 9, 10].iter().flat_map(|size| bytes.windows(*size)).collect();
    let written = |number: &i32| {
        let degrees = Decimal::new((*number).into(), -7).unwrap().to_string();
        parts.contains(number.to_be_bytes().as_slice())
            || parts.contains(number.to_string().as_bytes())
            || parts.contains(degrees.as_bytes())
    };
    (0..FIXES).map(place).flat_map(|(north, east)| [north, east]).filter(written).count()
}

/// Everything that is sent.
#[derive(Debug)]
struct Tapped {
    there: InProcess,
    heard: Mutex<Vec<u8>>,
}

#[async_trait]
impl Transport for Tapped {
    async fn send(&self, batch: &SignedBatch) -> Result<Answer> {
        self.heard.lock().unwrap().extend_from_slice(batch.as_bytes());
        self.there.send(batch).await
    }

    async fn standing(&self, device: &Did, signer: &dyn Signer) -> Result<Standing> {
        self.there.standing(device, signer).await
    }
}

/// A collector over a file, as its firmware makes it after every start.
fn started(net: &Net, device: &Device, file: &Path) -> Collector {
    let store = FileStore::open(file, 64 << 10).unwrap();
    let mut outbox = Outbox::open(&network(), &device.did, net.receipts.clone(), store).unwrap();
    if !outbox.is_placed() {
        outbox.reconcile(None).unwrap();
    }
    Collector::new(outbox, Options::default())
}

/// Drives the track with a restart on the way. Returns what the disk held, what the line heard and what the log has.
async fn drive(owner: impl Fn(Collector) -> Collector) -> (Vec<u8>, Vec<u8>, Vec<Reading>) {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let (device, folder) = (net.enrol("a"), tempfile::tempdir().unwrap());
    let (file, key) = (folder.path().join("outbox"), Arc::clone(&device.key));
    let there = InProcess::new(net.ingest.clone());
    let line = Tapped { there, heard: Mutex::default() };
    let mut collector = owner(started(&net, &device, &file));
    for fix in 0..FIXES {
        let now = after(u64::try_from(fix).unwrap());
        net.clock.set(now);
        for reading in moment(fix) {
            collector.push(reading, now, &*key).unwrap();
            collector.poll(now, &*key).unwrap();
        }
        if fix == FIXES / 2 {
            collector.seal(&*key).unwrap();
            drop(collector);
            collector = owner(started(&net, &device, &file));
        }
    }
    collector.seal(&*key).unwrap();
    let kept = fs::read(&file).unwrap();
    assert_eq!(collector.forward(&line, &*key).await.unwrap(), Next::Done);
    let verifier = BatchVerifier::new(&network(), device.key.public_key());
    let entries = net.ingest.log().read(0, usize::MAX).await.unwrap();
    let links = entries.iter().map(|entry| verifier.link(&entry.batch).unwrap());
    let told = links.flat_map(|link| link.readings().to_vec()).collect();
    (kept, line.heard.into_inner().unwrap(), told)
}

#[tokio::test]
async fn no_exact_place_reaches_the_disk_or_the_line() {
    let all = usize::try_from(2 * FIXES).unwrap();
    let (kept, heard, _) = drive(|collector| collector).await;
    assert_eq!((exact_in(&kept), exact_in(&heard)), (all, all), "the search finds what is there");

    let owner = |collector: Collector| collector.coarsened(Coarsen::to(7).unwrap());
    let (kept, heard, told) = drive(owner).await;
    assert_eq!((exact_in(&kept), exact_in(&heard)), (0, 0));
    let cells: Vec<_> = told.iter().filter(|reading| reading.quantity().name() == "cell").collect();
    assert_eq!((cells.len(), told.len()), (all / 2, all), "every place has its cell");
    for (fix, cell) in (0..FIXES).zip(cells) {
        let (north, east) = place(fix);
        let exact = Position::try_new(north, east).unwrap();
        assert_eq!(Cell::from_value(cell.value()).unwrap(), Cell::at(exact, 7).unwrap());
    }
}

#[tokio::test]
async fn nothing_measured_at_home_reaches_the_disk_or_the_line() {
    let outside: Vec<_> = (0..FIXES).filter(is_outside).collect();
    assert!(outside.len() > 50 && outside[0] > 10, "{outside:?}");
    let (kept, heard, told) = drive(|collector| collector.silent_in([home()])).await;
    assert_eq!((exact_in(&kept), exact_in(&heard)), (2 * outside.len(), 2 * outside.len()));
    assert_eq!(told, outside.iter().flat_map(|fix| moment(*fix)).collect::<Vec<_>>());
    // Said one after the other in either order, both are done, and the coarser cell counts.
    let both = |collector: Collector| {
        let coarse = collector.coarsened(Coarsen::to(5).unwrap()).silent_in([home()]);
        coarse.coarsened(Coarsen::to(9).unwrap())
    };
    let (kept, heard, told) = drive(both).await;
    assert_eq!((exact_in(&kept), exact_in(&heard)), (0, 0));
    assert_eq!(told.len(), 2 * outside.len());
    let cells = told.iter().filter(|reading| reading.quantity().unit() == "h3");
    let mut resolutions = cells.map(|cell| Cell::from_value(cell.value()).unwrap().resolution());
    assert!(resolutions.all(|resolution| resolution == 5));
}

fn in_memory(options: Options) -> (Collector, Device) {
    let device = Device::new("a", depin_core::Algorithm::EdDsa);
    let outbox = Outbox::new(&network(), &device.did, receipts());
    (Collector::new(outbox, options).coarsened(Coarsen::to(7).unwrap()), device)
}

/// What is signed, in order.
fn told(collector: &mut Collector, device: &Device) -> Vec<Reading> {
    let verifier = BatchVerifier::new(&network(), device.key.public_key());
    let pending = collector.outbox_mut().pending().unwrap();
    pending.iter().flat_map(|batch| verifier.link(batch).unwrap().readings().to_vec()).collect()
}

#[test]
fn the_edge_of_a_batch_never_parts_a_pair() {
    for target in 1..8 {
        let mut options = Options::default();
        (options.target, options.most) = (target, target);
        let (mut collector, device) = in_memory(options);
        collector.outbox_mut().reconcile(None).unwrap();
        for reading in (0..9).flat_map(moment) {
            collector.push(reading, NOW, &*device.key).unwrap();
        }
        collector.seal(&*device.key).unwrap();
        let told = told(&mut collector, &device);
        // Where a batch has no room for a moment, what is too much of it is judged by itself: half a pair is silent.
        let cells = told.iter().filter(|reading| reading.quantity().name() == "cell").count();
        assert_eq!(cells, if target == 1 { 0 } else { 9 }, "{target}");
        assert!(told.iter().all(|reading| !["lat", "lon"].contains(&reading.quantity().unit())));
    }
}

#[test]
fn a_moment_waits_for_its_other_half_and_never_longer_than_the_latency() {
    let (mut collector, device) = in_memory(Options::default());
    collector.outbox_mut().reconcile(None).unwrap();
    let [north, east, _] = moment(0);
    collector.push(north, after(0), &*device.key).unwrap();
    assert_eq!((collector.due(), collector.open().len()), (Some(after(10)), 0));
    assert_eq!(collector.poll(after(9), &*device.key).unwrap(), None);
    collector.push(east, after(9), &*device.key).unwrap();
    assert!(collector.poll(after(10), &*device.key).unwrap().is_some());
    assert_eq!((collector.due(), told(&mut collector, &device).len()), (None, 1));
}

#[test]
fn what_finds_no_room_is_told_later_in_its_order_and_once() {
    let mut options = Options::default();
    options.most = 3;
    // Its place in the chain is not known, so that nothing can be sealed.
    let (mut collector, device) = in_memory(options);
    let mut refused = 0;
    for fix in 0..9 {
        for reading in moment(fix) {
            while let Err(error) = collector.push(reading.clone(), NOW, &*device.key) {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                refused += 1;
                if refused == 3 {
                    collector.outbox_mut().reconcile(None).unwrap();
                }
            }
        }
    }
    collector.seal(&*device.key).unwrap();
    let told = told(&mut collector, &device);
    let times: Vec<_> = told.iter().map(Reading::at).collect();
    let expected: Vec<_> = (0..9).flat_map(|second| [after(second); 2]).collect();
    assert_eq!((times, refused), (expected, 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_order_of_calls_lets_a_coordinate_through(
        calls in prop::collection::vec((0..6usize, 0..FIXES), 0..60), most in 1..6usize,
    ) {
        let mut options = Options::default();
        options.most = most;
        let (mut collector, device) = in_memory(options);
        collector.outbox_mut().reconcile(None).unwrap();
        for (call, fix) in calls {
            let now = after(u64::try_from(fix).unwrap());
            let done = match call {
                0..3 => collector.push(moment(fix)[call].clone(), now, &*device.key),
                3 => collector.poll(now, &*device.key),
                _ => collector.seal(&*device.key),
            };
            prop_assert!(done.is_ok());
        }
        collector.seal(&*device.key).unwrap();
        for reading in told(&mut collector, &device) {
            prop_assert!(["Cel", "h3"].contains(&reading.quantity().unit()));
        }
    }
}
