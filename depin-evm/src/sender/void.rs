//! Keys whose transaction had no effect, and when they may stand for another one.
//!
//! A block can be replaced, and then what reverted in it may succeed in the next: its bytes are public, and nodes put
//! what fell out of the chain back into their pools by themselves. A second transaction for the same intent, sent
//! meanwhile, would then be executed beside the first. So a key whose nonce was used without the effect waits until no
//! reorganisation reaches the block. Meanwhile, and ever after, nothing but fillers is offered for that nonce.

use alloy::{providers::Provider, rpc::types::TransactionReceipt};
use depin_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Found, TxSender, record::Record};
use crate::chain::ask;

/// How a nonce was used without the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Void {
    /// By a variant that reverted, or by one that only fills it. The chain tells in which block.
    Ours,
    /// By another program, noticed when the chain was so high.
    Theirs { height: u64 },
}

/// What a key stands for.
pub(super) enum Standing {
    /// A transaction that succeeded, or still may.
    Intent,
    /// One without effect, until so many more blocks follow.
    Held(u64),
    /// Nothing any more.
    Free,
}

impl TxSender {
    /// Writes down that a transaction had no effect, before anybody hears of it.
    pub(super) fn void(&self, record: &Record, void: Void) -> Result<()> {
        self.store.update(record.nonce, |record| {
            // It counts from when another program's transaction was noticed first.
            let same =
                matches!((record.void, void), (Some(Void::Theirs { .. }), Void::Theirs { .. }));
            if same || record.void == Some(void) {
                return Ok(false);
            }
            record.void = Some(void);
            Ok(true)
        })?;
        Ok(())
    }

    /// What the key of a record stands for, by what the chain shows now and not by what was reported of it.
    pub(super) async fn standing(&self, record: &Record) -> Result<Standing> {
        let Some(void) = record.void else { return Ok(Standing::Intent) };
        if self.stands(record).await? {
            return Ok(Standing::Intent);
        }
        let (block, receipt) = match (self.find(record).await?, void) {
            (Found::Final(mined, _), _) if mined.filler && record.unsent => {
                return Ok(Standing::Free);
            }
            (Found::Final(mined, receipt), _) if mined.filler || !receipt.status() => {
                (receipt.block_number, Some(receipt))
            }
            (Found::Nothing, Void::Theirs { height }) if self.is_used(record.nonce).await? => {
                (Some(height), None)
            }
            _ => (None, None),
        };
        // Else a reorganisation gave it another chance.
        let Some(block) = block else { return Ok(Standing::Intent) };
        let height = ask(self.provider.get_block_number()).await?;
        let follow = height.saturating_sub(block);
        let depth = self.patience.reorg_depth;
        match (depth.saturating_sub(follow), receipt) {
            (0, Some(receipt)) if !self.is_buried(&receipt).await? => {
                Ok(Standing::Held(depth.max(1)))
            }
            (0, _) => Ok(Standing::Free),
            (left, _) => Ok(Standing::Held(left)),
        }
    }

    /// Whether the block of a receipt is in the chain, below as many others as a reorganisation may replace. Each of
    /// them has to name the one before it, since nodes behind one URL may be on two forks, and then one of them tells of
    /// the receipt and another one of the height.
    async fn is_buried(&self, receipt: &TransactionReceipt) -> Result<bool> {
        let (Some(first), Some(mut hash)) = (receipt.block_number, receipt.block_hash) else {
            return Ok(false);
        };
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

    /// Why a key that is held back cannot be used yet.
    pub(super) fn held(&self, record: &Record, blocks: u64) -> Error {
        let text = "the key's transaction had no effect, in a block that may yet be replaced, and then it could be \
                    executed beside another; send it again when more blocks follow";
        let error = Error::unavailable(text).with("nonce", record.nonce).with("blocks", blocks);
        error.retry_in(self.poll.saturating_mul(u32::try_from(blocks).unwrap_or(u32::MAX)))
    }

    async fn is_used(&self, nonce: u64) -> Result<bool> {
        ask(self.provider.get_transaction_count(self.account())).await.map(|used| used > nonce)
    }
}
