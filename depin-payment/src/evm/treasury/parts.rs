//! Batches that revert on chain for a reason that no simulation shows: they are paid in parts.
//!
//! A recipient may let every simulation pass and revert in blocks alone. Who it is shows only by sending, and a smaller
//! batch under another key could be executed beside the whole, which reverted in a block that may yet be replaced. So
//! the key of the whole is closed first: used up by a transfer of nothing to nobody. That also shows that the token
//! moves on chain, so that it is a recipient's fault. When no reorganisation reaches the closing any more, the whole can
//! never be executed, and each part is a batch under a key of its own, divided again where it reverts. How deep it is, headers
//! tell from the block of its event on: states of that time, which nodes drop, are not asked. The chain alone tells all of
//! this; no journal has to.

use depin_core::{Address, Amount, B256, Error, Result, keccak256};
use depin_evm::{alloy::providers::Provider, bindings::Disperse};

use super::{
    Treasury,
    journal::Journal,
    transfers::{Batch, Outcome},
};
use crate::evm::calls::{patiently, read_all};

impl Batch<'_> {
    /// The batches that it is paid in once its key is closed; each is smaller.
    pub(super) fn parts(&self) -> impl DoubleEndedIterator<Item = Self> {
        let size = self.payments.len().div_ceil(PARTS).max(1);
        let parts: Vec<_> = (0_u64..).zip(self.payments.chunks(size)).collect();
        parts.into_iter().map(|(number, payments)| {
            let parts: [&[u8]; 3] = [PART, self.key.as_slice(), &number.to_be_bytes()];
            Self { key: keccak256(parts.concat()), payments, is_part: true, ..self.clone() }
        })
    }
}

impl Treasury {
    /// Goes on with a batch that reverts on chain though each of its recipients could be paid: closes its key, or leaves
    /// out who stands alone in it. Nobody is blamed before the token was seen to move on chain.
    pub(super) async fn divide(
        &self,
        batch: &Batch<'_>,
        payments: &[(Address, Amount)],
        journal: &mut Journal,
        (transaction, error): (B256, Error),
    ) -> Result<Outcome> {
        let [(account, _)] = payments else { return self.close(batch, journal, error).await };
        if !batch.is_part && journal.sent().is_empty() {
            return Ok(Outcome::Stuck(error));
        }
        journal.skip(*account, ALONE, super::Refusal::Reverted { transaction })?;
        self.leave_out(batch, journal).await
    }

    /// Why the parts of a batch cannot be sent yet: its closing may be taken back, and the whole be executed beside them.
    pub(super) async fn unburied(&self, batch: &Batch<'_>) -> Result<Option<Error>> {
        // Whoever sent a part knew it.
        if self.has_parts(batch).await? {
            return Ok(None);
        }
        let block = self.closed_at(batch).await?;
        if patiently(|| self.chain.is_buried(block)).await? {
            return Ok(None);
        }
        let text = "the batch reverts on chain for one of its recipients whom no simulation shows, and is paid in parts \
                    when no reorganisation can take back that it is closed; run it again with the same journal when so many \
                    blocks followed, perhaps more than once";
        let error = Error::unavailable(text).with("run", batch.list.id());
        Ok(Some(error.with("batch", batch.index).with("blocks", self.chain.reorg_depth())))
    }

    /// Whether the key of any part of a batch is used.
    async fn has_parts(&self, batch: &Batch<'_>) -> Result<bool> {
        let contract = Disperse::new(batch.disperse, self.chain.provider());
        let account = self.chain.account();
        let calls = batch.parts().map(|part| contract.paidBatch(account, part.key));
        let used = read_all(&self.chain, &calls.collect::<Vec<_>>()).await?;
        Ok(used.iter().any(|used| !used.is_zero()))
    }

    pub(super) async fn head(&self) -> Result<u64> {
        patiently(|| self.chain.ask(self.chain.provider().get_block_number())).await
    }
}

/// What is said of somebody who stands alone.
const ALONE: &str = "the transfer reverts on chain alone, though every simulation pays it";
/// Into how many parts a batch is divided: with two it would take three times as many waits to come to one of 450.
const PARTS: usize = 8;
const PART: &[u8] = b"depin treasury part 1:";
