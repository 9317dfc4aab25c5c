//! The rules that epochs are scored and paid by: those of now, and those of earlier epochs.
//!
//! An epoch is decided by the rules it was sealed with, which its record names. Whoever changes a rule
//! keeps the old one as a former rule, so that earlier epochs can still be recomputed.

use std::{fmt, sync::Arc};

use depin_core::{
    Error, ErrorKind, Result,
    quality::QualityCheck,
    reward::{Allocation, RewardPolicy},
};
use depin_data::epoch::{EpochRecord, Scored};

/// Checks and policies, found by name.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) checks: Vec<Arc<dyn QualityCheck>>,
    pub(crate) policy: Arc<dyn RewardPolicy>,
    pub(crate) former_checks: Vec<Arc<dyn QualityCheck>>,
    pub(crate) former_policies: Vec<Arc<dyn RewardPolicy>>,
}

impl Rules {
    /// The names of the checks of now, as the next record will hold them.
    pub(crate) fn check_names(&self) -> Vec<String> {
        self.checks.iter().map(|check| check.name()).collect()
    }

    /// The checks that a record was sealed with, in its order.
    pub(crate) fn checks_of(&self, record: &EpochRecord) -> Result<Vec<Arc<dyn QualityCheck>>> {
        let all = || self.checks.iter().chain(&self.former_checks);
        let find = |name: &String| {
            let known = all().find(|check| check.name() == *name).cloned();
            known.ok_or_else(|| unknown(record, "check", name, ".former_check(…)"))
        };
        record.checks().iter().map(find).collect()
    }

    /// Shares out a scored epoch by the policy that its record was sealed with.
    pub(crate) fn allocate(&self, record: &EpochRecord, scored: &Scored) -> Result<Allocation> {
        let mut all = std::iter::once(&self.policy).chain(&self.former_policies);
        let policy = all.find(|policy| policy.name() == record.policy());
        let policy = policy
            .ok_or_else(|| unknown(record, "policy", record.policy(), ".former_rewards(…)"))?;
        policy.allocate(&scored.contributions)
    }
}

fn unknown(record: &EpochRecord, what: &str, name: impl fmt::Display, remedy: &str) -> Error {
    let message =
        format!("the epoch was sealed with a {what} that is not composed; add it with {remedy}");
    Error::new(ErrorKind::Config, message).with("epoch", record.epoch()).with("name", name)
}
