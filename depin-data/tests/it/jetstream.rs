//! The log of many machines, over a real nats-server.

use std::{cell::Cell, sync::Arc, time::Duration};

use depin_core::{
    Algorithm, B256, EpochId, ErrorKind, NetworkId, Result, Sequence,
    log::{Append, BatchLog, NewBatch, RefusedBatch},
    transport::{Refusal, RefusalCode},
};
use depin_data::log::{
    JetStreamLog, MemoryLog, RedbLog,
    jetstream::{Acknowledge, JetStreamOptions, View},
};
use depin_data::nats::NatsOptions;
use depin_testkit::log::{conforms, survives_reopening};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::{
    broker::{Broker, jetstream},
    support::{Device, NOW, network},
};

/// The next batch of a device as ingest hands it to the log.
pub(crate) fn next(device: &mut Device) -> NewBatch {
    let (sequence, previous) = (Sequence::new(device.next), device.previous);
    let batch = device.measure();
    NewBatch { device: device.did.clone(), sequence, previous, received: NOW, batch, covers: None }
}

/// Opens a log that may be written although its view is in memory.
pub(crate) async fn unflushed(
    server: &NatsOptions,
    network: &NetworkId,
    view: impl Into<View>,
) -> Result<JetStreamLog> {
    let mut options = JetStreamOptions::default();
    options.acknowledge = Acknowledge::OnceTaken;
    JetStreamLog::open_with(server, network, view, options).await
}

