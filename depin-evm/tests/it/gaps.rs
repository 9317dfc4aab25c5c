//! Nonces that were passed over, and that nothing uses any more.

use std::{collections::BTreeSet, future::ready, path::Path, time::Duration};

use depin_devnet::Devnet;
use depin_evm::{
    Chain, ChainBuilder,
    alloy::{primitives::U256, providers::Provider},
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    node::Node,
    sending::{gift, recipient},
    waiting::until,
};

/// Quick to replace and to fill, and patient beyond any test.
fn eager(devnet: &Devnet) -> ChainBuilder {
    Chain::from_provider(devnet.provider(), devnet.account(0))
        .poll_interval(Duration::from_millis(1))
        .replace_after(Duration::from_millis(30))
}

async fn held(devnet: &Devnet, number: u64) -> U256 {
    devnet.provider().get_balance(recipient(number)).await.unwrap()
}

async fn stranger_sends(devnet: &Devnet, number: u64) {
    let from = devnet.account(0).address();
    let _ = devnet.provider().send_transaction(gift(recipient(number)).from(from)).await.unwrap();
}

/// Sends in a task of its own, and goes on when the pool has so many.
async fn sending(devnet: &Devnet, chain: Chain, number: u64, pool: usize) -> JoinHandle<()> {
    let task = tokio::spawn(async move {
        let receipt = chain.send_once(&number.to_string(), gift(recipient(number))).await;
        assert!(receipt.unwrap().status());
    });
    until(async || (devnet.waiting().len() == pool || task.is_finished()).then_some(())).await;
    task
}

/// Mines whatever waits until a task has ended.
async fn mine_until(devnet: &Devnet, ended: JoinHandle<()>) {
    until(async || {
        devnet.mine(1);
        ended.is_finished().then_some(())
    })
    .await;
    ended.await.unwrap();
}

#[tokio::test]
async fn what_a_lost_store_had_waiting_wedges_nothing_when_the_pool_forgets_it() {
    let devnet = Devnet::builder().automine(false).build();
    for number in 0..3 {
        stranger_sends(&devnet, number).await;
    }
    let old = devnet.waiting();
    let chain = eager(&devnet).connect().await.unwrap();
    let task = sending(&devnet, chain.clone(), 7, 4).await;
    // Two evicted around one that stays.
    assert!(devnet.drop_transaction(old[0]) && devnet.drop_transaction(old[2]));
    mine_until(&devnet, task).await;
    assert_eq!((held(&devnet, 0).await, held(&devnet, 2).await), (U256::ZERO, U256::ZERO));
    assert_eq!((held(&devnet, 1).await, held(&devnet, 7).await), (U256::from(1), U256::from(1)));
    let used = devnet.provider().get_transaction_count(chain.account()).await.unwrap();
    assert_eq!(used, 4);
}

#[tokio::test]
async fn a_gap_from_before_a_restart_is_filled_when_somebody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path: &Path = &folder.path().join("transactions.redb");
    let devnet = Devnet::builder().automine(false).build();
    stranger_sends(&devnet, 0).await;
    let chain = eager(&devnet).store(path).timeout(Duration::ZERO).connect().await.unwrap();
    let late = chain.send(gift(recipient(1))).await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    drop(chain);
    for hash in devnet.waiting() {
        devnet.drop_transaction(hash);
    }
    let chain = eager(&devnet).store(path).connect().await.unwrap();
    mine_until(&devnet, tokio::spawn(async move { chain.settle().await.unwrap() })).await;
    assert_eq!((held(&devnet, 0).await, held(&devnet, 1).await), (U256::ZERO, U256::from(1)));
}

#[tokio::test]
async fn a_nonce_that_a_reorganisation_took_from_another_program_is_filled() {
    let devnet = Devnet::start();
    let chain = eager(&devnet).connect().await.unwrap();
    chain.send_once("a", gift(recipient(1))).await.unwrap();
    stranger_sends(&devnet, 2).await;
    chain.send_once("b", gift(recipient(3))).await.unwrap();
    devnet.reorg(2).unwrap();
    assert_eq!((held(&devnet, 2).await, held(&devnet, 3).await), (U256::ZERO, U256::ZERO));

    chain.send_once("b", gift(recipient(3))).await.unwrap();
    chain.send_once("c", gift(recipient(4))).await.unwrap();
    for (number, paid) in [(1, 1), (2, 0), (3, 1), (4, 1)] {
        assert_eq!(held(&devnet, number).await, U256::from(paid), "recipient {number}");
    }
    let used = devnet.provider().get_transaction_count(chain.account()).await.unwrap();
    assert_eq!(used, 4);
}

#[tokio::test]
async fn what_another_program_has_waiting_is_not_filled_away() {
    let devnet = Devnet::builder().automine(false).build();
    stranger_sends(&devnet, 0).await;
    let theirs = devnet.waiting()[0];
    let chain = eager(&devnet).replace_after(Duration::ZERO).connect().await.unwrap();
    let task = sending(&devnet, chain, 1, 2).await;
    // Its own fee is raised at each look, and each is a look for gaps.
    let mut raised = BTreeSet::new();
    until(|| {
        raised.extend(devnet.waiting());
        ready((raised.len() > 6).then_some(()))
    })
    .await;
    assert!(devnet.waiting().contains(&theirs));
    mine_until(&devnet, task).await;
    assert_eq!((held(&devnet, 0).await, held(&devnet, 1).await), (U256::from(1), U256::from(1)));
}

/// As when a chain starts anew, or a node says what is not so: else it could have any number of transactions signed.
#[tokio::test]
async fn a_node_far_behind_has_nothing_filled() {
    let devnet = Devnet::start();
    let node = Node::of(&devnet);
    let account = devnet.account(0);
    let count = format!("[\"{:#x}\",\"pending\"]", account.address());
    let honest = node.asked("eth_getTransactionCount", &count).await;
    let ahead = node.asked("eth_getTransactionCount", &count).await;
    node.repeat(&ahead.but(|count| *count = json!("0x2000")));
    let chain = Chain::from_provider(node.provider(), account)
        .poll_interval(Duration::from_millis(1))
        .replace_after(Duration::ZERO)
        .timeout(Duration::from_millis(100));
    let chain = chain.connect().await.unwrap();
    node.repeat(&honest);
    let late = chain.send(gift(recipient(1))).await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    assert_eq!(devnet.provider().get_transaction_count(chain.account()).await.unwrap(), 0);
}
