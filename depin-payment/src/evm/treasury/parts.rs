//! Batches that revert on chain for a reason that no simulation shows: they are paid in parts.
//!
//! A recipient may let every simulation pass and revert in blocks alone. Who it is shows only by sending, and a smaller
//! batch under another key could be executed beside the whole, which reverted in a block that may yet be replaced. So
//! the key of the whole is closed first: used up by a transfer of nothing to nobody. That also shows that the token
//! moves on chain, so that it is a recipient's fault. When no reorganisation reaches the closing any more, the whole can
//! never be executed, and each part is a batch under a key of its own, divided again where it reverts. The chain alone
//! tells all of this; no journal has to.

use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, keccak256};
use depin_evm::{
    Revert,
    alloy::{eips::BlockId, providers::Provider},
    bindings::Disperse,
};

use super::{
    Treasury,
    journal::Journal,
    transfers::{Batch, Call, Outcome, Seen, is_refused},
};
use crate::evm::calls::patiently;

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
    /// Goes on with a batch that reverts on chain though each of its recipients could be paid: closes its key, or writes
    /// down who stands alone in it. Nobody is blamed before the token was seen to move on chain.
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
        Ok(Outcome::Paid { gas: 0 })
    }

    /// Uses up the key of a batch, unless the batch was executed after all.
    async fn close(
        &self,
        batch: &Batch<'_>,
        journal: &mut Journal,
        error: Error,
    ) -> Result<Outcome> {
        let closing = self.closing(batch.disperse, batch.key, batch.payments);
        let gas = match self.send(batch, closing).await {
            Ok(receipt) => receipt.gas_used,
            Err(refusal) if is_used(&refusal) => 0,
            // Some tokens do not move nothing. Then there is no more to be done for them.
            Err(refusal) if is_refused(&refusal) => {
                return Ok(Outcome::Stuck(error.with("undivided", refusal)));
            }
            Err(refusal) => return Err(refusal),
        };
        match self.see(batch, journal).await? {
            Seen::Closed => Ok(Outcome::Closed { gas }),
            _ => Ok(Outcome::Paid { gas }),
        }
    }

    /// Why the parts of a batch cannot be sent yet: its closing may be taken back, and the whole be executed beside them.
    pub(super) async fn unburied(&self, batch: &Batch<'_>) -> Result<Option<Error>> {
        let depth = self.chain.reorg_depth();
        let head = || self.chain.ask(self.chain.provider().get_block_number());
        let contract = Disperse::new(batch.disperse, self.chain.provider());
        let deep = patiently(head).await?.checked_sub(depth);
        let closed = match deep {
            None => false,
            Some(deep) => {
                let asked = contract.paidBatch(self.chain.account(), batch.key);
                let asked = asked.block(BlockId::number(deep));
                let paid = match patiently(|| self.chain.read(&asked)).await {
                    // The contract is newer.
                    Err(error) if error.kind() == ErrorKind::NotFound => B256::ZERO,
                    paid => paid?,
                };
                let closing = self.closing(batch.disperse, batch.key, batch.payments);
                paid == keccak256(closing.calldata())
            }
        };
        let text = "the batch reverts on chain for one of its recipients whom no simulation shows, and is paid in parts \
                    when no reorganisation can take back that it is closed; run it again with the same journal when so many \
                    blocks followed, perhaps more than once";
        let error = || Error::unavailable(text).with("run", batch.list.id());
        Ok((!closed).then(|| error().with("batch", batch.index).with("blocks", depth)))
    }

    /// The call that closes the key of a batch: it moves nothing, to an address that stands for its payments and that
    /// nobody holds.
    pub(super) fn closing(
        &self,
        disperse: Address,
        key: B256,
        payments: &[(Address, Amount)],
    ) -> Call<'_> {
        let whole = keccak256(self.call(disperse, key, payments).calldata());
        let mark = Address::from_word(keccak256([CLOSED, whole.as_slice()].concat()));
        self.call(disperse, key, &[(mark, Amount::ZERO)])
    }
}

/// Whether the key of a batch was used, for the same or another call.
fn is_used(error: &Error) -> bool {
    Revert::of(error).is_some_and(|revert| {
        revert.decode::<Disperse::AlreadyPaid>().is_some()
            || revert.decode::<Disperse::KeyReused>().is_some()
    })
}

/// What is said of somebody who stands alone.
const ALONE: &str = "the transfer reverts on chain alone, though every simulation pays it";
/// Into how many parts a batch is divided: with two it would take three times as many waits to come to one of 450.
const PARTS: usize = 8;
const PART: &[u8] = b"depin treasury part 1:";
const CLOSED: &[u8] = b"depin treasury closed 1:";
