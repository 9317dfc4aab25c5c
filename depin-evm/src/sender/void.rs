//! Keys whose transaction had no effect, and when they may stand for another one.
//!
//! A block can be replaced, and then what reverted in it may succeed in the next: its bytes are public, and nodes put
//! what fell out of the chain back into their pools by themselves. A second transaction for the same intent, sent
//! meanwhile, would then be executed beside the first. So a key whose nonce was used without the effect waits until no
//! reorganisation reaches the block. Meanwhile, and ever after, nothing but fillers is offered for that nonce.

use alloy::providers::Provider;
use depin_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Found, TxSender, mined::Mined, record::Record, taken::Taker};
use crate::chain::ask;

/// How a nonce was used without the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Void {
    /// By a variant that reverted, or by one that only fills it. Where is not known of what was written down before that
    /// was kept.
    Ours,
    /// The same, in this block.
    OursIn(Mined),
    /// By another program. Where is not known of what was written down before that was looked for.
    Theirs {
        #[serde(default)]
        taken: Option<Mined>,
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
        self.store.update(record.nonce, |record| Ok(record.spend(void)))?;
        Ok(())
    }

    /// What the key of a record stands for, by what the chain shows now and not by what was reported of it.
    pub(super) async fn standing(&self, record: &Record) -> Result<Standing> {
        let Some(void) = record.void else { return Ok(Standing::Intent) };
        if self.succeeded(record).await?.is_some() {
            return Ok(Standing::Intent);
        }
        let mined = match (self.find(record).await?, void) {
            (Found::Final(mined, _), _) if mined.filler && record.unsent => {
                return Ok(Standing::Free);
            }
            (Found::Final(mined, receipt), _) if mined.filler || !receipt.status() => {
                Mined::of(&receipt)
            }
            (Found::Nothing, void) => self.spent_in(record, void).await?,
            _ => None,
        };
        // Else a reorganisation gave it another chance.
        let Some(mined) = mined else { return Ok(Standing::Intent) };
        let height = ask(self.provider.get_block_number()).await?;
        let depth = self.patience.reorg_depth;
        match depth.saturating_sub(height.saturating_sub(mined.block)) {
            0 if self.is_buried(mined.place()).await? => Ok(Standing::Free),
            left => Ok(Standing::Held(left.max(1))),
        }
    }

    /// Whether nothing is done for a record any more than to fill its nonce, which nothing is seen to have used yet.
    pub(super) async fn is_given_up(&self, record: &Record) -> Result<bool> {
        if !record.is_given_up() || self.succeeded(record).await?.is_some() {
            return Ok(false);
        }
        Ok(matches!(self.find(record).await?, Found::Nothing))
    }

    /// The block in which a record's nonce was used, unless it was replaced or is not shown.
    async fn spent_in(&self, record: &Record, void: Void) -> Result<Option<Mined>> {
        let mined = match void {
            Void::Ours => None,
            Void::OursIn(mined) | Void::Theirs { taken: Some(mined) } => Some(mined),
            Void::Theirs { taken: None } => match self.taker(record).await? {
                Taker::Theirs(taken) => Some(taken),
                Taker::Ours | Taker::Unknown => None,
            },
        };
        let Some(mined) = mined else { return Ok(None) };
        Ok(self.remains(mined).await?.then_some(mined))
    }

    /// Why a key that is held back cannot be used yet.
    pub(super) fn held(&self, record: &Record, blocks: u64) -> Error {
        let text = "the key's transaction had no effect, in a block that may yet be replaced, and then it could be \
                    executed beside another; send it again when more blocks follow";
        let error = Error::unavailable(text).with("nonce", record.nonce).with("blocks", blocks);
        error.retry_in(self.poll.saturating_mul(u32::try_from(blocks).unwrap_or(u32::MAX)))
    }
}
