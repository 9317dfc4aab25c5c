//! The books of a token, made from the chain and proved against it.
//!
//! Every `Transfer` of the token since it was deployed becomes an entry, and the balances that follow have to
//! equal `balanceOf` and `totalSupply` to the last unit, at one block that is still part of the chain when
//! everything has been read. With its distributors, what each says it paid and issued has to equal what the
//! token moved.

mod events;

use std::collections::{BTreeMap, BTreeSet};

use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, Timestamp};
use depin_evm::{
    Chain,
    alloy::{eips::BlockId, providers::Provider},
    bindings::NetworkToken,
};

use super::calls::{patiently, read_all};
use crate::books::{Account, Books, Commodity, Transaction};
use events::{Movement, Note};

/// Books of one token from its chain.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Address, Amount, B256, EpochId, NetworkId, reward::{Commitment, RewardDistributor}};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, deploy};
/// use depin_payment::{RewardTree, evm::{EvmDistributor, Ledger}};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
/// let tree = RewardTree::build(vec![(Address::repeat_byte(1), Amount::tokens(7))])?;
/// let (epoch, root, cumulative, manifest) = (EpochId::new(0), tree.root(), Amount::tokens(7), B256::ZERO);
/// let distributor = EvmDistributor::new(chain.clone(), contracts.distributor);
/// distributor.publish(&Commitment { epoch, root, cumulative, manifest }).await?;
/// distributor.claim_many(&tree.claims().collect::<Vec<_>>()).await?;
///
/// let proved = Ledger::new(chain, contracts.token, "CLIM")?
///     .since(contracts.block)
///     .distributor(contracts.distributor)
///     .reconcile()
///     .await?;
/// assert_eq!((proved.accounts, proved.supply), (1, Amount::tokens(7)));
/// assert!(proved.books.csv().contains("7.000000000000000000"));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Ledger {
    chain: Chain,
    token: Address,
    commodity: Commodity,
    since: u64,
    behind: u64,
    window: u64,
    distributors: BTreeSet<Address>,
    names: BTreeMap<Address, String>,
    runs: BTreeMap<B256, String>,
}

/// Books that agree with the chain.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reconciled {
    /// Every movement, ready for export.
    pub books: Books,
    /// The block whose balances they have.
    pub block: u64,
    /// Its hash.
    pub hash: B256,
    /// Accounts that hold something.
    pub accounts: usize,
    /// Movements of the token.
    pub movements: usize,
    /// What exists of the token.
    pub supply: Amount,
}

impl Ledger {
    /// The books of the token at `token`, with 18 decimals unless [told](Self::decimals), under a symbol of 2 to 24 capitals and digits.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for any other symbol.
    pub fn new(chain: Chain, token: Address, symbol: &str) -> Result<Self> {
        Ok(Self {
            chain,
            token,
            commodity: Commodity::new(symbol, 18)?,
            since: 0,
            behind: 0,
            window: WINDOW,
            distributors: BTreeSet::new(),
            names: BTreeMap::new(),
            runs: BTreeMap::new(),
        })
    }

    /// The decimals of the token: 6 for most stablecoins.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] past 30.
    pub fn decimals(mut self, decimals: u8) -> Result<Self> {
        self.commodity = Commodity::new(self.commodity.symbol(), decimals)?;
        Ok(self)
    }

    /// Reads from the block on in which the token was deployed, and not from the first one.
    #[must_use]
    pub const fn since(mut self, block: u64) -> Self {
        self.since = block;
        self
    }

    /// Reads up to so many blocks behind the latest, on chains that take blocks back.
    #[must_use]
    pub const fn behind(mut self, blocks: u64) -> Self {
        self.behind = blocks;
        self
    }

    /// Blocks per request for events; 10,000 unless told, and halved when a node finds that too many.
    #[must_use]
    pub fn window(mut self, blocks: u64) -> Self {
        self.window = blocks.max(1);
        self
    }

    /// A distributor that issues and pays the token, cumulative or by bitmap; called again for each of them. The account
    /// of the first is called `Assets:Chain:Distributor`, of the next ones `Distributor-2` and so on, unless
    /// [named](Self::name).
    #[must_use]
    pub fn distributor(mut self, distributor: Address) -> Self {
        self.distributors.insert(distributor);
        if !self.names.contains_key(&distributor) {
            let numbered = (2_u64..).map(|number| format!("Distributor-{number}"));
            let mut names = std::iter::once("Distributor".to_owned()).chain(numbered);
            let free = names.find(|name| self.names.values().all(|taken| taken != name));
            self.names.extend(free.map(|name| (distributor, name)));
        }
        self
    }

