//! Nonces that nothing uses, before stored ones that wait for them.
//!
//! A new store starts behind whatever waits in the node's pool, and nonces that others have used are passed over. When
//! the pool forgets the one or a reorganisation takes back the other, all that was signed since would wait for ever.
//! Such a nonce is filled with an empty transaction. That pays nobody twice, whoever may still have other bytes for it:
//! the chain executes one transaction of a nonce, and the filler pays nobody. What waits in the pool is left alone, and
//! what is stored is sent again instead.

use alloy::providers::Provider;
use depin_core::Result;
use tokio::time::Instant;

use super::{
    TxSender,
    fees::Quote,
    record::{Record, Variant},
    store::KEPT,
    tend::Sending,
};
use crate::chain::ask;

/// A nonce that nothing is known to use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    nonce: u64,
    since: Instant,
}

impl TxSender {
    /// Fills nonces that `records`, all from `used` on, wait for in vain for as long as it takes to replace one of them.
    pub(super) async fn fill_gaps(
        &self,
        seen: &mut Option<Gap>,
        used: u64,
        records: &[Record],
    ) -> Result<()> {
        if records.iter().zip(used..).all(|(record, nonce)| record.nonce == nonce) {
            *seen = None;
            return Ok(());
        }
        for _ in 0..MAX_FILLED {
            // The first nonce that is neither mined nor in the pool.
            let next = ask(self.provider.get_transaction_count(self.account()).pending()).await?;
            let Some(stored) = self.store.first_from(next)? else {
                *seen = None;
                return Ok(());
            };
            // The node is behind and says nothing of it.
            if next < used {
                return Ok(());
            }
            // A stored transaction is on its way: whatever was seen before was no gap.
            if stored == next {
                *seen = None;
                return Ok(());
            }
            if stored - next > KEPT {
                tracing::warn!(next, stored, "the node is too far behind the store to fill nonces");
                return Ok(());
            }
            let gap = seen.filter(|gap| gap.nonce == next);
            let since = gap.map_or_else(Instant::now, |gap| gap.since);
            *seen = Some(Gap { nonce: next, since });
            if since.elapsed() < self.patience.replace_after {
                return Ok(());
            }
            self.fill_gap(next).await?;
            *seen = Some(Gap { nonce: next.saturating_add(1), since });
        }
        Ok(())
    }

    async fn fill_gap(&self, nonce: u64) -> Result<()> {
        tracing::warn!(nonce, "later transactions wait for a nonce that nothing uses; filling it");
        let mut tx = self.filler().await;
        Quote::ask(&self.provider).await?.fees.apply(&mut tx);
        let record = Record::filling(nonce, Variant::sign(&self.signer, tx, nonce, true)?);
        self.store.insert(&record)?;
        self.broadcast(record, Sending::First).await
    }
}

/// How many nonces are filled at one look.
const MAX_FILLED: u32 = 64;
