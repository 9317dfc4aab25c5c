//! What a recorder and a subscriber hear of the gate: all that the table names, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use depin_core::EpochId;
use depin_data::{
    collector::{Collector, Next, Options},
    epoch::{EpochDraft, score},
    ingest::{DeviceLimits, Rate},
    log::{MemoryLog, RedbLog},
    outbox::{Outbox, RamStore},
    subscribe::{Cursor, Filter, Subscription},
    transport::InProcess,
};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tracing::{
    Event, Subscriber,
    span::{Attributes, Id, Record},
};

use crate::{
    epoch::{checks, member},
    support::{Device, NOW, Net, network, reading},
};

/// One number: the sum of a counter, the last of a gauge, how many values a histogram has.
#[derive(Debug, Default)]
struct Cell(AtomicU64);

impl CounterFn for Cell {
    fn increment(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }
    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, by: f64) {
        self.0.fetch_add(by as u64, Ordering::Relaxed);
    }
    fn decrement(&self, by: f64) {
        self.0.fetch_sub(by as u64, Ordering::Relaxed);
    }
    fn set(&self, value: f64) {
        self.0.store(value as u64, Ordering::Relaxed);
    }
}

impl HistogramFn for Cell {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Board(Mutex<BTreeMap<String, Arc<Cell>>>);

impl Board {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels = key.labels().map(|label| format!("{{{}={}}}", label.key(), label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }
}

impl Recorder for Board {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

/// The names of the spans that there were.
#[derive(Debug, Default)]
struct Spans(Mutex<BTreeSet<&'static str>>);

impl Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("depin")
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.lock().unwrap().insert(span.metadata().name());
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

async fn a_busy_minute() {
    let mut limits = DeviceLimits::default();
    limits.batches = Rate::new(1, 2);
    let net = Net::with(Arc::new(MemoryLog::new()), |b| b.device_limits(limits));
    let mut device = net.enrol("a");
    let batch = device.measure();
    net.taken(&batch).await;
    net.taken(&batch).await;
    net.taken(&device.seal(&[reading("1", NOW.minus(Duration::from_secs(90)))])).await;
    assert!(net.ingest.accept(device.measure().as_bytes()).await.is_err());
    for n in 0..70u8 {
        net.refused(&[n]).await;
    }
    let mut late = Device::new("late", depin_core::Algorithm::EdDsa);
    net.clock.advance(Duration::from_secs(60));
    net.refused(late.measure().as_bytes()).await;
    net.registry.add(&late);
    net.ingest.replay(60).await.unwrap();
    net.ingest.observe();
}

#[test]
fn a_recorder_hears_what_the_table_promises_and_no_device_is_a_label() {
    let board = Board::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&board, || runtime.block_on(a_busy_minute()));
    let board = board.0.into_inner().unwrap();
    let value = |name: &str| board.get(name).map_or(0, |cell| cell.0.load(Ordering::Relaxed));
    for (name, expected) in [
        ("depin_ingest_stored_total{kind=batches}", 3),
        ("depin_ingest_stored_total{kind=readings}", 5),
        ("depin_ingest_repeated_total", 1),
        ("depin_ingest_answers_total{answer=receipt}", 3),
        ("depin_ingest_answers_total{answer=malformed}", 70),
        ("depin_ingest_answers_total{answer=not-registered}", 1),
        ("depin_ingest_failures_total{kind=unavailable}", 1),
        ("depin_ingest_accept_seconds", 75),
        ("depin_ingest_verify_seconds", 5),
        ("depin_ingest_replays_total{answer=receipt}", 1),
        ("depin_ingest_throttled_total{by=device}", 1),
        ("depin_ingest_unkept_total{of=unknown}", 10),
        ("depin_ingest_append_seconds", 4),
        ("depin_ingest_in_flight", 1),
        ("depin_ingest_lag_seconds{rank=1}", 60),
        ("depin_ingest_lag_seconds{rank=2}", 60),
    ] {
        assert_eq!(value(name), expected, "{name}: {board:#?}");
    }
    assert!(value("depin_ingest_received_bytes_total") > 70);
    assert!(board.keys().all(|name| !name.contains("did:")), "{board:?}");
    board.keys().for_each(|name| is_in_the_table(name));
}

/// A signature is checked in a group when another batch is under way, here one that waits for the registry for ever.
async fn side_by_side() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let [mut waits, mut other] = ["a", "b"].map(|name| net.enrol(name));
    net.registry.hangs.lock().unwrap().insert(waits.did.clone());
    let (batch, other) = (waits.measure(), other.measure());
    tokio::select! {
        biased;
        answer = net.ingest.accept(batch.as_bytes()) => panic!("{answer:?}"),
        _ = net.taken(&other) => {}
    }
}

/// The rows of the table, by name.
fn table() -> BTreeMap<&'static str, &'static str> {
    let rows = include_str!("../../src/observe.rs").lines().filter_map(|line| {
        let row = line.strip_prefix("//! | `depin_")?;
        let name = line.split('`').nth(1)?;
        Some((name, row))
    });
    rows.collect()
}

/// What was heard is in a row of the table, with its labels, and with their values where the row lists those.
fn is_in_the_table(heard: &str) {
    let (name, labels) = heard.split_once('{').unwrap_or((heard, ""));
    let row = table().get(name).copied().unwrap_or_else(|| panic!("{name} is not in the table"));
    let labels = labels.trim_end_matches('}').split("}{").filter(|label| !label.is_empty());
    for (label, value) in labels.map(|label| label.split_once('=').unwrap()) {
        assert!(row.contains(&format!("`{label}`")), "{label} is not in the row of {name}");
        let listed = ["by", "of"].contains(&label);
        assert!(!listed || row.contains(&format!("`{value}`")), "{value} is not in that of {name}");
    }
}

/// Whether what the row tells of takes part here: a feature, and a broker that is installed.
fn is_told_here(name: &str, brokers: &[&str]) -> bool {
    match name {
        "depin_transport_oversized_total" => brokers.contains(&"mqtt"),
        name if name.starts_with("depin_http_") => cfg!(feature = "http"),
        name if name.starts_with("depin_stream_") => brokers.contains(&"nats"),
        name if name.starts_with("depin_broker_") => !brokers.is_empty(),
        name if name.starts_with("depin_transport_") => !brokers.is_empty(),
        _ => true,
    }
}

/// From a device to a consumer, through a log whose threads record too; returns the brokers that took part.
async fn all_stages() -> Vec<&'static str> {
    let net = Net::over(Arc::new(RedbLog::open_in_memory().unwrap()));
    let device = net.enrol("a");
    let store = RamStore::new(4, 1024);
    let mut outbox = Outbox::open(&network(), &device.did, net.receipts.clone(), store).unwrap();
    outbox.reconcile(None).unwrap();
    let (mut collector, key) = (Collector::new(outbox, Options::default()), &*device.key);
    // More than the outbox holds, one of them too hot.
    for second in 0..20 {
        let at = NOW.plus(Duration::from_secs(second * 100));
        let value = if second == 19 { "80" } else { "1" };
        collector.push(reading(value, at), at, key).unwrap();
        collector.seal(key).unwrap();
    }
    net.clock.set(NOW.plus(Duration::from_secs(2000)));
    let transport = InProcess::new(net.ingest.clone());
    assert_eq!(collector.forward(&transport, key).await.unwrap(), Next::Done);
    net.refused(b"noise").await;
    let log = net.ingest.log();
    let size = log.head().await.unwrap().size;
    let mut consumer = Subscription::new(Arc::clone(log), Cursor::START, Filter::new(&network()));
    for _ in 0..size {
        consumer.next().await.unwrap();
    }
    let draft = EpochDraft::read(&**log, &network(), EpochId::new(0), 0..size).await.unwrap();
    let record = draft.close(vec![member(&device)], checks().names(), "policy").unwrap();
    let scored = score(&**log, &record, &checks()).await.unwrap();
    assert_eq!(scored.findings.len(), 1);
    let mut rare =
        Subscription::new(Arc::clone(log), Cursor::START, Filter::new(&network()).quantity("none"));
    assert_eq!(rare.scan().await.unwrap(), None);
    over_http(&net).await;
    through_brokers(&net).await
}

#[cfg(feature = "http")]
async fn over_http(net: &Net) {
    use depin_data::http;
    use tokio::{io::AsyncReadExt, net::TcpStream};

    let any = ([127, 0, 0, 1], 0).into();
    let server = http::serve(net.ingest.clone(), any).await.unwrap();
    for path in ["healthz", "v1/head", "v1/stream?from=0&wait=0", "secrets/did:example:a"] {
        let response = reqwest::get(format!("{}/{path}", server.url())).await.unwrap();
        response.bytes().await.unwrap();
    }
    let mut limits = http::Limits::default();
    (limits.connections, limits.turn) = (1, Duration::ZERO);
    let full = http::serve_with(net.ingest.clone(), any, limits).await.unwrap();
    let address = full.url().trim_start_matches("http://").to_owned();
    let _first = TcpStream::connect(&address).await.unwrap();
    let mut heard = Vec::new();
    TcpStream::connect(&address).await.unwrap().read_to_end(&mut heard).await.unwrap();
    assert!(heard.starts_with(b"HTTP/1.1 503"));
}

#[cfg(not(feature = "http"))]
async fn over_http(_: &Net) {}

#[cfg(all(feature = "mqtt", feature = "nats"))]
async fn through_brokers(net: &Net) -> Vec<&'static str> {
    let mut device = net.enrol("b");
    let batch = device.measure();
    let brokers = crate::transports::each_way(net, &device.did, &batch).await;
    crate::transports::passed_over(net, &mut device).await;
    over_a_stream().await;
    brokers
}