pub(crate) async fn stored(log: &JetStreamLog, new: NewBatch) -> u64 {
    match log.append(new).await.unwrap() {
        Append::Stored(index) => index,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_jetstream_log_conforms_and_survives_reopening() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let count = Cell::new(0);
    let fresh = || {
        count.set(count.get() + 1);
        NetworkId::parse(&format!("n{}", count.get())).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    conforms(async || {
        let network = fresh();
        let view = RedbLog::open(folder.path().join(network.as_str())).unwrap();
        JetStreamLog::open(&server.options(), &network, view).await.unwrap()
    })
    .await;
    conforms(async || {
        let view = RedbLog::open_in_memory().unwrap();
        unflushed(&server.options(), &fresh(), view).await.unwrap()
    })
    .await;
    let network = fresh();
    let open = async || {
        let view = RedbLog::open(folder.path().join("view")).unwrap();
        JetStreamLog::open(&server.options(), &network, view).await.unwrap()
    };
    survives_reopening(open().await, async |log| {
        log.close().await;
        open().await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_empty_view_is_filled_from_the_stream() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let open = async || unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    let (first, mut device) = (open().await, Device::new("a", Algorithm::EdDsa));
    for _ in 0..50 {
        stored(&first, next(&mut device)).await;
    }
    first.seal(EpochId::new(1), b"record".as_slice().into()).await.unwrap();
    let second = open().await;
    assert_eq!(second.head().await.unwrap(), first.head().await.unwrap());
    let (old, new) = (first.read(0, 99).await.unwrap(), second.read(0, 99).await.unwrap());
    assert_eq!(old, new, "also when they were received");
    assert_eq!(second.sealed(EpochId::new(1)).await.unwrap(), Some(b"record".as_slice().into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_processes_write_one_log() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let mut logs = Vec::new();
    for _ in 0..3 {
        let view = RedbLog::open_in_memory().unwrap();
        logs.push(Arc::new(unflushed(&server.options(), &network(), view).await.unwrap()));
    }
    let writers = logs.iter().enumerate().map(|(n, log)| {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            let mut device = Device::new(&format!("d{n}"), Algorithm::EdDsa);
            for _ in 0..30 {
                stored(&log, next(&mut device)).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let mut heads = Vec::new();
    for log in &logs {
        heads.push(log.level().await.unwrap());
    }
    assert_eq!(heads[0].size, 90);
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_rivals_at_two_processes_one_wins_and_a_copy_is_a_duplicate() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let open = async || unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    let (a, b) = (open().await, open().await);
    for round in 0..10 {
        let mut device = Device::new(&format!("r{round}"), Algorithm::EdDsa);
        let new = next(&mut device);
        let (one, other) = tokio::join!(a.append(new.clone()), b.append(new));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(
            matches!((one, other), (Append::Stored(x), Append::Duplicate(y)) | (Append::Duplicate(x), Append::Stored(y)) if x == y),
            "{one:?} {other:?}"
        );
        // The second of the chain, at whichever process has not seen the first come.
        stored(if round % 2 == 0 { &a } else { &b }, next(&mut device)).await;
    }
}

#[tokio::test]
async fn the_latest_tip_is_that_of_all_processes() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let open = async || unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    let (a, b) = (open().await, open().await);
    let mut device = Device::new("a", Algorithm::EdDsa);
    for round in 0..20 {
        stored(&a, next(&mut device)).await;
        let tip = b.latest_tip(&device.did).await.unwrap().unwrap();
        assert_eq!((tip.sequence, tip.hash), (Sequence::new(round), device.previous));
    }
}

#[tokio::test]
async fn a_stream_that_is_empty_under_a_full_view_is_seeded_only_when_asked() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (path, url) = (folder.path().join("view"), server.options());
    let mut device = Device::new("a", Algorithm::EdDsa);
    let single = RedbLog::open(&path).unwrap();
    for _ in 0..300 {
        single.append(next(&mut device)).await.unwrap();
    }
    let head = single.head().await.unwrap();
    drop(single);
    let view = RedbLog::open(&path).unwrap();
    let error = JetStreamLog::open(&url, &network(), view).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let mut options = JetStreamOptions::default();
    options.seed = true;
    let view = RedbLog::open(&path).unwrap();
    let log = JetStreamLog::open_with(&url, &network(), view, options).await.unwrap();
    let other = unflushed(&url, &network(), MemoryLog::new()).await.unwrap();
    assert_eq!(other.head().await.unwrap(), head);
    assert_eq!(stored(&other, next(&mut device)).await, 300);
    assert_eq!(log.level().await.unwrap(), other.head().await.unwrap());
}

#[tokio::test]
async fn no_server_is_an_error_that_says_so() {
    let error =
        JetStreamLog::open(&NatsOptions::new("nats://127.0.0.1:1"), &network(), MemoryLog::new())
            .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// Publishes bytes where the log's messages go, as anybody might who has the right.
pub(crate) async fn intrude(server: &Broker, bytes: Vec<u8>) {
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let subject = format!("depin.{}.log", network());
    context.publish(subject, bytes.into()).await.unwrap().await.unwrap();
}

/// The bytes of a message of the log.
pub(crate) async fn message(server: &Broker, sequence: u64) -> Vec<u8> {
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream(format!("DEPIN_{}", network())).await.unwrap();
    stream.get_raw_message(sequence).await.unwrap().payload.to_vec()
}

/// As when a server that lost its end takes what was sent before in a place that fits by its number.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_of_ours_in_another_place_is_passed_over_by_everybody() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let folder = tempfile::tempdir().unwrap();
    let view = || RedbLog::open(folder.path().join("view")).unwrap();
    let log = JetStreamLog::open(&server.options(), &network(), view()).await.unwrap();
    let mut device = Device::new("a", Algorithm::EdDsa);
    for _ in 0..3 {
        stored(&log, next(&mut device)).await;
    }
    log.refuse(refused("one")).await.unwrap();
    for sequence in [1, 4, 2] {
        let again = message(&server, sequence).await;
        intrude(&server, again).await;
        stored(&log, next(&mut device)).await;
    }
    log.close().await;
    let log = JetStreamLog::open(&server.options(), &network(), view()).await.unwrap();
    let fresh = unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    assert_eq!(fresh.skipped(), 3);
    for log in [&log, &fresh] {
        assert_eq!(log.level().await.unwrap().size, 6);
        assert_eq!(log.refusals(0, 9).await.unwrap(), [refused("one")]);
    }
    stored(&fresh, next(&mut device)).await;
    assert_eq!(fresh.level().await.unwrap(), log.level().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn noise_in_the_stream_is_passed_over_by_everybody_and_counted() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let open = async || unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    let (log, mut device) = (open().await, Device::new("a", Algorithm::EdDsa));
    stored(&log, next(&mut device)).await;
    intrude(&server, b"noise".to_vec()).await;
    intrude(&server, Vec::new()).await;
    stored(&log, next(&mut device)).await;
    let other = open().await;
    assert_eq!((log.skipped(), other.skipped(), other.applied()), (2, 2, 4));
    assert_eq!(other.head().await.unwrap(), log.head().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_that_contradicts_the_log_or_is_of_tomorrow_stops_it() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let open = async || unflushed(&server.options(), &network(), MemoryLog::new()).await;
    let (log, mut device) = (open().await.unwrap(), Device::new("a", Algorithm::EdDsa));
    stored(&log, next(&mut device)).await;
    // A group of this network that begins with a root that nobody had.
    let mut forged = b"\x8e\x69depin-log\x04\x67climate\x61x\x58\x20".to_vec();
    forged.extend(Sha256::digest(message(&server, 1).await));
    forged.extend(b"\x01\x58\x20");
    forged.extend([7; 32]);
    forged.extend(b"\x00\x00\x80\x80\x80\x80\x80");
    intrude(&server, forged).await;
    let waits = log.grown(1).await.unwrap_err();
    let error = log.append(next(&mut device)).await.unwrap_err();
    let kinds = [waits.kind(), error.kind(), log.head().await.unwrap_err().kind()];
    assert_eq!(kinds, [ErrorKind::Corrupt; 3], "nothing more is acknowledged or signed");
    assert_eq!(open().await.unwrap_err().kind(), ErrorKind::Corrupt, "nor anywhere else");

    let Some(server) = Broker::nats(jetstream) else { return };
    let log = unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    intrude(&server, b"\x8e\x69depin-log\x05".to_vec()).await;
    assert_eq!(log.level().await.unwrap_err().kind(), ErrorKind::Unsupported);
    let error = unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

pub(crate) fn refused(detail: &str) -> RefusedBatch {
    let code = RefusalCode::Malformed;
    let refusal =
        Refusal { code, detail: detail.into(), batch: B256::repeat_byte(1), device: None };
    RefusedBatch { refusal, received: NOW, bytes: b"noise".as_slice().into(), against: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_refusal_in_the_place_of_one_that_was_lost_is_noticed() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let folder = tempfile::tempdir().unwrap();
    // What a view has that the server lost, before another process wrote.
    for (name, detail) in [("same", "theirs"), ("other", "mine")] {
        let view = RedbLog::open(folder.path().join(name)).unwrap();
        view.refuse(refused(detail)).await.unwrap();
    }
    let first = unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    first.refuse(refused("theirs")).await.unwrap();
    first.refuse(refused("and one more")).await.unwrap();
    let open = async |name: &str| {
        let view = RedbLog::open(folder.path().join(name)).unwrap();
        JetStreamLog::open(&server.options(), &network(), view).await
    };
    let same = open("same").await.unwrap();
    let expected = [refused("theirs"), refused("and one more")];
    assert_eq!(same.refusals(0, 9).await.unwrap(), expected);
    assert_eq!(open("other").await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_a_view_in_memory_nothing_is_acknowledged_unless_the_server_is_vouched_for() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let mut device = Device::new("a", Algorithm::EdDsa);
    let views = || [View::from(MemoryLog::new()), RedbLog::open_in_memory().unwrap().into()];
    for view in views() {
        let log = JetStreamLog::open(&server.options(), &network(), view).await.unwrap();
        let new = next(&mut Device::new("never", Algorithm::EdDsa));
        let errors = [
            log.append(new).await.unwrap_err(),
            log.refuse(refused("never")).await.unwrap_err(),
            log.seal(EpochId::new(0), b"never".as_slice().into()).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("folder"), "{error}");
        }
        // It follows what others write all the same.
        let folder = tempfile::tempdir().unwrap();
        let view = RedbLog::open(folder.path().join("view")).unwrap();
        let durable = JetStreamLog::open(&server.options(), &network(), view).await.unwrap();
        let index = stored(&durable, next(&mut device)).await;
        assert_eq!(log.grown(index).await.unwrap(), index + 1);
    }
    for view in views() {
        let log = unflushed(&server.options(), &network(), view).await.unwrap();
        stored(&log, next(&mut device)).await;
    }
}

/// Power goes on every machine at once: each process dies, and the server keeps what it had flushed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_flushed_outlives_the_power_of_all_machines_and_what_was_only_taken_does_not() {
    let Some(mut server) = Broker::nats(jetstream) else { return };
    let folder = tempfile::tempdir().unwrap();
    let view = || RedbLog::open(folder.path().join("view")).unwrap();
    let first = JetStreamLog::open(&server.options(), &network(), view()).await.unwrap();
    let mut device = Device::new("a", Algorithm::EdDsa);
    stored(&first, next(&mut device)).await;
    first.close().await;
    // What the server had flushed; everything after it is in the memory of the server's machine.
    let kept = server.kill_and_keep();
    server.run();
    let log = JetStreamLog::open(&server.options(), &network(), view()).await.unwrap();
    stored(&log, next(&mut device)).await;
    log.close().await;
    let taken = unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    stored(&taken, next(&mut device)).await;
    taken.close().await;
    server.lose_all_but(&kept);
    let log = JetStreamLog::open(&server.options(), &network(), view()).await.unwrap();
    assert_eq!(log.level().await.unwrap().size, 2, "the one that was only taken is lost");
}

/// Histories that differ in kinds only agree: each side has what the other lacks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_view_that_alone_holds_a_batch_takes_what_others_refused_meanwhile() {
    let Some(mut server) = Broker::nats(jetstream) else { return };
    let folder = tempfile::tempdir().unwrap();
    let view = || RedbLog::open(folder.path().join("view")).unwrap();
    let log = JetStreamLog::open(&server.options(), &network(), view()).await.unwrap();
    let mut device = Device::new("a", Algorithm::EdDsa);
    stored(&log, next(&mut device)).await;
    let kept = server.kill_and_keep();
    server.run();
    let again = next(&mut device);
    while log.append(again.clone()).await.is_err_and(|error| error.is_retryable()) {}
    log.close().await;
    server.lose_all_but(&kept);
    let other = unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    for name in ["one", "two"] {
        other.refuse(refused(name)).await.unwrap();
    }
    let log = JetStreamLog::open(&server.options(), &network(), view()).await.unwrap();
    for log in [&log, &other] {
        assert_eq!(log.level().await.unwrap().size, 2);
        assert_eq!(log.refusals(0, 9).await.unwrap(), ["one", "two"].map(refused));
    }
    stored(&other, next(&mut device)).await;
}

/// A message that was on its way when the server went waits after the start as all others do.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_was_writing_when_the_server_went_waits_for_those_who_hold_what_it_lost() {
    let Some(mut server) = Broker::nats(jetstream) else { return };
    let (folder, at) = (tempfile::tempdir().unwrap(), server.options());
    let open = async |name: &str| {
        let view = RedbLog::open(folder.path().join(name)).unwrap();
        let mut options = JetStreamOptions::default();
        options.grace = Duration::from_secs(4);
        JetStreamLog::open_with(&at, &network(), view, options).await.unwrap()
    };
    let mut device = Device::new("a", Algorithm::EdDsa);
    let first = open("first").await;
    stored(&first, next(&mut device)).await;
    let kept = server.kill_and_keep();
    server.run();
    let lost = next(&mut device);
    while first.append(lost.clone()).await.is_err_and(|error| error.is_retryable()) {}
    first.close().await;
    server.lose_all_but(&kept);

    // Another one, which never saw it, has waited long enough when the server goes again.
    let other = Arc::new(open("other").await);
    other.refuse(refused("one")).await.unwrap();
    server.halt();
    let mut writes = tokio::spawn({
        let (other, new) = (Arc::clone(&other), next(&mut Device::new("b", Algorithm::EdDsa)));
        async move { stored(&other, new).await }
    });
    let begins = Duration::from_millis(500);
    assert!(timeout(begins, &mut writes).await.is_err(), "nobody is there to take it");
    server.kill();
    server.run();
    // Longer than a writer waits for an answer before it asks again.
    let asks = Duration::from_millis(2500);
    assert!(timeout(asks, &mut writes).await.is_err(), "others may still come");
    let first = open("first").await;
    assert_eq!(writes.await.unwrap(), 2);
    assert_eq!(first.level().await.unwrap(), other.level().await.unwrap());
    stored(&first, next(&mut device)).await;
}

#[tokio::test]
async fn a_stream_that_could_lose_what_it_acknowledged_is_refused_by_what_it_lacks() {
    use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
    let Some(server) = Broker::nats(jetstream) else { return };
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    type Change = (&'static str, fn(&mut Config));
    let changes: [Change; 9] = [
        ("files", |config| config.storage = StorageType::Memory),
        ("subject", |config| config.subjects.push("depin.climate.other".into())),
        ("keep what was read", |config| config.retention = RetentionPolicy::WorkQueue),
        ("max_age", |config| config.max_age = Duration::from_secs(3600)),
        ("limits", |config| config.max_messages = 9),
        ("limits", |config| config.max_bytes = 1 << 20),
        ("max_msgs_per_subject", |config| config.max_messages_per_subject = 9),
        ("allow_rollup_hdrs", |config| config.allow_rollup = true),
        ("allow_direct", |config| config.allow_direct = false),
    ];
    let name = format!("DEPIN_{}", network());
    for (lacks, change) in changes {
        let subjects = vec![format!("depin.{}.log", network())];
        let (name, num_replicas) = (name.clone(), 1);
        let mut config =
            Config { name, subjects, num_replicas, allow_direct: true, ..Config::default() };
        change(&mut config);
        context.create_stream(config).await.unwrap();
        let opened = unflushed(&server.options(), &network(), MemoryLog::new()).await;
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(lacks), "{lacks}: {error}");
        context.delete_stream(&format!("DEPIN_{}", network())).await.unwrap();
    }
    unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    // A stream on one server is not what was asked for.
    let mut options = JetStreamOptions::default();
    options.replicas = 3;
    let view = MemoryLog::new();
    let opened = JetStreamLog::open_with(&server.options(), &network(), view, options).await;
    let error = opened.unwrap_err();
    assert!(error.to_string().contains("replicas"), "{error}");
}
