//! What every beneficiary has earned since the beginning.
//!
//! Rewards are claimed against cumulative amounts: one claim then serves any number of epochs, and an
//! amount can only rise. Epochs are added once each and in order, so nothing is ever counted twice.
#![warn(clippy::arithmetic_side_effects)]

mod file;

use std::collections::BTreeMap;

use depin_core::{
    Address, Amount, B256, EpochId, Error, ErrorKind, Result,
    reward::{Allocation, Commitment},
};

use crate::{RewardTree, tree::nobody};

/// Sums of payouts per beneficiary over epochs.
///
/// ```
/// use depin_core::{Address, Amount, EpochId, reward::{Allocation, Payout}};
/// use depin_payment::Cumulative;
///
/// let (device, beneficiary) = ("did:example:a".parse()?, Address::repeat_byte(1));
/// let amount = Amount::tokens(5);
/// let allocation = Allocation {
///     epoch: EpochId::new(0),
///     emission: amount,
///     unallocated: Amount::ZERO,
///     payouts: vec![Payout { device, beneficiary, amount }],
/// };
/// let mut balances = Cumulative::default();
/// balances.add(&allocation)?;
/// assert!(balances.add(&allocation).is_err(), "an epoch counts once");
/// assert_eq!(balances.of(beneficiary), amount);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cumulative {
    amounts: BTreeMap<Address, Amount>,
    total: Amount,
    latest: Option<EpochId>,
}

impl Cumulative {
    /// Balances as they were after an epoch: what each account had earned by then. The order does not matter.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when an account is listed twice, [`ErrorKind::Rejected`] when one is the zero
    /// address or earned nothing, [`ErrorKind::Overflow`] when the amounts sum to more than 2^256 - 1.
    pub fn from_rows(
        latest: EpochId,
        rows: impl IntoIterator<Item = (Address, Amount)>,
    ) -> Result<Self> {
        let (mut amounts, mut total) = (BTreeMap::new(), Amount::ZERO);
        for (account, amount) in rows {
            if account.is_zero() || amount.is_zero() {
                let text = "nobody has the zero address, and who earned nothing has no balance; leave \
                            them out";
                return Err(Error::new(ErrorKind::Rejected, text).with("account", account));
            }
            total = total.checked_add(amount)?;
            if amounts.insert(account, amount).is_some() {
                let text = "an account is listed twice; sum its amounts first";
                return Err(Error::new(ErrorKind::Conflict, text).with("account", account));
            }
        }
        Ok(Self { amounts, total, latest: Some(latest) })
    }

    /// Adds an epoch. On error nothing changes.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the epoch is not later than the last one added,
    /// [`ErrorKind::Rejected`] when the payouts do not sum to the emission or one is for the zero address, which
    /// nothing can pay, [`ErrorKind::Overflow`] when an amount or the total passes 2^256 - 1.
    pub fn add(&mut self, allocation: &Allocation) -> Result<()> {
        if self.latest.is_some_and(|latest| allocation.epoch <= latest) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the epoch, or a later one, was added already",
            )
            .with("epoch", allocation.epoch));
        }
        let mut payouts = allocation.payouts.iter();
        if let Some(payout) = payouts.find(|payout| payout.beneficiary.is_zero()) {
            return Err(nobody().with("device", &payout.device));
        }
        let sum = Amount::sum(allocation.payouts.iter().map(|payout| payout.amount))?;
        if sum != allocation.emission {
            return Err(Error::new(ErrorKind::Rejected, "the payouts do not sum to the emission")
                .with("epoch", allocation.epoch)
                .with("emission", allocation.emission)
                .with("payouts", sum));
        }
        // No amount exceeds the total, so when the total fits, every amount does and the loop cannot stop halfway.
        let total = self.total.checked_add(sum)?;
        for payout in allocation.payouts.iter().filter(|payout| !payout.amount.is_zero()) {
            let amount = self.amounts.entry(payout.beneficiary).or_default();
            *amount = amount.checked_add(payout.amount)?;
        }
        self.total = total;
        self.latest = Some(allocation.epoch);
        Ok(())
    }

    /// Everything emitted so far.
    pub const fn total(&self) -> Amount {
        self.total
    }

    /// The last epoch added.
    pub const fn latest(&self) -> Option<EpochId> {
        self.latest
    }

    /// What an account has earned so far.
    pub fn of(&self, account: Address) -> Amount {
        self.amounts.get(&account).copied().unwrap_or_default()
    }

    /// Accounts that earned something, with what they earned, by account.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Address, Amount)> {
        self.amounts.iter().map(|(account, amount)| (*account, *amount))
    }

    /// The reward tree over all accounts.
    ///
    /// # Errors
    /// As [`RewardTree::build`].
    pub fn tree(&self) -> Result<RewardTree> {
        RewardTree::build(self.iter().collect())
    }

    /// What to publish for the last epoch added, given the tree of now and the hash of its manifest.
    /// `None` before the first epoch.
    pub fn commitment(&self, tree: &RewardTree, manifest: B256) -> Option<Commitment> {
        let epoch = self.latest?;
        Some(Commitment { epoch, root: tree.root(), cumulative: self.total, manifest })
    }
}
