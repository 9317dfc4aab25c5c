//! The rules that epochs are scored and paid by: those of now, and those of earlier epochs.
//!
//! An epoch is decided by the rules it was sealed with, which its record names. Whoever changes a rule
//! keeps the old one as a former rule, so that earlier epochs can still be recomputed.

use std::{fmt, sync::Arc};

use depin_core::{
    Address, Amount, EpochId, Error, ErrorKind, Result,
    registry::DeviceRecord,
    reward::{Allocation, RewardPolicy},
};
use depin_data::epoch::{Checks, EpochRecord, Scored, Windows};
use depin_payment::settlement;

/// Checks and policies, found by name.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) checks: Checks,
    pub(crate) policy: Arc<dyn RewardPolicy>,
    pub(crate) former_checks: Checks,
    pub(crate) former_policies: Vec<Arc<dyn RewardPolicy>>,
    /// The windows of time that new epochs are, if they are.
    pub(crate) windows: Option<Windows>,
    pub(crate) pays: Pays,
}

/// Which account of a device is paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pays {
    #[default]
    Owner,
    /// Its own, or its owner where the registry gives it none.
    Device,
}

impl Pays {
    pub(crate) fn of(self, device: &DeviceRecord) -> Address {
        match self {
            Self::Owner => device.owner,
            Self::Device => device.account.unwrap_or(device.owner),
        }
    }
}

impl Rules {
    /// The checks that a record was sealed with, in its order.
    pub(crate) fn checks_of(&self, record: &EpochRecord) -> Result<Checks> {
        let all = self.checks.clone();
        let (each, fleet) = (self.former_checks.of_each(), self.former_checks.of_fleet());
        checks_of(
            &all.and(each.iter().cloned(), fleet.iter().cloned()),
            record,
            "add it with .former_check(…) or .former_fleet_check(…)",
        )
    }

    /// Shares out a scored epoch by the policy that its record was sealed with.
    pub(crate) fn allocate(&self, record: &EpochRecord, scored: &mut Scored) -> Result<Allocation> {
        let policy = self.policy_of(record.epoch(), record.policy())?;
        let settled = record.settled_policy().unwrap_or_else(|| record.policy());
        pay(policy.get(), self.policy_of(record.epoch(), settled)?.get(), record, scored)
    }

    /// The policy that an epoch is sealed with, which may be granted something.
    pub(crate) fn policy_granted(&self, grant: Option<Amount>) -> Result<Arc<dyn RewardPolicy>> {
        let Some(grant) = grant else { return Ok(self.policy.clone()) };
        self.policy.granted(grant).ok_or_else(|| {
            let message = "the policy takes no grants; close the epoch without, or take one that does, such as \
                           ProRata::as_granted";
            Error::new(ErrorKind::Config, message).with("policy", self.policy.name())
        })
    }

    /// The policy that an epoch was sealed with.
    pub(crate) fn policy_of(&self, epoch: EpochId, name: &str) -> Result<Named<'_>> {
        let all = std::iter::once(&self.policy).chain(&self.former_policies);
        policy_of(all.map(|policy| &**policy), epoch, name, "add it with .former_rewards(…)")
    }
}

/// The checks that a record was sealed with, in its order, from all that are at hand.
pub(crate) fn checks_of(all: &Checks, record: &EpochRecord, remedy: &str) -> Result<Checks> {
    let (mut each, mut fleet) = (Vec::new(), Vec::new());
    for name in record.checks() {
        if let Some(check) = all.of_each().iter().find(|check| check.name() == *name) {
            each.push(Arc::clone(check));
            continue;
        }
        match all.of_fleet().iter().find(|check| check.name() == *name) {
            Some(check) => fleet.push(Arc::clone(check)),
            None => return Err(unknown(record.epoch(), "check", name, remedy)),
        }
    }
    Ok(Checks::of(each, fleet))
}

/// A policy at hand, or one with what it was granted.
pub(crate) enum Named<'a> {
    AtHand(&'a dyn RewardPolicy),
    Granted(Arc<dyn RewardPolicy>),
}

impl Named<'_> {
    pub(crate) fn get(&self) -> &dyn RewardPolicy {
        match self {
            Self::AtHand(policy) => *policy,
            Self::Granted(policy) => &**policy,
        }
    }
}

/// The policy of this name, from all that are at hand.
pub(crate) fn policy_of<'a>(
    mut all: impl Iterator<Item = &'a dyn RewardPolicy>,
    epoch: EpochId,
    name: &str,
    remedy: &str,
) -> Result<Named<'a>> {
    let found = all.find_map(|policy| {
        let at_hand = (policy.name() == name).then_some(Named::AtHand(policy));
        at_hand.or_else(|| policy.named(name).map(Named::Granted))
    });
    found.ok_or_else(|| unknown(epoch, "policy", name, remedy))
}

/// What is paid when an epoch closes: its own work, and the rest for the epoch that settles with it. Notes in
/// the pasts what is paid for its own.
pub(crate) fn pay(
    policy: &dyn RewardPolicy,
    policy_of_settled: &dyn RewardPolicy,
    record: &EpochRecord,
    scored: &mut Scored,
) -> Result<Allocation> {
    let entitled = policy.allocate(&scored.contributions)?;
    if !record.windows().is_some_and(Windows::takes_late) {
        return Ok(entitled);
    }
    let now = settlement::advance(&entitled, policy.reserve())?;
    scored.note_paid(&now.payouts);
    match &scored.settled {
        Some(settled) => {
            let entitled = policy_of_settled.allocate(&settled.contributions)?;
            settlement::together(&now, &settlement::settle(&entitled, &settled.paid)?)
        }
        None => Ok(now),
    }
}

fn unknown(epoch: EpochId, what: &str, name: impl fmt::Display, remedy: &str) -> Error {
    let message = format!("the epoch was sealed with a {what} that is not at hand; {remedy}");
    Error::new(ErrorKind::Config, message).with("epoch", epoch).with("name", name)
}
