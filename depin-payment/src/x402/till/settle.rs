//! Moving the money of payments that were taken, and finding where it has moved already.

use std::ops::RangeInclusive;

use depin_core::{B256, Error, ErrorKind, Result, U256};
use depin_evm::{
    Revert, Succeeded,
    alloy::{
        consensus::Transaction,
        eips::BlockId,
        providers::Provider,
        rpc::types::{Filter, Log, TransactionReceipt},
        sol_types::SolEvent,
    },
    bindings::NetworkToken as Token,
};

use super::{Outcome, Till, examine::refused};
use crate::x402::{
    book::Entry,
    deep::Deep,
    exact::{Authorization, ExactPayment},
    pledge::Pledge,
    refusal::Refusal,
    upto::{UPTO_PROXY, UptoPayment},
};

impl Till {
    pub(in crate::x402) async fn settle_one(&self, id: B256) -> Result<Outcome> {
        let Some(entry) = self.0.book.entry(id)? else {
            let text = "the till did not take this payment, or forgot it; take it first";
            return Err(Error::new(ErrorKind::NotFound, text).with("payment", id));
        };
        if entry.settled.is_some() {
            return Ok(entry.transaction()?.map_or(Outcome::Unused, Outcome::Settled));
        }
        let pledge = Pledge::from_wire(&entry.payment)?;
        if self.is_anothers(&pledge) && !self.is_over(&pledge) {
            tracing::warn!(payment = %id, "only the account that the payment names can settle it");
            return Ok(Outcome::Pending);
        }
        let transfer = self.transfer(&pledge, entry.amount())?;
        let sent = self.0.chain.send_deduplicated(&format!("x402/{id}"), transfer).await;
        let fate = match sent {
            Ok(receipt) => Fate::Moved(receipt.transaction_hash),
            Err(error) => match Succeeded::of(&error) {
                Some(known) => Fate::Moved(known.transaction()),
                None => self.judge(id, &pledge, &entry, error).await,
            },
        };
        match fate {
            Fate::Moved(transaction) => {
                self.0.book.settled(id, transaction, self.forget_at())?;
                self.0.book.forget(self.now())?;
                Ok(Outcome::Settled(transaction))
            }
            Fate::Unmoved(refusal) => self.fail(id, &pledge, &entry, refusal).await,
            Fate::Unknown => Ok(Outcome::Pending),
        }
    }

    /// What became of the money of a payment that could not be sent.
    async fn judge(&self, id: B256, pledge: &Pledge, entry: &Entry, error: Error) -> Fate {
        let reverted = Revert::of(&error).is_some();
        tracing::info!(%error, payment = %id, "a payment is not settled yet");
        // Whatever else a node refuses, for example for lack of gas money, says nothing of the payment.
        if !reverted && !self.is_over(pledge) {
            return Fate::Unknown;
        }
        let refusal = Refusal::of(&refused(pledge, error)).unwrap_or(Refusal::Transfer);
        let found = self.look_for(id, pledge, entry, (reverted, refusal)).await;
        found.unwrap_or_else(|error| {
            tracing::info!(%error, payment = %id, "what became of a payment is not known yet");
            Fate::Unknown
        })
    }

    /// Whether the payment can be settled by another account only, with which the till ran before.
    fn is_anothers(&self, pledge: &Pledge) -> bool {
        match pledge {
            Pledge::Exact(_) => false,
            Pledge::Upto(payment) => payment.facilitator() != self.0.chain.account(),
        }
    }

    /// Whether the payment's time is over, by the till's own clock.
    fn is_over(&self, pledge: &Pledge) -> bool {
        pledge.ends() < U256::from(self.now().saturating_sub(CLOCKS_DIFFER))
    }

    /// What the chain shows of the money of a payment that it does not take, or takes no more.
    ///
    /// That its nonce is used and no transfer is found does not mean that there was none: the node that tells of
    /// transfers may lag, and the block that used the nonce may be taken back. So that is known at a deep block only.
    async fn look_for(
        &self,
        id: B256,
        pledge: &Pledge,
        entry: &Entry,
        (reverted, refusal): (bool, Refusal),
    ) -> Result<Fate> {
        // First, so that transfers are looked for at least as far.
        let deep = Deep::newest(&self.0.chain, self.0.confirmations).await?;
        let reach = deep.map_or(0, |deep| deep.number);
        if let Some(receipt) = self.moved_before(pledge, entry, reach).await? {
            // Whoever sent it: a payer who does so himself may hope that the block is taken back.
            let counts = self.0.chain.counts(&receipt).await?;
            return Ok(if counts { Fate::Moved(receipt.transaction_hash) } else { Fate::Unknown });
        }
        if let Some(deep) = deep
            && (pledge.ends() < deep.time || self.is_used(pledge, deep.id()).await?)
        {
            return Ok(Fate::Unmoved(refusal));
        }
        // An answer that was not given out is no loss while nobody took anything, and who waits for it should know.
        let withheld = reverted && refusal != Refusal::Used && self.answer(id)?.is_some();
        let unmoved = withheld && !self.is_used(pledge, BlockId::latest()).await?;
        Ok(if unmoved { Fate::Unmoved(refusal) } else { Fate::Unknown })
    }

