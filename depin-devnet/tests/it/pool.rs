//! Transactions that wait, replace each other and race.

use std::collections::HashSet;

use alloy::{consensus::Transaction, primitives::U256, providers::Provider};
use depin_devnet::Devnet;
use serde_json::json;

use crate::common::{FRIEND, ask, filled, sign, transfer};

#[tokio::test]
async fn transactions_wait_without_automine() {
    let devnet = Devnet::start();
    devnet.set_automine(false);
    let (provider, sender) = (devnet.provider(), devnet.account(0).address());
    let waiting = provider.send_transaction(transfer(1)).await.unwrap();
    let hash = *waiting.tx_hash();
    assert_eq!(provider.get_transaction_count(sender).await.unwrap(), 0);
    assert_eq!(provider.get_transaction_count(sender).pending().await.unwrap(), 1);
    assert_eq!(provider.get_transaction_by_hash(hash).await.unwrap().unwrap().block_number, None);
    let pending =
        provider.get_block_by_number(alloy::eips::BlockNumberOrTag::Pending).await.unwrap();
    assert_eq!(pending.unwrap().into_hashes_vec(), vec![hash]);
    assert_eq!(ask(&devnet, "eth_getBalance", json!([FRIEND, "pending"])).await.unwrap(), "0x1");
    assert_eq!(ask(&devnet, "eth_getBalance", json!([FRIEND, "latest"])).await.unwrap(), "0x0");
    devnet.mine(1);
    assert_eq!(waiting.get_receipt().await.unwrap().block_number, Some(1));
}

#[tokio::test]
async fn a_dropped_transaction_is_forgotten_until_it_is_sent_again() {
    let devnet = Devnet::builder().automine(false).build();
    let raw = sign(devnet.account(0), filled(0)).await;
    let send = async || ask(&devnet, "eth_sendRawTransaction", json!([raw])).await.unwrap();
    send().await;
    let [hash] = devnet.waiting()[..] else { panic!("one waits") };
    assert!(devnet.drop_transaction(hash));
    assert!(!devnet.drop_transaction(hash));
    devnet.mine(1);
    assert_eq!(ask(&devnet, "eth_getTransactionByHash", json!([hash])).await.unwrap(), json!(null));
    send().await;
    assert_eq!(devnet.waiting(), [hash]);
    devnet.mine(1);
    assert!(devnet.waiting().is_empty());
}

#[tokio::test]
async fn a_gap_holds_back_later_nonces_until_it_is_filled() {
    let devnet = Devnet::start();
    let raw = |nonce| sign(devnet.account(0), filled(nonce));
    for nonce in [2, 1] {
        ask(&devnet, "eth_sendRawTransaction", json!([raw(nonce).await])).await.unwrap();
    }
    assert_eq!(devnet.block_number(), 0);
    ask(&devnet, "eth_sendRawTransaction", json!([raw(0).await])).await.unwrap();
    let count = ask(&devnet, "eth_getTransactionCount", json!([devnet.account(0).address()])).await;
    assert_eq!(count.unwrap(), "0x3");
}

#[tokio::test]
async fn a_replacement_pays_at_least_a_tenth_more() {
    let devnet = Devnet::builder().automine(false).build();
    let with_fees = |cap: u128, tip: u128| {
        let tx = filled(0).max_fee_per_gas(cap).max_priority_fee_per_gas(tip);
        sign(devnet.account(0), tx)
    };
    let send = async |raw| ask(&devnet, "eth_sendRawTransaction", json!([raw])).await;
    let first = with_fees(5_000_000_000, 1_000_000_000).await;
    send(first.clone()).await.unwrap();
    assert_eq!(send(first).await.unwrap_err().1, "already known");
    for (cap, tip) in [(5_499_999_999, 1_100_000_000), (5_500_000_000, 1_099_999_999)] {
        let refused = send(with_fees(cap, tip).await).await.unwrap_err();
        assert_eq!(refused, (-32000, "replacement transaction underpriced".to_owned()));
    }
    let replacement = send(with_fees(5_500_000_000, 1_100_000_000).await).await.unwrap();
    devnet.mine(1);
    let block = devnet.provider().get_block_by_number(1.into()).await.unwrap().unwrap();
    let hashes = block.into_hashes_vec();
    assert_eq!(json!(hashes), json!([replacement]));
}

#[tokio::test]
async fn a_cheap_transaction_waits_until_the_base_fee_falls() {
    let devnet = Devnet::builder().automine(false).build();
    let cheap = filled(0).max_fee_per_gas(800_000_000).max_priority_fee_per_gas(0);
    let raw = sign(devnet.account(0), cheap).await;
    let hash = ask(&devnet, "eth_sendRawTransaction", json!([raw])).await.unwrap();
    devnet.mine(1);
    assert!(ask(&devnet, "eth_getTransactionReceipt", json!([hash])).await.unwrap().is_null());
    devnet.mine(1);
    assert!(ask(&devnet, "eth_getTransactionReceipt", json!([hash])).await.unwrap().is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_senders_at_once_lose_nothing() {
    let devnet = Devnet::builder().accounts(8).build();
    let tasks: Vec<_> = (0..8_u16)
        .map(|account| {
            let (devnet, provider) =
                (devnet.clone(), devnet.provider_with(devnet.account(account)));
            tokio::spawn(async move {
                let mut hashes = Vec::new();
                for _ in 0..20 {
                    let sent = provider.send_transaction(transfer(1)).await.unwrap();
                    let receipt = sent.get_receipt().await.unwrap();
                    assert!(receipt.status());
                    hashes.push(receipt.transaction_hash);
                }
                drop(devnet);
                hashes
            })
        })
        .collect();
    let mut hashes = HashSet::new();
    for task in tasks {
        hashes.extend(task.await.unwrap());
    }
    assert_eq!(hashes.len(), 160);
    let provider = devnet.provider();
    assert_eq!(provider.get_balance(FRIEND).await.unwrap(), U256::from(160));
    let mut mined = 0;
    for number in 0..=devnet.block_number() {
        let block = provider.get_block_by_number(number.into()).full().await.unwrap().unwrap();
        for tx in block.into_transactions_vec() {
            mined += u64::from(tx.value() == U256::from(1));
        }
    }
    assert_eq!(mined, 160);
}
