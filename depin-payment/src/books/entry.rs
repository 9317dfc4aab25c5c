//! What is entered: accounts, commodities, transactions.

use std::{collections::BTreeMap, fmt};

use depin_core::{Amount, Error, ErrorKind, Result, Timestamp, U256};

const ROOTS: [&str; 5] = ["Assets", "Liabilities", "Equity", "Income", "Expenses"];
/// Longest account, reference and note in bytes.
const MAX_TEXT: usize = 240;
/// The end of the year 9999, after which dates have five digits.
const LAST: Timestamp = Timestamp::from_secs(253_402_300_799);

/// An account such as `Assets:Chain:0xAbc`: one of Assets, Liabilities, Equity, Income and Expenses, then
/// parts of letters, digits and dashes that begin with a capital or a digit, joined by colons.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(String);

impl Account {
    /// Parses the name.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for any other text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        let root = parts.next().is_some_and(|root| ROOTS.contains(&root));
        let part = |part: &str| {
            let begins = part.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit());
            begins && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !root || text.len() > MAX_TEXT || !text.contains(':') || !parts.all(part) {
            let text = "an account is like Assets:Chain:Vault, under Assets, Liabilities, Equity, Income or Expenses";
            return Err(Error::new(ErrorKind::Malformed, text));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `scope` or below it.
    pub(super) fn is_within(&self, scope: &str) -> bool {
        let rest = self.0.strip_prefix(scope);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is counted: a token or a currency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commodity {
    symbol: String,
    decimals: u8,
}

impl Commodity {
    /// A symbol of 2 to 24 capitals and digits that begins with a capital, and its decimal places.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for any other symbol or more than 30 decimals.
    pub fn new(symbol: &str, decimals: u8) -> Result<Self> {
        let fits = (2..=24).contains(&symbol.len()) && decimals <= 30;
        let all = symbol.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if !fits || !all || !symbol.starts_with(|c: char| c.is_ascii_uppercase()) {
            let text = "a commodity is 2 to 24 capitals and digits with at most 30 decimals";
            return Err(Error::new(ErrorKind::Malformed, text));
        }
        Ok(Self { symbol: symbol.to_owned(), decimals })
    }

    /// The symbol.
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// The decimal places.
    pub const fn decimals(&self) -> u8 {
        self.decimals
    }

    /// The amount with all its decimal places.
    pub fn format(&self, amount: Amount) -> String {
        let unit = U256::from(10).saturating_pow(U256::from(self.decimals));
        let (whole, rest) = amount.to_units().div_rem(unit);
        let places = usize::from(self.decimals);
        if places == 0 { whole.to_string() } else { format!("{whole}.{rest:0>places$}") }
    }
}

/// Where a posting stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "double entry has two sides")]
pub enum Side {
    /// What comes into an account.
    #[default]
    Debit,
    /// What goes out of it.
    Credit,
}

/// One line of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    account: Account,
    commodity: Commodity,
    side: Side,
    amount: Amount,
}

impl Posting {
    /// The account.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The commodity.
    pub const fn commodity(&self) -> &Commodity {
        &self.commodity
    }

    /// The side.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// The amount.
    pub const fn amount(&self) -> Amount {
        self.amount
    }

    /// As other programs write it: debits are positive, credits negative, all decimal places.
    pub(super) fn signed(&self) -> String {
        let sign = if self.side == Side::Credit { "-" } else { "" };
        format!("{sign}{}", self.commodity.format(self.amount))
    }
}

/// A movement between accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    reference: String,
    at: Timestamp,
    note: String,
    postings: Vec<Posting>,
}

impl Transaction {
    /// A transaction without postings. `reference` names the movement for good, for example a transaction
    /// hash with the number of its log; `note` is for people.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] unless both begin with a letter or digit and have at most 240 bytes of
    /// letters, digits and `.,-_/#` (the note also spaces), or when the time is past the year 9999.
    pub fn new(reference: &str, at: Timestamp, note: &str) -> Result<Self> {
        let plain = |text: &str, more: &str| {
            let allowed = |c: char| c.is_alphanumeric() || more.contains(c);
            text.len() <= MAX_TEXT
                && text.starts_with(char::is_alphanumeric)
                && text.chars().all(allowed)
        };
        if !plain(reference, ".,-_/#") || !plain(note, ".,-_/# ") || at > LAST {
            let text = "reference and note of a transaction are letters, digits and .,-_/# from 1970 to 9999";
            return Err(Error::new(ErrorKind::Malformed, text));
        }
        let (reference, note) = (reference.to_owned(), note.to_owned());
        Ok(Self { reference, at, note, postings: Vec::new() })
    }

    /// Adds a line.
    #[must_use]
    pub fn post(
        mut self,
        side: Side,
        account: &Account,
        commodity: &Commodity,
        amount: Amount,
    ) -> Self {
        let (account, commodity) = (account.clone(), commodity.clone());
        self.postings.push(Posting { account, commodity, side, amount });
        self
    }

    /// Adds the two lines of a movement from one account to another.
    #[must_use]
    pub fn transfer(
        self,
        from: &Account,
        to: &Account,
        commodity: &Commodity,
        amount: Amount,
    ) -> Self {
        self.post(Side::Debit, to, commodity, amount).post(Side::Credit, from, commodity, amount)
    }

    /// The reference.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The moment.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The note.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The lines.
    pub fn postings(&self) -> &[Posting] {
        &self.postings
    }

    /// Checks that debits equal credits in each commodity.
    pub(super) fn balanced(&self) -> Result<()> {
        let mut sums: BTreeMap<&Commodity, [Amount; 2]> = BTreeMap::new();
        for posting in &self.postings {
            let [debits, credits] = sums.entry(&posting.commodity).or_default();
            let sum = if posting.side == Side::Debit { debits } else { credits };
            *sum = sum.checked_add(posting.amount)?;
        }
        let uneven = sums.into_iter().find(|(_, [debits, credits])| debits != credits);
        if uneven.is_some() || self.postings.is_empty() {
            let text = "debits and credits of a transaction are not equal, or there are none";
            return Err(Error::new(ErrorKind::Rejected, text).with("reference", &self.reference));
        }
        Ok(())
    }
}
