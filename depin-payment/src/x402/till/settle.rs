//! Moving the money of payments that were taken, and finding where it has moved already.

use depin_core::{B256, Error, ErrorKind, Result, U256};
use depin_evm::{
    Revert,
    alloy::{
        consensus::Transaction,
        providers::Provider,
        rpc::types::{Filter, Log, TransactionReceipt},
        sol_types::SolEvent,
    },
    bindings::NetworkToken as Token,
};

use super::{Outcome, Till, examine::refused};
use crate::x402::{
    book::Entry,
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
        let sent = self.0.chain.send_once(&format!("x402/{id}"), transfer).await;
        let transaction = match sent {
            Ok(receipt) => Some(receipt.transaction_hash),
            // Whatever else a node refuses, for example for lack of gas money, says nothing of the payment.
            Err(error) if Revert::of(&error).is_some() || self.is_over(&pledge) => {
                match self.moved_before(&pledge, &entry).await {
                    Ok(Some(transaction)) => Some(transaction),
                    Ok(None) if self.may_still_pay(id, &pledge).await? => None,
                    Ok(None) => return self.fail(id, &pledge, &entry, error).await,
                    Err(_) => None,
                }
            }
            Err(error) => {
                tracing::info!(%error, payment = %id, "a payment is not settled yet");
                None
            }
        };
        let Some(transaction) = transaction else { return Ok(Outcome::Pending) };
        self.0.book.settled(id, transaction, self.forget_at())?;
        self.0.book.forget(self.now())?;
        Ok(Outcome::Settled(transaction))
    }

    /// Whether the payment can be settled by another account only, with which the till ran before.
    fn is_anothers(&self, pledge: &Pledge) -> bool {
        match pledge {
            Pledge::Exact(_) => false,
            Pledge::Upto(payment) => payment.facilitator() != self.0.chain.account(),
        }
    }

    /// Whether no block can take the payment any more.
    fn is_over(&self, pledge: &Pledge) -> bool {
        pledge.ends() < U256::from(self.now().saturating_sub(CLOCKS_DIFFER))
    }

    /// Whether to try again later: the payment is for something that was rendered, and a block may yet take it.
    /// An answer that was not given out is no loss, and who waits for it should know.
    async fn may_still_pay(&self, id: B256, pledge: &Pledge) -> Result<bool> {
        if self.answer(id)?.is_some() || self.is_over(pledge) {
            return Ok(false);
        }
        // Not knowing is no reason to give up.
        Ok(!self.is_used(pledge).await.unwrap_or(false))
    }

    async fn fail(
        &self,
        id: B256,
        pledge: &Pledge,
        entry: &Entry,
        error: Error,
    ) -> Result<Outcome> {
        tracing::warn!(%error, payment = %id, "the chain refused a payment that was taken");
        let mut refusal = Refusal::of(&refused(pledge, error)).unwrap_or(Refusal::Transfer);
        if let (Refusal::Transfer, Pledge::Upto(payment)) = (refusal, pledge) {
            refusal = self.diagnose(payment, entry.amount()).await.unwrap_or(refusal);
        }
        self.0.book.failed(id)?;
        Ok(Outcome::Failed(refusal))
    }

    /// The transaction in which the money of a payment has moved already.
    async fn moved_before(&self, pledge: &Pledge, entry: &Entry) -> Result<Option<B256>> {
        match pledge {
            Pledge::Exact(payment) => self.sent_by_another(payment, entry.block).await,
            Pledge::Upto(payment) => self.sent_and_forgotten(payment, entry).await,
        }
    }

    /// The transaction in which somebody else moved the money of a payment.
    ///
    /// That the nonce is used proves nothing: the payer may have cancelled it or signed it for another transfer.
    /// Tokens tell of the authorization and then of its transfer, so the two have to follow each other.
    async fn sent_by_another(&self, payment: &ExactPayment, since: u64) -> Result<Option<B256>> {
        let authorization = payment.authorization();
        let filter = Filter::new()
            .address(self.0.token)
            .event_signature(Token::AuthorizationUsed::SIGNATURE_HASH)
            .topic1(authorization.from)
            .topic2(authorization.nonce);
        // A nonce is used once, so where it is found is all there is.
        for used in self.logs(&filter, since, |found| !found.is_empty()).await? {
            let Some(hash) = used.transaction_hash else { continue };
            let Some(receipt) = self.receipt(hash).await? else { continue };
            let after =
                |log: &&Log| log.log_index > used.log_index && log.address() == self.0.token;
            let next = receipt.logs().iter().filter(after).min_by_key(|log| log.log_index);
            if next.is_some_and(|log| moves(log, authorization)) {
                return Ok(Some(hash));
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
    ) -> Result<Option<B256>> {
        if !self.is_used(&Pledge::Upto(payment.clone())).await? {
            return Ok(None);
        }
        let filter = Filter::new()
            .address(self.0.token)
            .event_signature(Token::Transfer::SIGNATURE_HASH)
            .topic1(payment.payer())
            .topic2(payment.payee());
        let (chain, amount) = (&self.0.chain, entry.amount());
        let ours = (payment.payer(), payment.nonce(), amount);
        for log in self.logs(&filter, entry.block, |_| false).await? {
            let told = log.log_decode::<Token::Transfer>().map(|log| log.inner.data.value);
            if !told.is_ok_and(|value| value == amount.to_units()) {
                continue;
            }
            let Some(hash) = log.transaction_hash else { continue };
            let sent = chain.ask(chain.provider().get_transaction_by_hash(hash)).await?;
            let Some(sent) = sent.map(|sent| sent.into_inner()) else { continue };
            let is_settlement =
                sent.to() == Some(UPTO_PROXY) && UptoPayment::taken_by(sent.input()) == Some(ours);
            if is_settlement && self.receipt(hash).await?.is_some() {
                return Ok(Some(hash));
            }
        }
        Ok(None)
    }

    /// Logs since shortly before a block, in windows that public nodes answer, until there are enough.
    async fn logs(
        &self,
        filter: &Filter,
        since: u64,
        enough: impl Fn(&[Log]) -> bool,
    ) -> Result<Vec<Log>> {
        let (chain, provider) = (&self.0.chain, self.0.chain.provider());
        let newest = chain.ask(provider.get_block_number()).await?;
        let (mut start, mut found) = (since.saturating_sub(REORGANISED), Vec::new());
        while !enough(&found) && start <= newest {
            let end = start.saturating_add(LOG_WINDOW - 1);
            let window = filter.clone().from_block(start).to_block(end.min(newest));
            found.extend(chain.ask(provider.get_logs(&window)).await?);
            start = end.saturating_add(1);
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

/// Blocks per request for logs, which public nodes limit.
const LOG_WINDOW: u64 = 10_000;
