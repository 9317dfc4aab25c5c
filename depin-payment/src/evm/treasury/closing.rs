//! Keys that are used up without a payment: what they were for cannot be executed any more, and the chain tells why, also
//! to a treasurer who has nothing else left.
//!
//! `Disperse` keeps the hash of the call under its key. So a call that moves nothing, to an address that stands for the
//! payments and that nobody holds, says of exactly these payments that they are made in parts, or not at all.

use std::ops::RangeInclusive;

use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, keccak256};
use depin_evm::{
    Revert,
    alloy::{
        eips::BlockNumHash,
        primitives::Bytes,
        rpc::types::{Filter, Log},
        sol_types::SolEvent,
    },
    bindings::Disperse,
};

use super::{
    Treasury,
    journal::Journal,
    transfers::{Batch, Call, Outcome, Seen, is_refused},
};
use crate::evm::calls::patiently;

impl Treasury {
    /// Uses up the key of a batch that is to be paid in parts, unless the batch was executed after all.
    pub(super) async fn close(
        &self,
        batch: &Batch<'_>,
        journal: &mut Journal,
        error: Error,
    ) -> Result<Outcome> {
        // Through a node that could not tell of it afterwards nobody of the batch would ever be paid.
        let head = self.head().await?;
        if let Err(untold) = self.closed_in(batch, head..=head).await {
            return Ok(Outcome::Stuck(untold));
        }
        let closing = self.closing(batch.disperse, batch.key, batch.payments);
        match self.use_up(batch, [closing]).await {
            // Some tokens do not move nothing. Then there is no more to be done for them.
            Err(refusal) if is_refused(&refusal) => {
                Ok(Outcome::Stuck(error.with("undivided", refusal)))
            }
            gas => self.used_up(batch, journal, gas?).await,
        }
    }

    /// Uses up the key of a batch whose recipients are all left out, unless it was executed after all. Nothing else on chain
    /// would tell a run whose journal is lost not to pay them, who are told to be on another list.
    pub(super) async fn leave_out(
        &self,
        batch: &Batch<'_>,
        journal: &mut Journal,
    ) -> Result<Outcome> {
        let leavings = self.leavings(batch.disperse, batch.key, batch.payments);
        match self.use_up(batch, leavings).await {
            Err(refusal) if is_refused(&refusal) => Ok(Outcome::Stuck(untellable(batch, refusal))),
            gas => self.used_up(batch, journal, gas?).await,
        }
    }

    /// Sends the first of some calls that the token lets through; answers the gas, or the last refusal.
    async fn use_up(
        &self,
        batch: &Batch<'_>,
        calls: impl IntoIterator<Item = Call<'_>>,
    ) -> Result<u64> {
        let mut gas = Ok(0);
        for call in calls {
            gas = match self.send(batch, call).await {
                Ok(receipt) => return Ok(receipt.gas_used),
                Err(refusal) if is_used(&refusal) => return Ok(0),
                Err(refusal) if is_refused(&refusal) => Err(refusal),
                Err(error) => return Err(error),
            };
        }
        gas
    }

    async fn used_up(&self, batch: &Batch<'_>, journal: &mut Journal, gas: u64) -> Result<Outcome> {
        Ok(match self.see(batch, journal).await? {
            Seen::Closed => Outcome::Closed { gas },
            _ => Outcome::Paid { gas },
        })
    }

    /// The block in which the key of a batch that is closed was. A node may have what came of a transaction before its log
    /// has it, so the last blocks are looked through more than once, and then all.
    pub(super) async fn closed_at(&self, batch: &Batch<'_>) -> Result<BlockNumHash> {
        let near = patiently(|| async {
            let head = self.head().await?;
            let near = self.closed_in(batch, head.saturating_sub(NEAR)..=head).await?;
            near.ok_or_else(|| untold(batch))
        });
        match near.await {
            Err(error) if error.is_retryable() => {
                let long_ago = self.closed_in(batch, 0..=self.head().await?).await?;
                long_ago.ok_or(error)
            }
            near => near,
        }
    }

