//! A token and a distributor in memory: the rules of the contracts without a chain.
//!
//! For simulations, tests and networks that do not pay yet. It keeps nothing when the process ends.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use depin_core::{
    Address, Amount, B256, EpochId, Error, ErrorKind, Result, address,
    reward::{Commitment, RewardDistributor, TokenLedger},
};

use crate::{Claim, tree};

/// A [`RewardDistributor`] and the [`TokenLedger`] it pays from.
///
/// As on chain, publishing an epoch issues its emission to the [`VAULT`](Self::VAULT), and only claims
/// move tokens out of there.
///
/// ```
/// use depin_core::{Address, Amount, B256, EpochId, reward::{Commitment, RewardDistributor, TokenLedger}};
/// use depin_payment::{MemoryLedger, RewardTree};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (ledger, account) = (MemoryLedger::default(), Address::repeat_byte(1));
/// let tree = RewardTree::build(vec![(account, Amount::tokens(7))])?;
/// let commitment = Commitment {
///     epoch: EpochId::new(0),
///     root: tree.root(),
///     cumulative: Amount::tokens(7),
///     manifest: B256::repeat_byte(2),
/// };
/// ledger.publish(&commitment).await?;
/// assert_eq!(ledger.claim(account, Amount::tokens(7), &[]).await?, Amount::tokens(7));
/// assert_eq!(ledger.balance(account).await?, Amount::tokens(7));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Default)]
pub struct MemoryLedger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    published: BTreeMap<EpochId, Commitment>,
    claimed: BTreeMap<Address, Amount>,
    balances: BTreeMap<Address, Amount>,
}

impl MemoryLedger {
    /// Holds what was emitted and not claimed yet.
    pub const VAULT: Address = address!("0x00000000000000000000000000000000deb05175");

    /// Everybody who holds something, by account.
    pub fn holders(&self) -> Vec<Address> {
        self.state().balances.keys().copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything can fail, so a poisoned lock hides no half state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn latest(&self) -> Option<Commitment> {
        self.published.last_key_value().map(|(_, commitment)| *commitment)
    }

    fn transfer(&mut self, from: Address, to: Address, amount: Amount) -> Result<()> {
        let held = self.balances.get(&from).copied().unwrap_or_default();
        let left = held.checked_sub(amount)?;
        self.balances.insert(from, left);
        self.credit(to, amount)
    }

    fn credit(&mut self, to: Address, amount: Amount) -> Result<()> {
        let held = self.balances.entry(to).or_default();
        *held = held.checked_add(amount)?;
        Ok(())
    }
}

#[async_trait]
impl RewardDistributor for MemoryLedger {
    async fn publish(&self, commitment: &Commitment) -> Result<()> {
        let mut state = self.state();
        if state.published.get(&commitment.epoch) == Some(commitment) {
            return Ok(());
        }
        let latest = state.latest();
        if latest.is_some_and(|latest| commitment.epoch <= latest.epoch) {
            let message = "the epoch, or a later one, was published with other content";
            return Err(Error::new(ErrorKind::Conflict, message).with("epoch", commitment.epoch));
        }
        if commitment.root == B256::ZERO {
            let message = "zero is not the root of any tree; take it from a reward tree";
            return Err(Error::new(ErrorKind::Rejected, message).with("epoch", commitment.epoch));
        }
        let before = latest.map_or(Amount::ZERO, |latest| latest.cumulative);
        let emission = commitment.cumulative.checked_sub(before).map_err(|_| {
            let message = "the sum of all rewards cannot fall";
            Error::new(ErrorKind::Rejected, message).with("published", before)
        })?;
        state.credit(Self::VAULT, emission)?;
        state.published.insert(commitment.epoch, *commitment);
        Ok(())
    }

    async fn published(&self, epoch: EpochId) -> Result<Option<Commitment>> {
        Ok(self.state().published.get(&epoch).copied())
    }

    async fn latest(&self) -> Result<Option<EpochId>> {
        Ok(self.state().latest().map(|commitment| commitment.epoch))
    }

    async fn last(&self) -> Result<Option<EpochId>> {
        self.latest().await
    }

    async fn claim(&self, account: Address, cumulative: Amount, proof: &[B256]) -> Result<Amount> {
        let mut state = self.state();
        let root = state.latest().map_or(B256::ZERO, |commitment| commitment.root);
        if !tree::verify(root, &Claim { account, cumulative, proof: proof.to_vec() }) {
            let message =
                "the proof does not lead to the latest root; take it from the latest tree";
            return Err(Error::new(ErrorKind::Rejected, message).with("account", account));
        }
        let claimed = state.claimed.get(&account).copied().unwrap_or_default();
        let Ok(due) = cumulative.checked_sub(claimed) else { return Ok(Amount::ZERO) };
        state.transfer(Self::VAULT, account, due).map_err(|error| {
            let message = "the tree promises more than was emitted";
            Error::new(ErrorKind::Rejected, message).with("account", account).source(error)
        })?;
        state.claimed.insert(account, cumulative);
        Ok(due)
    }

    async fn claimed(&self, account: Address) -> Result<Amount> {
        Ok(self.state().claimed.get(&account).copied().unwrap_or_default())
    }
}

#[async_trait]
impl TokenLedger for MemoryLedger {
    async fn balance(&self, account: Address) -> Result<Amount> {
        Ok(self.state().balances.get(&account).copied().unwrap_or_default())
    }

    async fn supply(&self) -> Result<Amount> {
        Ok(self.state().latest().map_or(Amount::ZERO, |commitment| commitment.cumulative))
    }
}
