//! Ordinary sending: nonces, keys, refusals.

use std::collections::BTreeSet;

use depin_devnet::Devnet;
use depin_evm::{
    Chain, ErrorKind,
    alloy::{
        primitives::{Address, U256},
        providers::Provider,
        rpc::types::TransactionRequest,
    },
};
use tokio::task::JoinSet;

pub(crate) fn gift(to: Address) -> TransactionRequest {
    TransactionRequest::default().to(to).value(U256::from(1))
}

pub(crate) fn recipient(number: u64) -> Address {
    Address::from_word(U256::from(number + 0x10_000).into())
}

async fn connect(devnet: &Devnet) -> Chain {
    Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_concurrent_senders_use_a_hundred_nonces_without_gaps() {
    let devnet = Devnet::start();
    let chain = connect(&devnet).await;
    let mut senders = JoinSet::new();
    for number in 0..100 {
        let chain = chain.clone();
        senders.spawn(async move { chain.send(gift(recipient(number))).await });
    }
    let receipts: Vec<_> = senders.join_all().await.into_iter().map(Result::unwrap).collect();

    let hashes: BTreeSet<_> = receipts.iter().map(|receipt| receipt.transaction_hash).collect();
    assert_eq!(hashes.len(), 100);
    let used = chain.provider().get_transaction_count(chain.account()).await.unwrap();
    assert_eq!(used, 100);
    for number in 0..100 {
        let held = chain.provider().get_balance(recipient(number)).await.unwrap();
        assert_eq!(held, U256::from(1));
    }
}

#[tokio::test]
async fn a_key_stands_for_one_transaction() {
    let devnet = Devnet::start();
    let chain = connect(&devnet).await;
    let (first, again) = tokio::join!(
        chain.send_once("rent", gift(recipient(1))),
        chain.send_once("rent", gift(recipient(1)))
    );
    assert_eq!(first.unwrap().transaction_hash, again.unwrap().transaction_hash);
    assert_eq!(chain.provider().get_balance(recipient(1)).await.unwrap(), U256::from(1));

    let other = chain.send_once("rent", gift(recipient(2))).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict);
    assert_eq!(chain.provider().get_balance(recipient(2)).await.unwrap(), U256::ZERO);
}
