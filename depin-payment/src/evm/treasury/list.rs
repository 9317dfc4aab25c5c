//! Whom to pay and how much.

use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, keccak256};

/// Accounts and amounts under a name, checked: each account once, nothing for nobody.
///
/// ```
/// use depin_core::{Address, Amount, ErrorKind};
/// use depin_payment::evm::PayList;
///
/// let ann = Address::repeat_byte(1);
/// let list = PayList::new("november", [(ann, Amount::tokens(3))])?;
/// assert_eq!(list.total(), Amount::tokens(3));
///
/// let twice = [(ann, Amount::tokens(3)), (ann, Amount::tokens(4))];
/// assert_eq!(PayList::new("november", twice).unwrap_err().kind(), ErrorKind::Conflict);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayList {
    id: String,
    /// By account.
    payments: Vec<(Address, Amount)>,
    total: Amount,
    digest: B256,
}

impl PayList {
    /// Most recipients of a list.
    pub const MAX_LEN: usize = 1_000_000;

    /// Checks a list. `id` names the run for good: an account pays one list under a name.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the name is not 1 to 64 small letters, digits and `-_.`;
    /// [`ErrorKind::Rejected`] when there is nobody to pay, an amount is zero or an account is the zero
    /// address; [`ErrorKind::Conflict`] when an account is listed twice; [`ErrorKind::Overflow`] when the
    /// amounts sum to more than 2^256 - 1; [`ErrorKind::Limit`] past [`MAX_LEN`](Self::MAX_LEN) recipients, or
    /// when an account gets 2^192 base units or more, which `Disperse` does not count.
    pub fn new(id: &str, payments: impl IntoIterator<Item = (Address, Amount)>) -> Result<Self> {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if id.is_empty() || id.len() > 64 || !id.bytes().all(fits) {
            let text = "the name of a run is 1 to 64 small letters, digits and -_.";
            return Err(Error::new(ErrorKind::Malformed, text));
        }
        let mut payments: Vec<_> = payments.into_iter().take(Self::MAX_LEN + 1).collect();
        if payments.len() > Self::MAX_LEN {
            let text = "a run pays at most a million recipients; split the list";
            return Err(Error::new(ErrorKind::Limit, text));
        }
        payments.sort_unstable();
        check(&payments)?;
        let total = Amount::sum(payments.iter().map(|(_, amount)| *amount))?;
        let digest = digest(id, &payments);
        Ok(Self { id: id.to_owned(), payments, total, digest })
    }

    /// The name of the run.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whom to pay how much, by account.
    pub fn payments(&self) -> &[(Address, Amount)] {
        &self.payments
    }

    /// Sum of all amounts.
    pub const fn total(&self) -> Amount {
        self.total
    }

    /// Hash of the name and all payments; the same for any order in which they were given. It begins with eight bytes of
    /// the hash of the name alone: as the manifest of an epoch it tells anybody who knows the name that it was used.
    pub const fn digest(&self) -> B256 {
        self.digest
    }

    /// Whether this is the digest of a list under the same name.
    pub(super) fn shares_name(&self, digest: &B256) -> bool {
        digest[..NAME] == self.digest[..NAME]
    }
}

fn check(payments: &[(Address, Amount)]) -> Result<()> {
    if payments.is_empty() {
        return Err(Error::new(ErrorKind::Rejected, "the list has nobody to pay"));
    }
    for (account, amount) in payments {
        if account.is_zero() {
            let text = "nobody holds the zero address; leave it out of the list";
            return Err(Error::new(ErrorKind::Rejected, text));
        }
        if amount.is_zero() {
            let text = "the amount of an account is zero; leave it out of the list";
            return Err(Error::new(ErrorKind::Rejected, text).with("account", account));
        }
        if amount.to_units().bit_len() > MAX_BITS {
            let text =
                "an account gets 2^192 base units or more; are these the decimals of the token?";
            return Err(Error::new(ErrorKind::Limit, text).with("account", account));
        }
    }
    if let Some([(account, _), _]) = payments.array_windows().find(|[a, b]| a.0 == b.0) {
        let text = "an account is listed twice; sum its amounts, or strike what is double";
        return Err(Error::new(ErrorKind::Conflict, text).with("account", account));
    }
    Ok(())
}

fn digest(id: &str, payments: &[(Address, Amount)]) -> B256 {
    let mut bytes = Vec::with_capacity(DOMAIN.len() + id.len() + 1 + payments.len() * 52);
    bytes.extend_from_slice(DOMAIN);
    bytes.extend_from_slice(id.as_bytes());
    // No name has a zero byte.
    bytes.push(0);
    for (account, amount) in payments {
        bytes.extend_from_slice(account.as_slice());
        bytes.extend_from_slice(&amount.to_units().to_be_bytes::<32>());
    }
    let mut digest = keccak256(&bytes);
    digest[..NAME].copy_from_slice(&keccak256([NAME_DOMAIN, id.as_bytes()].concat())[..NAME]);
    digest
}

const DOMAIN: &[u8] = b"depin treasury list 2:";
const NAME_DOMAIN: &[u8] = b"depin treasury name 2:";
/// How much of a digest is the name's. Two names of one distributor do not meet in that by chance, and the rest still
/// takes 2^96 attempts to find two lists with one digest.
const NAME: usize = 8;
const MAX_BITS: usize = 192;
