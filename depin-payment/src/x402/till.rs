//! The payee's till: makes sure of payments, takes them once, and moves the money.
//!
//! Everything goes through one [`Chain`] handle, which is the one allocator of its account's nonces, and one
//! book, which is the one set of what was spent. A payment that somebody else sent to the chain first, as anybody
//! may, counts as settled: the money has arrived.

mod examine;
mod settle;
mod work;

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use depin_core::{Address, Amount, B256, Clock, Error, ErrorKind, Result};
use depin_evm::{Chain, bindings::NetworkToken as Token};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::OnceCell;

use super::{
    answer::Answer,
    book::{Book, Entry, Owed, Taking},
    deep::CONFIRMATIONS,
    exact::{ExactPayment, ExactTerms, TokenDomain},
    pledge::{Pledge, Terms},
    refusal::Refusal,
    upto::{UptoPayment, UptoTerms},
};
pub(super) use examine::Reserved;
use work::Claims;

/// Settings of a [`Till`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TillOptions {
    pay_to: Option<Address>,
    store: Option<PathBuf>,
    domain: Option<TokenDomain>,
    timeout: Duration,
    keep: Duration,
    confirmations: u64,
}

impl TillOptions {
    /// A till that keeps what it took in a file, so that a restart loses no payment that is due and no answer that was
    /// sold. The file belongs to one till at a time.
    #[must_use]
    pub fn kept_in(path: impl AsRef<Path>) -> Self {
        Self { store: Some(path.as_ref().into()), ..Self::in_memory() }
    }

    /// A till that forgets when its process ends which payments are due, **which loses money**, and which bought what,
    /// which the chain then catches. For tests, and for prices that nobody misses. An [`ExactRail`](super::ExactRail), and
    /// vouchers, of which the chain does not know, need one that is [kept](Self::kept_in).
    #[must_use]
    pub const fn in_memory() -> Self {
        Self {
            pay_to: None,
            store: None,
            domain: None,
            timeout: Duration::from_secs(60),
            keep: Duration::from_secs(300),
            confirmations: CONFIRMATIONS,
        }
    }

    /// Who is paid; the account of the chain handle unless told. The handle's account pays the gas.
    #[must_use]
    pub const fn pay_to(mut self, account: Address) -> Self {
        self.pay_to = Some(account);
        self
    }

    /// Name and version in the token's EIP-712 domain; unless told the token is asked (ERC-5267).
    #[must_use]
    pub fn domain(mut self, name: &str, version: &str) -> Self {
        self.domain = Some(TokenDomain { name: name.to_owned(), version: version.to_owned() });
        self
    }

    /// How long a payer may take between hearing the price and the transaction being mined; a minute unless
    /// told.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// For how long the answer that a settled payment bought is given again to who repeats the payment; five
    /// minutes unless told.
    #[must_use]
    pub const fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// How many blocks have to follow one before the till gives up a payment for what that block shows: that its time
    /// was over, or its nonce used for something else. 64 unless told. Fewer where blocks are final sooner, 1 on IoTeX
    /// for example; more than 128 many nodes do not remember. Until then it is [`Outcome::Pending`].
    #[must_use]
    pub const fn confirmations(mut self, blocks: u64) -> Self {
        self.confirmations = blocks;
        self
    }
}

/// Takes payments in one token for one payee. Cloning shares it.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use depin_core::{Amount, NetworkId, SystemClock};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, deploy};
/// use depin_payment::x402::{Till, TillOptions};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
///
/// let clock = Arc::new(SystemClock);
/// let till = Till::open(chain.clone(), contracts.token, clock, TillOptions::in_memory()).await?;
/// let terms = till.terms(Amount::from(100));
/// assert_eq!((terms.pay_to, terms.asset), (chain.account(), contracts.token));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Till(Arc<Inner>);

struct Inner {
    chain: Chain,
    token: Address,
    pay_to: Address,
    domain: TokenDomain,
    timeout: Duration,
    keep: Duration,
    confirmations: u64,
    clock: Arc<dyn Clock>,
    book: Book,
    durable: bool,
    /// Whether the chain has what `upto` needs, once that is known.
    upto: OnceCell<()>,
    busy: Mutex<HashSet<B256>>,
    claims: Claims,
}

