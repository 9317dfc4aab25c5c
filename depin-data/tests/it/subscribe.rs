//! Consumers of a log: from anywhere, only what they want, and in nobody's way.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Instant,
};

use depin_core::{
    Algorithm, Decimal, ErrorKind, Reading, Sequence,
    log::{Append, BatchLog, NewBatch},
    reading::Quantity,
};
use depin_data::{
    log::{MemoryLog, RedbLog},
    subscribe::{Cursor, Delivery, Filter, Subscription},
};

use crate::support::{Device, NOW, Net, network};

fn all() -> Filter {
    Filter::new(&network())
}

fn measured(name: &str, unit: &str, value: &str) -> Reading {
    Reading::new(Quantity::new(name, unit), Decimal::parse(value).unwrap(), NOW)
}

/// Seals the readings as the device's next batch and appends it.
async fn append(log: &dyn BatchLog, device: &mut Device, readings: &[Reading]) {
    let (sequence, previous) = (Sequence::new(device.next), device.previous);
    let (batch, covers) = (device.seal(readings), None);
    let device = device.did.clone();
    let new = NewBatch { device, sequence, previous, received: NOW, batch, covers };
    assert!(matches!(log.append(new).await.unwrap(), Append::Stored(_)));
}

/// What is there now, without waiting for more.
async fn ready(subscription: &mut Subscription) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    loop {
        match subscription.scan().await.unwrap() {
            Some(delivery) => deliveries.push(delivery),
            None if subscription.lag().await.unwrap() == 0 => return deliveries,
            None => {}
        }
    }
}

fn indices(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.entry.index).collect()
}

#[tokio::test]
async fn a_consumer_gets_what_is_there_and_what_comes_and_goes_on_where_it_was() {
    let log = Arc::new(MemoryLog::new());
    let mut device = Device::new("a", Algorithm::EdDsa);
    let temperature = [measured("temperature", "Cel", "4.9")];
    for _ in 0..40 {
        append(&*log, &mut device, &temperature).await;
    }
    let mut first = Subscription::new(log.clone(), Cursor::START, all());
    let mut late = Subscription::from_now(log.clone(), all()).await.unwrap();
    assert_eq!(first.lag().await.unwrap(), 40);
    let got = ready(&mut first).await;
    assert_eq!(indices(&got), (0..40).collect::<Vec<_>>());
    assert_eq!(got[3].entry, log.read(3, 1).await.unwrap()[0]);
    assert_eq!((first.lag().await.unwrap(), first.cursor()), (0, Cursor::batch(40)));

    let waiting = tokio::spawn(async move { (late.next().await.unwrap().entry.index, late) });
    append(&*log, &mut device, &temperature).await;
    let (index, late) = waiting.await.unwrap();
    assert_eq!((index, late.cursor()), (40, Cursor::batch(41)));
    let mut again = Subscription::new(log, got[37].cursor().to_string().parse().unwrap(), all());
    assert_eq!(indices(&ready(&mut again).await), [38, 39, 40]);
}

#[tokio::test]
async fn filters_choose_by_device_and_quantity_and_cursors_inside_a_batch() {
    let log = Arc::new(MemoryLog::new());
    let [mut a, mut b] = ["a", "b"].map(|name| Device::new(name, Algorithm::EdDsa));
    let both = [measured("temperature", "Cel", "4.9"), measured("humidity", "%RH", "60")];
    append(&*log, &mut a, &both).await;
    append(&*log, &mut b, &both[..1]).await;
    append(&*log, &mut b, &both).await;
    let run =
        async |cursor, filter| ready(&mut Subscription::new(log.clone(), cursor, filter)).await;
    let of_b = run(Cursor::START, all().device(b.did.clone())).await;
    assert_eq!((indices(&of_b), of_b[0].matches.clone()), (vec![1, 2], None));
    assert_eq!(
        indices(&run(Cursor::START, all().device(b.did.clone()).device(a.did.clone())).await),
        [0, 1, 2]
    );
    let humid = run(Cursor::START, all().quantity("humidity")).await;
    assert_eq!(indices(&humid), [0, 2]);
    assert_eq!(humid[0].readings(&network()).unwrap(), [(1, both[1].clone())]);
    let wet_b = run(Cursor::START, all().quantity("humidity").device(b.did.clone())).await;
    assert_eq!(indices(&wet_b), [2]);
    assert!(run(Cursor::START, all().quantity("pressure")).await.is_empty());

    let inside = run(Cursor::reading_of(0, 1), all()).await;
    assert_eq!(inside[0].readings(&network()).unwrap(), [(1, both[1].clone())]);
    assert_eq!(inside[1].matches, None);
    assert_eq!(indices(&run(humid[0].cursor_after(1), all()).await), [1, 2]);
}

#[cfg(feature = "geo")]
#[tokio::test]
async fn filters_choose_readings_by_the_cell_they_were_taken_in() {
    use depin_data::geo::{CELL, Cell, LATITUDE, LONGITUDE, Position};
    let log = Arc::new(MemoryLog::new());
    let mut device = Device::new("a", Algorithm::EdDsa);
    let here = Cell::at(Position::try_new(474_844_814, 109_756_895).unwrap(), 9).unwrap();
    let there = Cell::at(Position::try_new(520_000_000, 130_000_000).unwrap(), 9).unwrap();
    let cell = |cell: Cell| Reading::new(Quantity::new(CELL.0, CELL.1), cell.value(), NOW);
    let warm = |value| measured("temperature", "Cel", value);
    append(&*log, &mut device, &[warm("1"), cell(here), warm("2"), cell(there), warm("3")]).await;
    append(&*log, &mut device, &[warm("4")]).await;
    let degrees = [
        measured(LATITUDE.0, LATITUDE.1, "47.4844814"),
        measured(LONGITUDE.0, LONGITUDE.1, "10.9756895"),
        warm("5"),
    ];
    append(&*log, &mut device, &degrees).await;
    let of = async |cell| {
        let filter = all().cell(cell).quantity("temperature");
        ready(&mut Subscription::new(log.clone(), Cursor::START, filter)).await
    };
    let found: Vec<_> = of(here).await.into_iter().map(|delivery| delivery.matches).collect();
    assert_eq!(found, [Some(vec![0, 2]), Some(vec![2])]);
    assert_eq!(of(here.coarser(5).unwrap()).await.len(), 2);
    let found: Vec<_> = of(there).await.into_iter().map(|delivery| delivery.matches).collect();
    assert_eq!(found, [Some(vec![4])]);
}

