//! Blocks, snapshots and reorgs.

use alloy::{
    consensus::{BlockHeader, Transaction, proofs::calculate_transaction_root},
    primitives::{U256, bytes},
    providers::Provider,
};
use depin_devnet::{Devnet, ErrorKind};
use serde_json::json;

use crate::common::{ask, repeatable, send, transfer};

#[tokio::test]
async fn headers_hash_to_their_hash_and_chain_up() {
    let devnet = Devnet::start();
    let provider = devnet.provider();
    for value in 0..5 {
        send(&provider, transfer(value)).await;
    }
    let mut parent = provider.get_block_by_number(0.into()).await.unwrap().unwrap();
    for number in 1..=5_u64 {
        let block = provider.get_block_by_number(number.into()).full().await.unwrap().unwrap();
        assert_eq!(block.header.inner.hash_slow(), block.header.hash);
        assert_eq!(block.header.parent_hash, parent.header.hash);
        assert!(block.header.timestamp > parent.header.timestamp);
        assert_eq!(block.header.gas_used, 21_000);
        assert_eq!(
            block.header.base_fee_per_gas,
            parent
                .header
                .inner
                .next_block_base_fee(alloy::eips::eip1559::BaseFeeParams::ethereum())
        );
        let txs: Vec<_> = block
            .transactions
            .as_transactions()
            .unwrap()
            .iter()
            .map(|tx| tx.inner.inner())
            .collect();
        assert_eq!(calculate_transaction_root(&txs), block.header.transactions_root());
        parent = block;
    }
}

#[tokio::test]
async fn the_same_history_has_the_same_hashes() {
    let mut tips = Vec::new();
    for _ in 0..2 {
        let devnet = repeatable();
        for value in 0..4 {
            send(&devnet.provider(), transfer(value)).await;
        }
        let tip = devnet.provider().get_block_by_number(4.into()).await.unwrap().unwrap();
        tips.push((tip.header.hash, tip.header.timestamp));
    }
    assert_eq!(tips[0], tips[1]);
    assert_eq!(tips[0].1, 1_700_000_004);
}

#[tokio::test]
async fn a_reorg_takes_back_receipts_nonces_and_blocks() {
    let devnet = Devnet::start();
    let provider = devnet.provider();
    let kept = send(&provider, transfer(1)).await;
    let (lost_a, lost_b) = (send(&provider, transfer(2)).await, send(&provider, transfer(3)).await);

    devnet.reorg(2).unwrap();

    assert_eq!(devnet.block_number(), 3);
    for lost in [&lost_a, &lost_b] {
        let hash = lost.transaction_hash;
        assert!(provider.get_transaction_receipt(hash).await.unwrap().is_none());
        assert!(provider.get_transaction_by_hash(hash).await.unwrap().is_none());
        assert!(provider.get_block_by_hash(lost.block_hash.unwrap()).await.unwrap().is_none());
    }
    let same = provider.get_transaction_receipt(kept.transaction_hash).await.unwrap().unwrap();
    assert_eq!(same, kept);
    let sender = devnet.account(0).address();
    assert_eq!(provider.get_transaction_count(sender).await.unwrap(), 1);

    let again = send(&provider, transfer(2)).await;
    assert_eq!(again.block_number, Some(4));
}

#[tokio::test]
async fn a_reorg_of_empty_blocks_still_changes_their_hashes() {
    let devnet = repeatable();
    devnet.mine(2);
    let hash = |block| block_hash(&devnet, block);
    let (first, old) = (hash(1).await, hash(2).await);
    devnet.reorg(1).unwrap();
    assert_eq!(first, hash(1).await);
    assert_ne!(old, hash(2).await);
    assert_eq!(devnet.reorg(9).unwrap_err().kind(), ErrorKind::Invalid);
}

async fn block_hash(devnet: &Devnet, number: u64) -> alloy::primitives::B256 {
    devnet.provider().get_block_by_number(number.into()).await.unwrap().unwrap().header.hash
}

