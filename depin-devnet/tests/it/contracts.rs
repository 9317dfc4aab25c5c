//! Deploying, calling and listening through alloy's contract bindings.

use alloy::{
    primitives::{B256, U256},
    providers::Provider,
    sol_types::SolCall,
};
use depin_devnet::Devnet;

use crate::common::{Counter, FRIEND, repeatable, send, transfer};

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

#[tokio::test]
async fn reverts_say_why_in_calls_and_estimates() {
    let devnet = Devnet::start();
    let counter = Counter::deploy(devnet.provider(), U256::ZERO).await.unwrap();
    let error = counter.increase(U256::ZERO).call().await.unwrap_err().to_string();
    assert!(error.contains("execution reverted: amount is zero"), "{error}");

    let error = counter.increase(U256::from(2_000)).send().await.unwrap_err();
    let payload = error.as_revert_data().unwrap();
    let refused = <Counter::TooMuch as alloy::sol_types::SolError>::abi_decode(&payload).unwrap();
    assert_eq!((refused.asked, refused.limit), (U256::from(2_000), U256::from(1_000)));
}

#[tokio::test]
async fn a_revert_on_chain_costs_gas_and_changes_nothing() {
    let devnet = Devnet::start();
    let counter = Counter::deploy(devnet.provider(), U256::from(3)).await.unwrap();
    let sent = counter.increase(U256::from(2_000)).gas(100_000).send().await.unwrap();
    let receipt = sent.get_receipt().await.unwrap();
    assert!(!receipt.status() && receipt.gas_used > 21_000 && receipt.inner.logs().is_empty());
    assert_eq!(counter.count().call().await.unwrap(), U256::from(3));
}

#[tokio::test]
async fn an_estimate_is_enough_also_when_calls_nest() {
    let devnet = Devnet::start();
    let counter = Counter::deploy(devnet.provider(), U256::ZERO).await.unwrap();
    for depth in [0, 1, 5, 20] {
        let call = counter.nested(U256::from(depth));
        let estimate = call.estimate_gas().await.unwrap();
        let enough = call.clone().gas(estimate).send().await.unwrap().get_receipt().await.unwrap();
        assert!(enough.status(), "depth {depth} with {estimate}");
    }
    // From here on the counter is not zero, so runs are alike and the estimate is exact.
    let call = counter.nested(U256::from(20));
    let estimate = call.estimate_gas().await.unwrap();
    let short = call.gas(estimate - 1).send().await.unwrap().get_receipt().await.unwrap();
    assert!(!short.status());
}

#[tokio::test]
async fn clearing_storage_gives_a_refund_that_the_estimate_does_not_rely_on() {
    let devnet = Devnet::start();
    let counter = Counter::deploy(devnet.provider(), U256::from(9)).await.unwrap();
    let call = counter.clear();
    let estimate = call.estimate_gas().await.unwrap();
    let receipt = call.gas(estimate).send().await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status() && receipt.gas_used < estimate);
}

#[tokio::test]
async fn an_old_block_answers_with_its_own_state() {
    let devnet = repeatable();
    let counter = Counter::deploy(devnet.provider(), U256::from(1)).await.unwrap();
    for _ in 0..3 {
        counter.increase(U256::from(10)).send().await.unwrap().get_receipt().await.unwrap();
    }
    for (block, expected) in [(1_u64, 1), (2, 11), (3, 21), (4, 31)] {
        let count = counter.count().block(block.into()).call().await.unwrap();
        assert_eq!(count, U256::from(expected), "block {block}");
        let slot = devnet.provider().get_storage_at(*counter.address(), U256::ZERO).number(block);
        assert_eq!(slot.await.unwrap(), U256::from(expected));
        let time = counter.time().block(block.into()).call().await.unwrap();
        assert_eq!(time, U256::from(1_700_000_000 + block));
    }
    let before = devnet.provider().get_code_at(*counter.address()).number(0).await.unwrap();
    assert!(before.is_empty());
}

#[tokio::test]
async fn contracts_see_the_hashes_of_the_last_256_blocks() {
    let devnet = Devnet::start();
    let counter = Counter::deploy(devnet.provider(), U256::ZERO).await.unwrap();
    devnet.mine(300);
    let latest = devnet.block_number();
    for (number, known) in
        [(latest - 1, true), (latest - 256, true), (latest - 257, false), (latest, false)]
    {
        let seen = counter.blockHash(U256::from(number)).block(latest.into()).call().await.unwrap();
        let block = devnet.provider().get_block_by_number(number.into()).await.unwrap().unwrap();
        assert_eq!(seen, if known { block.header.hash } else { B256::ZERO }, "block {number}");
    }
}

#[tokio::test]
async fn endless_code_ends_with_its_gas() {
    let devnet = Devnet::start();
    let counter = Counter::deploy(devnet.provider(), U256::ZERO).await.unwrap();
    let burn = transfer(0).to(*counter.address()).input(Counter::burnCall {}.abi_encode().into());
    let receipt = send(&devnet.provider(), burn.gas_limit(200_000)).await;
    assert_eq!((receipt.status(), receipt.gas_used), (false, 200_000));
}
