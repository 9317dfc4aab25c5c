//! x402 `exact` behind the seam of all rails, for charges that do not come as HTTP requests.
//!
//! The nonce of the transfer follows from the charge, so a payer who is asked twice pays once, and a payment is
//! good for its charge only. Payments are settled when the payee says so, each by a transaction of its own.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use depin_core::{
    Address, Amount, B256, Clock, Error, ErrorKind, Result, Signer, keccak256,
    payment::{Accepted, Charge, Payer, Payment, PaymentRail, RailBalance, Settlement},
};

use super::{
    exact::{Authorization, ExactPayment, ExactTerms},
    pledge::Pledge,
    refusal::Refusal,
    till::{Outcome, Sale, Till},
};
use crate::{
    rail::{Book, Signed},
    typed::hash_words,
};

/// A [`Till`] as a rail. Open the till with a long [`keep`](super::TillOptions::keep): a charge that is forgotten
/// can be paid again by somebody else.
///
/// What is accepted is a signature, and nothing holds the payer's money until it is settled: settle at once, or at
/// least within the [`timeout`](super::TillOptions::timeout). A transfer that reverts, for example because the
/// payer has moved the money away, is tried again with every settlement while the signature is valid. What is lost
/// then is an error once and stays in the books as accepted and not settled.
#[derive(Clone, Debug)]
pub struct ExactRail(Till);

impl ExactRail {
    /// Takes charges for the payee of `till`, in its token.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the till is [in memory](super::TillOptions::in_memory): what it accepted would be
    /// lost with its process.
    pub fn new(till: Till) -> Result<Self> {
        if till.is_durable() {
            return Ok(Self(till));
        }
        let text = "a till in memory forgets what it accepted; open it with TillOptions::kept_in";
        Err(Error::new(ErrorKind::Config, text))
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
        if authorization.nonce != nonce_of(&self.0.terms(amount), payer, id) {
            return Err(Refusal::Offer.into());
        }
        let name = Some(keccak256([b"charge/", id.as_slice()].concat()));
        let pledge = Pledge::Exact(payment);
        self.0.take_for(&Sale { amount, pledge: &pledge, purpose: id, name }, amount).await?;
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
                Outcome::Unused => {}
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

/// Pays charges of one payee by signing transfers, and remembers them.
///
/// A payment is valid for as long as the terms say; one that was not used in that time is lost, and its charge has
/// to be made anew under another id. It stays counted, for nobody can prove to a stranger's till that it is late.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use depin_core::{Algorithm, B256, SoftwareKey, SystemClock, payment::{Charge, Payer}};
/// use depin_payment::x402::{ExactPayer, ExactTerms, PaymentRequired};
///
/// let offer = PaymentRequired::from_json(br#"{"x402Version":2,"resource":{"url":"/data"},"accepts":[{
///     "scheme":"exact","network":"eip155:84532","amount":"10000","maxTimeoutSeconds":60,
///     "asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","extra":{"name":"USDC","version":"2"},
///     "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C"}]}"#)?;
/// let terms = ExactTerms::parse(&offer.accepts[0])?;
/// let charge = Charge { id: B256::repeat_byte(1), payee: terms.pay_to, amount: 30.into() };
/// let key = Arc::new(SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]));
/// let payer = ExactPayer::in_memory(terms, key, Arc::new(SystemClock), 40.into())?;
///
/// assert_eq!(payer.pay(&charge).await?, payer.pay(&charge).await?, "asking again costs nothing");
/// let more = Charge { id: B256::repeat_byte(2), ..charge };
/// assert!(payer.pay(&more).await.is_err(), "that would pass the limit");
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct ExactPayer {
    terms: ExactTerms,
    key: Arc<dyn Signer>,
    account: Address,
    clock: Arc<dyn Clock>,
    limit: Amount,
    book: Book,
}

impl ExactPayer {
    /// A payer that remembers in a file. The amount in `terms` does not matter; `limit` is for all charges.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the key is not on secp256k1 or the file belongs to another payer,
    /// [`ErrorKind::Unavailable`] when it cannot be opened.
    pub fn open(
        path: &Path,
        terms: ExactTerms,
        key: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        limit: Amount,
    ) -> Result<Self> {
        Self::with(|owner| Book::open(path, owner), terms, key, clock, limit)
    }

    /// A payer that forgets with the process, for tests: then a charge asked for again is signed again, but the
    /// token takes only one of the two.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the key is not on secp256k1.
    pub fn in_memory(
        terms: ExactTerms,
        key: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        limit: Amount,
    ) -> Result<Self> {
        Self::with(Book::in_memory, terms, key, clock, limit)
    }

    fn with(
        book: impl FnOnce(B256) -> Result<Book>,
        terms: ExactTerms,
        key: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        limit: Amount,
    ) -> Result<Self> {
        let account = key.public_key().to_address().ok_or_else(|| {
            Error::new(ErrorKind::Config, "x402 is paid with a key on secp256k1 (ES256K)")
        })?;
        let chain = B256::left_padding_from(&terms.chain.value().to_be_bytes());
        let [asset, payee, payer] = [terms.asset, terms.pay_to, account].map(|a| a.into_word());
        let book = book(hash_words([chain, asset, payee, payer]))?;
        Ok(Self { terms, key, account, clock, limit, book })
    }
}

#[async_trait]
impl Payer for ExactPayer {
    async fn pay(&self, charge: &Charge) -> Result<Payment> {
        if charge.payee != self.terms.pay_to {
            let text = "the charge is for somebody whom this payer does not pay";
            return Err(Error::new(ErrorKind::Rejected, text).with("payee", charge.payee));
        }
        let proof = self.book.pay(charge, Signed::default(), self.limit, |_| {
            let terms = ExactTerms { amount: charge.amount, ..self.terms.clone() };
            let nonce = nonce_of(&terms, self.account, charge.id);
            let expires = self.clock.now().plus(terms.timeout);
            let payment = Authorization::new(&terms, self.account, expires, nonce);
            payment.sign(&terms, &*self.key).map(|payment| payment.to_bytes().into())
        })?;
        Ok(Payment { payer: self.account, proof })
    }
}

/// The nonce that pays a charge. A payer has one set of nonces per token, and payees may choose the same ids.
fn nonce_of(terms: &ExactTerms, payer: Address, charge: B256) -> B256 {
    let chain = B256::left_padding_from(&terms.chain.value().to_be_bytes());
    let [asset, payee, payer] = [terms.asset, terms.pay_to, payer].map(|a| a.into_word());
    hash_words([keccak256("depin/x402-exact/charge"), chain, asset, payee, payer, charge])
}
