//! What an account lacks to pay for its own transaction.
//!
//! Nodes say it in many words, and some of them (a gas limit that the balance does not buy) do not speak of money at
//! all. So the balance is compared with what the transaction may cost.

use alloy::primitives::{Address, U256};
use depin_core::{Error, ErrorKind};

/// That an account holds less of the chain's coin than its transaction may cost, in wei.
///
/// ```
/// use depin_core::{Address, ErrorKind, U256};
/// use depin_evm::Unfunded;
///
/// let payer = Address::repeat_byte(7);
/// let error = Unfunded::new(payer, U256::from(5), U256::from(12)).into_error();
/// assert_eq!(error.kind(), ErrorKind::Rejected);
/// let lacks = Unfunded::of(&error).unwrap();
/// assert_eq!(lacks.to_string(), format!("fund {payer} with at least 7 wei more"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fund {account} with at least {} wei more", needs.saturating_sub(*has))]
pub struct Unfunded {
    account: Address,
    has: U256,
    needs: U256,
}

impl Unfunded {
    /// What an account has, and what its transaction needs: gas at the most that it offers, and value.
    pub const fn new(account: Address, has: U256, needs: U256) -> Self {
        Self { account, has, needs }
    }

    /// What is lacking by an error of this crate, if that is the reason.
    pub fn of(error: &Error) -> Option<&Self> {
        let mut cause = std::error::Error::source(error);
        while let Some(this) = cause {
            if let Some(unfunded) = this.downcast_ref() {
                return Some(unfunded);
            }
            cause = this.source();
        }
        None
    }

    /// Who pays.
    pub const fn account(&self) -> Address {
        self.account
    }

    /// What it holds, in wei.
    pub const fn has(&self) -> U256 {
        self.has
    }

    /// What its transaction may cost, in wei.
    pub const fn needs(&self) -> U256 {
        self.needs
    }

    /// The [`Rejected`](ErrorKind::Rejected) error that names the remedy.
    pub fn into_error(self) -> Error {
        let text = "the account that sends cannot pay for its transaction";
        let error = Error::new(ErrorKind::Rejected, text).with("remedy", self);
        error.with("has", self.has).with("needs", self.needs).source(self)
    }
}
