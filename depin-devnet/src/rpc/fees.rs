//! What a transaction should pay.

use alloy::{
    consensus::Transaction,
    eips::BlockNumberOrTag,
    primitives::{U64, U256},
    rpc::types::FeeHistory,
};

use super::{Answer, fixed, json, params::Params};
use crate::{
    Devnet,
    block::Block,
    error::{Error, ErrorKind},
};

pub(super) fn gas_price(devnet: &Devnet, params: Params<'_>) -> Answer {
    params.end()?;
    json(U256::from(devnet.chain().next_base_fee()) + U256::from(SUGGESTED_TIP))
}

pub(super) fn priority_fee(params: Params<'_>) -> Answer {
    fixed(params, U256::from(SUGGESTED_TIP))
}

pub(super) fn blob_base_fee(params: Params<'_>) -> Answer {
    fixed(params, U256::from(1))
}

pub(super) fn history(devnet: &Devnet, mut params: Params<'_>) -> Answer {
    let count: U64 = params.need("blockCount")?;
    let newest: BlockNumberOrTag = params.need("newestBlock")?;
    let percentiles: Vec<f64> = params.may("rewardPercentiles")?.unwrap_or_default();
    params.end()?;
    check_percentiles(&percentiles)?;
    let chain = devnet.chain();
    let newest = match newest {
        BlockNumberOrTag::Pending => chain.height(),
        tag => chain.number(tag),
    };
    let Some(last) = chain.block(newest) else {
        return Err(Error::new(ErrorKind::Missing, "request beyond head block"));
    };
    let count = count.to::<u64>().min(MAX_BLOCKS).min(newest.saturating_add(1));
    let oldest = newest.saturating_add(1).saturating_sub(count);
    let blocks: Vec<&Block> = (oldest..=newest)
        .take(usize::try_from(count).unwrap_or(0))
        .filter_map(|n| chain.block(n))
        .map(|b| &**b)
        .collect();
    let fees = blocks.iter().map(|block| block.base_fee()).chain([last.next_base_fee()]);
    let filled = |block: &&Block| block.header.gas_used as f64 / block.header.gas_limit as f64;
    let rewards = || blocks.iter().map(|block| tips(block, &percentiles)).collect();
    json(FeeHistory {
        base_fee_per_gas: fees.map(u128::from).collect(),
        gas_used_ratio: blocks.iter().map(filled).collect(),
        base_fee_per_blob_gas: vec![1; blocks.len() + 1],
        blob_gas_used_ratio: vec![0.0; blocks.len()],
        oldest_block: oldest,
        reward: (!percentiles.is_empty()).then(rewards),
    })
}

/// The tips below which the given shares of a block's gas were bought.
fn tips(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let tip = |index: usize| block.txs.get(index)?.effective_tip_per_gas(block.base_fee());
    let mut paid: Vec<(u128, u64)> = (0..block.txs.len())
        .map(|index| (tip(index).unwrap_or_default(), block.gas_used(index)))
        .collect();
    paid.sort_unstable();
    let total = block.header.gas_used as f64;
    let at = |percentile: &f64| {
        let mut bought = 0.0;
        let reached = paid.iter().find(|(_, gas)| {
            bought += *gas as f64;
            bought >= total * percentile / 100.0
        });
        reached.or_else(|| paid.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(at).collect()
}

fn check_percentiles(percentiles: &[f64]) -> Result<(), Error> {
    let rising = percentiles.is_sorted();
    let in_range = percentiles.iter().all(|p| (0.0..=100.0).contains(p));
    if percentiles.len() <= MAX_PERCENTILES && rising && in_range {
        Ok(())
    } else {
        Err(Error::invalid("reward percentiles must rise from 0 to 100, at most 100 of them"))
    }
}

/// 1 gwei.
const SUGGESTED_TIP: u64 = 1_000_000_000;

const MAX_BLOCKS: u64 = 1_024;
const MAX_PERCENTILES: usize = 100;
