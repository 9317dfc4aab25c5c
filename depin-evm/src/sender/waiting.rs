//! What waits to be mined.
//!
//! Some nodes, as IoTeX's, count what waits in their pool among the nonces that are used. So a count alone does not tell
//! that nothing waits: the records do, of what is stored here, and of others' transactions the count at a height, from
//! nodes that keep old states.

use alloy::providers::Provider;
use depin_core::{Error, ErrorKind, Result};

use super::{Found, TxSender, record::Record, store::KEPT};
use crate::chain::ask;

impl TxSender {
    /// Waits until every stored transaction is mined.
    pub(crate) async fn settle_all(&self) -> Result<()> {
        let used = ask(self.provider.get_transaction_count(self.account())).await?;
        for record in self.store.since(used.saturating_sub(KEPT))? {
            if record.nonce < used && !self.is_open(&record).await? {
                continue;
            }
            match self.settle(record.nonce).await.map_err(Error::from) {
                // Reverts, refusals and lost nonces are final; whoever sent it hears of them.
                Err(error)
                    if !matches!(error.kind(), ErrorKind::Rejected | ErrorKind::Conflict) =>
                {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// See [`Chain::waiting`](crate::Chain::waiting).
    pub(crate) async fn waiting(&self) -> Result<u64> {
        let count = || self.provider.get_transaction_count(self.account());
        // In this order: what is mined in between does not count as waiting.
        let sent = ask(count().pending()).await?;
        let used = ask(count()).await?;
        let height = ask(self.provider.get_block_number()).await?;
        let mined = self.used_at(height).await?.unwrap_or(used);
        Ok(sent.saturating_sub(mined.min(used)))
    }

    /// Whether there is something to settle of a record though its nonce counts as used: it waits in the node's pool, or
    /// nobody has taken down yet what came of it.
    async fn is_open(&self, record: &Record) -> Result<bool> {
        if record.done.is_some() || record.void.is_some() {
            return Ok(false);
        }
        match self.find(record).await? {
            Found::Final(..) => return Ok(true),
            Found::Young => return Ok(false),
            Found::Nothing => {}
        }
        for variant in record.variants() {
            let told = ask(self.provider.get_transaction_by_hash(variant.hash)).await?;
            if told.is_some_and(|told| told.block_number.is_none()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
