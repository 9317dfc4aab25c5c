//! Whether a reorganisation can still reach what the account sent.
//!
//! The store knows its own transactions and their blocks, also where a node lags behind them; the bodies of the last blocks
//! tell of those that the store does not know. Nonces are used in their order: before what is buried, all is.

use alloy::{
    primitives::{B256, TxKind},
    providers::Provider,
};
use depin_core::Result;

use super::{
    Found, TxSender,
    body::{Act, Body},
    mined::Mined,
    record::Record,
    store::KEPT,
};
use crate::chain::ask;

/// Says of a transaction, by its recipient and input, whether it is looked for.
pub(super) type IsMeant<'a> = &'a (dyn Fn(TxKind, &[u8]) -> bool + Send + Sync);

impl TxSender {
    /// See [`Chain::are_buried`](crate::Chain::are_buried).
    pub(crate) async fn are_buried(&self, is_meant: IsMeant<'_>) -> Result<bool> {
        Ok(self.waiting().await? == 0
            && self.stored_are_buried(is_meant).await?
            && self.has_no_young(is_meant).await?)
    }

    async fn stored_are_buried(&self, is_meant: IsMeant<'_>) -> Result<bool> {
        let used = ask(self.provider.get_transaction_count(self.account())).await?;
        for record in self.store.since(used.saturating_sub(KEPT))?.iter().rev() {
            if self.is_spent(record).await? {
                break;
            }
            let sent = record.original()?;
            let input = sent.input.input().map(AsRef::as_ref).unwrap_or_default();
            if !record.unsent && is_meant(sent.to.unwrap_or_default(), input) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether no reorganisation gives the nonce of a record back.
    async fn is_spent(&self, record: &Record) -> Result<bool> {
        let mined = match self.find(record).await? {
            Found::Final(_, receipt) => Mined::of(&receipt),
            Found::Young => None,
            Found::Nothing => record.mined(),
        };
        match mined {
            Some(mined) => self.is_buried(mined.place()).await,
            None => Ok(false),
        }
    }

    /// Whether the blocks that a reorganisation may replace have no such transaction. Each has to name the one before it;
    /// else they are of two forks, or change just now, and nothing is concluded.
    async fn has_no_young(&self, is_meant: IsMeant<'_>) -> Result<bool> {
        let head = ask(self.provider.get_block_number()).await?;
        let first = head.saturating_sub(self.patience.reorg_depth).saturating_add(1);
        let mut named: Option<B256> = None;
        for number in (first..=head).rev() {
            let told = self.told(number).await?;
            let Some(body) = told.as_deref().and_then(Body::parse) else { return Ok(false) };
            // What cannot be read may be it.
            let is_meant = |act: Option<Act>| act.is_none_or(|act| is_meant(act.to(), &act.input));
            let is_young = body.acts_of(self.account()).any(is_meant);
            if is_young || named.is_some_and(|named| named != body.hash) {
                return Ok(false);
            }
            named = Some(body.parent);
        }
        Ok(true)
    }
}
