//! What succeeded is not sent again, whatever a node forgets.

use std::{path::PathBuf, time::Duration};

use depin_devnet::Devnet;
use depin_evm::{
    Chain, ChainBuilder, Error, ErrorKind, Succeeded,
    alloy::{primitives::U256, providers::Provider},
};
use serde_json::json;

use crate::{
    node::Node,
    sending::{gift, recipient},
    waiting::until,
};

#[tokio::test]
async fn what_succeeded_is_not_paid_again_where_its_receipt_was_pruned() {
    let world = World::new();
    let chain = world.connect().await;
    let paid = chain.send_once("rent", gift(recipient(1))).await.unwrap();
    drop(chain);
    let chain = world.connect().await;
    world.devnet.mine(100);
    world.node.forget(true);
    for _ in 0..2 {
        assert!(chain.knows("rent").await.unwrap());
        let error = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
        assert_untold(&error);
        let known = Succeeded::of(&error).expect("it was written down");
        assert_eq!((known.transaction(), known.block()), (paid.transaction_hash, 1));
        world.devnet.mine(100);
    }
    assert_eq!(world.held().await, U256::from(1));

    world.node.forget(false);
    let again = chain.send_once("rent", gift(recipient(1))).await.unwrap();
    assert_eq!(again.transaction_hash, paid.transaction_hash);
}

#[tokio::test]
async fn what_was_mined_unseen_is_taken_for_nobody_elses_however_little_a_node_tells() {
    let world = World::new();
    world.devnet.set_automine(false);
    let chain = world.connect().await;
    let sending = tokio::spawn({
        let chain = chain.clone();
        async move { chain.send_once("rent", gift(recipient(1))).await }
    });
    until(async || (!world.devnet.waiting().is_empty()).then_some(())).await;
    sending.abort();
    let _ = sending.await;
    drop(chain);
    world.devnet.mine(1);
    world.node.forget(true);

    let chain = world.connect().await;
    for _ in 0..3 {
        let error = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
        assert_untold(&error);
        world.devnet.mine(100);
    }
    assert_eq!(world.held().await, U256::from(1));
    world.node.forget(false);
    chain.send_once("rent", gift(recipient(1))).await.unwrap();
    assert_eq!(world.held().await, U256::from(1));
}

