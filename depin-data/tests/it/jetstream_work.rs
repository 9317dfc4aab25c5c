//! Consumers that share the work on a shared log, over a real nats-server.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use depin_core::{Algorithm, ErrorKind, log::BatchLog};
use depin_data::log::{
    MemoryLog,
    jetstream::{WorkOptions, Worker},
};

use crate::{
    broker::{Broker, jetstream},
    jetstream::{intrude, message, next, stored, unflushed},
    support::{Device, network},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_share_the_batches_and_take_over_from_one_that_died() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let open = async || unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    let (log, other) = (open().await, open().await);
    let mut device = Device::new("a", Algorithm::EdDsa);
    for _ in 0..12 {
        stored(&log, next(&mut device)).await;
    }
    let mut options = WorkOptions::default();
    (options.pending, options.patience) = (3, Duration::from_secs(1));
    let mut first = log.work("score", options.clone()).await.unwrap();
    let mut second = other.work("score", options).await.unwrap();
    // The first takes a job and dies with it.
    let lost = first.next().await.unwrap();
    let lost: Vec<_> = lost.entries.iter().map(|entry| entry.index).collect();
    drop(first);
    // On a busy machine others may be given out again too.
    let (mut done, mut again) = (BTreeMap::new(), BTreeSet::new());
    while done.len() < 12 {
        let job = second.next().await.unwrap();
        again.extend(job.entries.iter().filter(|_| job.again).map(|entry| entry.index));
        done.extend(job.entries.iter().map(|entry| (entry.index, entry.batch.hash())));
        job.done().await.unwrap();
    }
    let entries = log.read(0, 99).await.unwrap();
    let all = entries.iter().map(|entry| (entry.index, entry.batch.hash())).collect();
    assert_eq!((done, lost), (all, vec![0]), "each is done, the lost one by another");
    assert!(again.contains(&0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_work_is_given_out_than_may_be_pending() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let view = MemoryLog::new();
    let log = unflushed(&server.options(), &network(), view).await.unwrap();
    let mut options = WorkOptions::default();
    options.pending = 2;
    let mut worker = log.work("score", options).await.unwrap();
    let mut device = Device::new("a", Algorithm::EdDsa);
    for _ in 0..3 {
        stored(&log, next(&mut device)).await;
    }
    let (one, _two) = (worker.next().await.unwrap(), worker.next().await.unwrap());
    let third = tokio::spawn(async move { worker.next().await.unwrap().entries[0].index });
    stored(&log, next(&mut device)).await;
    assert!(!third.is_finished(), "two are pending");
    one.done().await.unwrap();
    assert_eq!(third.await.unwrap(), 2);
    assert_eq!(
        log.work("no.dots", WorkOptions::default()).await.unwrap_err().kind(),
        ErrorKind::Config
    );
}

/// A message that came late for its place is in the stream, and its batches are not in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_are_given_what_is_in_the_log_and_nothing_else() {
    let Some(mut server) = Broker::nats(jetstream) else { return };
    let at = server.options();
    let open = async || unflushed(&at, &network(), MemoryLog::new()).await.unwrap();
    let [mut device, mut late] = ["a", "late"].map(|name| Device::new(name, Algorithm::EdDsa));
    let log = open().await;
    stored(&log, next(&mut device)).await;
    log.close().await;
    let kept = server.kill_and_keep();
    server.run();
    let log = open().await;
    stored(&log, next(&mut late)).await;
    log.close().await;
    let lost = message(&server, 2).await;
    server.lose_all_but(&kept);

    let log = open().await;
    stored(&log, next(&mut device)).await;
    intrude(&server, lost).await;
    stored(&log, next(&mut device)).await;
    let entries = log.read(0, 9).await.unwrap();
    // Also where the bytes are gone from the view.
    log.forget(2).await.unwrap();
    let mut worker = log.work("score", WorkOptions::default()).await.unwrap();
    for entry in entries {
        let job = worker.next().await.unwrap();
        assert_eq!(job.entries, [entry]);
        job.done().await.unwrap();
    }
}

/// The server may keep what workers have done longer than the end of the stream that they did.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_are_given_what_came_in_the_place_of_what_was_lost() {
    let Some(mut server) = Broker::nats(jetstream) else { return };
    let at = server.options();
    let open = async || unflushed(&at, &network(), MemoryLog::new()).await.unwrap();
    let mut device = Device::new("a", Algorithm::EdDsa);
    let log = open().await;
    stored(&log, next(&mut device)).await;
    log.close().await;
    let kept = server.kill_and_keep();
    server.run();
    // What both lose, and what one of them had before.
    let log = open().await;
    let mut early = log.work("early", WorkOptions::default()).await.unwrap();
    let mut lost = Device::new("lost", Algorithm::EdDsa);
    for _ in 0..3 {
        stored(&log, next(&mut lost)).await;
    }
    let mut late = log.work("late", WorkOptions::default()).await.unwrap();
    for worker in [&mut early, &mut late] {
        for _ in 0..4 {
            worker.next().await.unwrap().done().await.unwrap();
        }
    }
    log.close().await;
    let ahead = server.end_and_keep();
    server.lose_messages(&kept, &ahead);

    let log = open().await;
    for _ in 0..2 {
        stored(&log, next(&mut device)).await;
    }
    for (name, from) in [("early", 1), ("late", 0)] {
        let mut worker = log.work(name, WorkOptions::default()).await.unwrap();
        for index in from..3 {
            let job = worker.next().await.unwrap();
            assert_eq!(job.entries[0].index, index, "{name}");
            job.done().await.unwrap();
        }
    }
}