#[tokio::test]
async fn a_snapshot_brings_back_the_whole_past() {
    let devnet = repeatable();
    let provider = devnet.provider();
    send(&provider, transfer(1)).await;
    let (snapshot, tip) = (devnet.snapshot().unwrap(), block_hash(&devnet, 1).await);
    let later = devnet.snapshot().unwrap();
    let lost = send(&provider, transfer(2)).await;
    devnet.increase_time(1_000).unwrap();

    assert!(devnet.revert(snapshot));
    assert_eq!((devnet.block_number(), block_hash(&devnet, 1).await), (1, tip));
    assert!(provider.get_transaction_receipt(lost.transaction_hash).await.unwrap().is_none());
    assert!(!devnet.revert(snapshot) && !devnet.revert(later), "used up");
    let again = send(&provider, transfer(2)).await;
    assert_eq!(again, lost, "the same history again");
}

#[tokio::test]
async fn a_reorg_below_a_snapshot_ends_it() {
    let devnet = Devnet::start();
    devnet.mine(3);
    let snapshot = devnet.snapshot().unwrap();
    devnet.reorg(2).unwrap();
    assert!(!devnet.revert(snapshot));
}

#[tokio::test]
async fn a_set_balance_is_part_of_the_state_root() {
    let devnet = Devnet::start();
    let address = devnet.account(99).address();
    devnet.set_balance(address, U256::from(12));
    let answer = ask(&devnet, "eth_getBalance", json!([address, "latest"])).await.unwrap();
    assert_eq!(answer, "0xc");
    assert_eq!(devnet.block_number(), 1);
    crate::proofs::check(&devnet, address, &[]).await;
}

#[tokio::test]
async fn code_that_is_set_runs_and_is_part_of_the_state_root() {
    let devnet = Devnet::start();
    let address = devnet.account(99).address();
    // Returns one word, 7.
    devnet.set_code(address, bytes!("600760005260206000f3"));
    let call = json!([{ "to": address }, "latest"]);
    let answer = ask(&devnet, "eth_call", call).await.unwrap();
    assert_eq!(answer, json!(format!("0x{:064x}", 7)));
    assert_eq!(devnet.block_number(), 1);
    crate::proofs::check(&devnet, address, &[]).await;
}

#[tokio::test]
async fn a_block_holds_what_fits_and_the_best_paid_first() {
    let devnet = Devnet::builder().automine(false).build();
    for (account, tip) in [(0, 1), (1, 3), (2, 2)] {
        let tx = transfer(1)
            .gas_limit(21_000)
            .max_fee_per_gas(10_000_000_000)
            .max_priority_fee_per_gas(tip * 1_000_000_000);
        let provider = devnet.provider_with(devnet.account(account));
        let _ = provider.send_transaction(tx).await.unwrap();
    }
    // What a transaction may use must fit, so the last has to wait for what the others use.
    let crowded = transfer(1).gas_limit(29_990_000).max_fee_per_gas(4_000_000_000);
    let provider = devnet.provider_with(devnet.account(3));
    let waiting = provider.send_transaction(crowded.max_priority_fee_per_gas(0)).await.unwrap();
    devnet.mine(1);
    let block = provider.get_block_by_number(1.into()).full().await.unwrap().unwrap();
    let txs = block.into_transactions_vec();
    let tips: Vec<_> = txs.iter().filter_map(|tx| tx.max_priority_fee_per_gas()).collect();
    assert_eq!(tips, [3_000_000_000, 2_000_000_000, 1_000_000_000]);
    devnet.mine(1);
    assert_eq!(waiting.get_receipt().await.unwrap().block_number, Some(2));
}

#[test]
fn blocks_come_by_themselves_with_a_block_time() {
    let devnet = Devnet::builder().block_time(std::time::Duration::from_millis(1)).build();
    while devnet.block_number() < 3 {
        std::thread::yield_now();
    }
}
