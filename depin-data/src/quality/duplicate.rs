//! One moment, measured twice.

use std::{collections::HashSet, time::Duration};

use depin_core::{
    Batch, Verified,
    quality::{Finding, QualityCheck},
};

use super::{millis, stream};

/// A quantity is measured once at one time. Code `duplicate`.
///
/// Time is cut into slots of equal length, counted from the Unix epoch. In each slot the first reading
/// of a quantity, in chain order, keeps its point. With slots as long as the expected interval, sending
/// more often earns nothing.
///
/// ```
/// use std::time::Duration;
/// use depin_core::quality::QualityCheck;
/// use depin_data::quality::Duplicate;
///
/// assert_eq!(Duplicate::within(Duration::from_secs(600)).name(), "duplicate(600000ms)");
/// assert_eq!(Duplicate::same_moment().name(), "duplicate(1ms)");
/// ```
#[derive(Clone, Debug)]
pub struct Duplicate {
    slot: u64,
}

impl Duplicate {
    /// Readings of one quantity with the same timestamp.
    pub const fn same_moment() -> Self {
        Self { slot: 1 }
    }

    /// Readings of one quantity in the same slot of this length, which is taken as at least a
    /// millisecond.
    pub fn within(slot: Duration) -> Self {
        Self { slot: millis(slot).max(1) }
    }
}

impl QualityCheck for Duplicate {
    fn name(&self) -> String {
        format!("duplicate({}ms)", self.slot)
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let mut seen = HashSet::new();
        let repeated = stream(batches).filter(|at| {
            let slot = at.reading.at().millis() / self.slot;
            !seen.insert((at.reading.quantity(), slot))
        });
        let name = |at: super::Place<'_>| {
            let (quantity, slot) = (at.reading.quantity(), self.slot);
            let detail = format!("{:?} was measured before in these {slot} ms", quantity.name());
            at.finding("duplicate", detail)
        };
        repeated.map(name).collect()
    }
}
