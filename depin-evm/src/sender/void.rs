//! Keys whose transaction had no effect, and when they may stand for another one.
//!
//! A block can be replaced, and then what reverted in it may succeed in the next: its bytes are public, and nodes put
//! what fell out of the chain back into their pools by themselves. A second transaction for the same intent, sent
//! meanwhile, would then be executed beside the first. So a key whose nonce was used without the effect waits until no
//! reorganisation reaches the block. Meanwhile, and ever after, nothing but fillers is offered for that nonce.

use alloy::{primitives::B256, providers::Provider};
use depin_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Found, TxSender, record::Record, taken::Taken};
use crate::chain::ask;

/// How a nonce was used without the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Void {
    /// By a variant that reverted, or by one that only fills it. The chain tells in which block.
    Ours,
    /// By another program. Where is not known of what was written down before that was looked for.
    Theirs {
        #[serde(default)]
        taken: Option<Taken>,
    },
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
            let is_news = record.void != Some(void);
            record.void = Some(void);
            Ok(is_news)
        })?;
        Ok(())
    }

    /// What the key of a record stands for, by what the chain shows now and not by what was reported of it.
    pub(super) async fn standing(&self, record: &Record) -> Result<Standing> {
        let Some(void) = record.void else { return Ok(Standing::Intent) };
        if self.stands(record).await? {
            return Ok(Standing::Intent);
        }
        let place = match (self.find(record).await?, void) {
            (Found::Final(mined, _), _) if mined.filler && record.unsent => {
                return Ok(Standing::Free);
            }
            (Found::Final(mined, receipt), _) if mined.filler || !receipt.status() => {
                receipt.block_number.zip(receipt.block_hash)
            }
            (Found::Nothing, Void::Theirs { taken }) => self.taken_in(record, taken).await?,
            _ => None,
        };
        // Else a reorganisation gave it another chance.
        let Some((block, hash)) = place else { return Ok(Standing::Intent) };
        let height = ask(self.provider.get_block_number()).await?;
        let depth = self.patience.reorg_depth;
        match depth.saturating_sub(height.saturating_sub(block)) {
            0 if self.is_buried(block, hash).await? => Ok(Standing::Free),
            left => Ok(Standing::Held(left.max(1))),
        }
    }

    /// The block in which another program used a record's nonce, unless it was replaced or is not shown.
    async fn taken_in(&self, record: &Record, known: Option<Taken>) -> Result<Option<(u64, B256)>> {
        let taken = match known {
            Some(taken) => Some(taken),
            None => self.taken(record).await?,
        };
        let Some(taken) = taken else { return Ok(None) };
        let there = self.header(taken.block).await?;
        let stands = there.is_none_or(|header| header.hash == taken.hash);
        Ok(stands.then_some((taken.block, taken.hash)))
    }

    /// Whether a block is in the chain, below as many others as a reorganisation may replace. Each of them has to name the
    /// one before it, since nodes behind one URL may be on two forks, and then one of them tells of the block and another
    /// one of the height.
    async fn is_buried(&self, first: u64, mut hash: B256) -> Result<bool> {
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
}
