//! What it costs to find out whether forks convict their device is bounded, and stops nothing else.

use std::{sync::Arc, time::Duration};

use depin_core::{
    Algorithm, B256, ErrorKind, SignedBatch, SoftwareKey, Unverified, transport::RefusalCode,
};
use depin_data::{
    evidence::{Fork, ForkVerifier},
    ingest::Throttled,
    log::MemoryLog,
};

use crate::support::{Device, NOW, Net, network, reading};

/// Forks of which signatures have to tell, that pass at once.
const BURST: usize = 32;

/// A device that changed its key after this many batches.
async fn changed_after(net: &Net, batches: usize) -> Device {
    let mut device = net.enrol("a");
    for _ in 0..batches {
        net.taken(&device.measure()).await;
    }
    device.key = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [5; 32]));
    net.registry.add(&device);
    net.ingest.forget(&device.did);
    device
}

/// Contradicts what the key before signed, which only its signature tells.
fn vain(device: &Device, place: usize) -> SignedBatch {
    device.seal_at(place as u64, B256::ZERO, &[reading("1", NOW)])
}

async fn is_throttled(net: &Net, batch: &SignedBatch) -> bool {
    let Err(error) = net.ingest.accept(batch.as_bytes()).await else { return false };
    let source = std::error::Error::source(&error);
    assert!(source.is_some_and(|source| source.is::<Throttled>()), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    true
}

async fn forks(net: &Net) -> Vec<Fork> {
    let letters = net.ingest.log().refusals(0, usize::MAX).await.unwrap();
    let forks = letters.into_iter().filter_map(|letter| {
        let held = SignedBatch::new(letter.against?);
        Some(Fork::new(held, SignedBatch::new(letter.bytes)))
    });
    forks.collect()
}

#[tokio::test]
async fn a_device_that_makes_us_check_signatures_in_vain_is_told_to_wait() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = changed_after(&net, BURST + 2).await;
    for place in 0..BURST {
        let refusal = net.refused(vain(&device, place).as_bytes()).await;
        assert_eq!(refusal.code, RefusalCode::Fork);
    }
    for _ in 0..100 {
        assert!(is_throttled(&net, &vain(&device, BURST)).await);
    }
    // Neither it nor anybody else waits with what is no fork, nor does it cost what the device may store.
    let mut other = net.enrol("b");
    for _ in 0..3 {
        net.taken(&other.measure()).await;
        net.taken(&device.measure()).await;
    }
    net.clock.advance(Duration::from_secs(1));
    assert!(!is_throttled(&net, &vain(&device, BURST)).await);
    assert!(is_throttled(&net, &vain(&device, BURST + 1)).await);
}

#[tokio::test]
async fn checks_in_vain_hide_no_fork_that_convicts() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = changed_after(&net, BURST + 1).await;
    net.taken(&device.measure()).await;
    for place in 0..BURST {
        net.refused(vain(&device, place).as_bytes()).await;
    }
    let convicting = vain(&device, BURST + 1);
    assert!(is_throttled(&net, &convicting).await);
    net.clock.advance(Duration::from_secs(1));
    assert_eq!(net.refused(convicting.as_bytes()).await.code, RefusalCode::Fork);
    let verifier = ForkVerifier::new(&network(), &[device.key()]);
    let proofs = forks(&net)
        .await
        .into_iter()
        .filter_map(|fork| Unverified::new(fork).verify(&verifier).ok());
    assert_eq!(proofs.count(), 1);
    // It is convicted for this minute, and nothing more has to be found out.
    for place in 0..=BURST {
        assert_eq!(net.refused(vain(&device, place).as_bytes()).await.code, RefusalCode::Fork);
    }
}

#[tokio::test]
async fn what_a_stranger_replays_costs_a_device_nothing_but_forks() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = changed_after(&net, 1).await;
    let fork = vain(&device, 0);
    for _ in 0..BURST {
        net.refused(fork.as_bytes()).await;
    }
    assert!(is_throttled(&net, &fork).await);
    for _ in 0..10 {
        net.taken(&device.measure()).await;
    }
}
