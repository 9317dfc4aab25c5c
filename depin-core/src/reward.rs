//! The seams from verified work to tokens in an account.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::fmt;

use alloy_primitives::{Address, B256};
use async_trait::async_trait;

use crate::{Amount, Did, EpochId, Result, Verified, quality::Contributions};

/// What one device earned in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// The device that worked.
    pub device: Did,
    /// Who is paid.
    pub beneficiary: Address,
    /// How much.
    pub amount: Amount,
}

/// A policy's decision about one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The epoch.
    pub epoch: EpochId,
    /// What is emitted: exactly the sum of the payouts.
    pub emission: Amount,
    /// What the policy offered but nobody earned. It is not minted.
    pub unallocated: Amount,
    /// The payouts, ordered by DID, none of them zero.
    pub payouts: Vec<Payout>,
}

/// Splits an epoch's tokens.
///
/// # Contract
/// 1. The payouts MUST sum to `emission` exactly.
/// 2. The result MUST NOT depend on anything but the policy's name and the contributions.
/// 3. Integers only; overflow is an error.
/// 4. Payouts MUST be ordered by DID and MUST NOT be zero.
/// 5. A reserve MUST be part of the name, and so MUST what it was [granted](RewardPolicy::granted): `named` of that name
///    MUST give the same policy again.
/// 6. What it allocates to an epoch MUST NOT be more than its `pool`, where it tells one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a reward policy",
    note = "implement `depin_core::reward::RewardPolicy`"
)]
pub trait RewardPolicy: Send + Sync + fmt::Debug {
    /// Name with parameters, part of the epoch's manifest.
    fn name(&self) -> String;

    /// Decides.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) when amounts do not fit.
    fn allocate(&self, work: &Verified<Contributions>) -> Result<Allocation>;

    /// Basis points (1/10,000) of every payout that wait until its epoch settles, so that there is something
    /// left to pay for work that comes late. It matters only to epochs that are windows of time.
    fn reserve(&self) -> u16 {
        0
    }

    /// This policy for an epoch that is granted so much, where its pool follows a measure that is known when the
    /// epoch closes: revenue, usage, stake. `None` where it takes no grants.
    fn granted(&self, _grant: Amount) -> Option<Arc<dyn RewardPolicy>> {
        None
    }

    /// The policy of this name, where it is this one with some grant.
    fn named(&self, _name: &str) -> Option<Arc<dyn RewardPolicy>> {
        None
    }

    /// The most that an epoch gets of it, whatever work there is or comes late. `None` where nobody knows before the
    /// work is there, as when every reading is paid alike.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when it takes grants and this epoch's is not known,
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) when amounts do not fit.
    fn pool(&self, _epoch: EpochId) -> Result<Option<Amount>> {
        Ok(None)
    }
}

/// What goes on chain for an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// The epoch.
    pub epoch: EpochId,
    /// Root of the reward tree over cumulative amounts.
    pub root: B256,
    /// Everything emitted up to and including this epoch.
    pub cumulative: Amount,
    /// Hash of the epoch's manifest: log head, roster, checks and policy.
    pub manifest: B256,
}

/// What an account presents to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The account.
    pub account: Address,
    /// What it has earned since the beginning.
    pub cumulative: Amount,
    /// The path from its leaf to the root; empty when it is alone in the tree.
    pub proof: Vec<B256>,
}

/// Pays what reward trees promise.
///
/// Amounts are cumulative over all epochs, so one claim pays everything due, and the second one only
/// the difference.
///
/// # Contract
/// 1. A commitment, once published, MUST NOT change; the same one again is fine, another for the same
///    epoch is [`ErrorKind::Conflict`](crate::ErrorKind::Conflict).
/// 2. Epochs MUST be published in order; `cumulative` MUST NOT fall.
/// 3. `claim` MUST pay `cumulative - claimed(account)` and nothing else, only with a proof against the
///    latest root.
/// 4. The sum of all that was ever paid MUST NOT exceed the latest `cumulative`.
/// 5. Claiming what was claimed already MUST pay [`Amount::ZERO`].
/// 6. `claim_many` MUST pay what as many claims one after another would, in their order; after an error the same
///    call MUST go on where it stopped.
/// 7. One epoch at most MUST wait before its rewards can be claimed, and `last` MUST be that one; where none waits,
///    `latest`.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a reward distributor",
    note = "implement `depin_core::reward::RewardDistributor`"
)]
pub trait RewardDistributor: Send + Sync + fmt::Debug {
    /// Publishes an epoch.
    ///
    /// # Errors
    /// See the contract; [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the ledger does
    /// not answer now.
    async fn publish(&self, commitment: &Commitment) -> Result<()>;

    /// The commitment of an epoch, if published.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the ledger does not answer now.
    async fn published(&self, epoch: EpochId) -> Result<Option<Commitment>>;

    /// The last published epoch whose rewards can be claimed. Asking changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the ledger does not answer now.
    async fn latest(&self) -> Result<Option<EpochId>>;

    /// The last published epoch, whether its rewards can be claimed or not. Asking changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the ledger does not answer now.
    async fn last(&self) -> Result<Option<EpochId>>;

    /// Pays an account and returns what it was paid.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the proof does not hold.
    async fn claim(&self, account: Address, cumulative: Amount, proof: &[B256]) -> Result<Amount>;

    /// Pays many accounts and returns what each was paid; in fewer transactions where the ledger can.
    ///
    /// # Errors
    /// As [`claim`](Self::claim), for the first that fails; those before it may have been paid.
    async fn claim_many(&self, claims: &[Claim]) -> Result<Vec<Amount>> {
        let mut paid = Vec::with_capacity(claims.len());
        for claim in claims {
            paid.push(self.claim(claim.account, claim.cumulative, &claim.proof).await?);
        }
        Ok(paid)
    }

    /// What an account was paid so far.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the ledger does not answer now.
    async fn claimed(&self, account: Address) -> Result<Amount>;
}

/// The network's token.
///
/// # Contract
/// 1. Balances MUST be those of the ledger's latest state that the implementation considers settled.
/// 2. The sum of balances MUST equal `supply`.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a token ledger",
    note = "implement `depin_core::reward::TokenLedger`"
)]
pub trait TokenLedger: Send + Sync + fmt::Debug {
    /// What an account holds.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the ledger does not answer now.
    async fn balance(&self, account: Address) -> Result<Amount>;

    /// What exists.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the ledger does not answer now.
    async fn supply(&self) -> Result<Amount>;
}
