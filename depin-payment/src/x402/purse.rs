//! The client's purse: a key with rules about what it signs.
//!
//! A 402 is a stranger asking for money. The purse signs only for tokens that its rules name, only up to their
//! limits, and counts what it signed as spent, for a signature is out of its hands.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use depin_core::{Address, Amount, B256, ChainId, Clock, Error, ErrorKind, Result, Signer, U256};
use rand_core::CryptoRngCore;

use super::{
    deep::CONFIRMATIONS,
    exact::{Authorization, ExactTerms},
    identifier,
    message::{PaymentPayload, PaymentRequired, PaymentRequirements, VERSION},
    reclaim::{Open, Opened},
    upto::UptoTerms,
};

/// What a purse may spend of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The token's chain.
    pub chain: ChainId,
    /// The token's contract.
    pub asset: Address,
    /// Most for one request, in the token's smallest unit.
    pub each: Amount,
    /// Most for all requests together.
    pub total: Amount,
}

/// What a purse signs. Unless told, nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    allowances: Vec<Allowance>,
    payees: Option<Vec<Address>>,
    longest: Duration,
    upto: bool,
    confirmations: u64,
}

impl Default for Policy {
    fn default() -> Self {
        let longest = Duration::from_secs(600);
        let (allowances, confirmations) = (Vec::new(), CONFIRMATIONS);
        Self { allowances, payees: None, longest, upto: false, confirmations }
    }
}

impl Policy {
    /// Allows to spend a token. Allowances of one token do not add up: the first counts.
    #[must_use]
    pub fn allow(mut self, allowance: Allowance) -> Self {
        self.allowances.push(allowance);
        self
    }

    /// Pays nobody else than these; anybody unless told.
    #[must_use]
    pub fn only_to(mut self, payees: impl IntoIterator<Item = Address>) -> Self {
        self.payees = Some(payees.into_iter().collect());
        self
    }

    /// Signs for up to so much as well (scheme `upto`), and the server says how much it used. All of it counts as
    /// spent until the chain shows that less was taken: see [`Purse::reclaim`]. The account has to
    /// [approve Permit2](super::approve_permit2) before.
    #[must_use]
    pub const fn with_upto(mut self) -> Self {
        self.upto = true;
        self
    }

    /// How many blocks have to follow one before the purse believes that [less was taken](Purse::reclaim); 64 unless
    /// told. Fewer where blocks are final sooner, 1 on IoTeX for example; more than 128 many nodes do not remember.
    #[must_use]
    pub const fn confirmations(mut self, blocks: u64) -> Self {
        self.confirmations = blocks;
        self
    }

    /// Longest time for which a signature is valid, however long a server asks for; ten minutes unless told.
    #[must_use]
    pub const fn longest(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }
}

/// A key that pays for requests within a [`Policy`]. Cloning shares what was spent.
///
/// The count is kept in memory: a program that starts again gives its next purse what is left as limit.
///
/// ```
/// use std::sync::Arc;
/// use depin_core::{Algorithm, ChainId, ErrorKind, SoftwareKey, SystemClock};
/// use depin_payment::x402::{Allowance, PaymentRequired, Policy, Purse};
///
/// let required = PaymentRequired::from_json(br#"{"x402Version":2,"resource":{"url":"https://api.example/data"},
///     "accepts":[{"scheme":"exact","network":"eip155:84532","amount":"10000",
///     "asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
///     "maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}]}"#)?;
/// let asset = "0x036CbD53842c5426634e7929541eC2318f3dCF7e".parse().unwrap();
/// let usdc = |each: u64| Allowance { chain: ChainId::new(84532), asset, each: each.into(), total: 15_000.into() };
/// let key = Arc::new(SoftwareKey::generate(Algorithm::Es256k, &mut rand::thread_rng()));
/// let purse = |each| Purse::new(key.clone(), Policy::default().allow(usdc(each)), Arc::new(SystemClock));
///
/// let rng = &mut rand::thread_rng();
/// let rich = purse(10_000)?;
/// assert_eq!(rich.pay(&required, rng)?.accepted, required.accepts[0]);
/// assert_eq!(rich.pay(&required, rng).unwrap_err().kind(), ErrorKind::Limit, "in total");
/// assert_eq!(purse(9_999)?.pay(&required, rng).unwrap_err().kind(), ErrorKind::Limit, "each");
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Purse(Arc<Inner>);

