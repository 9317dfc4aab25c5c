//! Transactions that wait: time is over, fees are too low, blocks are lost, nodes refuse.

use std::{future::IntoFuture, sync::atomic::Ordering, time::Duration};

use depin_devnet::Devnet;
use depin_evm::{
    Chain, ChainBuilder, ErrorKind,
    alloy::{
        consensus::Transaction,
        eips::BlockNumberOrTag,
        primitives::{B256, U256},
        providers::Provider,
        transports::TransportResult,
    },
};

use crate::{
    faults::{self, Faults},
    sending::{gift, recipient},
};

/// Quick to look, and patient beyond any test.
fn eager(devnet: &Devnet) -> ChainBuilder {
    Chain::from_provider(devnet.provider(), devnet.account(0))
        .poll_interval(Duration::from_millis(1))
        .timeout(Duration::from_secs(60))
}

fn manual() -> Devnet {
    Devnet::builder().automine(false).build()
}

/// The transaction that waits, with the most it would pay per gas.
async fn waiting(devnet: &Devnet) -> Option<(B256, u128)> {
    let provider = devnet.provider();
    let block = provider.get_block_by_number(BlockNumberOrTag::Pending).full().await.unwrap()?;
    let txs = block.transactions.into_transactions_vec();
    txs.first().map(|tx| (*tx.inner.tx_hash(), tx.max_fee_per_gas()))
}