#[cfg(not(all(feature = "mqtt", feature = "nats")))]
async fn through_brokers(_: &Net) -> Vec<&'static str> {
    Vec::new()
}

#[test]
fn every_stage_is_heard_and_every_name_is_in_the_table() {
    let board: &'static Board = Box::leak(Box::default());
    metrics::set_global_recorder(board).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let spans = Arc::new(Spans::default());
    let story = async {
        let brokers = all_stages().await;
        a_busy_minute().await;
        side_by_side().await;
        brokers
    };
    let brokers = tracing::subscriber::with_default(Arc::clone(&spans), || runtime.block_on(story));
    let board = board.0.lock().unwrap();
    let value = |name: &str| board.get(name).map_or(0, |cell| cell.0.load(Ordering::Relaxed));
    for name in [
        "depin_device_sealed_total{kind=readings}",
        "depin_device_sends_total{answer=receipt}",
        "depin_device_dropped_total",
        "depin_ingest_stored_total{kind=readings}",
        "depin_ingest_accept_seconds",
        "depin_ingest_verify_seconds",
        "depin_ingest_verified_together",
        "depin_epoch_read_seconds",
        "depin_epoch_closed_total{kind=epochs}",
        "depin_epoch_closed_total{kind=batches}",
        "depin_consumer_passed_total",
        "depin_log_batches",
        "depin_log_commit_jobs",
        "depin_log_commit_seconds",
        "depin_log_index_seconds",
        "depin_epoch_score_seconds",
        "depin_epoch_readings_total",
        "depin_quality_findings_total{code=out-of-bounds}",
        "depin_consumer_batches_total",
        "depin_consumer_behind",
    ] {
        assert!(value(name) > 0, "{name}: {board:#?}");
    }
    #[cfg(feature = "http")]
    for name in [
        "depin_http_requests_total{route=/healthz}{status=200}",
        "depin_http_requests_total{route=/v1/stream}{status=200}",
        "depin_http_requests_total{route=other}{status=404}",
        "depin_http_seconds{route=/v1/head}",
        "depin_http_turned_away_total",
    ] {
        assert!(value(name) > 0, "{name}: {board:#?}");
    }
    for by in &brokers {
        for name in [
            format!("depin_broker_requests_total{{by={by}}}{{answer=receipt}}"),
            format!("depin_transport_dropped_total{{by={by}}}"),
        ] {
            assert!(value(&name) > 0, "{name}: {board:#?}");
        }
    }
    if brokers.contains(&"mqtt") {
        assert!(value("depin_transport_oversized_total{by=mqtt}") > 0, "{board:#?}");
    }
    if brokers.contains(&"nats") {
        assert!(value("depin_stream_messages_total{of=self}") > 0, "{board:#?}");
        assert!(value("depin_stream_messages_total{of=others}") > 0, "{board:#?}");
    }
    assert!(board.keys().all(|name| !name.contains("did:")), "no device is a label: {board:?}");
    let spans = spans.0.lock().unwrap();
    let stages =
        ["seal", "forward", "accept", "verify", "append", "read", "close", "score", "scan"];
    let ways = [("http", cfg!(feature = "http")), ("broker", !brokers.is_empty())];
    let ways = ways.into_iter().filter_map(|(way, there)| there.then_some(way));
    for span in stages.into_iter().chain(ways) {
        assert!(spans.contains(span), "{span}: {spans:?}");
    }
    board.keys().for_each(|name| is_in_the_table(name));
    let name = |heard: &'_ String| heard.split('{').next().unwrap().to_owned();
    let heard: BTreeSet<_> = board.keys().map(name).collect();
    let expected = table().into_keys().filter(|name| is_told_here(name, &brokers));
    // A gauge may be zero by now, but it was heard.
    assert_eq!(heard, expected.map(str::to_owned).collect());
}

/// Two processes of one log in a stream; the second applies what the first wrote.
#[cfg(all(feature = "mqtt", feature = "nats"))]
async fn over_a_stream() {
    use crate::{
        broker::{Broker, jetstream},
        jetstream::{next, stored, unflushed},
    };
    let Some(server) = Broker::nats(jetstream) else { return };
    let open = async || {
        let view = RedbLog::open_in_memory().unwrap();
        unflushed(&server.options(), &network(), view).await.unwrap()
    };
    let (one, two) = (open().await, open().await);
    let mut device = Device::new("a", depin_core::Algorithm::EdDsa);
    stored(&one, next(&mut device)).await;
    assert_eq!(two.level().await.unwrap().size, 1);
}

/// Consumers that read along, and their connections, are in the gauges for as long as they are there.
#[cfg(feature = "http")]
#[test]
fn connections_and_readers_are_counted_for_as_long_as_they_are_there() {
    let board = Board::default();
    let value = |name: &str| {
        board.0.lock().unwrap().get(name).map_or(0, |cell| cell.0.load(Ordering::Relaxed))
    };
    let story = async {
        let net = Net::over(Arc::new(MemoryLog::new()));
        let any = ([127, 0, 0, 1], 0).into();
        let server = depin_data::http::serve(net.ingest.clone(), any).await.unwrap();
        // Each over a connection of its own.
        let read = || reqwest::get(format!("{}/v1/stream?from=0&wait=60", server.url()));
        let readers = [read().await.unwrap(), read().await.unwrap()];
        let both = || [value("depin_http_streams"), value("depin_http_connections")];
        assert_eq!(both(), [2, 2]);
        let [gone, stays] = readers;
        drop(gone);
        while both() != [1, 1] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(stays);
        server.shutdown().await;
        assert_eq!(both(), [0, 0]);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&board, || runtime.block_on(story));
}