struct Inner {
    key: Arc<dyn Signer>,
    account: Address,
    policy: Policy,
    clock: Arc<dyn Clock>,
    book: Mutex<Book>,
}

/// What was signed.
pub(super) struct Book {
    /// So far, in the order of the allowances.
    pub(super) spent: Vec<Amount>,
    /// Of which less may be taken than was signed for.
    pub(super) open: Opened,
}

/// What an offer asks for.
enum Terms {
    Exact(ExactTerms),
    Upto(UptoTerms),
}

impl Terms {
    fn parse(offer: &PaymentRequirements, policy: &Policy) -> Result<Self> {
        if offer.scheme != UptoTerms::SCHEME {
            return ExactTerms::parse(offer).map(Self::Exact);
        }
        if !policy.upto {
            let text = "the policy does not sign for up to so much; let it, or use another server";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        UptoTerms::parse(offer).map(Self::Upto)
    }

    const fn token(&self) -> (ChainId, Address) {
        match self {
            Self::Exact(terms) => (terms.chain, terms.asset),
            Self::Upto(terms) => (terms.chain, terms.asset),
        }
    }

    const fn pay_to(&self) -> Address {
        match self {
            Self::Exact(terms) => terms.pay_to,
            Self::Upto(terms) => terms.pay_to,
        }
    }

    /// The price, or the most of it.
    const fn amount(&self) -> Amount {
        match self {
            Self::Exact(terms) => terms.amount,
            Self::Upto(terms) => terms.most,
        }
    }

    const fn timeout(&self) -> Duration {
        match self {
            Self::Exact(terms) => terms.timeout,
            Self::Upto(terms) => terms.timeout,
        }
    }
}

impl Purse {
    /// A purse that pays with `key`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the key is not on secp256k1.
    pub fn new(key: Arc<dyn Signer>, policy: Policy, clock: Arc<dyn Clock>) -> Result<Self> {
        let account = key.public_key().to_address().ok_or_else(|| {
            Error::new(ErrorKind::Config, "a purse pays with a key on secp256k1 (ES256K)")
        })?;
        let spent = vec![Amount::ZERO; policy.allowances.len()];
        let book = Mutex::new(Book { spent, open: Opened::default() });
        Ok(Self(Arc::new(Inner { key, account, policy, clock, book })))
    }

    /// Whose money it spends.
    pub fn account(&self) -> Address {
        self.0.account
    }

    /// What was signed for a token, whether or not it was settled, without what was [reclaimed](Self::reclaim).
    pub fn spent(&self, chain: ChainId, asset: Address) -> Amount {
        let book = self.book();
        self.allowance(chain, asset)
            .and_then(|(place, _)| book.spent.get(place).copied())
            .unwrap_or_default()
    }

