//! The payee's till: makes sure of payments, takes them once, and moves the money.
//!
//! Everything goes through one [`Chain`] handle, which is the one allocator of its account's nonces, and one
//! book, which is the one set of what was spent. A payment that somebody else sent to the chain first, as anybody
//! may, counts as settled: the money has arrived.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use depin_core::{Address, Amount, B256, Clock, Error, ErrorKind, Result, U256};
use depin_evm::{
    Chain, Revert,
    alloy::{
        providers::Provider,
        rpc::types::{Filter, Log, TransactionRequest},
        sol_types::SolEvent,
    },
    bindings::NetworkToken as Token,
};

use super::{
    answer::Answer,
    book::{Book, Entry, Taking},
    exact::{ExactPayment, ExactTerms, TokenDomain},
    refusal::Refusal,
};

/// Settings of a [`Till`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TillOptions {
    pay_to: Option<Address>,
    store: Option<PathBuf>,
    domain: Option<TokenDomain>,
    timeout: Duration,
    keep: Duration,
}

impl Default for TillOptions {
    fn default() -> Self {
        Self {
            pay_to: None,
            store: None,
            domain: None,
            timeout: Duration::from_secs(60),
            keep: Duration::from_secs(300),
        }
    }
}

impl TillOptions {
    /// Who is paid; the account of the chain handle unless told. The handle's account pays the gas.
    #[must_use]
    pub const fn pay_to(mut self, account: Address) -> Self {
        self.pay_to = Some(account);
        self
    }

    /// The file that keeps what was taken. It belongs to one till at a time. Without it a restart forgets which
    /// payments are due, which loses money, and which bought what, which the chain then catches; vouchers, of
    /// which the chain does not know, are not taken without it.
    #[must_use]
    pub fn store(mut self, path: impl AsRef<Path>) -> Self {
        self.store = Some(path.as_ref().into());
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
/// let till = Till::open(chain.clone(), contracts.token, clock, TillOptions::default()).await?;
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
    clock: Arc<dyn Clock>,
    book: Book,
    durable: bool,
    busy: Mutex<HashSet<B256>>,
}

/// What became of a payment that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the money has moved, may have moved, or will not")]
pub enum Outcome {
    /// The transaction moved the money.
    Settled(B256),
    /// A transaction is sent, or could not be, and nobody knows yet whether it will be mined: ask again.
    Pending,
    /// The chain refused the payment for good.
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
            clock,
            book,
            durable: options.store.is_some(),
            busy: Mutex::default(),
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

    /// Makes sure that a payment is worth `amount` now: signature, amount, payee and time, then the payer's
    /// balance, that the authorization is unused, and that the transfer would succeed.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] with its [`Refusal`]; [`ErrorKind::Unavailable`] when the node does not answer.
    pub async fn verify(&self, amount: Amount, payment: &ExactPayment) -> Result<()> {
        self.examine(amount, payment).await.map(drop)
    }

    /// Makes sure of a payment and takes it for `purpose`, durably. Whether it was taken just now: with the same
    /// purpose again nothing happens.
    ///
    /// Payments of one payer are covered together: what is due of all of them is within the payer's balance.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and [`ErrorKind::Conflict`] when it was taken for another purpose.
    pub async fn take(
        &self,
        amount: Amount,
        payment: &ExactPayment,
        purpose: B256,
    ) -> Result<bool> {
        self.take_for(&Sale { amount, payment, purpose, name: None }).await
    }

    pub(super) async fn take_for(&self, sale: &Sale<'_>) -> Result<bool> {
        if self.taken(sale)?.is_some() {
            return Ok(false);
        }
        let seen = self.examine(sale.amount, sale.payment).await?;
        self.keep(sale, seen, None)
    }

    /// Moves the money of a payment that was taken, or learns that it has moved.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it was not taken, or is forgotten.
    pub async fn settle(&self, amount: Amount, payment: &ExactPayment) -> Result<Outcome> {
        self.settle_one(payment.id(&self.terms(amount))).await
    }

