//! Questions about accounts at a block.

use alloy::{
    consensus::constants::{EMPTY_ROOT_HASH, KECCAK_EMPTY},
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256, Bytes, U64, U256, keccak256},
    rpc::types::{EIP1186AccountProofResponse, EIP1186StorageProof},
    serde::JsonStorageKey,
};

use super::{Answer, json, params::Params};
use crate::{
    Devnet,
    block::Block,
    devnet::unix_now,
    error::{Error, ErrorKind},
    state::{Account, account_key, slot_key},
};

pub(super) fn chain_id(devnet: &Devnet, params: Params<'_>) -> Answer {
    params.end()?;
    json(U64::from(devnet.chain_id()))
}

pub(super) fn sha3(mut params: Params<'_>) -> Answer {
    let data: Bytes = params.need("data")?;
    params.end()?;
    json(keccak256(data))
}

pub(super) fn balance(devnet: &Devnet, mut params: Params<'_>) -> Answer {
    let address: Address = params.need("address")?;
    let block = at(devnet, params.may("block")?)?;
    params.end()?;
    json(block.state.balance(&address))
}

pub(super) fn code(devnet: &Devnet, mut params: Params<'_>) -> Answer {
    let address: Address = params.need("address")?;
    let block = at(devnet, params.may("block")?)?;
    params.end()?;
    json(block.state.account(&address).map(Account::code).unwrap_or_default())
}

pub(super) fn storage(devnet: &Devnet, mut params: Params<'_>) -> Answer {
    let address: Address = params.need("address")?;
    let slot: JsonStorageKey = params.need("slot")?;
    let block = at(devnet, params.may("block")?)?;
    params.end()?;
    let index = U256::from_be_bytes(slot.as_b256().0);
    let value = block.state.account(&address).map(|account| account.slot(index));
    json(B256::from(value.unwrap_or_default()))
}

pub(super) fn nonce(devnet: &Devnet, mut params: Params<'_>) -> Answer {
    let address: Address = params.need("address")?;
    let id: Option<BlockId> = params.may("block")?;
    params.end()?;
    if id == Some(BlockId::Number(BlockNumberOrTag::Pending)) {
        let chain = devnet.chain();
        let mined = chain.latest().state.nonce(&address);
        return json(U64::from(chain.pool.next_nonce(&address, mined)));
    }
    json(U64::from(at(devnet, id)?.state.nonce(&address)))
}

/// EIP-1186.
pub(super) fn proof(devnet: &Devnet, mut params: Params<'_>) -> Answer {
    let address: Address = params.need("address")?;
    let keys: Vec<JsonStorageKey> = params.need("keys")?;
    let block = at(devnet, params.may("block")?)?;
    params.end()?;
    if keys.len() > MAX_PROOF_KEYS {
        let text = format!("at most {MAX_PROOF_KEYS} storage keys fit one proof request");
        return Err(Error::new(ErrorKind::Limit, text));
    }
    let account = block.state.account(&address);
    let storage_proof = keys.into_iter().map(|key| {
        let index = U256::from_be_bytes(key.as_b256().0);
        EIP1186StorageProof {
            key,
            value: account.map(|account| account.slot(index)).unwrap_or_default(),
            proof: account.map(|a| a.storage.proof(&slot_key(index))).unwrap_or_default(),
        }
    });
    json(EIP1186AccountProofResponse {
        address,
        balance: block.state.balance(&address),
        code_hash: account.map_or(KECCAK_EMPTY, |account| account.code_hash),
        nonce: block.state.nonce(&address),
        storage_hash: account.map_or(EMPTY_ROOT_HASH, |account| account.storage.root()),
        account_proof: block.state.0.proof(&account_key(&address)),
        storage_proof: storage_proof.collect(),
    })
}

/// The block a request is about, the latest when it names none.
pub(super) fn at(devnet: &Devnet, id: Option<BlockId>) -> Result<std::sync::Arc<Block>, Error> {
    let found = devnet.chain().context(id.unwrap_or_default(), unix_now());
    found.ok_or_else(|| Error::new(ErrorKind::Missing, "header not found: no such block"))
}

const MAX_PROOF_KEYS: usize = 1_024;