/// What became of a payment that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the money has moved, need not, may have moved, or will not"
)]
pub enum Outcome {
    /// The transaction moved the money.
    Settled(B256),
    /// Nothing was used, so nothing is moved; the payment is spent all the same.
    Unused,
    /// The money may have moved, or may yet: a transaction is sent and not mined, could not be sent, somebody else sent
    /// the payment and it has fewer [confirmations](depin_evm::ChainBuilder::confirmations) than the till's own take, or
    /// somebody used the payer's nonce and the block that tells for what is
    /// [not deep enough](TillOptions::confirmations). Ask again.
    Pending,
    /// The chain refused the payment, and the money does not move by this till: for good, or it is no loss because the
    /// answer did not go out.
    Failed(Refusal),
}

impl Till {
    /// Opens the book and asks the token for its domain.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the book belongs to another till or the token does not tell its domain,
    /// [`ErrorKind::Conflict`] when another process has the book open, [`ErrorKind::Corrupt`] when it is damaged,
    /// [`ErrorKind::Unavailable`] when the node does not answer.
    pub async fn open(
        chain: Chain,
        token: Address,
        clock: Arc<dyn Clock>,
        options: TillOptions,
    ) -> Result<Self> {
        let domain = match options.domain {
            Some(domain) => domain,
            None => ask_domain(&chain, token).await?,
        };
        let pay_to = options.pay_to.unwrap_or_else(|| chain.account());
        let owner = format!("{}/{token}/{pay_to}", chain.id());
        let book = Book::open(options.store.as_deref(), &owner)?;
        Ok(Self(Arc::new(Inner {
            chain,
            token,
            pay_to,
            domain,
            timeout: options.timeout,
            keep: options.keep,
            confirmations: options.confirmations,
            clock,
            book,
            durable: options.store.is_some(),
            upto: OnceCell::new(),
            busy: Mutex::default(),
            claims: Claims::default(),
        })))
    }

    /// What a payer has to sign for `amount` of the token's smallest unit.
    pub fn terms(&self, amount: Amount) -> ExactTerms {
        let Inner { chain, token, pay_to, domain, timeout, .. } = &*self.0;
        ExactTerms {
            chain: chain.id(),
            asset: *token,
            pay_to: *pay_to,
            amount,
            timeout: *timeout,
            domain: domain.clone(),
        }
    }

    /// What a payer has to sign so that up to `most` can be taken: by this till's account alone, which chooses how
    /// much. A till that goes on with another account cannot settle what it took before.
    pub fn upto_terms(&self, most: Amount) -> UptoTerms {
        let ExactTerms { chain, asset, pay_to, timeout, domain, .. } = self.terms(most);
        let facilitator = self.0.chain.account();
        UptoTerms { chain, asset, pay_to, most, timeout, facilitator, domain: Some(domain) }
    }

    /// Makes sure that a payment is worth `amount` now: signature, amount, payee and time, then the payer's
    /// balance, that the authorization is unused, and that the transfer would succeed.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] with its [`Refusal`]; [`ErrorKind::Unavailable`] when the node does not answer.
    pub async fn verify(&self, amount: Amount, payment: &ExactPayment) -> Result<()> {
        let pledge = Pledge::Exact(payment.clone());
        self.check(amount, &pledge)?;
        self.examine(amount, &pledge).await.map(drop)
    }

    /// Makes sure that up to `most` can be taken now: as [`verify`](Self::verify), and that the payer lets Permit2
    /// move that much.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and [`ErrorKind::Config`] when the chain does not have Permit2 and the proxy.
    pub async fn verify_upto(&self, most: Amount, payment: &UptoPayment) -> Result<()> {
        let pledge = Pledge::Upto(payment.clone());
        self.check(most, &pledge)?;
        self.examine(most, &pledge).await.map(drop)
    }

    /// Makes sure of a payment and takes it for `purpose`, durably. Whether it was taken just now: with the same
    /// purpose again nothing happens.
    ///
    /// Payments of one payer are covered together: what is due of all of them, and being worked for, is within the
    /// payer's balance.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), [`ErrorKind::Conflict`] when it was taken for another purpose, and
    /// [`ErrorKind::Unavailable`] with [`Refusal::Busy`] when others may leave enough for it: take it again in a moment.
    pub async fn take(
        &self,
        amount: Amount,
        payment: &ExactPayment,
        purpose: B256,
    ) -> Result<bool> {
        let pledge = Pledge::Exact(payment.clone());
        self.take_for(&Sale { amount, pledge: &pledge, purpose, name: None }, amount).await
    }

