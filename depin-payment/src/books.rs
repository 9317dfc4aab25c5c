//! The network's books: every movement of tokens in double entry.
//!
//! A transaction is entered whole or not at all, balanced in each commodity, and once per reference, so
//! whoever replays receipts enters nothing twice. The books export to CSV, hledger and Beancount
//! ([`export`]), where other people's programs check them again, and [`Books::reconcile`] compares them with what
//! was observed on chain. Names follow the strictest of the three, so nothing needs escaping.
#![warn(clippy::arithmetic_side_effects)]

mod entry;
pub mod export;

use std::collections::{BTreeMap, btree_map::Entry};

use depin_core::{Amount, Error, ErrorKind, Result};

pub use entry::{Account, Commodity, Posting, Side, Transaction};

/// Double-entry books.
///
/// ```
/// use depin_core::{Amount, Timestamp};
/// use depin_payment::books::{Account, Books, Commodity, Side, Transaction};
///
/// let token = Commodity::new("DEP", 18)?;
/// let (issued, vault) = (Account::parse("Equity:Issued")?, Account::parse("Assets:Chain:Vault")?);
/// let emission = Transaction::new("epoch-0", Timestamp::from_secs(0), "Emission of epoch 0")?
///     .transfer(&issued, &vault, &token, Amount::tokens(5));
///
/// let mut books = Books::default();
/// assert!(books.enter(emission.clone())?);
/// assert!(!books.enter(emission)?, "entered already");
/// assert_eq!(books.balance(&vault, &token), (Side::Debit, Amount::tokens(5)));
/// books.reconcile("Assets:Chain", [(vault, token, Amount::tokens(5))])?;
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Books {
    transactions: Vec<Transaction>,
    references: BTreeMap<String, usize>,
    decimals: BTreeMap<String, u8>,
    balances: BTreeMap<(Account, Commodity), (Side, Amount)>,
}

impl Books {
    /// Enters a transaction. `false` when the same one is there already. On error nothing changes.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the reference stands for another transaction or the commodity has
    /// other decimals, [`ErrorKind::Rejected`] when debits and credits differ or there are none,
    /// [`ErrorKind::Overflow`] when a balance passes 2^256 - 1.
    pub fn enter(&mut self, transaction: Transaction) -> Result<bool> {
        let reference = transaction.reference();
        if let Some(known) =
            self.references.get(reference).and_then(|at| self.transactions.get(*at))
        {
            let text = "the reference stands for another transaction; choose one per movement";
            let conflict = || Error::new(ErrorKind::Conflict, text).with("reference", reference);
            return if *known == transaction { Ok(false) } else { Err(conflict()) };
        }
        transaction.balanced()?;
        let mut decimals = BTreeMap::new();
        let mut changed = BTreeMap::new();
        for posting in transaction.postings() {
            let commodity = posting.commodity();
            let known = self.decimals.get(commodity.symbol());
            let known = known.or_else(|| decimals.get(commodity.symbol()));
            if known.is_some_and(|known| *known != commodity.decimals()) {
                let text = "the commodity has other decimals in these books";
                return Err(
                    Error::new(ErrorKind::Conflict, text).with("commodity", commodity.symbol())
                );
            }
            decimals.insert(commodity.symbol().to_owned(), commodity.decimals());
            let key = (posting.account().clone(), commodity.clone());
            let balance = match changed.entry(key) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let before = self.balances.get(entry.key()).copied().unwrap_or_default();
                    entry.insert(before)
                }
            };
            *balance = add(*balance, (posting.side(), posting.amount()))?;
        }
        self.references.insert(reference.to_owned(), self.transactions.len());
        self.transactions.push(transaction);
        self.decimals.append(&mut decimals);
        self.balances.append(&mut changed);
        Ok(true)
    }

    /// The transactions in the order in which they were entered.
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    /// What an account holds (debit) or owes (credit).
    pub fn balance(&self, account: &Account, commodity: &Commodity) -> (Side, Amount) {
        self.balances.get(&(account.clone(), commodity.clone())).copied().unwrap_or_default()
    }

    /// All balances, by account and commodity; some may be zero.
    pub fn balances(&self) -> impl Iterator<Item = (&Account, &Commodity, Side, Amount)> {
        self.balances
            .iter()
            .map(|((account, commodity), (side, amount))| (account, commodity, *side, *amount))
    }

    /// Compares what was observed, for example on chain, with the balances of `scope` and all accounts
    /// below it. Returns how many balances agree: all that were observed, and none that is not zero was
    /// left out.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] naming the first account, by name, whose balance differs, was not observed,
    /// or lies outside of the scope; [`ErrorKind::Malformed`] when one is observed twice.
    pub fn reconcile(
        &self,
        scope: &str,
        observed: impl IntoIterator<Item = (Account, Commodity, Amount)>,
    ) -> Result<usize> {
        let mut pairs = BTreeMap::new();
        let inside = self.balances.iter().filter(|((account, _), _)| account.is_within(scope));
        for (key, balance) in inside {
            pairs.insert(key.clone(), (*balance, None));
        }
        for (account, commodity, amount) in observed {
            let pair = pairs.entry((account, commodity)).or_default();
            if pair.1.replace(amount).is_some() {
                return Err(Error::new(ErrorKind::Malformed, "a balance was observed twice"));
            }
        }
        let mut agreed: usize = 0;
        for ((account, commodity), (booked, observed)) in pairs {
            let debit = (booked.0 == Side::Debit || booked.1.is_zero()).then_some(booked.1);
            let text = match observed {
                _ if !account.is_within(scope) => "an observed account is outside of the scope",
                None if booked.1.is_zero() => continue,
                None => "a balance in the books was not observed",
                Some(amount) if debit == Some(amount) => {
                    agreed = agreed.saturating_add(1);
                    continue;
                }
                Some(_) => "the books differ from what was observed",
            };
            let sign = if booked.0 == Side::Credit { "-" } else { "" };
            let show = |amount| commodity.format(amount);
            return Err(Error::new(ErrorKind::Conflict, text)
                .with("account", &account)
                .with("commodity", commodity.symbol())
                .with("booked", format!("{sign}{}", show(booked.1)))
                .with("observed", observed.map_or_else(|| "nothing".to_owned(), show)));
        }
        Ok(agreed)
    }
}

/// The balance after a posting.
fn add(balance: (Side, Amount), posting: (Side, Amount)) -> Result<(Side, Amount)> {
    if balance.0 == posting.0 {
        return Ok((balance.0, balance.1.checked_add(posting.1)?));
    }
    match balance.1.checked_sub(posting.1) {
        Ok(rest) => Ok((balance.0, rest)),
        Err(_) => Ok((posting.0, posting.1.checked_sub(balance.1)?)),
    }
}