#[tokio::test]
async fn what_was_forgotten_is_an_error_that_names_where_to_go_on() {
    let log = Arc::new(MemoryLog::new());
    let mut device = Device::new("a", Algorithm::EdDsa);
    for _ in 0..30 {
        append(&*log, &mut device, &[measured("temperature", "Cel", "4.9")]).await;
    }
    log.forget(20).await.unwrap();
    let mut subscription = Subscription::new(log.clone(), Cursor::batch(7), all());
    let error = subscription.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.context().any(|pair| pair == ("oldest", "20")), "{error}");
    let mut oldest = Subscription::from_oldest(log, all()).await.unwrap();
    assert_eq!(indices(&ready(&mut oldest).await), (20..30).collect::<Vec<_>>());
}

/// Appends by eight devices at once; returns how many a second.
async fn load(log: &Arc<RedbLog>, round: &str) -> u128 {
    const EACH: u128 = 50;
    let begun = Instant::now();
    let tasks = (0..8).map(|n| {
        let (log, mut device) =
            (log.clone(), Device::new(&format!("{round}{n}"), Algorithm::EdDsa));
        tokio::spawn(async move {
            for _ in 0..EACH {
                append(&*log, &mut device, &[measured("temperature", "Cel", "4.9")]).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    8 * EACH * 1_000_000 / begun.elapsed().as_micros().max(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_consumers_hold_nobody_up_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(RedbLog::open(folder.path().join("log")).unwrap());
    let alone = load(&log, "alone").await;
    let mut slow = Vec::new();
    for _ in 0..1000 {
        let mut subscription = Subscription::from_now(log.clone(), all()).await.unwrap();
        // Each begins to wait, is woken by the first append, and does not come back for a while.
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(subscription.scan().await.unwrap(), None);
        assert!(pin!(subscription.grown()).poll(&mut context).is_pending());
        slow.push(subscription);
    }
    let beside = load(&log, "beside").await;
    println!("appends a second: {alone} alone, {beside} beside 1,000 consumers that stand still");
    for subscription in &slow {
        assert_eq!(subscription.lag().await.unwrap(), 400, "the lag shows");
    }
    let last = slow.last_mut().unwrap();
    assert_eq!(indices(&ready(last).await), (400..800).collect::<Vec<_>>(), "nothing is lost");

    let eager = slow.into_iter().take(200).map(|mut subscription| {
        tokio::spawn(async move { while subscription.next().await.unwrap().entry.index < 1199 {} })
    });
    let eager: Vec<_> = eager.collect();
    let beside = load(&log, "eager").await;
    println!("{beside} beside 200 consumers that read along");
    for task in eager {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn who_looks_for_what_is_rare_sees_how_far_that_came() {
    let log = Arc::new(MemoryLog::new());
    let mut device = Device::new("a", Algorithm::EdDsa);
    for _ in 0..100 {
        append(&*log, &mut device, &[measured("temperature", "Cel", "4.9")]).await;
    }
    append(&*log, &mut device, &[measured("pressure", "hPa", "1013")]).await;
    let mut rare = Subscription::new(log.clone(), Cursor::START, all().quantity("pressure"));
    let (mut before, mut found) = (rare.cursor(), None);
    while found.is_none() {
        found = rare.scan().await.unwrap();
        assert!(rare.cursor() > before && rare.cursor().index() - before.index() <= 16);
        before = rare.cursor();
    }
    assert_eq!((found.unwrap().entry.index, rare.cursor()), (100, Cursor::batch(101)));
    let begun = Subscription::new(log, Cursor::batch(64), all().quantity("pressure")).next().await;
    assert_eq!(begun.unwrap().entry.index, 100, "a search goes on from where another came");
}

/// All that consumers wait for stands still: the disk, and what looks into batches.
#[test]
fn acknowledgements_go_on_while_every_reader_stands_still() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).enable_all().build().unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || held.recv());
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(RedbLog::open(folder.path().join("log")).unwrap());
    runtime.block_on(async move {
        let net = Net::over(log.clone());
        let mut device = net.enrol("a");
        for _ in 0..20 {
            net.taken(&device.measure()).await;
        }
        let search = async |mut consumer: Subscription| {
            while consumer.cursor().index() < 60 {
                consumer.scan().await.unwrap();
            }
        };
        let filters = (0..50).map(|n| if n % 2 == 0 { all() } else { all().quantity("none") });
        let consumers = filters.map(|filter| Subscription::new(log.clone(), Cursor::START, filter));
        let readers: Vec<_> = consumers.map(|consumer| tokio::spawn(search(consumer))).collect();
        for _ in 20..60 {
            net.taken(&device.measure()).await;
        }
        assert!(readers.iter().all(|reader| !reader.is_finished()), "nobody could read");
        release.send(()).unwrap();
        for reader in readers {
            reader.await.unwrap();
        }
    });
}
