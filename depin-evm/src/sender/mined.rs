//! Where transactions are in the chain.
//!
//! A block's hash fixes whatever is before it and what came of its transactions. So what was read of a transaction once
//! holds without its receipt, which nodes forget, for as long as its block is where it was.

use alloy::{
    eips::{BlockNumHash, BlockNumberOrTag},
    primitives::B256,
    providers::Provider,
    rpc::types::{Header, TransactionReceipt},
};
use depin_core::Result;
use serde::{Deserialize, Serialize};

use super::TxSender;
use crate::chain::ask;

/// A transaction's block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mined {
    pub(super) transaction: B256,
    pub(super) block: u64,
    pub(super) hash: B256,
}

impl Mined {
    pub(super) fn of(receipt: &TransactionReceipt) -> Option<Self> {
        let (block, hash) = (receipt.block_number?, receipt.block_hash?);
        Some(Self { transaction: receipt.transaction_hash, block, hash })
    }

    pub(super) const fn place(&self) -> BlockNumHash {
        BlockNumHash { number: self.block, hash: self.hash }
    }
}

impl TxSender {
    /// Whether the node shows no other block in the place of a transaction's.
    pub(super) async fn remains(&self, mined: Mined) -> Result<bool> {
        let there = self.header(mined.block).await?;
        Ok(there.is_none_or(|header| header.hash == mined.hash))
    }

    /// See [`Chain::is_buried`](crate::Chain::is_buried). Nodes behind one URL may be on two forks, and then one of them
    /// tells of the block and another one of the height, so each block has to name the one before it.
    pub(crate) async fn is_buried(&self, block: BlockNumHash) -> Result<bool> {
        let BlockNumHash { number: first, mut hash } = block;
        for number in first..=first.saturating_add(self.patience.reorg_depth) {
            let Some(header) = self.header(number).await? else { return Ok(false) };
            let named = if number == first { header.hash } else { header.parent_hash };
            if named != hash {
                return Ok(false);
            }
            hash = header.hash;
        }
        Ok(true)
    }

    /// The head of the block that the node has at a height.
    async fn header(&self, number: u64) -> Result<Option<Header>> {
        let block = self.provider.get_block_by_number(BlockNumberOrTag::Number(number));
        Ok(ask(block).await?.map(|block| block.header))
    }
}