    async fn fail(
        &self,
        id: B256,
        pledge: &Pledge,
        entry: &Entry,
        mut refusal: Refusal,
    ) -> Result<Outcome> {
        tracing::warn!(%refusal, payment = %id, "the chain refused a payment that was taken");
        if let (Refusal::Transfer, Pledge::Upto(payment)) = (refusal, pledge) {
            refusal = self.diagnose(payment, entry.amount()).await.unwrap_or(refusal);
        }
        self.0.book.failed(id)?;
        Ok(Outcome::Failed(refusal))
    }

    /// The transaction in which the money of a payment has moved already.
    async fn moved_before(
        &self,
        pledge: &Pledge,
        entry: &Entry,
        reach: u64,
    ) -> Result<Option<TransactionReceipt>> {
        match pledge {
            Pledge::Exact(payment) => self.sent_by_another(payment, entry.block, reach).await,
            Pledge::Upto(payment) => self.sent_and_forgotten(payment, entry, reach).await,
        }
    }

    /// The transaction in which somebody else moved the money of a payment.
    ///
    /// That the nonce is used proves nothing: the payer may have cancelled it or signed it for another transfer.
    /// Tokens tell of the authorization and then of its transfer, so the two have to follow each other.
    async fn sent_by_another(
        &self,
        payment: &ExactPayment,
        since: u64,
        reach: u64,
    ) -> Result<Option<TransactionReceipt>> {
        let authorization = payment.authorization();
        let filter = Filter::new()
            .address(self.0.token)
            .event_signature(Token::AuthorizationUsed::SIGNATURE_HASH)
            .topic1(authorization.from)
            .topic2(authorization.nonce);
        // A nonce is used once, so where it is found is all there is.
        for used in self.logs(&filter, since..=reach, |found| !found.is_empty()).await? {
            let Some(hash) = used.transaction_hash else { continue };
            let Some(receipt) = self.receipt(hash).await? else { continue };
            let after =
                |log: &&Log| log.log_index > used.log_index && log.address() == self.0.token;
            let next = receipt.logs().iter().filter(after).min_by_key(|log| log.log_index);
            if next.is_some_and(|log| moves(log, authorization)) {
                return Ok(Some(receipt));
            }
        }
        Ok(None)
    }

    /// The transaction in which this till moved the money of a payment, and was killed before it knew.
    ///
    /// That the nonce is used proves nothing: the payer may have cancelled it. Permit2 tells nothing in its logs, so
    /// what the token tells is compared with what was sent.
    async fn sent_and_forgotten(
        &self,
        payment: &UptoPayment,
        entry: &Entry,
        reach: u64,
    ) -> Result<Option<TransactionReceipt>> {
        let filter = Filter::new()
            .address(self.0.token)
            .event_signature(Token::Transfer::SIGNATURE_HASH)
            .topic1(payment.payer())
            .topic2(payment.payee());
        let (chain, amount) = (&self.0.chain, entry.amount());
        let ours = (payment.payer(), payment.nonce(), amount);
        for log in self.logs(&filter, entry.block..=reach, |_| false).await? {
            let told = log.log_decode::<Token::Transfer>().map(|log| log.inner.data.value);
            if !told.is_ok_and(|value| value == amount.to_units()) {
                continue;
            }
            let Some(hash) = log.transaction_hash else { continue };
            let sent = chain.ask(chain.provider().get_transaction_by_hash(hash)).await?;
            let Some(sent) = sent.map(|sent| sent.into_inner()) else { continue };
            let is_settlement =
                sent.to() == Some(UPTO_PROXY) && UptoPayment::taken_by(sent.input()) == Some(ours);
            if is_settlement && let Some(receipt) = self.receipt(hash).await? {
                return Ok(Some(receipt));
            }
        }
        Ok(None)
    }

    /// Logs since shortly before a block until the newest, which is not before the end of `reach`, until there are
    /// enough.
    async fn logs(
        &self,
        filter: &Filter,
        reach: RangeInclusive<u64>,
        enough: impl Fn(&[Log]) -> bool,
    ) -> Result<Vec<Log>> {
        let (chain, provider) = (&self.0.chain, self.0.chain.provider());
        let newest = chain.ask(provider.get_block_number()).await?;
        if newest < *reach.end() {
            return Err(Error::unavailable("the node lags behind what it said before; ask again"));
        }
        let start = reach.start().saturating_sub(REORGANISED);
        let (mut windows, mut found) = (chain.logs(filter.clone(), start..=newest), Vec::new());
        while !enough(&found)
            && let Some(window) = windows.next().await?
        {
            found.extend(window.logs);
        }
        Ok(found)
    }

    /// The receipt of a transaction that did not revert.
    async fn receipt(&self, hash: B256) -> Result<Option<TransactionReceipt>> {
        let chain = &self.0.chain;
        let receipt = chain.ask(chain.provider().get_transaction_receipt(hash)).await?;
        Ok(receipt.filter(|receipt| receipt.status()))
    }
}

/// What became of the money of a payment that the chain does not take.
enum Fate {
    /// This transaction has moved it.
    Moved(B256),
    /// It has not moved, and nobody waits for it to.
    Unmoved(Refusal),
    /// It may have moved, or may yet.
    Unknown,
}

fn moves(log: &Log, authorization: &Authorization) -> bool {
    let Ok(moved) = log.log_decode::<Token::Transfer>() else { return false };
    let moved = moved.inner.data;
    moved.from == authorization.from
        && moved.to == authorization.to
        && moved.value == authorization.value.to_units()
}

/// Seconds by which the clocks of chain and till may differ.
const CLOCKS_DIFFER: u64 = 60;

/// How many blocks a transaction may have been mined before it was seen to be missing.
const REORGANISED: u64 = 64;
