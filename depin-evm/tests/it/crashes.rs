//! Whatever is lost and whenever the process dies, each intent lands exactly once.

use std::{sync::Arc, time::Duration};

use depin_devnet::Devnet;
use depin_evm::{
    Chain,
    alloy::{primitives::U256, providers::Provider},
};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use crate::{
    faults::{self, Faults},
    sending::{gift, recipient},
};

const INTENTS: u64 = 4;

/// Sends all intents, each until it succeeds or the connection is cut for good.
async fn work(chain: &Chain, faults: &Arc<Faults>) {
    let mut senders = JoinSet::new();
    for number in 0..INTENTS {
        let (chain, faults) = (chain.clone(), Arc::clone(faults));
        senders.spawn(async move {
            let key = format!("gift/{number}");
            loop {
                match chain.send_once(&key, gift(recipient(number))).await {
                    Ok(_) => return,
                    Err(_) if faults.has_crashed() => return,
                    Err(error) => assert!(error.is_retryable(), "{error:?}"),
                }
            }
        });
    }
    senders.join_all().await;
}

/// Runs with crashes after the given numbers of requests, then once more to the end.
async fn live_through(seed: u64, crashes: &[u32], percent: u32) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("transactions.redb");
    let devnet = Devnet::start();
    let start = |faults: &Arc<Faults>| {
        Chain::from_provider(faults::provider(&devnet, faults), devnet.account(0))
            .store(&path)
            .poll_interval(Duration::from_micros(200))
            .timeout(Duration::from_millis(50))
            .connect()
    };
    for (life, requests) in crashes.iter().enumerate() {
        let faults = Faults::new(seed + life as u64, percent).crash_after(*requests);
        if let Ok(chain) = start(&faults).await {
            work(&chain, &faults).await;
        }
    }
    let faults = Faults::new(seed, 0);
    let chain = start(&faults).await.unwrap();
    chain.settle().await.unwrap();
    work(&chain, &faults).await;

    for number in 0..INTENTS {
        let held = chain.provider().get_balance(recipient(number)).await.unwrap();
        assert_eq!(held, U256::from(1), "intent {number} landed {held} times");
    }
    let used = chain.provider().get_transaction_count(chain.account()).await.unwrap();
    assert_eq!(used, INTENTS, "as many nonces as intents, and none waits behind a gap");
    let waiting = chain.provider().get_transaction_count(chain.account()).pending().await.unwrap();
    assert_eq!(waiting, used);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_every_request_loses_and_doubles_nothing() {
    for requests in 0..48 {
        live_through(requests.into(), &[requests], 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_lives_full_of_faults_lose_and_double_nothing() {
    let mut rng = StdRng::seed_from_u64(1);
    for trial in 0..200 {
        let lives = rng.gen_range(1..4);
        let crashes: Vec<u32> = (0..lives).map(|_| rng.gen_range(3..60)).collect();
        live_through(trial, &crashes, rng.gen_range(0..25)).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_crash_points_and_losses_leave_each_intent_once(
        seed in any::<u32>(),
        crashes in prop::collection::vec(0_u32..80, 0..4),
        percent in 0_u32..30,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(live_through(seed.into(), &crashes, percent));
    }
}
