//! What had no effect and is repeated is executed once, whatever blocks are replaced meanwhile.
//!
//! The contract counts how often each intent came, without looking whether it came before, and reverts in blocks of odd
//! number. So what reverted succeeds where its block is replaced and it comes again in another.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use depin_devnet::Devnet;
use depin_evm::{
    Chain, ChainBuilder, ErrorKind,
    alloy::{
        eips::{BlockNumberOrTag, eip2718::Encodable2718},
        primitives::{Address, B256, Bytes, U256},
        providers::Provider,
        rpc::types::{TransactionReceipt, TransactionRequest},
    },
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::task::{JoinHandle, JoinSet};

use crate::{
    faults::{self, Faults},
    node::Node,
    sending::{gift, recipient},
    waiting::until,
};

type Sent = JoinHandle<depin_core::Result<TransactionReceipt>>;

#[tokio::test]
async fn what_reverted_is_repeated_when_no_reorganisation_reaches_it_any_more() {
    let devnet = devnet();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("transactions.redb");
    let chain = eager(&devnet).store(&path).connect().await.unwrap();
    revert(&devnet, &chain).await;
    assert!(!chain.knows("rent").await.unwrap(), "what had no effect may be examined again");
    for left in (1..=DEPTH).rev() {
        let early = chain.send_once("rent", pay(0)).await.unwrap_err();
        assert_eq!(early.kind(), ErrorKind::Unavailable, "{early}");
        assert!(early.context().any(|pair| pair == ("blocks", &left.to_string())), "{early}");
        assert!(early.retry_after().is_some());
        devnet.mine(1);
    }
    // A process that starts anew knows of it too.
    drop(chain);
    let chain = eager(&devnet).store(&path).connect().await.unwrap();
    mine_before(&devnet, 0);
    let again = send(&devnet, &chain).await;
    devnet.mine(1);
    assert!(again.await.unwrap().unwrap().status());
    assert_eq!(count(&devnet, 0).await, 1);
}

#[tokio::test]
async fn what_reverted_is_repeated_though_its_receipt_was_pruned() {
    let devnet = devnet();
    let node = Node::of(&devnet);
    let chain = eager(&devnet).provider(node.provider()).connect().await.unwrap();
    revert(&devnet, &chain).await;
    node.forget(true);
    let early = chain.send_once("rent", pay(0)).await.unwrap_err();
    assert!(early.context().any(|pair| pair == ("blocks", &DEPTH.to_string())), "{early}");
    devnet.mine(DEPTH);
    mine_before(&devnet, 0);
    let again = send(&devnet, &chain).await;
    node.forget(false);
    devnet.mine(1);
    assert!(again.await.unwrap().unwrap().status());
    assert_eq!(count(&devnet, 0).await, 1);
}

#[tokio::test]
async fn what_a_contract_takes_once_is_repeated_at_once() {
    let devnet = devnet();
    let chain = eager(&devnet).connect().await.unwrap();
    let settle = async || {
        let chain = chain.clone();
        let sent = tokio::spawn(async move { chain.send_deduplicated("settle", pay(0)).await });
        until(async || (!devnet.waiting().is_empty()).then_some(())).await;
        devnet.mine(1);
        sent.await.unwrap()
    };
    mine_before(&devnet, 1);
    assert_eq!(settle().await.unwrap_err().kind(), ErrorKind::Rejected);
    let reverted = devnet.block_number();
    let settled = settle().await.unwrap();
    assert_eq!(settled.block_number, Some(reverted + 1), "nothing is waited for");
    let again = chain.send_deduplicated("settle", pay(0)).await.unwrap();
    assert_eq!(again.transaction_hash, settled.transaction_hash);
    assert_eq!(count(&devnet, 0).await, 1);
}

#[tokio::test]
async fn what_succeeds_after_a_reorganisation_is_not_repeated() {
    let devnet = devnet();
    let chain = eager(&devnet).connect().await.unwrap();
    let (hash, raw) = revert(&devnet, &chain).await;
    devnet.mine(DEPTH - 1);
    devnet.reorg(DEPTH).unwrap();
    mine_before(&devnet, 0);
    // Whoever saw the bytes sends them to the new chain.
    let _ = devnet.provider().send_raw_transaction(&raw).await.unwrap();
    devnet.mine(1);
    assert_eq!(count(&devnet, 0).await, 1);

    devnet.mine(2 * DEPTH);
    assert!(chain.knows("rent").await.unwrap());
    let receipt = chain.send_once("rent", pay(0)).await.unwrap();
    assert_eq!((receipt.transaction_hash, receipt.status()), (hash, true));
    assert_eq!(count(&devnet, 0).await, 1);
}

#[tokio::test]
async fn what_was_reported_to_have_no_effect_is_outbid_when_its_block_is_replaced() {
    let devnet = devnet();
    let chain = eager(&devnet).connect().await.unwrap();
    let (hash, raw) = revert(&devnet, &chain).await;
    devnet.reorg(1).unwrap();
    mine_before(&devnet, 0);
    let _ = devnet.provider().send_raw_transaction(&raw).await.unwrap();
    let settling = tokio::spawn({
        let chain = chain.clone();
        async move { chain.settle().await }
    });
    until(async || (!devnet.waiting().contains(&hash)).then_some(())).await;
    devnet.mine(1);
    settling.await.unwrap().unwrap();
    assert_eq!(count(&devnet, 0).await, 0);

    let early = chain.send_once("rent", pay(0)).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Unavailable, "the filler can be replaced too: {early}");
    devnet.mine(DEPTH);
    mine_before(&devnet, 0);
    let again = send(&devnet, &chain).await;
    devnet.mine(1);
    again.await.unwrap().unwrap();
    assert_eq!(count(&devnet, 0).await, 1);
}