    /// Moves the money of all payments that are due, and answers what became of each. Do this at the start and
    /// from time to time: a client that went away leaves its payment unsettled.
    ///
    /// # Errors
    /// When the book cannot be read or written.
    pub async fn settle_due(&self) -> Result<Vec<(Amount, Outcome)>> {
        let mut outcomes = Vec::new();
        for id in self.0.book.due()? {
            let Some(entry) = self.0.book.entry(id)? else { continue };
            let amount = ExactPayment::from_wire(&entry.payment)?.authorization().value;
            outcomes.push((amount, self.settle_one(id).await?));
        }
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

    fn now(&self) -> u64 {
        self.0.clock.now().secs()
    }

    /// The id of a payment, if it was taken for this sale.
    pub(super) fn taken(&self, sale: &Sale<'_>) -> Result<Option<B256>> {
        let id = sale.payment.id(&self.terms(sale.amount));
        if let Some(name) = sale.name
            && self.0.book.named(name)?.is_some_and(|named| named != id)
        {
            return Err(Refusal::Named.into());
        }
        let Some(entry) = self.0.book.entry(id)? else { return Ok(None) };
        let earlier = ExactPayment::from_wire(&entry.payment)?;
        let same = earlier.moves_as(sale.payment, &self.terms(sale.amount));
        let fits = earlier.authorization().value == sale.amount;
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

    pub(super) fn drop_answer(&self, id: B256) -> Result<()> {
        self.0.book.drop_answer(id)
    }

    /// The answer that a charge of another rail bought, if it was served for this purpose.
    pub(super) fn served(&self, charge: B256, purpose: B256) -> Result<Option<Answer>> {
        match self.0.book.served(charge)? {
            None => Ok(None),
            Some(found) if found == purpose => {
                self.0.book.answer(charge)?.ok_or_else(|| Refusal::Spent.into()).map(Some)
            }
            Some(_) => Err(Refusal::Spent.into()),
        }
    }

    pub(super) fn serve(&self, charge: B256, purpose: B256, answer: &Answer) -> Result<()> {
        let forget = self.now().saturating_add(self.0.keep.as_secs());
        self.0.book.serve(charge, purpose, answer, forget)?;
        self.0.book.forget(self.now())
    }

    pub(super) async fn examine(&self, amount: Amount, payment: &ExactPayment) -> Result<Seen> {
        payment.check(&self.terms(amount), self.0.clock.now())?;
        // Before the balance is read: what is settled in between is in neither of them.
        let due = self.0.book.due_of(payment.authorization().from)?;
        let (chain, provider) = (&self.0.chain, self.0.chain.provider());
        let token = Token::new(self.0.token, provider);
        let authorization = payment.authorization();
        let (balance, state) = (
            token.balanceOf(authorization.from),
            token.authorizationState(authorization.from, authorization.nonce),
        );
        let transfer = self.transfer(payment).from(chain.account());
        let (block, balance, used, simulated) = tokio::join!(
            chain.ask(provider.get_block_number()),
            chain.read(&balance),
            chain.read(&state),
            chain.ask(provider.call(transfer)),
        );
        let balance = Amount::units(balance?);
        if balance < amount {
            return Err(Refusal::Funds.into());
        }
        if used? {
            return Err(Refusal::Used.into());
        }
        simulated.map_err(refused)?;
        Ok(Seen { block: block?, balance, due })
    }

    /// Takes a payment that was examined.
    pub(super) fn keep(
        &self,
        sale: &Sale<'_>,
        seen: Seen,
        answer: Option<&Answer>,
    ) -> Result<bool> {
        let Sale { amount, payment, purpose, name } = *sale;
        let payer = payment.authorization().from;
        let entry = Entry {
            purpose: purpose.to_string(),
            name,
            payer: payer.to_string(),
            payment: payment.to_wire(),
            block: seen.block,
            settled: None,
        };
        let id = payment.id(&self.terms(amount));
        let Seen { balance, due, .. } = seen;
        let taking = Taking { id, payer, amount, balance, due, entry: &entry, answer };
        if self.0.book.take(&taking)? {
            return Ok(true);
        }
        // Somebody was faster; it is the same only with the same purpose.
        self.taken(sale).map(|_| false)
    }

    pub(super) async fn settle_one(&self, id: B256) -> Result<Outcome> {
        let Some(entry) = self.0.book.entry(id)? else {
            let text = "the till did not take this payment, or forgot it; take it first";
            return Err(Error::new(ErrorKind::NotFound, text).with("payment", id));
        };
        if let Some(transaction) = entry.transaction()? {
            return Ok(Outcome::Settled(transaction));
        }
        let payment = ExactPayment::from_wire(&entry.payment)?;
        let transfer = self.transfer(&payment);
        let sent = self.0.chain.send_once(&format!("x402/{id}"), transfer).await;
        let transaction = match sent {
            Ok(receipt) => Some(receipt.transaction_hash),
            // Whatever else a node refuses, for example for lack of gas money, says nothing of the payment.
            Err(error) if Revert::of(&error).is_some() || self.is_over(&payment) => {
                match self.sent_by_another(&payment, entry.block).await {
                    Ok(Some(transaction)) => Some(transaction),
                    Ok(None) if self.may_still_pay(id, &payment).await? => None,
                    Ok(None) => return self.fail(id, error),
                    Err(_) => None,
                }
            }
            Err(error) => {
                tracing::info!(%error, payment = %id, "a payment is not settled yet");
                None
            }
        };
        let Some(transaction) = transaction else { return Ok(Outcome::Pending) };
        let forget = self.now().saturating_add(self.0.keep.as_secs());
        self.0.book.settled(id, transaction, forget)?;
        self.0.book.forget(self.now())?;
        Ok(Outcome::Settled(transaction))
    }

    /// Whether no block can take the payment any more.
    fn is_over(&self, payment: &ExactPayment) -> bool {
        let late = U256::from(self.now().saturating_sub(CLOCKS_DIFFER));
        payment.authorization().valid_before < late
    }

    /// Whether to try again later: the payment is for something that was rendered, and a block may yet take it.
    /// An answer that was not given out is no loss, and who waits for it should know.
    async fn may_still_pay(&self, id: B256, payment: &ExactPayment) -> Result<bool> {
        if self.answer(id)?.is_some() || self.is_over(payment) {
            return Ok(false);
        }
        let token = Token::new(self.0.token, self.0.chain.provider());
        let given = payment.authorization();
        let state = token.authorizationState(given.from, given.nonce);
        // Not knowing is no reason to give up.
        Ok(!self.0.chain.read(&state).await.unwrap_or(false))
    }

    fn fail(&self, id: B256, error: Error) -> Result<Outcome> {
        tracing::warn!(%error, payment = %id, "the chain refused a payment that was taken");
        self.0.book.failed(id)?;
        let refusal = Refusal::of(&refused(error)).unwrap_or(Refusal::Transfer);
        Ok(Outcome::Failed(refusal))
    }

    /// The transaction in which somebody else moved the money of a payment.
    ///
    /// That the nonce is used proves nothing: the payer may have cancelled it or signed it for another transfer.
    /// Tokens tell of the authorization and then of its transfer, so the two have to follow each other.
    async fn sent_by_another(&self, payment: &ExactPayment, since: u64) -> Result<Option<B256>> {
        let (chain, provider) = (&self.0.chain, self.0.chain.provider());
        let authorization = payment.authorization();
        let filter = Filter::new()
            .address(self.0.token)
            .event_signature(Token::AuthorizationUsed::SIGNATURE_HASH)
            .topic1(authorization.from)
            .topic2(authorization.nonce);
        let newest = chain.ask(provider.get_block_number()).await?;
        let (mut start, mut found) = (since.saturating_sub(REORGANISED), Vec::new());
        // A nonce is used once, so where it is found is all there is.
        while found.is_empty() && start <= newest {
            let end = start.saturating_add(LOG_WINDOW - 1);
            let window = filter.clone().from_block(start).to_block(end.min(newest));
            found = chain.ask(provider.get_logs(&window)).await?;
            start = end.saturating_add(1);
        }
        for used in found {
            let Some(hash) = used.transaction_hash else { continue };
            let receipt = chain.ask(provider.get_transaction_receipt(hash)).await?;
            let Some(receipt) = receipt.filter(|receipt| receipt.status()) else { continue };
            let after =
                |log: &&Log| log.log_index > used.log_index && log.address() == self.0.token;
            let next = receipt.logs().iter().filter(after).min_by_key(|log| log.log_index);
            let moved = next.and_then(|log| log.log_decode::<Token::Transfer>().ok());
            let matches = moved.is_some_and(|log| {
                let moved = log.inner.data;
                moved.from == authorization.from
                    && moved.to == authorization.to
                    && moved.value == authorization.value.to_units()
            });
            if matches {
                return Ok(Some(hash));
            }
        }
        Ok(None)
    }

    /// The transaction that moves the money of a payment.
    fn transfer(&self, payment: &ExactPayment) -> TransactionRequest {
        let given = payment.authorization();
        let [signature @ .., v] = payment.signature();
        let (r, s) = signature.split_at(32);
        let token = Token::new(self.0.token, self.0.chain.provider());
        let call = token.transferWithAuthorization(
            given.from,
            given.to,
            given.value.to_units(),
            given.valid_after,
            given.valid_before,
            given.nonce,
            *v,
            B256::from_slice(r),
            B256::from_slice(s),
        );
        call.into_transaction_request()
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
    pub(super) amount: Amount,
    pub(super) payment: &'a ExactPayment,
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

/// What the chain showed of a payer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    block: u64,
    balance: Amount,
    /// What was due before the balance was read.
    due: BTreeMap<B256, Amount>,
}

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

/// Gives a revert of the token its refusal; leaves other errors alone.
fn refused(error: Error) -> Error {
    if error.kind() != ErrorKind::Rejected {
        return error;
    }
    let revert = Revert::of(&error);
    let is_used = |revert: &Revert| revert.decode::<Token::ERC3009UsedAuthorization>().is_some();
    let is_poor = |revert: &Revert| revert.decode::<Token::ERC20InsufficientBalance>().is_some();
    let is_late =
        |revert: &Revert| revert.decode::<Token::ERC3009InvalidAuthorizationTime>().is_some();
    match revert {
        Some(revert) if is_used(revert) => Refusal::Used.into(),
        Some(revert) if is_poor(revert) => Refusal::Funds.into(),
        Some(revert) if is_late(revert) => Refusal::Expired.into(),
        Some(revert) => Error::from(Refusal::Transfer).with("revert", revert),
        None => Refusal::Transfer.into(),
    }
}

/// Seconds by which the clocks of chain and till may differ.
const CLOCKS_DIFFER: u64 = 60;

/// How many blocks a transaction may have been mined before it was seen to be missing.
const REORGANISED: u64 = 64;

/// Blocks per request for logs, which public nodes limit.
const LOG_WINDOW: u64 = 10_000;
