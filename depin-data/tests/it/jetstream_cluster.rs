//! The stream on a cluster of three servers, of which one dies.

use std::time::{Duration, Instant};

use depin_core::{
    Algorithm, ErrorKind, Result,
    log::{Append, BatchLog, NewBatch},
};
use depin_data::{
    log::{JetStreamLog, MemoryLog, RedbLog, jetstream::JetStreamOptions},
    nats::NatsOptions,
};

use crate::{
    broker::Broker,
    jetstream::next,
    support::{Device, network},
};

/// Tries again as long as that may help: a cluster takes seconds to agree who leads, and minutes help no more.
async fn surely<T>(mut work: impl AsyncFnMut() -> Result<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        match work().await {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {}
            done => return done.unwrap(),
        }
    }
}

async fn stored(log: &JetStreamLog, new: NewBatch) -> u64 {
    match surely(async || log.append(new.clone()).await).await {
        // A try without an answer may have stored it.
        Append::Stored(index) | Append::Duplicate(index) => index,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_server_loses_nothing() {
    let Some(mut servers) = Broker::nats_cluster() else { return };
    let [one, two, three] = servers.each_ref().map(Broker::url);
    // Each process speaks to another server, and knows the others.
    let ways = [[&one, &two, &three], [&two, &three, &one]];
    let ways = ways.map(|[first, second, third]| NatsOptions::new(first).or(second).or(third));

    let view = RedbLog::open_in_memory().unwrap();
    let error = JetStreamLog::open(&ways[0], &network(), view).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("replicas to 3"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let mut options = JetStreamOptions::default();
    options.replicas = 3;
    let mut logs = Vec::new();
    for (n, way) in ways.iter().enumerate() {
        let path = folder.path().join(format!("view-{n}"));
        let open = async || {
            let view = RedbLog::open(&path)?;
            JetStreamLog::open_with(way, &network(), view, options.clone()).await
        };
        logs.push(surely(open).await);
    }
    let mut devices = ["a", "b"].map(|name| Device::new(name, Algorithm::EdDsa));
    for count in 0..20 {
        // In the midst of it; it may be the one that leads.
        if count == 10 {
            servers[2].kill();
        }
        let turn = count % 2;
        assert_eq!(stored(&logs[turn], next(&mut devices[turn])).await, count as u64);
    }
    let mut view = JetStreamOptions::default();
    view.replicas = 3;
    let fresh = surely(async || {
        JetStreamLog::open_with(&ways[1], &network(), MemoryLog::new(), view.clone()).await
    });
    let fresh = fresh.await;
    let heads = [&logs[0], &logs[1], &fresh].map(|log| surely(async || log.level().await));
    let [first, second, filled] = heads;
    let head = first.await;
    assert_eq!((head.size, head), (20, second.await));
    assert_eq!(head, filled.await);
}
