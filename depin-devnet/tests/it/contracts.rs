//! Deploying, calling and listening through alloy's contract bindings.

use alloy::{primitives::U256, providers::Provider};
use depin_devnet::Devnet;

use crate::common::{Counter, FRIEND, send, transfer};

#[tokio::test]
async fn a_contract_is_deployed_called_and_heard() {
    let devnet = Devnet::start();
    let counter = Counter::deploy(devnet.provider(), U256::from(5)).await.unwrap();
    let receipt =
        counter.increase(U256::from(37)).send().await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    assert_eq!(counter.count().call().await.unwrap(), U256::from(42));

    let events = counter.Increased_filter().from_block(0).query().await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].0.total, U256::from(42));
    assert_eq!(events[0].1.transaction_hash, Some(receipt.transaction_hash));
}

#[tokio::test]
async fn a_transfer_arrives() {
    let devnet = Devnet::start();
    let provider = devnet.provider();
    let receipt = send(&provider, transfer(5)).await;
    assert_eq!((receipt.status(), receipt.gas_used), (true, 21_000));
    assert_eq!(provider.get_balance(FRIEND).await.unwrap(), U256::from(5));
}
