//! Finding logs in blocks.

use alloy::rpc::types::{Filter, FilterBlockOption, Log};

use crate::{
    block::Block,
    chain::Chain,
    error::{Error, ErrorKind},
};

/// `eth_getLogs`.
///
/// # Errors
/// For an unknown block hash, an impossible range, and answers beyond the limit.
pub(crate) fn logs(chain: &Chain, filter: &Filter) -> Result<Vec<Log>, Error> {
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let block = chain.block_by_hash(&hash);
            let block = block.ok_or_else(|| Error::new(ErrorKind::Missing, "unknown block"))?;
            (block.number(), block.number())
        }
        FilterBlockOption::Range { from_block, to_block } => (
            chain.number(from_block.unwrap_or_default()),
            chain.number(to_block.unwrap_or_default()).min(chain.height()),
        ),
    };
    if let FilterBlockOption::Range { to_block: Some(to_block), .. } = filter.block_option
        && chain.number(to_block) < from
    {
        return Err(Error::invalid(format!("invalid block range: from {from} to {to}")));
    }
    check_range(chain, filter, from)?;
    let mut found = Vec::new();
    for number in from..=to {
        if let Some(block) = chain.block(number) {
            append_logs(block, filter, false, &mut found);
        }
        if found.len() > MAX_LOGS {
            let text = format!("query returned more than {MAX_LOGS} results, narrow the range");
            return Err(Error::new(ErrorKind::Limit, text));
        }
    }
    Ok(found)
}

/// What is asked for counts, whether there are so many blocks or not.
fn check_range(chain: &Chain, filter: &Filter, from: u64) -> Result<(), Error> {
    let FilterBlockOption::Range { to_block, .. } = filter.block_option else { return Ok(()) };
    let to = chain.number(to_block.unwrap_or_default());
    if to.saturating_sub(from) < chain.log_range {
        return Ok(());
    }
    let text = format!("block range is too large, the most is {}", chain.log_range);
    Err(Error::new(ErrorKind::Limit, text))
}

/// Appends what matches in one block, whatever blocks the filter names by tag.
pub(crate) fn append_logs(block: &Block, filter: &Filter, removed: bool, found: &mut Vec<Log>) {
    if !filter.matches_bloom(block.header.logs_bloom) || !covers(filter, block) {
        return;
    }
    for index in 0..block.receipts.len() {
        found.extend(receipt_logs(block, index, removed).filter(|log| filter.matches(&log.inner)));
    }
}

/// The logs of one transaction with their place in the chain.
pub(crate) fn receipt_logs(
    block: &Block,
    index: usize,
    removed: bool,
) -> impl Iterator<Item = Log> {
    let first = block.logs_before(index);
    let logs = block.receipts.get(index).map(|receipt| receipt.logs()).unwrap_or_default();
    let transaction_hash = block.txs.get(index).map(|tx| *tx.tx_hash());
    logs.iter().enumerate().map(move |(position, log)| Log {
        inner: log.clone(),
        block_hash: Some(block.hash()),
        block_number: Some(block.number()),
        block_timestamp: Some(block.header.timestamp),
        transaction_hash,
        transaction_index: Some(index as u64),
        log_index: Some((first + position) as u64),
        removed,
    })
}

/// Whether a block lies in the numbers or has the hash a filter names; tags are open ends.
fn covers(filter: &Filter, block: &Block) -> bool {
    match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => hash == block.hash(),
        FilterBlockOption::Range { from_block, to_block } => {
            let number = block.number();
            from_block.and_then(|from| from.as_number()).is_none_or(|from| from <= number)
                && to_block.and_then(|to| to.as_number()).is_none_or(|to| number <= to)
        }
    }
}

/// Most logs in one answer.
const MAX_LOGS: usize = 10_000;
