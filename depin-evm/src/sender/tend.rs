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
    gaps::Gap,
    record::{Record, Variant},
};
use crate::chain::{RPC_TIME, ask};

/// When each waiting nonce was last seen to. Forgotten in a restart, which sends everything again anyway.
#[derive(Debug, Default)]
pub(super) struct Tended {
    last: Option<Instant>,
    nonces: BTreeMap<u64, Times>,
    gap: Option<Gap>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    sent: Instant,
    priced: Instant,
}

/// Whether a node may have had the bytes before, and how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    First,
    Again,
    /// For so long that whatever does not take them now never will.
    Overdue,
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
        let records = self.store.since(used)?;
        for record in &records {
            let now = Instant::now();
            let times =
                tended.nonces.entry(record.nonce).or_insert(Times { sent: now, priced: now });
            if now - times.priced >= self.patience.replace_after {
                (times.priced, times.sent) = (now, now);
                let record = self.raise(record.nonce).await?;
                self.broadcast(record, Sending::Overdue).await?;
            } else if now - times.sent >= self.poll * POLLS_PER_SENDING {
                times.sent = now;
                self.broadcast(record.clone(), Sending::Again).await?;
            }
        }
        self.fill_gaps(&mut tended.gap, used, &records).await
    }

    /// Offers a record to the node, and mends what the node does not take.
    ///
    /// # Errors
    /// [`Rejected`](depin_core::ErrorKind::Rejected) when the node neither takes it nor the empty
    /// transaction that should fill its nonce.
    pub(super) async fn broadcast(&self, record: Record, sending: Sending) -> Result<()> {
        let mut record = record;
        if record.lacks_filler() {
            record = self.fill(record.nonce, REPLACED, Sending::Again).await?;
        }
        for _ in 0..MAX_ATTEMPTS {
            match self.offer(&record).await {
                Outcome::Taken | Outcome::Used => return Ok(()),
                Outcome::Unknown(error) => {
                    tracing::debug!(nonce = record.nonce, %error, "sending again later");
                    return Ok(());
                }
                Outcome::Underpaid => {
                    let newest = record.newest().hash;
                    record = self.raise(record.nonce).await?;
                    if record.newest().hash == newest {
                        return Ok(());
                    }
                }
                Outcome::Unclear(error)
                    if sending != Sending::Overdue || record.refused.is_some() =>
                {
                    tracing::debug!(nonce = record.nonce, %error, "sending again later");
                    return Ok(());
                }
                Outcome::Refused(error) if record.refused.is_some() => return Err(error),
                Outcome::Refused(error) | Outcome::Unclear(error) => {
                    // A node may have words of its own for bytes it has already.
                    if self.is_known(&record).await? {
                        return Ok(());
                    }
                    tracing::warn!(nonce = record.nonce, %error, "filling the nonce");
                    record = self.fill(record.nonce, &error.to_string(), sending).await?;
                }
            }
        }
        Ok(())
    }

    /// Offers the newest variant, and while the node refuses (it may lack the funds for a higher fee)
    /// the earlier ones.
    async fn offer(&self, record: &Record) -> Outcome {
        let mut unwanted = None;
        for variant in record.offered() {
            let sending = self.provider.send_raw_transaction(&variant.raw);
            let outcome = match timeout(RPC_TIME, sending).await {
                Ok(answer) => Outcome::of(answer),
                Err(_) => Outcome::Unknown(Error::unavailable("the node does not answer")),
            };
            match (outcome, &unwanted) {
                (outcome @ (Outcome::Refused(_) | Outcome::Unclear(_)), _) => {
                    unwanted = Some(outcome);
                }
                // Underpaid beside a later variant: the node has that one or may yet take it.
                (Outcome::Underpaid, Some(_)) => return Outcome::Taken,
                (outcome, _) => return outcome,
            }
        }
        unwanted.unwrap_or(Outcome::Taken)
    }

    /// Whether the node has any variant, waiting or mined.
    pub(super) async fn is_known(&self, record: &Record) -> Result<bool> {
        for variant in record.variants() {
            if ask(self.provider.get_transaction_by_hash(variant.hash)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stores a variant that pays more. Leaves a record alone whose fee is at the cap, or that lacks its filler.
    async fn raise(&self, nonce: u64) -> Result<Record> {
        let now = Quote::ask(&self.provider).await?.fees;
        self.store.update(nonce, |record| {
            if record.lacks_filler() {
                return Ok(false);
            }
            let mut tx = record.newest().request()?;
            let Some(fees) = self.raised(record, &tx, now)? else { return Ok(false) };
            fees.apply(&mut tx);
            let filler = record.newest().filler;
            record.add(Variant::sign(&self.signer, tx, nonce, filler)?);
            Ok(true)
        })
    }

    /// Stores an empty transaction in place of one that the node refuses for good, or that is void.
    pub(super) async fn fill(&self, nonce: u64, reason: &str, sending: Sending) -> Result<Record> {
        let now = Quote::ask(&self.provider).await?.fees;
        let mut tx = self.filler().await;
        self.store.update(nonce, |record| {
            if record.refused.is_some() {
                return Ok(false);
            }
            let old = record.newest().request()?;
            // What was refused waits nowhere, so at the cap the filler may cost the same.
            let fees = self.raised(record, &old, now)?.or_else(|| Fees::of(&old)).unwrap_or(now);
            fees.apply(&mut tx);
            record.refused = Some(reason.to_owned());
            record.unsent = sending == Sending::First;
            record.add(Variant::sign(&self.signer, tx, nonce, true)?);
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
    pub(super) async fn filler(&self) -> TransactionRequest {
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

/// Why a void transaction is not offered again.
const REPLACED: &str = "it had no effect, and the block that showed so was replaced";

/// The same bytes are sent again after so many looks.
const POLLS_PER_SENDING: u32 = 8;

/// Raising or filling, then once more.
const MAX_ATTEMPTS: u32 = 3;

/// How far fees rise without a cap of the caller's.
const MAX_RAISE: u128 = 8;

/// What a transfer costs on Ethereum and IoTeX at most.
const TRANSFER_GAS: u64 = 21_000;
