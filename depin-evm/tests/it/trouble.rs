//! Nodes that are in trouble and say so in words of their own.

use std::time::Duration;

use depin_devnet::Devnet;
use depin_evm::{
    Chain, ErrorKind,
    alloy::{
        consensus::{Transaction, TxEnvelope},
        eips::eip2718::Decodable2718,
        primitives::{Bytes, U256},
        providers::Provider,
    },
};

use crate::{
    node::Node,
    sending::{gift, recipient},
    waiting::until,
};

#[tokio::test]
async fn what_a_node_does_not_take_in_unknown_words_is_sent_again() {
    let devnet = Devnet::start();
    let node = Node::of(&devnet);
    let chain = Chain::from_provider(node.provider(), devnet.account(0));
    let chain = chain.poll_interval(Duration::from_millis(1)).connect().await.unwrap();
    node.trouble(SEND, |_| true);
    let sending = tokio::spawn({
        let chain = chain.clone();
        async move { chain.send_once("rent", gift(recipient(1))).await }
    });
    until(async || (node.told() > 2 || sending.is_finished()).then_some(())).await;
    node.recover();
    sending.await.unwrap().unwrap();
    let used = chain.provider().get_transaction_count(chain.account()).await.unwrap();
    let held = chain.provider().get_balance(recipient(1)).await.unwrap();
    assert_eq!((used, held), (1, U256::from(1)));
}

/// Else all that was sent later would wait behind it for ever.
#[tokio::test]
async fn what_no_node_takes_for_long_gives_way_and_is_held_as_somebody_may_have_it() {
    let devnet = Devnet::start();
    let node = Node::of(&devnet);
    let chain = Chain::from_provider(node.provider(), devnet.account(0))
        .poll_interval(Duration::from_millis(1))
        .replace_after(Duration::from_millis(20));
    let chain = chain.connect().await.unwrap();
    node.trouble(SEND, |params| !is_filler(params));
    let error = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("the leader is away"), "{error}");
    node.recover();
    let early = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert!(early.context().any(|(name, _)| name == "blocks"), "{early}");
    chain.send(gift(recipient(2))).await.unwrap();
}

#[tokio::test]
async fn what_a_node_cannot_simulate_now_may_be_sent_later() {
    let devnet = Devnet::start();
    let node = Node::of(&devnet);
    let chain = Chain::from_provider(node.provider(), devnet.account(0)).connect().await.unwrap();
    node.trouble("eth_estimateGas", |_| true);
    let error = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    node.recover();
    chain.send_once("rent", gift(recipient(1))).await.unwrap();
}

fn is_filler(params: &str) -> bool {
    let [raw]: [Bytes; 1] = serde_json::from_str(params).unwrap();
    TxEnvelope::decode_2718_exact(&raw).unwrap().value().is_zero()
}

const SEND: &str = "eth_sendRawTransaction";
