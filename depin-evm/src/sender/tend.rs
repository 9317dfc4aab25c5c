//! Getting stored bytes mined: sending, sending again, raising fees, filling nonces.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use alloy::{
    primitives::{TxKind, U256},
    providers::Provider,
    rpc::types::TransactionRequest,
};
use depin_core::{Error, Result};
use tokio::time::{Instant, timeout};

use super::{
    TxSender,
    broadcast::Outcome,
    fees::{Fees, Quote},
    record::{Record, Variant},
};
use crate::chain::{RPC_TIME, ask};

/// When each waiting nonce was last seen to. Forgotten in a restart, which sends everything again anyway.
#[derive(Debug, Default)]
pub(super) struct Tended {
    last: Option<Instant>,
    nonces: BTreeMap<u64, Times>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    sent: Instant,
    priced: Instant,
}

impl TxSender {
    /// Sees to all transactions that wait, at most once per poll interval however many callers wait.
    pub(super) async fn tend(&self) {
        let Ok(mut tended) = self.tended.try_lock() else { return };
        if tended.last.is_some_and(|last| last.elapsed() < self.poll) {
            return;
        }
        tended.last = Some(Instant::now());
        if let Err(error) = self.tend_waiting(&mut tended).await {
            tracing::debug!(%error, "waiting transactions could not be seen to; trying again");
        }
    }

    /// Looks at the chain's nonce and not at what was seen mined before, so that a reorganisation that
    /// lost a transaction is like one that never took it.
    async fn tend_waiting(&self, tended: &mut Tended) -> Result<()> {
        let used = ask(self.provider.get_transaction_count(self.account())).await?;
        self.used.store(used, Ordering::Release);
        tended.nonces.retain(|nonce, _| *nonce >= used);
        for record in self.store.from_nonce(used)? {
            let now = Instant::now();
            let times =
                tended.nonces.entry(record.nonce).or_insert(Times { sent: now, priced: now });
            if now - times.priced >= self.patience.replace_after {
                (times.priced, times.sent) = (now, now);
                let record = self.raise(record.nonce, None).await?;
                self.broadcast(record).await?;
            } else if now - times.sent >= self.poll * POLLS_PER_SENDING {
                times.sent = now;
                self.broadcast(record).await?;
            }
        }
        Ok(())
    }

    /// Offers the newest variant of a record to the node.
    ///
    /// # Errors
    /// [`Rejected`](depin_core::ErrorKind::Rejected) when the node neither takes it nor the empty
    /// transaction that should fill its nonce.
    pub(super) async fn broadcast(&self, record: Record) -> Result<()> {
        let mut record = record;
        for _ in 0..MAX_ATTEMPTS {
            match self.offer(&record).await {
                Outcome::Taken | Outcome::Used => return Ok(()),
                Outcome::Unknown(error) => {
                    tracing::debug!(nonce = record.nonce, %error, "sending again later");
                    return Ok(());
                }
                Outcome::Underpaid => {
                    let newest = record.newest().hash;
                    record = self.raise(record.nonce, None).await?;
                    if record.newest().hash == newest {
                        return Ok(());
                    }
                }
                Outcome::Refused(error) if record.newest().filler => return Err(error),
                Outcome::Refused(error) => {
                    tracing::warn!(nonce = record.nonce, %error, "filling the nonce");
                    record = self.raise(record.nonce, Some(&error)).await?;
                }
            }
        }
        Ok(())
    }

    async fn offer(&self, record: &Record) -> Outcome {
        let sending = self.provider.send_raw_transaction(&record.newest().raw);
        match timeout(RPC_TIME, sending).await {
            Ok(answer) => Outcome::of(answer),
            Err(_) => Outcome::Unknown(Error::unavailable("the node does not answer")),
        }
    }

    /// Stores a variant that pays more, or with `refused` an empty one in its place. Leaves a record
    /// alone whose fee is at the cap.
    async fn raise(&self, nonce: u64, refused: Option<&Error>) -> Result<Record> {
        let quote = Quote::ask(&self.provider).await?;
        let filler = self.filler().await;
        self.store.update(nonce, |record| {
            let fill = refused.is_some() && !record.newest().filler;
            if refused.is_some() && !fill {
                return Ok(false);
            }
            let old = record.newest().request()?;
            let mut tx = if fill { filler } else { old.clone() };
            // A refused transaction waits nowhere, so the filler may cost the same.
            let unchanged = Fees::of(&old).filter(|_| fill);
            let Some(fees) = self.raised(record, &old, quote.fees)?.or(unchanged) else {
                return Ok(false);
            };
            fees.apply(&mut tx);
            record.refused = record.refused.take().or_else(|| refused.map(ToString::to_string));
            let filler = fill || record.newest().filler;
            record.add(Variant::sign(&self.signer, tx, nonce, filler)?);
            Ok(true)
        })
    }

    fn raised(&self, record: &Record, old: &TransactionRequest, now: Fees) -> Result<Option<Fees>> {
        let Some(old) = Fees::of(old) else { return Ok(None) };
        let first = Fees::of(&record.original()?).map_or(0, Fees::max);
        let cap = self.patience.max_fee.unwrap_or_else(|| first.saturating_mul(MAX_RAISE));
        Ok(old.raised(now, cap))
    }

    /// A transfer of nothing to the account itself, with chain and gas.
    async fn filler(&self) -> TransactionRequest {
        let mut tx = TransactionRequest {
            from: Some(self.account()),
            to: Some(TxKind::Call(self.account())),
            value: Some(U256::ZERO),
            chain_id: Some(self.chain.value()),
            ..TransactionRequest::default()
        };
        let gas = ask(self.provider.estimate_gas(tx.clone())).await;
        tx.gas = Some(gas.unwrap_or(TRANSFER_GAS));
        tx
    }
}

/// The same bytes are sent again after so many looks.
const POLLS_PER_SENDING: u32 = 8;

/// Raising or filling, then once more.
const MAX_ATTEMPTS: u32 = 3;

/// How far fees rise without a cap of the caller's.
const MAX_RAISE: u128 = 8;

/// What a transfer costs on Ethereum and IoTeX at most.
const TRANSFER_GAS: u64 = 21_000;