#[tokio::test]
async fn another_program_is_found_in_the_block_however_deep_it_lies() {
    let world = World::new();
    let chain = world.connect().await;
    for (blocks, used) in [(1_u64, "a"), (7, "b"), (500, "c")] {
        chain.send_once(used, gift(recipient(1))).await.unwrap();
        world.devnet.reorg(1).unwrap();
        let stranger = world.devnet.provider();
        let theirs = stranger.send_transaction(gift(recipient(2)).from(chain.account()));
        let theirs = theirs.await.unwrap().get_receipt().await.unwrap();
        world.devnet.mine(blocks);
        let error = chain.send_once(used, gift(recipient(1))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        let block = theirs.block_number.unwrap().to_string();
        assert!(error.context().any(|pair| pair == ("block", &block)), "{error}");
        world.devnet.mine(100);
        chain.send_once(used, gift(recipient(1))).await.unwrap();
        world.devnet.mine(2);
    }
    assert_eq!(world.held().await, U256::from(3));
}

#[tokio::test]
async fn what_a_reorganisation_gave_to_another_program_is_not_taken_for_done() {
    let world = World::new();
    let chain = world.connect().await;
    chain.send_once("rent", gift(recipient(1))).await.unwrap();
    world.devnet.reorg(1).unwrap();
    let stranger = world.devnet.provider();
    let theirs = stranger.send_transaction(gift(recipient(2)).from(chain.account()));
    theirs.await.unwrap().get_receipt().await.unwrap();

    let error = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let early = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert!(early.context().any(|(name, _)| name == "blocks"), "{early}");
    world.devnet.mine(100);
    chain.send_once("rent", gift(recipient(1))).await.unwrap();
    assert_eq!(world.held().await, U256::from(1));
}

#[tokio::test]
async fn what_a_reorganisation_took_back_is_executed_again() {
    let world = World::new();
    let chain = world.connect().await;
    let paid = chain.send_once("rent", gift(recipient(1))).await.unwrap();
    world.devnet.reorg(1).unwrap();
    assert_eq!(world.held().await, U256::ZERO);
    let again = chain.send_once("rent", gift(recipient(1))).await.unwrap();
    assert_eq!(again.transaction_hash, paid.transaction_hash);
    assert_eq!(world.held().await, U256::from(1));
}

#[tokio::test]
async fn another_program_is_found_among_transactions_of_unknown_kinds() {
    let world = World::new();
    let chain = world.connect().await;
    let arbitrums = json!({
        "type": "0x6a", "hash": recipient(7).into_word(), "from": recipient(8), "nonce": "0x0", "chainId": "0xa4b1",
    });
    let optimisms =
        json!({ "type": "0x7e", "sourceHash": "0x", "from": recipient(9), "mint": null });
    for (used, kind) in [("a", None), ("b", Some("0x7e")), ("c", Some("0x68"))] {
        chain.send_once(used, gift(recipient(1))).await.unwrap();
        world.devnet.reorg(1).unwrap();
        let stranger = world.devnet.provider();
        let theirs = stranger.send_transaction(gift(recipient(2)).from(chain.account()));
        let theirs = theirs.await.unwrap().get_receipt().await.unwrap();
        let block = theirs.block_number.unwrap();
        let body = format!("[\"{block:#x}\",true]");
        let body = world.node.asked("eth_getBlockByNumber", &body).await.but(|body| {
            let transactions = body["transactions"].as_array_mut().unwrap();
            if let Some(kind) = kind {
                transactions[0]["type"] = kind.into();
            }
            transactions.splice(0..0, [arbitrums.clone(), optimisms.clone(), json!("odd")]);
        });
        world.node.repeat(&body);
        let error = chain.send_once(used, gift(recipient(1))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        let theirs = theirs.transaction_hash.to_string();
        assert!(error.context().any(|pair| pair == ("transaction", &theirs)), "{error}");
        world.devnet.mine(1);
    }
}

/// A retry of Arbitrum has the number of the try for its nonce, and comes before the transactions of the block.
#[tokio::test]
async fn what_a_chain_executes_itself_is_not_taken_for_what_used_a_nonce() {
    let world = World::new();
    world.devnet.set_automine(false);
    let chain = world.connect().await;
    let sending = tokio::spawn({
        let chain = chain.clone();
        async move { chain.send_once("rent", gift(recipient(1))).await }
    });
    until(async || (!world.devnet.waiting().is_empty()).then_some(())).await;
    sending.abort();
    let _ = sending.await;
    world.devnet.mine(1);
    let body = format!("[\"{:#x}\",true]", world.devnet.block_number());
    let body = world.node.asked("eth_getBlockByNumber", &body).await.but(|body| {
        let transactions = body["transactions"].as_array_mut().unwrap();
        let mut retry = transactions[0].clone();
        retry["type"] = "0x68".into();
        retry["hash"] = json!(recipient(7).into_word());
        retry["to"] = json!(recipient(2));
        transactions.insert(0, retry);
    });
    world.node.repeat(&body);
    world.node.forget(true);
    let error = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert_untold(&error);
    world.node.forget(false);
    chain.send_once("rent", gift(recipient(1))).await.unwrap();
    assert_eq!(world.held().await, U256::from(1));
}

#[tokio::test]
async fn what_an_older_copy_of_the_store_forgot_is_not_paid_again() {
    let world = World::new();
    world.devnet.set_automine(false);
    let chain = world.connect().await;
    let late = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    let first = world.devnet.waiting();
    drop(chain);
    let copy = std::fs::read(world.store()).unwrap();
    let eager = world.builder().replace_after(Duration::ZERO).connect().await.unwrap();
    let sending = tokio::spawn(async move { eager.send_once("rent", gift(recipient(1))).await });
    until(async || (world.devnet.waiting() != first).then_some(())).await;
    sending.abort();
    let _ = sending.await;
    world.devnet.mine(1);

    std::fs::write(world.store(), copy).unwrap();
    let chain = world.connect().await;
    let paid = chain.send_once("rent", gift(recipient(1))).await.unwrap();
    assert_ne!(Some(&paid.transaction_hash), first.first());
    assert_eq!(world.held().await, U256::from(1));
    let again = chain.send_once("rent", gift(recipient(1))).await.unwrap();
    assert_eq!(again.transaction_hash, paid.transaction_hash);
}

/// As IoTeX's nodes do.
#[tokio::test]
async fn what_waits_is_waited_for_where_a_node_counts_it_among_what_is_used() {
    let world = World::new();
    world.devnet.set_automine(false);
    let chain = world.connect().await;
    let late = chain.send(gift(recipient(1))).await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    let count = format!("[\"{:#x}\",\"latest\"]", chain.account());
    let count = world.node.asked("eth_getTransactionCount", &count).await;
    world.node.repeat(&count.but(|count| *count = json!("0x1")));

    assert_eq!(chain.waiting().await.unwrap(), 1);
    let late = chain.settle().await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    world.devnet.mine(1);
    chain.settle().await.unwrap();
    assert_eq!(chain.waiting().await.unwrap(), 0);
    // Nobody is asked again for what is settled.
    world.node.trouble("eth_getTransactionReceipt", |_| true);
    chain.settle().await.unwrap();
    assert_eq!(world.node.told(), 0);
}

/// Whoever is told that a transaction succeeded may give something for it.
#[tokio::test]
async fn a_success_is_not_told_of_when_its_block_was_replaced() {
    let world = World::new();
    let chain = world.connect().await;
    chain.send_once("rent", gift(recipient(1))).await.unwrap();
    world.devnet.reorg(1).unwrap();
    let stranger = world.devnet.provider();
    let theirs = stranger.send_transaction(gift(recipient(2)).from(chain.account()));
    theirs.await.unwrap().get_receipt().await.unwrap();
    // Nor does the node show what used the nonce.
    world.node.forget(true);
    let of_old = |params: &str| !params.contains("latest") && !params.contains("pending");
    world.node.trouble("eth_getTransactionCount", of_old);
    let error = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert_untold(&error);
    assert_eq!(Succeeded::of(&error), None, "{error}");
    assert_eq!(world.held().await, U256::ZERO);
    // What a contract takes once is sent again.
    let error = chain.send_deduplicated("rent", gift(recipient(1))).await.unwrap_err();
    assert_eq!(Succeeded::of(&error), None, "{error}");
    assert_eq!(world.held().await, U256::from(1));
}

#[tokio::test]
async fn a_success_is_not_told_of_while_its_transaction_waits_again() {
    let world = World::new();
    let chain = world.connect().await;
    chain.send_once("rent", gift(recipient(1))).await.unwrap();
    world.devnet.set_automine(false);
    world.devnet.reorg(1).unwrap();
    chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert_eq!(world.devnet.waiting().len(), 1);
    let count = format!("[\"{:#x}\",\"latest\"]", chain.account());
    let count = world.node.asked("eth_getTransactionCount", &count).await;
    world.node.repeat(&count.but(|count| *count = json!("0x1")));
    let error = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(Succeeded::of(&error), None, "{error}");
}

fn assert_untold(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("use a node"), "{error}");
}

/// A chain whose node can forget all transactions, and the folder of who pays through it.
struct World {
    devnet: Devnet,
    node: Node,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let devnet = Devnet::start();
        Self { node: Node::of(&devnet), devnet, folder }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("transactions.redb")
    }

    fn builder(&self) -> ChainBuilder {
        Chain::from_provider(self.node.provider(), self.devnet.account(0))
            .poll_interval(Duration::from_millis(1))
            .timeout(Duration::from_secs(2))
            .store(self.store())
    }

    async fn connect(&self) -> Chain {
        self.builder().connect().await.unwrap()
    }

    async fn held(&self) -> U256 {
        self.devnet.provider().get_balance(recipient(1)).await.unwrap()
    }
}
