//! What keeps a wrong root from being paid: watchers dispute it, an arbiter decides, a guardian stops everything.

use depin_core::{Amount, B256, EpochId, Error, ErrorKind, Result, Timestamp, U256};
use depin_evm::{
    Revert,
    alloy::{contract::SolCallBuilder, providers::Provider, sol_types::SolCall},
    bindings::NetworkToken,
};

use super::{EvmRoots, explain};
use crate::evm::approval::approve;

/// The epoch that waits to become active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingEpoch {
    /// The epoch.
    pub epoch: EpochId,
    /// Its root: recompute it from the log before the time is over.
    pub root: B256,
    /// Everything emitted up to and including it.
    pub cumulative: Amount,
    /// Until when it can be disputed; of a disputed one, until when the arbiter has time. By the time of blocks. After
    /// that a disputed one counts as rejected: the next publication removes it, or [`EvmRoots::lapse`] does, unless the
    /// arbiter decides before.
    pub until: Timestamp,
    /// Whether somebody disputed it.
    pub disputed: bool,
}

/// What an arbiter decides about a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The root is right: it can become active at once, and the bond of the dispute is burned.
    Uphold,
    /// The root is wrong: it is gone, and the bond goes back. Needs no dispute.
    Reject,
}

impl EvmRoots {
    /// The epoch that waits, if one does.
    ///
    /// # Errors
    /// As [`Chain::read`](depin_evm::Chain::read).
    pub async fn pending(&self) -> Result<Option<PendingEpoch>> {
        let pending = self.chain.read(&self.contract().pendingEpoch()).await?;
        if pending.activatesAt.is_zero() {
            return Ok(None);
        }
        let epoch = EpochId::new(pending.epoch);
        // None where the arbiter rejected it meanwhile.
        let root = self.kept_root(epoch).await?;
        Ok(root.map(|root| PendingEpoch {
            epoch,
            root,
            cumulative: Amount::units(U256::from(pending.total)),
            until: Timestamp::from_secs(pending.activatesAt.to()),
            disputed: pending.disputed,
        }))
    }

    /// What a dispute costs now, in the network's token. Doubles with every dispute in a row that nobody decided.
    ///
    /// # Errors
    /// As [`Chain::read`](depin_evm::Chain::read).
    pub async fn bond(&self) -> Result<Amount> {
        self.chain.read(&self.contract().disputeBond()).await.map(Amount::units)
    }

    /// Stops an epoch until the arbiter decides, and answers the bond that this account put down. Allows the
    /// distributor to take the bond where it may not yet. Anybody who has the bond may dispute.
    ///
    /// The arbiter has four windows. Whose dispute he rejects loses the bond; it goes back when he agrees, and
    /// when he lets his time pass, which removes the epoch as well.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another root or total waits by now, the window is over or somebody was faster,
    /// [`ErrorKind::Rejected`] when the account has less than the bond; nothing is sent then. Otherwise as
    /// [`Chain::send`](depin_evm::Chain::send).
    pub async fn dispute(&self, seen: &PendingEpoch) -> Result<Amount> {
        let (contract, account) = (self.contract(), self.chain.account());
        let bond = self.bond().await?;
        let (epoch, total) = (seen.epoch.value(), seen.cumulative.to_units());
        let call = contract.dispute(epoch, seen.root, total).from(account);
        match self.chain.read(&call).await {
            Err(error) if lacks_tokens(&error) => self.provide(bond).await?,
            other => {
                other.map_err(explain)?;
            }
        }
        self.send(call).await?;
        Ok(bond)
    }

    /// Decides about an epoch that waits. Needs `ARBITER_ROLE`. To reject, no dispute is needed.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another root or total waits by now, or an upheld one is not disputed;
    /// [`ErrorKind::Rejected`] without the role, otherwise as [`Chain::send`](depin_evm::Chain::send).
    pub async fn resolve(&self, seen: &PendingEpoch, verdict: Verdict) -> Result<()> {
        let rejected = verdict == Verdict::Reject;
        let (epoch, total) = (seen.epoch.value(), seen.cumulative.to_units());
        // The contract compares root and total: a decision that arrives late never counts for the next ones.
        self.send(self.contract().resolve(epoch, seen.root, total, rejected)).await
    }

    /// Makes the epoch active whose window is over, or whose dispute the arbiter rejected. Anybody may; claims and
    /// publications do it too. During a pause only the arbiter may: so a correction comes before claims go on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when none waits, [`ErrorKind::Conflict`] when it still has to,
    /// [`ErrorKind::Rejected`] during a pause, [`ErrorKind::Limit`] when its emission cannot be issued now, otherwise
    /// as [`Chain::send`](depin_evm::Chain::send).
    pub async fn activate(&self) -> Result<()> {
        self.send(self.contract().activate()).await
    }

    /// Removes the epoch whose dispute nobody decided in time; the bond goes back. Anybody may; publications do it too.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when there is no dispute or the arbiter has time, otherwise as
    /// [`Chain::send`](depin_evm::Chain::send).
    pub async fn lapse(&self) -> Result<()> {
        self.send(self.contract().lapse()).await
    }

    /// Whether claims and activations are stopped.
    ///
    /// # Errors
    /// As [`Chain::read`](depin_evm::Chain::read).
    pub async fn is_paused(&self) -> Result<bool> {
        self.chain.read(&self.contract().paused()).await
    }

    /// Stops claims and activations; does nothing when they are. Needs `GUARDIAN_ROLE`.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] without the role, otherwise as [`Chain::send`](depin_evm::Chain::send).
    pub async fn pause(&self) -> Result<()> {
        if self.is_paused().await? {
            return Ok(());
        }
        self.send(self.contract().pause()).await
    }

    /// Lets claims and activations go on; does nothing when they do. Only the administrator may: whoever steals the
    /// key of a guardian can stop the network, but not start it.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] for anybody else, otherwise as [`Chain::send`](depin_evm::Chain::send).
    pub async fn unpause(&self) -> Result<()> {
        if !self.is_paused().await? {
            return Ok(());
        }
        self.send(self.contract().unpause()).await
    }

    /// Lets the distributor take the bond, if the account has it.
    async fn provide(&self, bond: Amount) -> Result<()> {
        let token = self.chain.read(&self.contract().token()).await?;
        let ledger = NetworkToken::new(token, self.chain.provider());
        let held = self.chain.read(&ledger.balanceOf(self.chain.account())).await?;
        if held < bond.to_units() {
            let text = "the account has less than the bond; get tokens, or tell the arbiter, who \
                        rejects without a dispute";
            return Err(Error::new(ErrorKind::Rejected, text)
                .with("bond", bond)
                .with("held", Amount::units(held)));
        }
        approve(&self.chain, token, self.address, bond).await
    }

    async fn send<P: Provider, C: SolCall>(&self, call: SolCallBuilder<P, C>) -> Result<()> {
        self.chain.send(call.into_transaction_request()).await.map(drop).map_err(explain)
    }
}

/// Whether the token said that there is too little of it, or that too little may be taken.
fn lacks_tokens(error: &Error) -> bool {
    Revert::of(error).is_some_and(|revert| {
        revert.decode::<NetworkToken::ERC20InsufficientAllowance>().is_some()
            || revert.decode::<NetworkToken::ERC20InsufficientBalance>().is_some()
    })
}
