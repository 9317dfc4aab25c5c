//! From a chain to the payload of a dump.

use std::collections::BTreeMap;

use alloy::{
    consensus::constants::KECCAK_EMPTY,
    eips::eip2718::Encodable2718,
    primitives::{B256, Bytes, U256},
    rlp::{Encodable, Header},
};

use crate::{
    block::{Block, Tx},
    chain::Chain,
    clock::Clock,
    state::{Account, State},
    trie::Trie,
};

type Out = Vec<u8>;

pub(super) fn chain(chain: &Chain) -> Out {
    let blocks = chain.blocks();
    let mut codes = BTreeMap::new();
    let history = list(|out| {
        let mut before = State::default();
        for block in blocks {
            encode_block(block, &before, &mut codes, out);
            before = block.state.clone();
        }
    });
    list(|out| {
        settings(chain, out);
        out.extend(list(|out| codes.values().for_each(|code| code.encode(out))));
        out.extend(history);
        out.extend(list(|out| chain.pool.iter().for_each(|tx| encode_tx(tx, out))));
    })
}

fn settings(chain: &Chain, out: &mut Out) {
    let time = chain.time;
    chain.config.chain_id.encode(out);
    chain.config.accounts.encode(out);
    chain.config.block_time.map_or(0, |time| time.as_millis() as u64).encode(out);
    chain.automine.encode(out);
    chain.forks.encode(out);
    matches!(time.clock, Clock::Manual).encode(out);
    time.offset.cast_unsigned().encode(out);
    time.leap.encode(out);
    time.exact.unwrap_or(0).encode(out);
}

fn encode_block(block: &Block, before: &State, codes: &mut BTreeMap<B256, Bytes>, out: &mut Out) {
    out.extend(list(|out| {
        block.hash().encode(out);
        block.header.inner().encode(out);
        out.extend(list(|out| block.txs.iter().for_each(|tx| encode_tx(tx, out))));
        out.extend(list(|out| {
            block.receipts.iter().for_each(|receipt| receipt.encoded_2718().as_slice().encode(out));
        }));
        out.extend(list(|out| {
            for (key, account) in before.0.changes(&block.state.0) {
                let old = before.0.value(&key);
                out.extend(list(|out| encode_change(key, old, account.as_ref(), codes, out)));
            }
        }));
    }));
}

/// `[key]` for an account that is gone, else `[key, nonce, balance, code hash, [[slot, value]]]`.
fn encode_change(
    key: B256,
    old: Option<&Account>,
    new: Option<&Account>,
    codes: &mut BTreeMap<B256, Bytes>,
    out: &mut Out,
) {
    key.encode(out);
    let Some(new) = new else { return };
    new.nonce.encode(out);
    new.balance.encode(out);
    new.code_hash.encode(out);
    if new.code_hash != KECCAK_EMPTY {
        codes.entry(new.code_hash).or_insert_with(|| new.code());
    }
    let nothing = Trie::default();
    let slots = old.map_or(&nothing, |old| &old.storage).changes(&new.storage);
    out.extend(list(|out| {
        for (slot, value) in slots {
            out.extend(list(|out| {
                slot.encode(out);
                // Zero means gone, as in the state itself.
                value.unwrap_or(U256::ZERO).encode(out);
            }));
        }
    }));
}

/// `[sender, signed transaction]`.
fn encode_tx(tx: &Tx, out: &mut Out) {
    out.extend(list(|out| {
        tx.signer().encode(out);
        tx.encoded_2718().as_slice().encode(out);
    }));
}

fn list(fill: impl FnOnce(&mut Out)) -> Out {
    let mut payload = Vec::new();
    fill(&mut payload);
    let mut out = Vec::with_capacity(payload.len() + 9);
    Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend(payload);
    out
}
