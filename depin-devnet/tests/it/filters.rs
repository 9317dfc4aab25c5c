//! Logs by filter, and polling filters through a reorg.

use alloy::{
    network::TransactionBuilder,
    primitives::{Address, Bytes, U256},
    providers::{DynProvider, Provider},
    rpc::types::Filter,
    sol_types::SolEvent,
};
use depin_devnet::Devnet;
use serde_json::{Value, json};

use crate::common::{Counter, ask, filled, send, sign, transfer};

async fn increased(amounts: &[u64]) -> (Devnet, Counter::CounterInstance<DynProvider>) {
    let devnet = Devnet::start();
    let counter = Counter::deploy(devnet.provider(), U256::ZERO).await.unwrap();
    for amount in amounts {
        increase(&counter, *amount).await;
    }
    (devnet, counter)
}

async fn increase(counter: &Counter::CounterInstance<DynProvider>, amount: u64) {
    let sent = counter.increase(U256::from(amount)).send().await.unwrap();
    assert!(sent.get_receipt().await.unwrap().status());
}

#[tokio::test]
async fn logs_are_found_by_address_topic_range_and_block() {
    let (devnet, counter) = increased(&[1, 2, 3]).await;
    let provider = devnet.provider();
    let count = async |filter: Filter| provider.get_logs(&filter).await.unwrap().len();
    let sender = devnet.account(0).address();
    let all = Filter::new().from_block(0);
    assert_eq!(count(all.clone()).await, 3);
    assert_eq!(count(all.clone().address(*counter.address())).await, 3);
    assert_eq!(count(all.clone().address(Address::ZERO)).await, 0);
    assert_eq!(count(all.clone().event_signature(Counter::Increased::SIGNATURE_HASH)).await, 3);
    assert_eq!(count(all.clone().topic1(sender.into_word())).await, 3);
    assert_eq!(count(all.clone().topic1(Address::ZERO.into_word())).await, 0);
    assert_eq!(count(Filter::new().from_block(2).to_block(3)).await, 2);
    assert_eq!(count(Filter::new()).await, 1, "the latest block alone");
    let block = provider.get_block_by_number(3.into()).await.unwrap().unwrap();
    let logs = provider.get_logs(&Filter::new().at_block_hash(block.header.hash)).await.unwrap();
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].block_number, Some(3));
    assert_eq!(logs[0].log_index, Some(0));
}

#[tokio::test]
async fn impossible_log_questions_are_refused() {
    let (devnet, _) = increased(&[]).await;
    let zero = "0x0000000000000000000000000000000000000000000000000000000000000000";
    for (params, code) in [
        (json!([{"fromBlock": "0x5", "toBlock": "0x2"}]), -32602),
        (json!([{"blockHash": zero}]), -32001),
        (json!([{"blockHash": zero, "fromBlock": "0x1"}]), -32602),
        (json!([{"address": "0x12"}]), -32602),
        (json!([]), -32602),
    ] {
        assert_eq!(
            ask(&devnet, "eth_getLogs", params.clone()).await.unwrap_err().0,
            code,
            "{params}"
        );
    }
}

#[tokio::test]
async fn filters_tell_news_once_and_removed_logs_after_a_reorg() {
    let (devnet, counter) = increased(&[1]).await;
    let logs =
        ask(&devnet, "eth_newFilter", json!([{"address": counter.address()}])).await.unwrap();
    let blocks = ask(&devnet, "eth_newBlockFilter", json!([])).await.unwrap();
    let pending = ask(&devnet, "eth_newPendingTransactionFilter", json!([])).await.unwrap();
    let poll = async |id: &Value| -> Vec<Value> {
        let changes = ask(&devnet, "eth_getFilterChanges", json!([id])).await.unwrap();
        changes.as_array().unwrap().clone()
    };
    for id in [&logs, &blocks, &pending] {
        assert!(poll(id).await.is_empty());
    }
    increase(&counter, 2).await;
    increase(&counter, 3).await;
    let news = poll(&logs).await;
    assert_eq!((news.len(), &news[0]["removed"]), (2, &json!(false)));
    assert_eq!((poll(&blocks).await.len(), poll(&pending).await.len()), (2, 2));
    assert!(poll(&logs).await.is_empty());

    devnet.reorg(1).unwrap();
    let removed = poll(&logs).await;
    assert_eq!((removed.len(), &removed[0]["removed"]), (1, &json!(true)));
    assert_eq!(removed[0]["transactionHash"], news[1]["transactionHash"]);
    assert_eq!(poll(&blocks).await.len(), 1, "the block that took its place");

    let left = ask(&devnet, "eth_getFilterLogs", json!([logs])).await.unwrap();
    assert_eq!(left.as_array().unwrap().len(), 0, "the latest block has none");
    assert_eq!(ask(&devnet, "eth_uninstallFilter", json!([logs])).await.unwrap(), json!(true));
    assert_eq!(ask(&devnet, "eth_uninstallFilter", json!([logs])).await.unwrap(), json!(false));
    let gone = ask(&devnet, "eth_getFilterChanges", json!([logs])).await.unwrap_err();
    assert_eq!(gone.0, -32001);
}

#[tokio::test]
async fn installed_filters_are_limited() {
    let devnet = Devnet::start();
    for _ in 0..1_024 {
        ask(&devnet, "eth_newBlockFilter", json!([])).await.unwrap();
    }
    assert_eq!(ask(&devnet, "eth_newBlockFilter", json!([])).await.unwrap_err().0, -32005);
}

#[tokio::test]
async fn a_filter_survives_news_beyond_its_own() {
    let devnet = Devnet::start();
    let blocks = ask(&devnet, "eth_newBlockFilter", json!([])).await.unwrap();
    send(&devnet.provider(), transfer(1)).await;
    devnet.mine(1_000);
    let changes = ask(&devnet, "eth_getFilterChanges", json!([blocks])).await.unwrap();
    assert_eq!(changes.as_array().unwrap().len(), 1_001);
}

#[tokio::test]
async fn an_answer_holds_ten_thousand_logs_and_no_more() {
    let devnet = Devnet::start();
    // Logs in a loop as often as the two bytes after the first say, then leaves no code.
    for (nonce, program) in
        ["6127105b5f5fa06001900380600357", "6100015b5f5fa06001900380600357"].into_iter().enumerate()
    {
        let tx = filled(nonce as u64).gas_limit(8_000_000).value(U256::ZERO);
        let tx = tx.with_deploy_code(program.parse::<Bytes>().unwrap());
        let raw = sign(devnet.account(0), tx).await;
        ask(&devnet, "eth_sendRawTransaction", json!([raw])).await.unwrap();
    }
    let logs = ask(&devnet, "eth_getLogs", json!([{"fromBlock": "0x1", "toBlock": "0x1"}])).await;
    assert_eq!(logs.unwrap().as_array().unwrap().len(), 10_000);
    let refused = ask(&devnet, "eth_getLogs", json!([{"fromBlock": "0x1"}])).await.unwrap_err();
    assert_eq!(refused.0, -32005, "{}", refused.1);
}
