//! The stream on a cluster of three servers, each killed in turn.

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

/// Tries again as long as that may help: a cluster takes seconds to agree who leads.
async fn surely<T>(mut work: impl AsyncFnMut() -> Result<T>) -> T {
    loop {
        match work().await {
            Err(error) if error.is_retryable() => {}
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
async fn a_cluster_that_loses_any_one_server_loses_nothing() {
    let Some(mut servers) = Broker::nats_cluster() else { return };
    let [one, two, three] = servers.each_ref().map(Broker::url);
    // Each process speaks to another server, and knows the others.
    let ways = [[&one, &two, &three], [&two, &three, &one]];
    let ways = ways.map(|[first, second, third]| NatsOptions::new(first).or(second).or(third));

    let error = loop {
        let view = RedbLog::open_in_memory().unwrap();
        match JetStreamLog::open(&ways[0], &network(), view).await {
            Err(error) if !error.is_retryable() => break error,
            opened => drop(opened.unwrap_err()),
        }
    };
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
    let mut count = 0;
    for dead in 0..=servers.len() {
        for _ in 0..10 {
            for (log, device) in logs.iter().zip(&mut devices) {
                assert_eq!(stored(log, next(device)).await, count);
                count += 1;
            }
            // In the midst of it.
            if count == 20 * dead as u64 + 10
                && let Some(server) = servers.get_mut(dead)
            {
                server.kill();
            }
        }
        if let Some(server) = servers.get_mut(dead) {
            server.run();
        }
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
    assert_eq!((head.size, head), (count, second.await));
    assert_eq!(head, filled.await);
}
