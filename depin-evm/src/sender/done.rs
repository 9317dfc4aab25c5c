//! Transactions that succeeded, and what a node that does not tell of them proves.
//!
//! Nodes forget: they prune old receipts, index them late, or answer behind one URL with others that never had them. So
//! a receipt that is missing is no sign that nothing happened. A success is written down with its block before anybody
//! hears of it, and stands until the node shows another block in that place.

use alloy::{
    eips::BlockNumberOrTag,
    primitives::B256,
    providers::Provider,
    rpc::types::{Header, TransactionReceipt},
};
use depin_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{TxSender, record::Record, void::Void};
use crate::chain::ask;

/// Where a transaction succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) transaction: B256,
    pub(crate) block: u64,
    hash: B256,
}

impl Done {
    fn of(receipt: &TransactionReceipt) -> Option<Self> {
        let (block, hash) = (receipt.block_number?, receipt.block_hash?);
        Some(Self { transaction: receipt.transaction_hash, block, hash })
    }
}

impl TxSender {
    /// Writes down that the transaction of a key succeeded.
    pub(super) fn done(&self, record: &Record, receipt: &TransactionReceipt) -> Result<()> {
        let done = Done::of(receipt);
        if record.key.is_none() || done.is_none() || record.done == done {
            return Ok(());
        }
        self.store.update(record.nonce, |record| {
            record.done = done;
            Ok(true)
        })?;
        Ok(())
    }

    /// Whether a record succeeded in a block that the node does not show to be replaced.
    pub(super) async fn stands(&self, record: &Record) -> Result<bool> {
        let Some(done) = record.done else { return Ok(false) };
        let there = self.header(done.block).await?;
        Ok(there.is_none_or(|header| header.hash == done.hash))
    }

    /// Why no variant of a record is found though its nonce is used.
    pub(super) async fn lost(&self, record: &Record) -> Result<Error> {
        if self.stands(record).await? {
            return Ok(untold(record));
        }
        let Some(taken) = self.taken(record).await? else { return Ok(untold(record)) };
        self.void(record, Void::Theirs { taken: Some(taken) })?;
        Ok(taken.to_error(record.nonce))
    }

    /// The head of the block that the node has at a height.
    pub(super) async fn header(&self, number: u64) -> Result<Option<Header>> {
        let block = self.provider.get_block_by_number(BlockNumberOrTag::Number(number));
        Ok(ask(block).await?.map(|block| block.header))
    }
}

/// That the node is the wrong one to ask.
pub(super) fn untold(record: &Record) -> Error {
    let Some(done) = record.done else {
        let text = "the transaction's nonce is used, and the node does not show by what; use a node that keeps all \
                    receipts, or all states when another program may have used it";
        let error = Error::unavailable(text).with("transaction", record.newest().hash);
        return error.with("nonce", record.nonce);
    };
    let text = "the transaction succeeded earlier, and the node does not tell of it; use a node that has its receipt";
    Error::unavailable(text).with("transaction", done.transaction).with("block", done.block)
}