    /// The same with a payment of up to `most`, of which `used` is taken. With nothing used nothing will be sent.
    ///
    /// # Errors
    /// As [`verify_upto`](Self::verify_upto), [`ErrorKind::Limit`] when more was used than that, and
    /// [`ErrorKind::Conflict`] when it was taken for another purpose.
    pub async fn take_upto(
        &self,
        most: Amount,
        payment: &UptoPayment,
        used: Amount,
        purpose: B256,
    ) -> Result<bool> {
        payment.settlement(used)?;
        let pledge = Pledge::Upto(payment.clone());
        self.take_for(&Sale { amount: most, pledge: &pledge, purpose, name: None }, used).await
    }

    pub(super) async fn take_for(&self, sale: &Sale<'_>, used: Amount) -> Result<bool> {
        if self.taken(sale)?.is_some() {
            return Ok(false);
        }
        let reserved = match self.reserve((sale.amount, used), sale.pledge).await {
            Ok(reserved) => reserved,
            // Somebody else may have taken and settled it meanwhile: that is why the chain has it as used.
            Err(error) => return self.taken(sale)?.map(|_| false).ok_or(error),
        };
        self.keep(sale, used, &reserved, None)
    }

    /// Moves the money of a payment that was taken, or learns that it has moved.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it was not taken, or is forgotten.
    pub async fn settle(&self, amount: Amount, payment: &ExactPayment) -> Result<Outcome> {
        self.settle_one(payment.id(&self.terms(amount))).await
    }

