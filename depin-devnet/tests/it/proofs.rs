//! eth_getProof, checked by alloy's verifier against the block's state root.

use alloy::{
    consensus::constants::KECCAK_EMPTY,
    primitives::{Address, B256, U256, keccak256},
    providers::Provider,
};
use alloy_trie::{Nibbles, TrieAccount, proof::verify_proof};
use depin_devnet::Devnet;

use crate::common::{Counter, FRIEND};

/// Asks for a proof at the latest block and verifies it.
pub(crate) async fn check(devnet: &Devnet, address: Address, slots: &[B256]) {
    let provider = devnet.provider();
    check_at(&provider, devnet.block_number(), address, slots).await;
}

async fn check_at(provider: &impl Provider, number: u64, address: Address, slots: &[B256]) {
    let block = provider.get_block_by_number(number.into()).await.unwrap().unwrap();
    let proof = provider.get_proof(address, slots.to_vec()).number(number).await.unwrap();
    let account = TrieAccount {
        nonce: proof.nonce,
        balance: proof.balance,
        storage_root: proof.storage_hash,
        code_hash: proof.code_hash,
    };
    let absent = proof.nonce == 0 && proof.balance.is_zero() && proof.code_hash == KECCAK_EMPTY;
    let expected = (!absent).then(|| alloy::rlp::encode(account));
    let key = Nibbles::unpack(keccak256(address));
    verify_proof(block.header.state_root, key, expected, &proof.account_proof).unwrap();
    for slot in proof.storage_proof {
        let expected = (!slot.value.is_zero()).then(|| alloy::rlp::encode(slot.value));
        let key = Nibbles::unpack(keccak256(slot.key.as_b256()));
        verify_proof(proof.storage_hash, key, expected, &slot.proof).unwrap();
    }
}

#[tokio::test]
async fn proofs_of_presence_and_absence_verify_at_every_block() {
    let devnet = Devnet::start();
    let provider = devnet.provider();
    let counter = Counter::deploy(&provider, U256::from(5)).await.unwrap();
    counter.increase(U256::from(7)).send().await.unwrap().get_receipt().await.unwrap();
    counter.clear().send().await.unwrap().get_receipt().await.unwrap();
    counter.increase(U256::from(8)).send().await.unwrap().get_receipt().await.unwrap();

    let mut mapping = [0_u8; 64];
    mapping[12..32].copy_from_slice(devnet.account(0).address().as_slice());
    mapping[63] = 1;
    let slots = [B256::ZERO, keccak256(mapping), B256::repeat_byte(9)];
    let with_value = provider.get_proof(*counter.address(), slots.to_vec()).await.unwrap();
    let values: Vec<U256> = with_value.storage_proof.iter().map(|slot| slot.value).collect();
    assert_eq!(values, [U256::from(8), U256::from(8), U256::ZERO]);

    for number in 0..=devnet.block_number() {
        for address in
            [*counter.address(), devnet.account(0).address(), devnet.account(3).address(), FRIEND]
        {
            check_at(&provider, number, address, &slots).await;
        }
    }
}

#[tokio::test]
async fn a_proof_does_not_verify_against_another_block() {
    let devnet = Devnet::start();
    let (provider, address) = (devnet.provider(), devnet.account(0).address());
    crate::common::send(&provider, crate::common::transfer(1)).await;
    let proof = provider.get_proof(address, vec![]).await.unwrap();
    let genesis = provider.get_block_by_number(0.into()).await.unwrap().unwrap();
    let key = Nibbles::unpack(keccak256(address));
    assert!(verify_proof(genesis.header.state_root, key, None, &proof.account_proof).is_err());
}
