//! What a contract takes once is sent again whenever it is unknown what became of it.
//!
//! The contract marks each intent that comes, and reverts when it is marked already.

use std::time::Duration;

use depin_devnet::Devnet;
use depin_evm::{
    Chain, ErrorKind,
    alloy::{
        primitives::{Address, Bytes, U256},
        providers::Provider,
        rpc::types::TransactionRequest,
    },
};
use serde_json::Value;

use crate::{
    node::Node,
    sending::{gift, recipient},
};

#[tokio::test]
async fn the_contract_is_asked_again_what_no_node_tells() {
    let (devnet, node, chain) = world().await;
    let late = chain.send_deduplicated("settle", settle()).await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    devnet.mine(1);
    node.forget(true);
    for _ in 0..2 {
        let error = chain.send_deduplicated("settle", settle()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "the contract has it: {error}");
    }
    assert_eq!(marked(&devnet).await, U256::from(1));
}

#[tokio::test]
async fn a_nonce_that_nobody_accounts_for_delays_nothing() {
    let (devnet, node, chain) = world().await;
    let late = chain.send_deduplicated("settle", settle()).await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    devnet.drop_transaction(devnet.waiting()[0]);
    let stranger = devnet.provider();
    let theirs = gift(recipient(2)).from(chain.account());
    let _ = stranger.send_transaction(theirs).await.unwrap();
    devnet.mine(1);
    let block = format!("[\"{:#x}\",true]", devnet.block_number());
    let body = node.asked("eth_getBlockByNumber", &block).await;
    node.repeat(&body.but(|body| *body = Value::Null));

    devnet.set_automine(true);
    let receipt = chain.send_deduplicated("settle", settle()).await.unwrap();
    assert_eq!((receipt.status(), marked(&devnet).await), (true, U256::from(1)));
}

#[tokio::test]
async fn what_was_refused_is_not_waited_for_until_its_nonce_is_filled() {
    let (devnet, _, chain) = world().await;
    let greedy = settle().gas_limit(1_000_000_000);
    let error = chain.send_deduplicated("settle", greedy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert_eq!(devnet.waiting().len(), 1, "what fills its nonce");
    let late = chain.send_deduplicated("settle", settle()).await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    assert_eq!(devnet.waiting().len(), 2);
    devnet.mine(1);
    assert!(chain.send_deduplicated("settle", settle()).await.unwrap().status());
}

async fn world() -> (Devnet, Node, Chain) {
    let devnet = Devnet::builder().automine(false).build();
    devnet.set_code(MARKS, Bytes::from_static(CODE));
    let node = Node::of(&devnet);
    let chain = Chain::from_provider(node.provider(), devnet.account(0))
        .poll_interval(Duration::from_millis(1))
        .timeout(Duration::from_secs(2));
    (devnet, node, chain.connect().await.unwrap())
}

fn settle() -> TransactionRequest {
    TransactionRequest::default().to(MARKS)
}

async fn marked(devnet: &Devnet) -> U256 {
    devnet.provider().get_storage_at(MARKS, U256::ZERO).await.unwrap()
}

const MARKS: Address = Address::repeat_byte(0xc1);
/// Marks the slot that the input names, and reverts where it is marked already.
const CODE: &[u8] =
    b"\x60\x00\x35\x80\x54\x15\x60\x0e\x57\x60\x00\x60\x00\xfd\x5b\x60\x01\x90\x55\x00";
