//! The rules that epochs are scored and paid by: those of now, and those of earlier epochs.
//!
//! An epoch is decided by the rules it was sealed with, which its record names. Whoever changes a rule
//! keeps the old one as a former rule, so that earlier epochs can still be recomputed.

use std::{fmt, sync::Arc};

use depin_core::{
    Error, ErrorKind, Result,
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
}

impl Rules {
    /// The checks that a record was sealed with, in its order.
    pub(crate) fn checks_of(&self, record: &EpochRecord) -> Result<Checks> {
        let (mut each, mut fleet) = (Vec::new(), Vec::new());
        for name in record.checks() {
            let mut known = self.checks.of_each().iter().chain(self.former_checks.of_each());
            if let Some(check) = known.find(|check| check.name() == *name) {
                each.push(Arc::clone(check));
                continue;
            }
            let mut known = self.checks.of_fleet().iter().chain(self.former_checks.of_fleet());
            match known.find(|check| check.name() == *name) {
                Some(check) => fleet.push(Arc::clone(check)),
                None => {
                    let remedy = ".former_check(…) or .former_fleet_check(…)";
                    return Err(unknown(record, "check", name, remedy));
                }
            }
        }
        Ok(Checks::of(each, fleet))
    }

    /// Shares out a scored epoch by the policy that its record was sealed with.
    pub(crate) fn allocate(&self, record: &EpochRecord, scored: &mut Scored) -> Result<Allocation> {
        let policy = self.policy_of(record, record.policy())?;
        let settled = record.settled_policy().unwrap_or_else(|| record.policy());
        pay(policy, self.policy_of(record, settled)?, record, scored)
    }

    fn policy_of(&self, record: &EpochRecord, name: &str) -> Result<&dyn RewardPolicy> {
        let mut all = std::iter::once(&self.policy).chain(&self.former_policies);
        let policy = all.find(|policy| policy.name() == name).map(|policy| &**policy);
        policy.ok_or_else(|| unknown(record, "policy", name, ".former_rewards(…)"))
    }
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

fn unknown(record: &EpochRecord, what: &str, name: impl fmt::Display, remedy: &str) -> Error {
    let message =
        format!("the epoch was sealed with a {what} that is not composed; add it with {remedy}");
    Error::new(ErrorKind::Config, message).with("epoch", record.epoch()).with("name", name)
}