#[tokio::test]
async fn what_a_node_took_and_refuses_later_is_held_like_what_reverted() {
    let devnet = devnet();
    let chain = eager(&devnet).connect().await.unwrap();
    let half = U256::from(10).pow(U256::from(18));
    let rent = gift(recipient(1)).value(half + half);
    devnet.set_balance(chain.account(), half + half + half);
    let sending = tokio::spawn({
        let (chain, rent) = (chain.clone(), rent.clone());
        async move { chain.send_once("rent", rent).await }
    });
    let hash = until(async || devnet.waiting().first().copied()).await;
    devnet.set_balance(chain.account(), half);
    devnet.drop_transaction(hash);
    until(async || devnet.waiting().first().copied()).await;
    devnet.mine(1);
    assert_eq!(sending.await.unwrap().unwrap_err().kind(), ErrorKind::Rejected);

    devnet.set_balance(chain.account(), half + half + half);
    let early = chain.send_once("rent", rent).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Unavailable, "somebody may still have it: {early}");
}

/// Accounts pay while blocks are replaced, answers are lost, and somebody sends all bytes ever seen again.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_storm_of_reverts_and_reorganisations_every_intent_is_executed_once() {
    let mut reverted = 0;
    for seed in 0..2 {
        reverted += storm(seed).await;
    }
    assert!(reverted > 4, "only {reverted} reverted");
}

/// Answers how many transactions reverted.
async fn storm(seed: u64) -> usize {
    let devnet = devnet();
    let mut payers = Vec::new();
    for account in 0..ACCOUNTS {
        let faults = Faults::new(seed + u64::from(account), 3);
        let connect = || {
            eager(&devnet)
                .provider(faults::provider(&devnet, &faults))
                .signer(devnet.account(account))
                .replace_after(Duration::from_millis(20))
                .connect()
        };
        let chain = until(async || connect().await.ok()).await;
        payers.push((chain, u64::from(account)));
    }
    let reverted = pay_all(&devnet, &payers, seed, true).await;
    // What was reported may have been taken back since: ask again for all of it once that is over.
    pay_all(&devnet, &payers, seed, false).await;
    for intent in 0..u64::from(ACCOUNTS) * INTENTS {
        assert_eq!(count(&devnet, intent).await, 1, "intent {intent}, seed {seed}");
    }
    reverted
}

/// Has all accounts pay all of theirs; answers how many transactions reverted.
async fn pay_all(devnet: &Devnet, payers: &[(Chain, u64)], seed: u64, stormy: bool) -> usize {
    let over = Arc::new(AtomicBool::new(false));
    let driver = tokio::spawn(drive(devnet.clone(), seed, stormy, Arc::clone(&over)));
    let mut lanes = JoinSet::new();
    for (chain, account) in payers {
        for lane in 0..LANES {
            let chain = chain.clone();
            let intents =
                (account * INTENTS..).take(INTENTS as usize).filter(move |i| i % LANES == lane);
            lanes.spawn(async move {
                for intent in intents {
                    pay_until_told(&chain, intent).await;
                }
            });
        }
    }
    lanes.join_all().await;
    over.store(true, Relaxed);
    driver.await.unwrap()
}

