//! A block so deep that no other takes its place, at which what is final is read.
//!
//! The latest block may be taken back, and nodes behind one address do not all have it. So nothing that cannot be
//! undone is decided from it: time, nonces and receipts are read at one deep block, by its hash.

use depin_core::{B256, Error, Result, U256};
use depin_evm::{
    Chain,
    alloy::{
        eips::{BlockId, BlockNumberOrTag},
        providers::Provider,
        rpc::types::TransactionReceipt,
    },
};

/// How many blocks have to follow one before it is final, unless told.
pub(super) const CONFIRMATIONS: u64 = 64;

/// A block that is final.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deep {
    pub(super) number: u64,
    hash: B256,
    /// Its time, in seconds since the Unix epoch.
    pub(super) time: U256,
}

impl Deep {
    /// The newest block that so many others follow; none on a chain that is too short for one.
    pub(super) async fn newest(chain: &Chain, confirmations: u64) -> Result<Option<Self>> {
        let provider = chain.provider();
        let latest = chain.ask(provider.get_block_number()).await?;
        let Some(number) = latest.checked_sub(confirmations) else { return Ok(None) };
        let block = provider.get_block_by_number(BlockNumberOrTag::Number(number));
        let block = chain.ask(block.into_future()).await?.ok_or_else(lagging)?;
        let time = U256::from(block.header.timestamp);
        Ok(Some(Self { number, hash: block.header.hash, time }))
    }

    /// Reads at this block and no other of its number: a node that does not have it is no answer.
    pub(super) fn id(&self) -> BlockId {
        BlockId::hash_canonical(self.hash)
    }

    /// Whether a receipt is of this block or one before it, as far as the node knows.
    pub(super) async fn has(&self, chain: &Chain, receipt: &TransactionReceipt) -> Result<bool> {
        let Some(number) = receipt.block_number.filter(|number| *number <= self.number) else {
            return Ok(false);
        };
        let block = chain.provider().get_block_by_number(BlockNumberOrTag::Number(number));
        let block = chain.ask(block.into_future()).await?.ok_or_else(lagging)?;
        Ok(receipt.block_hash == Some(block.header.hash))
    }
}

fn lagging() -> Error {
    Error::unavailable("the node lacks a block that it had a moment ago; ask again")
}