    pub(super) fn confirmations(&self) -> u64 {
        self.0.policy.confirmations
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs a payment for the first way to pay that the policy lets it.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when the price is more than the policy allows, [`ErrorKind::Rejected`] when the
    /// policy does not name the token or the payee, [`ErrorKind::Unsupported`] when no way to pay is `exact` on
    /// an EVM chain, or `upto` if the policy lets it. Then nothing was signed.
    pub fn pay(
        &self,
        required: &PaymentRequired,
        rng: &mut impl CryptoRngCore,
    ) -> Result<PaymentPayload> {
        self.pay_to(None, required, &Fresh::draw(rng))
    }

    /// Pays what a server asks for; without one the payee stands for it.
    pub(super) fn pay_to(
        &self,
        server: Option<B256>,
        required: &PaymentRequired,
        fresh: &Fresh,
    ) -> Result<PaymentPayload> {
        let mut refused = None;
        for offer in &required.accepts {
            match self.reserve(offer) {
                Ok((place, terms)) => {
                    let server = server.unwrap_or_else(|| terms.pay_to().into_word());
                    let signed = self.sign(required, offer, (place, &terms), (server, fresh));
                    return signed.inspect_err(|_| self.release(place, terms.amount()));
                }
                Err(error) => refused = Some(clearer(refused, error)),
            }
        }
        Err(refused.unwrap_or_else(|| {
            Error::new(ErrorKind::Malformed, "the server asks for money and names no way to pay")
        }))
    }

    fn sign(
        &self,
        required: &PaymentRequired,
        offer: &PaymentRequirements,
        (place, terms): (usize, &Terms),
        (server, fresh): (B256, &Fresh),
    ) -> Result<PaymentPayload> {
        let expires = self.0.clock.now().plus(terms.timeout().min(self.0.policy.longest));
        let payload = match terms {
            Terms::Exact(terms) => {
                let payment = Authorization::new(terms, self.0.account, expires, fresh.nonce);
                payment.sign(terms, &*self.0.key)?.to_payload()
            }
            Terms::Upto(terms) => {
                let nonce = U256::from_be_bytes(fresh.nonce.0);
                let payment = terms.sign(&*self.0.key, expires, nonce)?;
                let open = Open::new(place, server, terms.chain, &payment);
                self.book().open.remember(open);
                payment.to_payload()
            }
        };
        let mut extensions = required.extensions.clone();
        if let Some(extensions) = &mut extensions {
            identifier::add(extensions, &fresh.identifier);
        }
        Ok(PaymentPayload {
            version: VERSION,
            resource: Some(required.resource.clone()),
            accepted: offer.clone(),
            payload,
            extensions,
        })
    }

    /// Counts the price as spent, if the policy allows it.
    fn reserve(&self, offer: &PaymentRequirements) -> Result<(usize, Terms)> {
        let terms = Terms::parse(offer, &self.0.policy)?;
        let (payee, amount, (chain, asset)) = (terms.pay_to(), terms.amount(), terms.token());
        if self.0.policy.payees.as_ref().is_some_and(|payees| !payees.contains(&payee)) {
            let text = "the policy pays nobody but its payees; add this one to it";
            return Err(Error::new(ErrorKind::Rejected, text).with("payee", payee));
        }
        let (place, allowance) = self.allowance(chain, asset).ok_or_else(|| {
            let text = "the policy does not allow this token; add an allowance for it";
            Error::new(ErrorKind::Rejected, text)
                .with("asset", asset)
                .with("network", &offer.network)
        })?;
        if amount > allowance.each {
            let text = "the server asks for more than the policy allows for one request; raise the \
                        limit or use another server";
            return Err(over(text, amount, allowance.each));
        }
        let mut book = self.book();
        let sum = book.spent.get_mut(place).ok_or_else(|| {
            Error::new(ErrorKind::Config, "the purse has no account of this allowance")
        })?;
        let after = sum.checked_add(amount)?;
        if after > allowance.total {
            let text = "what was signed and this come to more than the policy allows in total; \
                        raise the limit";
            return Err(over(text, after, allowance.total));
        }
        *sum = after;
        Ok((place, terms))
    }

    /// Nothing was signed after all.
    fn release(&self, place: usize, amount: Amount) {
        if let Some(sum) = self.book().spent.get_mut(place) {
            *sum = sum.checked_sub(amount).unwrap_or_default();
        }
    }

    fn allowance(&self, chain: ChainId, asset: Address) -> Option<(usize, &Allowance)> {
        let mut all = self.0.policy.allowances.iter().enumerate();
        all.find(|(_, allowance)| allowance.chain == chain && allowance.asset == asset)
    }
}

impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purse")
            .field("account", &self.0.account)
            .field("policy", &self.0.policy)
            .finish_non_exhaustive()
    }
}

/// What is drawn for one payment.
pub(super) struct Fresh {
    nonce: B256,
    pub(super) identifier: [u8; 16],
}

impl Fresh {
    pub(super) fn draw(rng: &mut impl CryptoRngCore) -> Self {
        let (mut nonce, mut identifier) = (B256::ZERO, [0; 16]);
        rng.fill_bytes(&mut nonce.0);
        rng.fill_bytes(&mut identifier);
        Self { nonce, identifier }
    }
}

fn over(text: &'static str, asked: Amount, limit: Amount) -> Error {
    Error::new(ErrorKind::Limit, text)
        .with("asked", asked.to_units())
        .with("limit", limit.to_units())
}

/// Of two reasons the one that says more: a price that is too high before what is not understood at all.
fn clearer(earlier: Option<Error>, now: Error) -> Error {
    let rank = |error: &Error| match error.kind() {
        ErrorKind::Limit => 0,
        ErrorKind::Rejected => 1,
        _ => 2,
    };
    match earlier {
        Some(earlier) if rank(&earlier) <= rank(&now) => earlier,
        _ => now,
    }
}