/// Who waits for work while the server loses what was done is given it when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_waits_is_given_what_the_server_lost_and_a_view_gave_back() {
    let Some(mut server) = Broker::nats(jetstream) else { return };
    let at = server.options();
    let open = async || unflushed(&at, &network(), MemoryLog::new()).await.unwrap();
    let mut device = Device::new("a", Algorithm::EdDsa);
    let log = open().await;
    stored(&log, next(&mut device)).await;
    log.close().await;
    let kept = server.kill_and_keep();
    server.run();
    let log = open().await;
    let mut options = WorkOptions::default();
    options.only_new = true;
    let mut worker = log.work("score", options).await.unwrap();
    let give = async |worker: &mut Worker| {
        let job = worker.next().await.unwrap();
        let indices: Vec<_> = job.entries.iter().map(|entry| entry.index).collect();
        job.done().await.unwrap();
        indices
    };
    for index in 1..4 {
        stored(&log, next(&mut device)).await;
        assert_eq!(give(&mut worker).await, [index]);
    }
    let (waits, ()) = tokio::join!(give(&mut worker), async {
        let ahead = server.end_and_keep();
        server.lose_messages(&kept, &ahead);
    });
    assert_eq!(waits, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_go_on_where_they_were_when_the_server_starts_again() {
    let Some(mut server) = Broker::nats(jetstream) else { return };
    let log = unflushed(&server.options(), &network(), MemoryLog::new()).await.unwrap();
    let mut worker = log.work("score", WorkOptions::default()).await.unwrap();
    let mut device = Device::new("a", Algorithm::EdDsa);
    for index in 0..4 {
        let new = next(&mut device);
        while log.append(new.clone()).await.is_err_and(|error| error.is_retryable()) {}
        let job = worker.next().await.unwrap();
        assert_eq!(job.entries[0].index, index);
        job.done().await.unwrap();
        // At the second start nobody has done anything since the first.
        for _ in 0..index % 3 {
            server.end_and_keep();
            server.run();
            log.work("score", WorkOptions::default()).await.unwrap();
        }
    }
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let stream = context.get_stream(format!("DEPIN_{}", network())).await.unwrap();
    assert_eq!(stream.cached_info().state.consumer_count, 2, "of this start and the one before");
}
