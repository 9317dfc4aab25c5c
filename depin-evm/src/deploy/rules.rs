//! When roots of rewards become valid, and how much they may emit.

use std::time::Duration;

use alloy::primitives::aliases::{U40, U48};
use depin_core::{Amount, Error, ErrorKind, Result};

use crate::bindings::RewardDistributor;

/// The rules of a reward distributor, fixed when it is deployed.
///
/// Unless said otherwise a published epoch is valid at once and nothing limits it: fine where the publisher
/// is trusted as much as the network itself, and in tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootRules {
    /// How long an epoch can be disputed before it is valid. Whole seconds count.
    pub window: Duration,
    /// What who disputes puts down, in the network's token: returned to who is right, burned for who is not.
    pub bond: Amount,
    /// The largest emission of one `period`, refilled evenly; zero for no limit.
    pub limit: Amount,
    /// In what time the limit refills. Whole seconds count.
    pub period: Duration,
}

impl RootRules {
    /// Epochs are valid after `window`, in which anybody who puts down `bond` stops them until the arbiter
    /// decides.
    #[must_use]
    pub const fn disputable(mut self, window: Duration, bond: Amount) -> Self {
        (self.window, self.bond) = (window, bond);
        self
    }

    /// Epochs emit at most `limit` in each `period`: what a publisher whose key was stolen can issue before
    /// the guardian acts. After a quiet period at most twice that within one.
    #[must_use]
    pub const fn at_most(mut self, limit: Amount, period: Duration) -> Self {
        (self.limit, self.period) = (limit, period);
        self
    }

    /// As the constructors of the distributors take them.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a window lacks its bond, a bond its window or a limit its period,
    /// [`ErrorKind::Limit`] for numbers that the contract cannot hold.
    pub fn encode(&self) -> Result<RewardDistributor::RootRules> {
        let config = |text| Err(Error::new(ErrorKind::Config, text));
        if (self.window.as_secs() == 0) != self.bond.is_zero() {
            return config(
                "a dispute window needs a bond and the other way round: disputes for free would stop \
                 every epoch",
            );
        }
        if !self.limit.is_zero() && self.period.as_secs() == 0 {
            return config("a limit of the emission needs a period of a second at least");
        }
        Ok(RewardDistributor::RootRules {
            window: U40::try_from(self.window.as_secs()).map_err(|_| too_large("window"))?,
            bond: self.bond.to_units().try_into().map_err(|_| too_large("bond"))?,
            limit: self.limit.to_units().try_into().map_err(|_| too_large("limit"))?,
            limitPeriod: U48::try_from(self.period.as_secs()).map_err(|_| too_large("period"))?,
        })
    }
}

fn too_large(name: &str) -> Error {
    let text = "the distributor cannot count that far; choose amounts below 2^128 and less time";
    Error::new(ErrorKind::Limit, text).with("rule", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_the_contract_would_refuse_are_refused_here() {
        let (day, bond) = (Duration::from_secs(86_400), Amount::tokens(1));
        let rules = RootRules::default();
        assert!(rules.encode().is_ok());
        assert!(rules.disputable(day, bond).at_most(bond, day).encode().is_ok());
        for (rules, kind) in [
            (rules.disputable(day, Amount::ZERO), ErrorKind::Config),
            (rules.disputable(Duration::from_millis(900), bond), ErrorKind::Config),
            (rules.at_most(bond, Duration::ZERO), ErrorKind::Config),
            (rules.disputable(Duration::from_secs(1 << 40), bond), ErrorKind::Limit),
            (rules.disputable(day, Amount::units(alloy::primitives::U256::MAX)), ErrorKind::Limit),
        ] {
            assert_eq!(rules.encode().unwrap_err().kind(), kind, "{rules:?}");
        }
    }
}
