//! Records of epochs in the stream: whole for everybody or not there, whatever the server loses.

use std::sync::Arc;

use depin_core::{Algorithm, EpochId, ErrorKind, Result, log::BatchLog};
use depin_data::log::{JetStreamLog, MemoryLog, RedbLog};

use crate::{
    broker::{Broker, jetstream, small},
    jetstream::{next, refused, stored, unflushed},
    support::{Device, network},
};

/// About what the record and statement of so many devices have.
fn record(devices: usize) -> Vec<u8> {
    (0..325 * devices).map(|i| (i * i / 7) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_larger_than_a_message_is_sealed_once_for_everybody() {
    let Some(server) = Broker::nats(small) else { return };
    let folder = tempfile::tempdir().unwrap();
    let open = async |view: &str| {
        let view = RedbLog::open(folder.path().join(view)).unwrap();
        JetStreamLog::open(&server.options(), &network(), view).await.unwrap()
    };
    let (first, other) = (open("first").await, open("other").await);
    let mut device = Device::new("a", Algorithm::EdDsa);
    stored(&first, next(&mut device)).await;
    let (epoch, large) = (EpochId::new(4), record(1000));
    // Others write meanwhile, and seal the same.
    let seals = async || {
        tokio::join!(
            first.seal(epoch, large.clone().into()),
            other.seal(epoch, large.clone().into())
        )
    };
    let appends = async {
        for _ in 0..20 {
            stored(&other, next(&mut device)).await;
        }
    };
    let ((mine, theirs), ()) = tokio::join!(seals(), appends);
    mine.unwrap();
    theirs.unwrap();
    first.seal(epoch, large.clone().into()).await.unwrap();
    for rival in [record(999), b"small".to_vec()] {
        let error = other.seal(epoch, rival.into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    other.close().await;
    // Filled anew, continued, and followed: everybody has it, and goes on.
    for log in [open("empty").await, open("other").await, first] {
        log.level().await.unwrap();
        assert_eq!(log.sealed(epoch).await.unwrap().unwrap(), large);
        stored(&log, next(&mut device)).await;
        log.close().await;
    }
}

/// Whether a process that seals a record died before it was whole.
async fn dies_while_it_seals(
    server: &Broker,
    watch: &JetStreamLog,
    epoch: EpochId,
    record: &[u8],
) -> bool {
    let before = watch.applied();
    let dies = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (dies, options, doomed) = (dies.unwrap(), server.options(), record.to_vec());
    dies.spawn(async move {
        let log = unflushed(&options, &network(), MemoryLog::new()).await.unwrap();
        log.seal(epoch, doomed.into()).await
    });
    reaches(watch, before + 20).await;
    dies.shutdown_background();
    surely(async || watch.level().await).await;
    watch.sealed(epoch).await.unwrap().is_none()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parts_of_a_process_that_died_have_no_effect() {
    let Some(server) = Broker::nats(small) else { return };
    let large = record(10_000);
    let watch = unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    // On a busy machine the record may be whole before its process has died: then another is tried.
    let mut epoch = EpochId::new(4);
    while !dies_while_it_seals(&server, &watch, epoch, &large).await {
        epoch = EpochId::new(epoch.value() + 1);
    }
    let fresh = unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    for (log, name) in [(&watch, "watch"), (&fresh, "fresh")] {
        assert_eq!(log.sealed(epoch).await.unwrap(), None);
        stored(log, next(&mut Device::new(name, Algorithm::EdDsa))).await;
    }
    let other = record(9_999);
    fresh.seal(epoch, other.clone().into()).await.unwrap();
    watch.level().await.unwrap();
    assert_eq!(watch.sealed(epoch).await.unwrap().unwrap(), other);
    assert_eq!(watch.seal(epoch, large.into()).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_beyond_all_bounds_is_refused_with_what_helps_and_harms_nothing() {
    let Some(server) = Broker::nats(small) else { return };
    let log = unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    let error = log.seal(EpochId::new(0), vec![7; (256 << 20) + 1].into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    for remedy in ["max_payload", "shorter epochs"] {
        assert!(error.to_string().contains(remedy), "{error}");
    }
    log.seal(EpochId::new(0), vec![7; 7000].into()).await.unwrap();
    stored(&log, next(&mut Device::new("a", Algorithm::EdDsa))).await;
}

async fn open(server: &Broker, view: RedbLog) -> JetStreamLog {
    unflushed(&server.options(), &network(), view).await.unwrap()
}

/// Tries again as long as that may help.
async fn surely<T>(mut work: impl AsyncFnMut() -> Result<T>) -> T {
    loop {
        match work().await {
            Err(error) if error.is_retryable() => {}
            done => return done.unwrap(),
        }
    }
}

/// Waits until a log has applied so many messages.
async fn reaches(log: &JetStreamLog, messages: u64) {
    while log.applied() < messages {
        surely(async || log.level().await).await;
    }
}

async fn filled_anew(server: &Broker) -> JetStreamLog {
    unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parts_that_the_server_lost_before_their_head_are_put_again() {
    parts_are_put_again_behind(20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parts_that_the_server_lost_are_put_again_behind_more_than_it_lost() {
    parts_are_put_again_behind(60).await;
}

/// Others write so many messages where the parts were.
async fn parts_are_put_again_behind(others: u64) {
    let Some(mut server) = Broker::nats(small) else { return };
    let (epoch, large) = (EpochId::new(4), record(2_500));
    let first = open(&server, RedbLog::open_in_memory().unwrap()).await;
    let mut device = Device::new("a", Algorithm::EdDsa);
    stored(&first, next(&mut device)).await;
    let other = filled_anew(&server).await;
    let sealing = surely(async || first.seal(epoch, large.clone().into()).await);
    let losing = async {
        reaches(&other, 15).await;
        let kept = server.kill_and_keep();
        server.run();
        reaches(&other, 50).await;
        server.lose_all_but(&kept);
        let mut device = Device::new("b", Algorithm::EdDsa);
        for _ in 0..others {
            let new = next(&mut device);
            surely(async || other.append(new.clone()).await).await;
        }
    };
    tokio::join!(sealing, losing);
    let fresh = filled_anew(&server).await;
    for log in [&first, &other, &fresh] {
        let head = surely(async || log.level().await).await;
        assert_eq!(head.size, 1 + others);
        assert_eq!(log.sealed(epoch).await.unwrap().unwrap(), large);
    }
    stored(&fresh, next(&mut device)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sealed_epochs_that_the_server_lost_are_given_back_by_a_view_that_was_not_there() {
    let Some(mut server) = Broker::nats(small) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = || RedbLog::open(folder.path().join("view")).unwrap();
    let log = open(&server, file()).await;
    let mut device = Device::new("a", Algorithm::EdDsa);
    stored(&log, next(&mut device)).await;
    let kept = server.kill_and_keep();
    server.run();
    let records = [record(900), b"small".to_vec(), record(1), record(700), b"last".to_vec()];
    for (record, epoch) in records.iter().zip(0..) {
        surely(async || log.seal(EpochId::new(9 - epoch), record.clone().into()).await).await;
        stored(&log, next(&mut device)).await;
    }
    log.refuse(refused("one")).await.unwrap();
    let head = surely(async || log.level().await).await;
    log.close().await;
    server.lose_all_but(&kept);
    let log = open(&server, file()).await;
    let fresh = filled_anew(&server).await;
    for log in [&log, &fresh] {
        assert_eq!(surely(async || log.level().await).await, head);
        assert_eq!(log.refusals(0, 9).await.unwrap(), [refused("one")]);
        for (record, epoch) in records.iter().zip(0..) {
            let sealed = log.sealed(EpochId::new(9 - epoch)).await.unwrap();
            assert_eq!(sealed.unwrap(), *record);
        }
    }
    stored(&fresh, next(&mut device)).await;
    surely(async || log.level().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_that_seal_an_epoch_otherwise_after_a_loss_notice_it() {
    let Some(mut server) = Broker::nats(jetstream) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = || RedbLog::open(folder.path().join("view")).unwrap();
    let log = open(&server, file()).await;
    stored(&log, next(&mut Device::new("a", Algorithm::EdDsa))).await;
    log.close().await;
    let kept = server.kill_and_keep();
    server.run();
    let log = open(&server, file()).await;
    surely(async || log.seal(EpochId::new(1), b"one".as_slice().into()).await).await;
    log.close().await;
    server.lose_all_but(&kept);
    let other = filled_anew(&server).await;
    surely(async || other.seal(EpochId::new(1), b"other".as_slice().into()).await).await;
    let error = JetStreamLog::open(&server.options(), &network(), file()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refusals_that_were_forgotten_and_then_lost_stop_nobody() {
    let Some(mut server) = Broker::nats(jetstream) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name| RedbLog::open(folder.path().join(name)).unwrap();
    let (log, other) = (open(&server, file("one")).await, open(&server, file("other")).await);
    log.refuse(refused("kept by the server")).await.unwrap();
    let kept = server.kill_and_keep();
    server.run();
    for detail in ["b", "c", "d"] {
        surely(async || log.refuse(refused(detail)).await).await;
    }
    surely(async || other.level().await).await;
    let count = log.refusal_range().await.unwrap().end;
    log.forget_refusals(count - 1).await.unwrap();
    log.close().await;
    other.close().await;
    server.lose_all_but(&kept);
    // Who has forgotten them gives back their places, and who has not agrees.
    let log = open(&server, file("one")).await;
    let (other, fresh) = (open(&server, file("other")).await, filled_anew(&server).await);
    for log in [&log, &other, &fresh] {
        surely(async || log.level().await).await;
        assert_eq!(log.refusal_range().await.unwrap().end, count);
        assert_eq!(log.refusals(count - 1, 9).await.unwrap(), [refused("d")]);
    }
    assert_eq!(other.refusals(1, 1).await.unwrap(), [refused("b")]);
    let lost = fresh.refusals(1, 1).await.unwrap().remove(0);
    assert!(lost.bytes.is_empty() && lost.refusal.detail.contains("forgotten"), "{lost:?}");
    // Also once more, from the view that never had them.
    fresh.refuse(refused("e")).await.unwrap();
    for log in [&log, &other] {
        surely(async || log.level().await).await;
        assert_eq!(log.refusals(count, 9).await.unwrap(), [refused("e")]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_go_on_between_the_parts_of_a_record() {
    let Some(server) = Broker::nats(small) else { return };
    let log = Arc::new(filled_anew(&server).await);
    let sealing = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.seal(EpochId::new(1), record(20_000).into()).await }
    });
    reaches(&log, 3).await;
    let mut device = Device::new("a", Algorithm::EdDsa);
    for _ in 0..50 {
        stored(&log, next(&mut device)).await;
    }
    assert!(!sealing.is_finished(), "they waited for the record");
    sealing.await.unwrap().unwrap();
    assert_eq!(filled_anew(&server).await.head().await.unwrap().size, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_of_others_may_lie_between_the_parts_and_their_head() {
    let Some(server) = Broker::nats(small) else { return };
    let log = Arc::new(filled_anew(&server).await);
    let (epoch, large) = (EpochId::new(1), record(10_000));
    let sealing = tokio::spawn({
        let (log, large) = (Arc::clone(&log), large.clone());
        async move { log.seal(epoch, large.into()).await }
    });
    reaches(&log, 5).await;
    let client = async_nats::connect(server.url()).await.unwrap();
    for _ in 0..3_000 {
        let subject = format!("depin.{}.log", network());
        client.publish(subject, "".into()).await.unwrap();
    }
    client.flush().await.unwrap();
    assert!(!sealing.is_finished());
    sealing.await.unwrap().unwrap();
    assert_eq!(log.skipped(), 3_000);
    let fresh = filled_anew(&server).await;
    assert_eq!(fresh.sealed(epoch).await.unwrap().unwrap(), large);
}

/// What the engine takes beside the record that it is given and the one that its view keeps.
#[test]
fn a_large_record_is_held_once() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (epoch, length) = (EpochId::new(1), 48 << 20);
    let large = depin_core::Bytes::from(vec![7; length]);
    let sealer = runtime.block_on(filled_anew(&server));
    let most = length as u64 / 8;
    let sealing = allocation_counter::measure(|| {
        runtime.block_on(sealer.seal(epoch, large.clone())).unwrap();
    });
    assert!(sealing.bytes_max < most, "the one that seals took {}", sealing.bytes_max);
    let following = allocation_counter::measure(|| {
        let log = runtime.block_on(filled_anew(&server));
        assert_eq!(runtime.block_on(log.sealed(epoch)).unwrap().unwrap(), large);
    });
    let most = length as u64 + 4 * most;
    assert!(following.bytes_max < most, "one that follows took {}", following.bytes_max);
    println!(
        "{length} bytes: sealing took {}, following {}",
        sealing.bytes_max, following.bytes_max
    );
}