pub(crate) async fn until<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    loop {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn held(devnet: &Devnet, number: u64) -> U256 {
    devnet.provider().get_balance(recipient(number)).await.unwrap()
}

fn nonces(chain: &Chain) -> impl IntoFuture<Output = TransportResult<u64>> {
    chain.provider().get_transaction_count(chain.account())
}

#[tokio::test]
async fn when_time_is_over_the_transaction_stays_tracked() {
    let devnet = manual();
    let chain = eager(&devnet).timeout(Duration::from_millis(5)).connect().await.unwrap();
    let error = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let (hash, _) = waiting(&devnet).await.unwrap();

    devnet.mine(1);
    let receipt = chain.send_once("rent", gift(recipient(1))).await.unwrap();
    assert_eq!(receipt.transaction_hash, hash);
    assert_eq!(held(&devnet, 1).await, U256::from(1));
}

#[tokio::test]
async fn a_stuck_transaction_is_replaced_at_a_higher_fee_up_to_the_cap() {
    let devnet = manual();
    let chain = eager(&devnet).replace_after(Duration::from_millis(20)).connect().await.unwrap();
    let sending = tokio::spawn({
        let chain = chain.clone();
        async move { chain.send(gift(recipient(1))).await }
    });
    let (first, fee) = until(|| waiting(&devnet)).await;
    let (_, higher) =
        until(async || waiting(&devnet).await.filter(|(hash, _)| *hash != first)).await;
    assert!(higher >= fee + fee / 8, "{higher} is not an eighth more than {fee}");

    devnet.mine(1);
    let receipt = sending.await.unwrap().unwrap();
    assert_ne!(receipt.transaction_hash, first);
    assert_eq!(chain.ask(nonces(&chain)).await.unwrap(), 1);
    assert_eq!(held(&devnet, 1).await, U256::from(1));
}

#[tokio::test]
async fn fees_rise_to_the_cap_and_never_pass_it() {
    let devnet = manual();
    let cap = 5_000_000_000;
    let chain = eager(&devnet).replace_after(Duration::ZERO).max_fee(cap).connect().await.unwrap();
    let sending = tokio::spawn(async move { chain.send(gift(recipient(1))).await });
    // One more raise by an eighth would pass the cap.
    until(async || waiting(&devnet).await.filter(|(_, fee)| fee + fee.div_ceil(8) > cap)).await;
    let (_, fee) = waiting(&devnet).await.unwrap();
    assert!(fee <= cap, "{fee}");
    devnet.mine(1);
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn whichever_variant_is_mined_is_recognised() {
    let devnet = manual();
    let faults = Faults::new(0, 0);
    let provider = faults::provider(&devnet, &faults);
    let chain = Chain::from_provider(provider, devnet.account(0))
        .poll_interval(Duration::from_millis(1))
        .replace_after(Duration::from_millis(2))
        .connect();
    let chain = chain.await.unwrap();
    let sending = tokio::spawn(async move { chain.send(gift(recipient(1))).await });
    until(|| waiting(&devnet)).await;
    // From here on replacements are stored and never arrive.
    faults.mute.store(true, Ordering::SeqCst);
    let muted = faults.muted.load(Ordering::SeqCst);
    until(async || (faults.muted.load(Ordering::SeqCst) > muted + 3).then_some(())).await;
    let (old, _) = waiting(&devnet).await.unwrap();
    devnet.mine(1);
    let receipt = sending.await.unwrap().unwrap();
    assert_eq!(receipt.transaction_hash, old);
    assert_eq!(held(&devnet, 1).await, U256::from(1));
}

#[tokio::test]
async fn a_transaction_lost_in_a_reorganisation_is_sent_again() {
    let devnet = Devnet::start();
    let chain = eager(&devnet).confirmations(3).connect().await.unwrap();
    let sending = tokio::spawn({
        let chain = chain.clone();
        async move { chain.send(gift(recipient(1))).await }
    });
    until(async || (held(&devnet, 1).await == U256::from(1)).then_some(())).await;
    devnet.reorg(1).unwrap();
    assert_eq!(held(&devnet, 1).await, U256::ZERO);

    until(async || (held(&devnet, 1).await == U256::from(1)).then_some(())).await;
    assert!(!sending.is_finished());
    devnet.mine(2);
    sending.await.unwrap().unwrap();
    assert_eq!(chain.ask(nonces(&chain)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_transaction_that_too_few_blocks_follow_is_said_to_be_mined() {
    let devnet = Devnet::start();
    let chain = eager(&devnet).confirmations(3).timeout(Duration::from_millis(50));
    let chain = chain.connect().await.unwrap();
    let error = chain.send_once("gift", gift(recipient(1))).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("is mined"), "{error}");
    assert_eq!(held(&devnet, 1).await, U256::from(1));
    devnet.mine(2);
    chain.send_once("gift", gift(recipient(1))).await.unwrap();
}

#[tokio::test]
async fn a_reorganisation_after_the_answer_is_mended_by_the_next_sending() {
    let devnet = Devnet::start();
    let chain = eager(&devnet).connect().await.unwrap();
    chain.send(gift(recipient(1))).await.unwrap();
    devnet.reorg(1).unwrap();
    chain.send(gift(recipient(2))).await.unwrap();
    assert_eq!((held(&devnet, 1).await, held(&devnet, 2).await), (U256::from(1), U256::from(1)));
    assert_eq!(chain.ask(nonces(&chain)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_chain_restored_from_an_older_dump_gets_its_transactions_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("transactions.redb");
    let dump = directory.path().join("chain");
    let devnet = Devnet::start();
    let chain = eager(&devnet).store(&path).connect().await.unwrap();
    chain.send(gift(recipient(0))).await.unwrap();
    devnet.dump(&dump).unwrap();
    for number in 1..4 {
        chain.send(gift(recipient(number))).await.unwrap();
    }
    drop((chain, devnet));

    let devnet = Devnet::load(&dump).unwrap();
    assert_eq!(held(&devnet, 3).await, U256::ZERO);
    let chain = eager(&devnet).store(&path).connect().await.unwrap();
    chain.settle().await.unwrap();
    for number in 0..4 {
        assert_eq!(held(&devnet, number).await, U256::from(1));
    }
}

#[tokio::test]
async fn a_refused_transaction_leaves_no_gap_and_frees_its_key() {
    let devnet = Devnet::start();
    let chain = eager(&devnet).connect().await.unwrap();
    let mut greedy = gift(recipient(1));
    greedy.gas = Some(1_000_000_000);
    let error = chain.send_once("rent", greedy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("block gas limit"), "{error}");
    assert_eq!(chain.ask(nonces(&chain)).await.unwrap(), 1, "the nonce is filled");
    assert_eq!(held(&devnet, 1).await, U256::ZERO);

    chain.send_once("rent", gift(recipient(1))).await.unwrap();
    assert_eq!(held(&devnet, 1).await, U256::from(1));
}

#[tokio::test]
async fn nonces_that_another_program_used_are_passed_over() {
    let devnet = Devnet::start();
    let chain = eager(&devnet).timeout(Duration::from_millis(400)).connect().await.unwrap();
    for _ in 0..2 {
        let stranger = devnet.provider();
        let theirs = stranger.send_transaction(gift(recipient(1)).from(chain.account()));
        theirs.await.unwrap().get_receipt().await.unwrap();
        chain.send(gift(recipient(2))).await.unwrap();
    }
    assert_eq!(held(&devnet, 2).await, U256::from(2));
}