    /// The same with a payment of up to so much: moves what was used of it.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    pub async fn settle_upto(&self, payment: &UptoPayment) -> Result<Outcome> {
        self.settle_one(payment.id(self.0.chain.id())).await
    }

    /// Moves the money of all payments that are due, those first that end first and 64 at a time, and answers what
    /// became of each. Do this at the start and
    /// from time to time: a client that went away leaves its payment unsettled, and what is not settled goes on counting
    /// against the payer's balance.
    ///
    /// # Errors
    /// When the book cannot be read or written.
    pub async fn settle_due(&self) -> Result<Vec<(Amount, Outcome)>> {
        let mut due = Vec::new();
        for id in self.0.book.due()? {
            let Some(entry) = self.0.book.entry(id)? else { continue };
            due.push((Pledge::from_wire(&entry.payment)?.ends(), entry.amount(), id));
        }
        due.sort_unstable();
        let settle = |(_, amount, id)| async move {
            self.settle_one(id).await.map(|outcome| (amount, outcome))
        };
        let settled = stream::iter(due).map(settle).buffer_unordered(AT_ONCE);
        let outcomes = settled.try_collect().await?;
        self.0.book.forget(self.now())?;
        Ok(outcomes)
    }

    /// All that was ever taken, without what the chain refused before its answer went out, and how much of it has
    /// reached the payee. What was lost after [`take`](Self::take) stays in it.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn balance(&self) -> Result<depin_core::payment::RailBalance> {
        self.0.book.sums()
    }

    /// Whether a restart forgets nothing.
    pub(super) fn is_durable(&self) -> bool {
        self.0.durable
    }

    /// What tells the till's book from every other one.
    pub(super) fn id(&self) -> Result<B256> {
        self.0.book.id()
    }

    fn now(&self) -> u64 {
        self.0.clock.now().secs()
    }

    /// What a payment of either scheme has to be for.
    pub(super) fn all_terms(&self, amount: Amount) -> Terms {
        Terms { exact: self.terms(amount), upto: self.upto_terms(amount) }
    }

    /// The id of a payment, if it was taken for this sale.
    pub(super) fn taken(&self, sale: &Sale<'_>) -> Result<Option<B256>> {
        let terms = self.all_terms(sale.amount);
        let id = sale.pledge.id(&terms);
        if let Some(name) = sale.name
            && self.0.book.named(name)?.is_some_and(|named| named != id)
        {
            return Err(Refusal::Named.into());
        }
        let Some(entry) = self.0.book.entry(id)? else { return Ok(None) };
        let earlier = Pledge::from_wire(&entry.payment)?;
        let same = earlier.moves_as(sale.pledge, &terms);
        let fits = earlier.most() == sale.amount;
        if !same || !fits || entry.purpose != sale.purpose.to_string() {
            return Err(Refusal::Spent.into());
        }
        Ok(Some(id))
    }

    /// Marks a payment as being worked on; nobody gets the mark while somebody has it.
    pub(super) fn mark(&self, id: B256) -> Option<Mark> {
        let mut busy = self.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(id).then(|| Mark { till: self.clone(), id })
    }

    pub(super) fn answer(&self, id: B256) -> Result<Option<Answer>> {
        self.0.book.answer(id)
    }

    /// How much of a payment is taken.
    pub(super) fn cost(&self, id: B256) -> Result<Option<Amount>> {
        Ok(self.0.book.entry(id)?.map(|entry| entry.amount()))
    }

    pub(super) fn drop_answer(&self, id: B256) -> Result<()> {
        self.0.book.drop_answer(id)
    }

    /// Keeps the answer that a charge of another rail buys, for a while.
    pub(super) fn keep_answer(&self, charge: B256, answer: &Answer) -> Result<()> {
        self.0.book.keep_answer(charge, answer, self.forget_at())?;
        self.0.book.forget(self.now())
    }

    /// Takes `used` of a payment. Its money stays reserved, now as what is due.
    pub(super) fn keep(
        &self,
        sale: &Sale<'_>,
        used: Amount,
        reserved: &Reserved,
        answer: Option<&Answer>,
    ) -> Result<bool> {
        let Sale { amount, pledge, purpose, name } = *sale;
        let nothing = used.is_zero() && matches!(pledge, Pledge::Upto(_));
        // The chain never hears of what has nothing to settle, so until it ends nobody else refuses it.
        let ends = u64::try_from(pledge.ends()).unwrap_or(u64::MAX);
        let entry = Entry {
            purpose: purpose.to_string(),
            name,
            payer: pledge.payer().to_string(),
            payment: pledge.to_wire(),
            amount: used.to_units(),
            block: reserved.block,
            settled: nothing.then(String::new),
            until: nothing.then_some(ends),
        };
        let id = pledge.id(&self.all_terms(amount));
        let owed = Owed { amount: used, by_permit2: pledge.is_by_permit2() };
        let forget = self.forget_at();
        let taking = Taking { id, owed, forget, entry: &entry, answer };
        if self.0.book.take(&taking)? {
            // What settles nothing leaves the forgetting of others to nobody.
            self.0.book.forget(self.now())?;
            return Ok(true);
        }
        // Somebody was faster; it is the same only with the same purpose.
        self.taken(sale).map(|_| false)
    }

    /// When what is settled now may be forgotten, in seconds.
    fn forget_at(&self) -> u64 {
        self.now().saturating_add(self.0.keep.as_secs())
    }
}

impl fmt::Debug for Till {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Till")
            .field("chain", &self.0.chain)
            .field("token", &self.0.token)
            .field("pay_to", &self.0.pay_to)
            .finish_non_exhaustive()
    }
}

/// What is sold, and what for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sale<'a> {
    /// The price, or the most of it.
    pub(super) amount: Amount,
    pub(super) pledge: &'a Pledge,
    pub(super) purpose: B256,
    pub(super) name: Option<B256>,
}

/// Somebody works on a payment until this is dropped.
#[derive(Debug)]
pub(super) struct Mark {
    till: Till,
    id: B256,
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.till.0.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Payments that are settled at once: one after another, each waiting for its block, some would end before their turn.
const AT_ONCE: usize = 64;

async fn ask_domain(chain: &Chain, token: Address) -> Result<TokenDomain> {
    let contract = Token::new(token, chain.provider());
    let found = chain.read(&contract.eip712Domain()).await.map_err(|error| {
        if error.is_retryable() {
            return error;
        }
        let text = "the token does not tell its EIP-712 domain; give it with the till's options";
        Error::new(ErrorKind::Config, text).with("token", token).source(error)
    })?;
    Ok(TokenDomain { name: found.name, version: found.version })
}
