//! Nonces that another program used: shown by its transaction, never guessed from what is missing.
//!
//! Nodes forget: they prune receipts, index them late, or answer behind one URL with others that never had them. So that
//! a nonce is used and no receipt is found says nothing about who used it. The block in which the account's count of
//! transactions passed the nonce says it: its body has the transaction. A node that lacks the state of that time
//! cannot show it, and then nothing is concluded.

use alloy::{
    consensus::Transaction as _,
    eips::{BlockId, BlockNumberOrTag},
    network::TransactionResponse,
    primitives::B256,
    providers::Provider,
    rpc::types::Transaction,
};
use depin_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{TxSender, record::Record};
use crate::chain::ask;

/// Where another program used a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    transaction: B256,
    pub(super) block: u64,
    pub(super) hash: B256,
}

impl Taken {
    pub(super) fn to_error(self, nonce: u64) -> Error {
        let text = "another program sent a transaction of this account with the same nonce; \
                    use one sender per account, then send again";
        let error = Error::new(ErrorKind::Conflict, text).with("nonce", nonce);
        error.with("transaction", self.transaction).with("block", self.block)
    }
}

impl TxSender {
    /// The transaction that used a record's nonce, if the node can show that it is none of ours.
    pub(super) async fn taken(&self, record: &Record) -> Result<Option<Taken>> {
        let Some(number) = self.used_in(record.nonce).await? else { return Ok(None) };
        let block = self.provider.get_block_by_number(BlockNumberOrTag::Number(number)).full();
        let Some(block) = shown(ask(block).await)?.flatten() else { return Ok(None) };
        let ours =
            |tx: &Transaction| tx.inner.signer() == self.account() && tx.nonce() == record.nonce;
        let found = block.transactions.as_transactions().unwrap_or_default();
        let found = found.iter().find(|tx| ours(tx));
        let transaction = found.map(TransactionResponse::tx_hash);
        let theirs = transaction.filter(|hash| record.variants().all(|ours| ours.hash != *hash));
        let hash = block.header.hash;
        Ok(theirs.map(|transaction| Taken { transaction, block: number, hash }))
    }

    /// The block in which a nonce was used, as far back as the node has the account's counts.
    async fn used_in(&self, nonce: u64) -> Result<Option<u64>> {
        let mut used = ask(self.provider.get_block_number()).await?;
        if self.is_used_at(nonce, used).await? != Some(true) {
            return Ok(None);
        }
        let mut step = 1_u64;
        let mut unused = loop {
            let earlier = used.saturating_sub(step);
            match self.is_used_at(nonce, earlier).await? {
                Some(true) if earlier > 0 => (used, step) = (earlier, step.saturating_mul(2)),
                Some(false) => break earlier,
                _ => return Ok(None),
            }
        };
        while unused + 1 < used {
            let middle = unused + (used - unused) / 2;
            match self.is_used_at(nonce, middle).await? {
                Some(true) => used = middle,
                Some(false) => unused = middle,
                None => return Ok(None),
            }
        }
        Ok(Some(used))
    }

    /// Whether a nonce was used when a block was the latest; `None` when the node does not know any more.
    async fn is_used_at(&self, nonce: u64, number: u64) -> Result<Option<bool>> {
        let count = self.provider.get_transaction_count(self.account());
        let count = shown(ask(count.block_id(BlockId::number(number))).await)?;
        Ok(count.map(|count| count > nonce))
    }
}

/// What the node shows: nothing, when it refuses to.
fn shown<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if !error.is_retryable() => Ok(None),
        answer => answer.map(Some),
    }
}
