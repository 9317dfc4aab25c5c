//! Methods that steer the chain; real networks have none of them.

use alloy::primitives::{Address, B256, Bytes, U64, U256};
use serde::Deserialize;

use super::{Answer, json, params::Params, unknown_method};
use crate::{Devnet, devnet::unix_now, error::Error};

pub(super) fn answer(devnet: &Devnet, method: &str, mut params: Params<'_>) -> Answer {
    match method {
        "evm_snapshot" => {
            params.end()?;
            json(U64::from(devnet.chain().snapshot()?))
        }
        "evm_revert" => {
            let id = quantity(&mut params, "snapshot")?;
            params.end()?;
            json(devnet.chain().revert(id))
        }
        "evm_increaseTime" => {
            let seconds = quantity(&mut params, "seconds")?;
            params.end()?;
            json(devnet.chain().time.increase(seconds)?)
        }
        "evm_setNextBlockTimestamp" => {
            let timestamp = quantity(&mut params, "timestamp")?;
            params.end()?;
            devnet.set_next_block_timestamp(timestamp)?;
            json(())
        }
        "evm_setAutomine" => {
            let automine: bool = params.need("automine")?;
            params.end()?;
            devnet.set_automine(automine);
            json(())
        }
        "evm_mine" => evm_mine(devnet, params),
        "anvil_mine" => anvil_mine(devnet, params),
        "anvil_setBalance" => {
            let (address, balance): (Address, U256) =
                (params.need("address")?, params.need("balance")?);
            params.end()?;
            devnet.set_balance(address, balance);
            json(())
        }
        "anvil_setCode" => {
            let (address, code): (Address, Bytes) = (params.need("address")?, params.need("code")?);
            params.end()?;
            devnet.set_code(address, code);
            json(())
        }
        "anvil_dropTransaction" => {
            let hash: B256 = params.need("hash")?;
            params.end()?;
            json(devnet.drop_transaction(hash).then_some(hash))
        }
        "anvil_reorg" => anvil_reorg(devnet, params),
        _ => Err(unknown_method(method)),
    }
}

/// `evm_mine`'s parameter: a timestamp, or one with a number of blocks.
#[derive(Deserialize)]
#[serde(untagged)]
enum MineOptions {
    Timestamp(U64),
    #[serde(rename_all = "camelCase")]
    Options {
        timestamp: Option<U64>,
        blocks: Option<U64>,
    },
}

fn evm_mine(devnet: &Devnet, mut params: Params<'_>) -> Answer {
    let (timestamp, blocks) = match params.may("options")? {
        None => (None, None),
        Some(MineOptions::Timestamp(timestamp)) => (Some(timestamp), None),
        Some(MineOptions::Options { timestamp, blocks }) => (timestamp, blocks),
    };
    params.end()?;
    let blocks = checked_blocks(blocks)?;
    if let Some(timestamp) = timestamp {
        devnet.set_next_block_timestamp(timestamp.to())?;
    }
    devnet.mine(blocks);
    json("0x0")
}

fn anvil_mine(devnet: &Devnet, mut params: Params<'_>) -> Answer {
    let blocks = checked_blocks(params.may("blocks")?)?;
    let interval: Option<U64> = params.may("interval")?;
    params.end()?;
    let mut chain = devnet.chain();
    for block in 0..blocks {
        if let (Some(interval), 1..) = (interval, block) {
            let parent = chain.latest().header.timestamp;
            chain.time.set_next(parent.saturating_add(interval.to()), parent)?;
        }
        chain.mine(unix_now());
    }
    json(())
}

/// Takes a depth, and an empty list of replacement transactions as anvil does.
fn anvil_reorg(devnet: &Devnet, mut params: Params<'_>) -> Answer {
    let depth = quantity(&mut params, "depth")?;
    let replacements: Vec<serde_json::Value> = params.may("transactions")?.unwrap_or_default();
    params.end()?;
    if !replacements.is_empty() {
        return Err(Error::invalid("replacement transactions are not supported, send them after"));
    }
    devnet.reorg(depth)?;
    json(())
}

fn checked_blocks(blocks: Option<U64>) -> Result<u64, Error> {
    let blocks = blocks.map_or(1, |blocks| blocks.to());
    if blocks > MAX_BLOCKS {
        return Err(Error::invalid(format!("at most {MAX_BLOCKS} blocks can be mined at once")));
    }
    Ok(blocks)
}

fn quantity(params: &mut Params<'_>, name: &str) -> Result<u64, Error> {
    params.need::<U64>(name).map(|quantity| quantity.to())
}

const MAX_BLOCKS: u64 = 100_000;
