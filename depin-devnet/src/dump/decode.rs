//! From the payload of a dump to a chain. Nothing in it is believed unless the hashes agree.

use std::{collections::HashMap, sync::Arc, time::Duration};

use alloy::{
    consensus::{
        Header as BlockHeader, ReceiptEnvelope, TxEnvelope, constants::KECCAK_EMPTY,
        transaction::Recovered,
    },
    eips::eip2718::Decodable2718,
    primitives::{Address, B256, Bytes, U256, keccak256},
    rlp::{Decodable, Header},
};
use revm::state::Bytecode;

use crate::{
    block::{Block, Tx},
    chain::{Chain, Config},
    clock::{Clock, Timeline},
    error::Error,
    state::{Account, State},
};

type Codes = HashMap<B256, Bytecode>;

pub(super) fn chain(mut payload: &[u8]) -> Result<Chain, Error> {
    let mut fields = list(&mut payload)?;
    end(payload)?;
    let (config, automine, forks, time) = settings(&mut fields)?;
    let codes = codes(list(&mut fields)?)?;
    let (mut blocks, mut waiting) = (list(&mut fields)?, list(&mut fields)?);
    end(fields)?;

    let genesis = block(&mut blocks, None, &codes)?;
    let mut chain = Chain::new(config, genesis, time);
    (chain.automine, chain.forks) = (automine, forks);
    while !blocks.is_empty() {
        let next = block(&mut blocks, Some(chain.latest()), &codes)?;
        chain.append(next);
    }
    while !waiting.is_empty() {
        chain.pool.add(tx(&mut waiting)?).map_err(|_| damaged("waiting transactions"))?;
    }
    Ok(chain)
}

fn settings(fields: &mut &[u8]) -> Result<(Config, bool, u64, Timeline), Error> {
    let (chain_id, accounts) = (item(fields)?, item(fields)?);
    let block_time = Some(item(fields)?).filter(|ms| *ms > 0).map(Duration::from_millis);
    let (automine, forks) = (item(fields)?, item(fields)?);
    let clock = if item(fields)? { Clock::Manual } else { Clock::System };
    let offset = item::<u64>(fields)?.cast_signed();
    let (leap, exact) = (item(fields)?, Some(item(fields)?).filter(|exact| *exact > 0));
    let time = Timeline { clock, offset, leap, exact };
    Ok((Config { chain_id, accounts, block_time }, automine, forks, time))
}

fn codes(mut fields: &[u8]) -> Result<Codes, Error> {
    let mut codes = Codes::new();
    while !fields.is_empty() {
        let code: Bytes = item(&mut fields)?;
        let hash = keccak256(&code);
        let code = Bytecode::new_raw_checked(code).map_err(|_| damaged("a contract's code"))?;
        codes.insert(hash, code);
    }
    Ok(codes)
}

/// The next block, which must follow `parent` and have the roots its content has.
fn block(blocks: &mut &[u8], parent: Option<&Arc<Block>>, codes: &Codes) -> Result<Block, Error> {
    let mut fields = list(blocks)?;
    let hash: B256 = item(&mut fields)?;
    let header: BlockHeader = item(&mut fields)?;
    let mut tx_fields = list(&mut fields)?;
    let mut receipt_fields = list(&mut fields)?;
    let mut changes = list(&mut fields)?;
    end(fields)?;

    let (mut txs, mut receipts) = (Vec::new(), Vec::new());
    while !tx_fields.is_empty() {
        txs.push(tx(&mut tx_fields)?);
    }
    while !receipt_fields.is_empty() {
        let bytes: Bytes = item(&mut receipt_fields)?;
        receipts.push(envelope::<ReceiptEnvelope>(&bytes, "a receipt")?);
    }
    let mut state = parent.map(|parent| parent.state.clone()).unwrap_or_default();
    while !changes.is_empty() {
        change(list(&mut changes)?, &mut state, codes)?;
    }
    let follows = match parent {
        None => header.number == 0,
        Some(parent) => {
            parent.number().checked_add(1) == Some(header.number)
                && header.parent_hash == parent.hash()
                && header.timestamp > parent.header.timestamp
        }
    };
    let block = Block::seal(header, txs, receipts, state);
    if follows && block.hash() == hash && block.txs.len() == block.receipts.len() {
        Ok(block)
    } else {
        Err(damaged("the history of blocks"))
    }
}

fn change(mut fields: &[u8], state: &mut State, codes: &Codes) -> Result<(), Error> {
    let key: B256 = item(&mut fields)?;
    if fields.is_empty() {
        state.0.remove(&key);
        return Ok(());
    }
    let mut account = state.0.value(&key).cloned().unwrap_or_default();
    account.nonce = item(&mut fields)?;
    account.balance = item(&mut fields)?;
    account.code_hash = item(&mut fields)?;
    account.code = match account.code_hash {
        KECCAK_EMPTY => None,
        hash => Some(codes.get(&hash).cloned().ok_or_else(|| damaged("a contract's code"))?),
    };
    let mut slots = list(&mut fields)?;
    end(fields)?;
    while !slots.is_empty() {
        let mut pair = list(&mut slots)?;
        set_slot(&mut account, item(&mut pair)?, item(&mut pair)?);
        end(pair)?;
    }
    state.0.insert(key, account);
    Ok(())
}

fn set_slot(account: &mut Account, slot: B256, value: U256) {
    if value.is_zero() {
        account.storage.remove(&slot)
    } else {
        account.storage.insert(slot, value)
    }
}

fn tx(fields: &mut &[u8]) -> Result<Tx, Error> {
    let mut fields = list(fields)?;
    let (sender, bytes): (Address, Bytes) = (item(&mut fields)?, item(&mut fields)?);
    end(fields)?;
    let tx = envelope::<TxEnvelope>(&bytes, "a transaction")?;
    Ok(Arc::new(Recovered::new_unchecked(tx, sender)))
}

fn envelope<T: Decodable2718>(bytes: &Bytes, what: &str) -> Result<T, Error> {
    let mut rest = bytes.as_ref();
    let value = T::decode_2718(&mut rest).map_err(|_| damaged(what))?;
    end(rest)?;
    Ok(value)
}

fn item<T: Decodable>(fields: &mut &[u8]) -> Result<T, Error> {
    T::decode(fields).map_err(|_| damaged("a field"))
}

fn list<'a>(fields: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    Header::decode_bytes(fields, true).map_err(|_| damaged("a list"))
}

fn end(rest: &[u8]) -> Result<(), Error> {
    if rest.is_empty() { Ok(()) } else { Err(damaged("the end of a list")) }
}

fn damaged(what: &str) -> Error {
    Error::damaged(format!("the dump is damaged at {what}, start without it"))
}
