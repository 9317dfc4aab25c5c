//! Whatever happens, the books balance and the state root is that of the state.

use std::collections::BTreeMap;

use alloy::{
    consensus::Transaction,
    primitives::{Address, B256, U256, address, b256},
    providers::Provider,
};
use alloy_trie::{TrieAccount, root::state_root_unhashed};
use depin_devnet::{Devnet, SnapshotId};
use proptest::prelude::*;

use crate::common::{FRIEND, repeatable};

#[derive(Clone, Debug)]
enum Step {
    Send { from: u16, value: u64 },
    Mine(u64),
    Automine(bool),
    Snapshot,
    Revert,
    Reorg(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3_u16, 0..1_000_u64).prop_map(|(from, value)| Step::Send { from, value }),
        2 => (1..3_u64).prop_map(Step::Mine),
        1 => any::<bool>().prop_map(Step::Automine),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Revert),
        1 => (0..4_u64).prop_map(Step::Reorg),
    ];
    prop::collection::vec(step, 1..25)
}

async fn run(devnet: &Devnet, steps: Vec<Step>) {
    let mut snapshots: Vec<SnapshotId> = Vec::new();
    for step in steps {
        match step {
            Step::Send { from, value } => {
                let provider = devnet.provider_with(devnet.account(from));
                let tx = crate::common::transfer(value);
                // A nonce that a reorg left behind in the pool can be taken: refused, not lost.
                let _ = provider.send_transaction(tx.gas_limit(21_000)).await;
            }
            Step::Mine(blocks) => devnet.mine(blocks),
            Step::Automine(automine) => devnet.set_automine(automine),
            Step::Snapshot => snapshots.push(devnet.snapshot().unwrap()),
            Step::Revert => drop(snapshots.pop().map(|snapshot| devnet.revert(snapshot))),
            Step::Reorg(depth) => drop(devnet.reorg(depth)),
        }
        check(devnet).await;
    }
}

/// Adds up the whole chain from its blocks and compares with what accounts say.
async fn check(devnet: &Devnet) {
    let provider = devnet.provider();
    let mut nonces: BTreeMap<Address, u64> = BTreeMap::new();
    let mut burnt = U256::ZERO;
    for number in 0..=devnet.block_number() {
        let block = provider.get_block_by_number(number.into()).full().await.unwrap().unwrap();
        let fee = block.header.base_fee_per_gas.unwrap();
        burnt += U256::from(fee) * U256::from(block.header.gas_used);
        for tx in block.into_transactions_vec() {
            let expected = nonces.entry(tx.inner.signer()).or_default();
            assert_eq!(tx.nonce(), *expected);
            *expected += 1;
        }
    }
    let mut accounts = devnet.addresses();
    accounts.extend([FRIEND, Address::ZERO]);
    let mut state: BTreeMap<Address, TrieAccount> = BTreeMap::new();
    // What creates contracts at the same address on every chain is there from the beginning.
    let deployer = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
    let code_hash = b256!("2fa86add0aed31f33a762c9d88e807c475bd51d0f52bd0955754b2608f7e4989");
    state.insert(deployer, TrieAccount { code_hash, ..TrieAccount::default() });
    for address in accounts {
        let proof = provider.get_proof(address, Vec::<B256>::new()).await.unwrap();
        assert_eq!(proof.nonce, nonces.get(&address).copied().unwrap_or_default());
        if !proof.balance.is_zero() || proof.nonce > 0 {
            let account = TrieAccount {
                nonce: proof.nonce,
                balance: proof.balance,
                ..TrieAccount::default()
            };
            state.insert(address, account);
        }
    }
    let total: U256 = state.values().map(|account| account.balance).sum();
    let minted = U256::from(10_000) * U256::from(10).pow(U256::from(18)) * U256::from(10);
    assert_eq!(total + burnt, minted, "tips stay on the chain, base fees are burnt");
    let tip = provider.get_block_by_number(devnet.block_number().into()).await.unwrap().unwrap();
    assert_eq!(tip.header.state_root, state_root_unhashed(state));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_books_balance_after_every_step(steps in steps()) {
        tokio::runtime::Runtime::new().unwrap().block_on(run(&repeatable(), steps));
    }
}