    /// The same in some blocks, as the node's log tells.
    async fn closed_in(
        &self,
        batch: &Batch<'_>,
        blocks: RangeInclusive<u64>,
    ) -> Result<Option<BlockNumHash>> {
        let (account, contract) = (self.chain.account(), batch.disperse);
        let closing = self.closing(contract, batch.key, batch.payments);
        let closing = keccak256(closing.calldata());
        let is_it = |log: &Log| {
            let told = log.log_decode::<Disperse::Dispersed>().map(|log| log.inner);
            told.is_ok_and(|told| {
                let is_ours = told.address == contract && told.sender == account;
                is_ours && told.key == batch.key && told.batch == closing
            })
        };
        let filter =
            Filter::new().address(contract).event_signature(Disperse::Dispersed::SIGNATURE_HASH);
        let filter = filter.topic1(account.into_word()).topic2(batch.key);
        let mut logs = self.chain.logs(filter, blocks).newest_first();
        while let Some(window) = logs.next().await? {
            let told = window.logs.iter().rfind(|log| !log.removed && is_it(log));
            let block = told.and_then(|log| log.block_number.zip(log.block_hash));
            if let Some((number, hash)) = block {
                return Ok(Some(BlockNumHash { number, hash }));
            }
        }
        Ok(None)
    }

    /// The call that says that these payments are made in parts.
    pub(super) fn closing(
        &self,
        disperse: Address,
        key: B256,
        payments: &[(Address, Amount)],
    ) -> Call<'_> {
        let mark = self.mark(CLOSED, disperse, key, payments);
        self.call(disperse, key, &[(Address::from_word(mark), Amount::ZERO)])
    }

    /// The calls that say that none of these payments is made. The second is for tokens that do not move nothing: a unit
    /// goes from the treasury to itself, with the mark behind what the contract reads.
    pub(super) fn leavings(
        &self,
        disperse: Address,
        key: B256,
        payments: &[(Address, Amount)],
    ) -> [Call<'_>; 2] {
        let mark = self.mark(LEFT_OUT, disperse, key, payments);
        let nothing = self.call(disperse, key, &[(Address::from_word(mark), Amount::ZERO)]);
        let unit = self.call(disperse, key, &[(self.chain.account(), Amount::from(1))]);
        let marked = Bytes::from([unit.calldata(), mark.as_slice()].concat());
        [nothing, unit.map(|tx| tx.input(marked.into()))]
    }

    fn mark(
        &self,
        what: &[u8],
        disperse: Address,
        key: B256,
        payments: &[(Address, Amount)],
    ) -> B256 {
        let whole = keccak256(self.call(disperse, key, payments).calldata());
        keccak256([what, whole.as_slice()].concat())
    }
}

/// Whether the key of a batch was used, for the same or another call.
fn is_used(error: &Error) -> bool {
    Revert::of(error).is_some_and(|revert| {
        revert.decode::<Disperse::AlreadyPaid>().is_some()
            || revert.decode::<Disperse::KeyReused>().is_some()
    })
}

fn untold(batch: &Batch<'_>) -> Error {
    let text = "the batch is closed, and the node does not tell in which block; run it again, or use a node that keeps the \
                logs of that time";
    let error = Error::unavailable(text).with("run", batch.list.id());
    error.with("batch", batch.index)
}

fn untellable(batch: &Batch<'_>, refusal: Error) -> Error {
    let text = "nobody of the batch can receive, and the token does not let the chain be told, by which a run without this \
                journal would know it: keep the journal, pay them under no other name yet, and run it again";
    let error = Error::new(ErrorKind::Rejected, text).with("run", batch.list.id());
    error.with("batch", batch.index).source(refusal)
}

/// Within so many blocks most runs are run again.
const NEAR: u64 = 5_000;
const CLOSED: &[u8] = b"depin treasury closed 1:";
const LEFT_OUT: &[u8] = b"depin treasury left out 1:";