/// Pays until it is told that it did.
async fn pay_until_told(chain: &Chain, intent: u64) {
    while let Err(error) = chain.send_once(&format!("rent/{intent}"), pay(intent)).await {
        let goes_on = error.is_retryable() || error.kind() == ErrorKind::Rejected;
        assert!(goes_on, "{error:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Mines and replaces blocks, and repeats all bytes ever seen; answers how many transactions reverted.
async fn drive(devnet: Devnet, seed: u64, stormy: bool, over: Arc<AtomicBool>) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let (provider, floor) = (devnet.provider(), devnet.block_number());
    let mut seen: HashMap<B256, Vec<u8>> = HashMap::new();
    let mut reverted = 0;
    while !over.load(Relaxed) {
        seen.extend(waiting(&devnet).await);
        devnet.mine(1);
        let latest = BlockNumberOrTag::Latest.into();
        let receipts = provider.get_block_receipts(latest).await.unwrap().unwrap();
        reverted += receipts.iter().filter(|receipt| !receipt.status()).count();
        let depth = if rng.r#gen() { DEPTH } else { rng.gen_range(1..=DEPTH) };
        if stormy && rng.gen_ratio(1, 3) && devnet.block_number() >= floor + depth {
            devnet.reorg(depth).unwrap();
            let mut all: Vec<_> = seen.values().collect();
            all.shuffle(&mut rng);
            for raw in all {
                // Refused where its nonce is used or another variant pays more.
                let _ = provider.send_raw_transaction(raw).await;
            }
        }
        // Who was told of a revert repeats it while blocks can still be replaced.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    reverted
}

/// Sends the rent so that it reverts; answers its hash and bytes.
pub(crate) async fn revert(devnet: &Devnet, chain: &Chain) -> (B256, Vec<u8>) {
    mine_before(devnet, 1);
    let sent = send(devnet, chain).await;
    let [bytes] = waiting(devnet).await.try_into().unwrap();
    devnet.mine(1);
    let error = sent.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    bytes
}

/// Sends the rent, as far as the pool.
async fn send(devnet: &Devnet, chain: &Chain) -> Sent {
    let chain = chain.clone();
    let sent = tokio::spawn(async move { chain.send_once("rent", pay(0)).await });
    until(async || (!devnet.waiting().is_empty()).then_some(())).await;
    sent
}

async fn waiting(devnet: &Devnet) -> Vec<(B256, Vec<u8>)> {
    let pending = devnet.provider().get_block_by_number(BlockNumberOrTag::Pending).full();
    let txs = pending.await.unwrap().unwrap().transactions.into_transactions_vec();
    txs.iter().map(|tx| (*tx.inner.tx_hash(), tx.inner.encoded_2718())).collect()
}

/// Mines until the next block's number is even (0) or odd (1).
pub(crate) fn mine_before(devnet: &Devnet, parity: u64) {
    if (devnet.block_number() + 1) % 2 != parity {
        devnet.mine(1);
    }
}

pub(crate) async fn count(devnet: &Devnet, intent: u64) -> u64 {
    let stored = devnet.provider().get_storage_at(COUNTER, U256::from(intent)).await;
    stored.unwrap().to()
}

pub(crate) fn pay(intent: u64) -> TransactionRequest {
    let input = Bytes::from(U256::from(intent).to_be_bytes_vec());
    // Nothing is simulated when the gas is given.
    TransactionRequest::default().to(COUNTER).input(input.into()).gas_limit(100_000)
}

pub(crate) fn devnet() -> Devnet {
    let devnet = Devnet::builder().automine(false).build();
    devnet.set_code(COUNTER, Bytes::from_static(CODE));
    devnet
}

pub(crate) fn eager(devnet: &Devnet) -> ChainBuilder {
    Chain::from_provider(devnet.provider(), devnet.account(0))
        .poll_interval(Duration::from_millis(1))
        .timeout(Duration::from_secs(60))
        .reorg_depth(DEPTH)
}

const COUNTER: Address = Address::repeat_byte(0xc0);
/// Reverts where the block's number is odd, otherwise adds one to the slot that the input names.
const CODE: &[u8] = b"\x43\x60\x01\x16\x60\x12\x57\x60\x00\x35\x80\x54\x60\x01\x01\x90\x55\x00\x5b\x60\x00\x60\x00\xfd";
pub(crate) const DEPTH: u64 = 3;
const ACCOUNTS: u16 = 3;
const INTENTS: u64 = 8;
/// Intents of an account that wait at a time.
const LANES: u64 = 2;