    /// Calls an account `Assets:Chain:NAME` instead of by its address.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the name does not begin with a capital or digit, or has other than
    /// letters, digits and dashes; [`ErrorKind::Conflict`] when it names another account.
    pub fn name(mut self, account: Address, name: &str) -> Result<Self> {
        Account::parse(&format!("{SCOPE}:{name}"))?;
        if self.names.iter().any(|(other, known)| *other != account && known == name) {
            let text = "the name stands for another account";
            return Err(Error::new(ErrorKind::Conflict, text).with("name", name));
        }
        self.names.insert(account, name.to_owned());
        Ok(self)
    }

    /// Names these transactions after the treasury run that sent them: `Payments of NAME`,
    /// `Claim of NAME`; as its
    /// [report](super::RunReport::transactions) lists them.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the name has other than letters, digits and `-_.`, or more than 64 of them;
    /// [`ErrorKind::Conflict`] when a transaction has the name of another run.
    pub fn run(mut self, name: &str, transactions: &[B256]) -> Result<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            let text = "the name of a run is 1 to 64 letters, digits and -_.";
            return Err(Error::new(ErrorKind::Malformed, text));
        }
        for transaction in transactions {
            let before = self.runs.insert(*transaction, name.to_owned());
            if let Some(other) = before.filter(|other| other != name) {
                let text = "the transaction belongs to another run";
                let error = Error::new(ErrorKind::Conflict, text).with("run", other);
                return Err(error.with("transaction", transaction));
            }
        }
        Ok(self)
    }

    /// Reads all movements, enters them, and proves the balances of all accounts and the supply.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] naming the first account, supply or transaction in which events and state
    /// differ: a log that is not the chain's, or a token that moves without telling.
    /// [`ErrorKind::Malformed`] when the node's log is out of order, has an event twice or one that the token
    /// cannot have; [`ErrorKind::Unavailable`] when the node does not answer, or the chain was reorganised
    /// meanwhile: try again; [`ErrorKind::NotFound`] when there is no token; [`ErrorKind::Config`] when it has other
    /// decimals.
    pub async fn reconcile(&self) -> Result<Reconciled> {
        let provider = self.chain.provider();
        let latest = patiently(|| self.chain.ask(provider.get_block_number())).await?;
        let block = latest.saturating_sub(self.behind);
        let hash = self.hash(block).await?;
        let proved = self.prove(block, hash).await;
        // What was read belongs together only if the block is still where it was.
        if self.hash(block).await? != hash {
            return Err(Error::unavailable(
                "the chain was reorganised while it was read; try again",
            ));
        }
        proved
    }

    async fn prove(&self, block: u64, hash: B256) -> Result<Reconciled> {
        let movements = self.movements(block).await?;
        self.check_decimals(BlockId::hash_canonical(hash)).await?;
        let times = self.times(&movements).await?;
        let (books, accounts) = self.enter(&movements, &times)?;
        self.check_distributors(&movements, block).await?;
        let at = BlockId::hash_canonical(hash);
        let observed = self.observe(&accounts, at).await?;
        let held = observed.iter().filter(|(_, _, amount)| !amount.is_zero()).count();
        books.reconcile(SCOPE, observed)?;
        let supply = self.check_supply(&books, at).await?;
        Ok(Reconciled { books, block, hash, accounts: held, movements: movements.len(), supply })
    }

    /// One entry per transaction, with two lines per movement.
    fn enter(
        &self,
        movements: &[Movement],
        times: &BTreeMap<B256, Timestamp>,
    ) -> Result<(Books, BTreeMap<Address, Account>)> {
        let (issued, burned) = (Account::parse(ISSUED)?, Account::parse(BURNED)?);
        let (mut books, mut accounts) = (Books::default(), BTreeMap::new());
        for group in movements.chunk_by(|a, b| a.transaction == b.transaction) {
            let Some(first) = group.first() else { continue };
            let at = times.get(&first.block).copied().unwrap_or_default();
            let note = self.describe(group);
            let mut entry = Transaction::new(&first.transaction.to_string(), at, &note)?;
            for Movement { from, to, amount, .. } in group {
                let mut account = |address: &Address, nobody: &Account| -> Result<Account> {
                    if address.is_zero() {
                        return Ok(nobody.clone());
                    }
                    let account = self.account(address)?;
                    accounts.insert(*address, account.clone());
                    Ok(account)
                };
                let (from, to) = (account(from, &issued)?, account(to, &burned)?);
                entry = entry.transfer(&from, &to, &self.commodity, *amount);
            }
            if !books.enter(entry)? {
                return Err(events::disordered(first));
            }
        }
        Ok((books, accounts))
    }

    fn account(&self, address: &Address) -> Result<Account> {
        match self.names.get(address) {
            Some(name) => Account::parse(&format!("{SCOPE}:{name}")),
            None => Account::parse(&format!("{SCOPE}:{address}")),
        }
    }

    /// What a transaction was, for people.
    fn describe(&self, group: &[Movement]) -> String {
        let run = group.first().and_then(|first| self.runs.get(&first.transaction));
        let what = self.kind(group);
        run.map_or_else(|| what.to_owned(), |run| format!("{what} of {run}"))
    }

    fn kind(&self, group: &[Movement]) -> &'static str {
        let all = |is: fn(&Movement) -> bool| group.iter().all(is);
        let paid = group.iter().any(|movement| self.distributors.contains(&movement.from));
        match () {
            () if all(|movement| movement.from.is_zero()) => "Issue",
            () if all(|movement| movement.to.is_zero()) => "Burn",
            () if paid => "Claim",
            () if group.len() > 1 => "Payments",
            () => "Transfer",
        }
    }

    /// Compares, transaction by transaction, what each distributor says with what the token did.
    async fn check_distributors(&self, movements: &[Movement], block: u64) -> Result<()> {
        if self.distributors.is_empty() {
            return Ok(());
        }
        // Issued and paid out, by the token and by the distributor.
        let mut sums: BTreeMap<(B256, Address), [Amount; 4]> = BTreeMap::new();
        let known = |address: &Address| self.distributors.contains(address);
        let said = self.statements(block).await?;
        for Movement { note, from, to, amount, transaction, .. } in movements.iter().chain(&said) {
            let (place, distributor) = match note {
                Note::Transfer if from.is_zero() && known(to) => (0, to),
                Note::Transfer if known(from) => (2, from),
                Note::Activated => (1, to),
                Note::Claimed => (3, from),
                Note::Transfer => continue,
            };
            let sums = sums.entry((*transaction, *distributor)).or_default();
            if let Some(sum) = sums.get_mut(place) {
                *sum = sum.checked_add(*amount)?;
            }
        }
        for ((transaction, distributor), [issued, activated, paid, claimed]) in sums {
            let (text, moved, said) = if issued != activated {
                ("the distributor says that it issued other than the token did", issued, activated)
            } else if paid != claimed {
                ("the distributor says that it paid other than the token moved", paid, claimed)
            } else {
                continue;
            };
            return Err(Error::new(ErrorKind::Conflict, text)
                .with("transaction", transaction)
                .with("distributor", distributor)
                .with("token", moved)
                .with("said", said));
        }
        Ok(())
    }

    /// The balances of all accounts by the token itself.
    async fn observe(
        &self,
        accounts: &BTreeMap<Address, Account>,
        at: BlockId,
    ) -> Result<Vec<(Account, Commodity, Amount)>> {
        let contract = NetworkToken::new(self.token, self.chain.provider());
        let calls: Vec<_> =
            accounts.keys().map(|address| contract.balanceOf(*address).block(at)).collect();
        let held = read_all(&self.chain, &calls).await?;
        let observed = accounts.values().zip(held);
        let observed = observed
            .map(|(account, held)| (account.clone(), self.commodity.clone(), Amount::units(held)));
        Ok(observed.collect())
    }

    /// Whether amounts are written as the token means them; one that does not say is believed to be told right.
    async fn check_decimals(&self, at: BlockId) -> Result<()> {
        let contract = NetworkToken::new(self.token, self.chain.provider());
        let (told, said) = (self.commodity.decimals(), contract.decimals().block(at));
        match patiently(|| self.chain.read(&said)).await {
            Ok(said) if said != told => {
                let text = "the token has other decimals than the books; tell the ledger";
                let error = Error::new(ErrorKind::Config, text).with("token", said);
                Err(error.with("books", told))
            }
            Err(error) if error.is_retryable() => Err(error),
            _ => Ok(()),
        }
    }

    async fn check_supply(&self, books: &Books, at: BlockId) -> Result<Amount> {
        let contract = NetworkToken::new(self.token, self.chain.provider());
        let supply = contract.totalSupply().block(at);
        let supply = patiently(|| self.chain.read(&supply)).await.map(Amount::units)?;
        let of = |name| Ok::<_, Error>(books.balance(&Account::parse(name)?, &self.commodity).1);
        let (issued, burned) = (of(ISSUED)?, of(BURNED)?);
        let booked = issued.checked_sub(burned);
        if booked.as_ref().is_ok_and(|booked| *booked == supply) {
            return Ok(supply);
        }
        let show = |amount| self.commodity.format(amount);
        let booked = booked.map_or_else(|_| format!("-{}", show(burned)), show);
        Err(Error::new(
            ErrorKind::Conflict,
            "the supply differs from what the books issued and burned",
        )
        .with("booked", booked)
        .with("observed", show(supply)))
    }
}

const SCOPE: &str = "Assets:Chain";
const ISSUED: &str = "Equity:Issued";
const BURNED: &str = "Equity:Burned";

/// Blocks per request for events.
const WINDOW: u64 = 10_000;
