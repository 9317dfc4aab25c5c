//! x402 `exact` behind the seam of all rails, for charges that do not come as HTTP requests.
//!
//! The nonce of the transfer follows from the charge, so a payer who is asked twice pays once, and a payment is
//! good for its charge only. Payments are settled when the payee says so, each by a transaction of its own.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use depin_core::{
    Address, Amount, B256, Clock, Error, ErrorKind, Result, Signer, keccak256,
    payment::{Accepted, Charge, Payer, Payment, PaymentRail, RailBalance, Settlement},
};
use depin_evm::{Chain, bindings::NetworkToken as Token};

use super::{
    exact::{Authorization, ExactPayment, ExactTerms},
    refusal::Refusal,
    till::{Outcome, Sale, Till},
};

/// A [`Till`] as a rail. Open the till with a long [`keep`](super::TillOptions::keep): a charge that is forgotten
/// can be paid again by somebody else.
#[derive(Clone, Debug)]
pub struct ExactRail(Till);

impl ExactRail {
    /// Takes charges for the payee of `till`, in its token.
    pub const fn new(till: Till) -> Self {
        Self(till)
    }
}

#[async_trait]
impl PaymentRail for ExactRail {
    fn scheme(&self) -> &'static str {
        "x402-exact"
    }

    async fn accept(&self, charge: &Charge, payment: &Payment) -> Result<Accepted> {
        let Charge { id, payee, amount } = *charge;
        if payee != self.0.terms(amount).pay_to {
            let text = "the charge is for another payee than this rail's";
            return Err(Error::new(ErrorKind::Rejected, text).with("payee", payee));
        }
        let payer = payment.payer;
        let payment = ExactPayment::from_bytes(&payment.bounded()?.proof)?;
        let authorization = payment.authorization();
        if authorization.from != payer {
            return Err(Refusal::Signature.into());
        }
        if authorization.nonce != nonce_of(id) {
            return Err(Refusal::Offer.into());
        }
        let name = Some(keccak256([b"charge/", id.as_slice()].concat()));
        self.0.take_for(&Sale { amount, payment: &payment, purpose: id, name }).await?;
        Ok(Accepted { charge: id, payer, amount })
    }

    async fn settle(&self) -> Result<Settlement> {
        let (mut settled, mut pending) = (Amount::ZERO, Amount::ZERO);
        let (mut transactions, mut refused) = (Vec::new(), None);
        for (amount, outcome) in self.0.settle_due().await? {
            match outcome {
                Outcome::Settled(transaction) => {
                    settled = settled.checked_add(amount)?;
                    transactions.push(transaction);
                }
                Outcome::Pending => pending = pending.checked_add(amount)?,
                Outcome::Failed(refusal) => refused = Some(refusal),
            }
        }
        if let Some(refusal) = refused {
            return Err(Error::from(refusal).with("settled", settled.to_units()));
        }
        Ok(match () {
            () if !pending.is_zero() => Settlement::Pending { amount: pending },
            () if transactions.is_empty() => Settlement::NothingDue,
            () => Settlement::Settled { amount: settled, transactions },
        })
    }

    async fn balance(&self) -> Result<RailBalance> {
        self.0.balance()
    }
}

/// Pays charges of one payee by signing transfers.
///
/// What it paid for is remembered in memory, so that another charge under the same id is noticed. After a restart
/// the token notices: both charges have the same nonce, so only one of them can ever be paid.
pub struct ExactPayer {
    chain: Chain,
    terms: ExactTerms,
    key: Arc<dyn Signer>,
    account: Address,
    clock: Arc<dyn Clock>,
    limit: Amount,
    signed: Mutex<Vec<Charge>>,
}

impl ExactPayer {
    /// Pays what `terms` name with `key`, at most `limit` in all. `chain` is only read.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the key is not on secp256k1 or the chain is not that of the terms.
    pub fn new(
        chain: Chain,
        terms: ExactTerms,
        key: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        limit: Amount,
    ) -> Result<Self> {
        let account = key.public_key().to_address().ok_or_else(|| {
            Error::new(ErrorKind::Config, "x402 is paid with a key on secp256k1 (ES256K)")
        })?;
        if chain.id() != terms.chain {
            let text = "the terms are for another chain than the payer reads";
            return Err(Error::new(ErrorKind::Config, text).with("terms", terms.chain));
        }
        Ok(Self { chain, terms, key, account, clock, limit, signed: Mutex::default() })
    }

    /// What of the payer's money signatures may still take.
    async fn outstanding(&self) -> Result<Amount> {
        let signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let token = Token::new(self.terms.asset, self.chain.provider());
        let mut sum = Amount::ZERO;
        for charge in signed {
            let used = token.authorizationState(self.account, nonce_of(charge.id));
            if !self.chain.read(&used).await? {
                sum = sum.checked_add(charge.amount)?;
            }
        }
        Ok(sum)
    }

    /// Notes that a charge is paid for, if it was not before.
    fn note(&self, charge: &Charge) -> Result<()> {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        match signed.iter().find(|earlier| earlier.id == charge.id) {
            Some(earlier) if earlier != charge => {
                let text = "another charge was paid under this id; ask the payee for a new id";
                return Err(Error::new(ErrorKind::Conflict, text).with("charge", charge.id));
            }
            Some(_) => return Ok(()),
            None => {}
        }
        let spent = Amount::sum(signed.iter().map(|charge| charge.amount))?;
        if spent.checked_add(charge.amount)? > self.limit {
            let text = "the charge passes the payer's limit; build it with a higher one";
            return Err(Error::new(ErrorKind::Rejected, text).with("limit", self.limit.to_units()));
        }
        signed.push(*charge);
        Ok(())
    }

    fn is_noted(&self, charge: &Charge) -> bool {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner).contains(charge)
    }
}

#[async_trait]
impl Payer for ExactPayer {
    async fn pay(&self, charge: &Charge) -> Result<Payment> {
        if charge.payee != self.terms.pay_to {
            let text = "the payer was not built for this payee";
            return Err(Error::new(ErrorKind::Rejected, text).with("payee", charge.payee));
        }
        if !self.is_noted(charge) {
            let token = Token::new(self.terms.asset, self.chain.provider());
            let balance = self.chain.read(&token.balanceOf(self.account)).await?;
            let needed = self.outstanding().await?.checked_add(charge.amount)?;
            if needed > Amount::units(balance) {
                return Err(Refusal::Funds.into());
            }
        }
        self.note(charge)?;
        let terms = ExactTerms { amount: charge.amount, ..self.terms.clone() };
        let expires = self.clock.now().plus(terms.timeout);
        let payment = Authorization::new(&terms, self.account, expires, nonce_of(charge.id));
        let payment = payment.sign(&terms, &*self.key)?;
        Ok(Payment { payer: self.account, proof: payment.to_bytes().into() })
    }
}

impl std::fmt::Debug for ExactPayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExactPayer")
            .field("account", &self.account)
            .field("terms", &self.terms)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// The nonce that pays a charge.
fn nonce_of(charge: B256) -> B256 {
    keccak256([b"depin/x402-exact/charge/", charge.as_slice()].concat())
}
