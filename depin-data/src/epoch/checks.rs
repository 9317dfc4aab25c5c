//! What an epoch is judged by.

use std::sync::Arc;

use depin_core::quality::{FleetCheck, QualityCheck};

/// The quality checks of a network: those of one device alone, then those of devices against each other.
///
/// ```
/// use depin_core::Decimal;
/// use depin_data::{epoch::Checks, quality::{Bounds, Duplicate}};
///
/// let checks = Checks::new()
///     .check(Bounds::new("temperature", "Cel", Decimal::from(-60)..=Decimal::from(60)))
///     .check(Duplicate::same_moment());
/// assert_eq!(checks.names(), ["bounds(\"temperature\" \"Cel\", -60..=60)", "duplicate(1ms)"]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Checks {
    each: Vec<Arc<dyn QualityCheck>>,
    fleet: Vec<Arc<dyn FleetCheck>>,
}

impl Checks {
    /// No checks: every reading keeps its point.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check of one device alone.
    #[must_use]
    pub fn check(mut self, check: impl QualityCheck + 'static) -> Self {
        self.each.push(Arc::new(check));
        self
    }

    /// Adds a check of devices against each other.
    #[must_use]
    pub fn fleet(mut self, check: impl FleetCheck + 'static) -> Self {
        self.fleet.push(Arc::new(check));
        self
    }

    /// Adds checks that are shared, after those of their kind that are there.
    #[must_use]
    pub fn and(
        mut self,
        each: impl IntoIterator<Item = Arc<dyn QualityCheck>>,
        fleet: impl IntoIterator<Item = Arc<dyn FleetCheck>>,
    ) -> Self {
        self.each.extend(each);
        self.fleet.extend(fleet);
        self
    }

    /// Checks that are shared.
    pub const fn of(each: Vec<Arc<dyn QualityCheck>>, fleet: Vec<Arc<dyn FleetCheck>>) -> Self {
        Self { each, fleet }
    }

    /// The names, as a record holds them: first the checks of one device, then those of the fleet.
    pub fn names(&self) -> Vec<String> {
        let each = self.each.iter().map(|check| check.name());
        each.chain(self.fleet.iter().map(|check| check.name())).collect()
    }

    /// Those of one device alone.
    pub fn of_each(&self) -> &[Arc<dyn QualityCheck>] {
        &self.each
    }

    /// Those of devices against each other.
    pub fn of_fleet(&self) -> &[Arc<dyn FleetCheck>] {
        &self.fleet
    }
}

impl From<Vec<Arc<dyn QualityCheck>>> for Checks {
    fn from(each: Vec<Arc<dyn QualityCheck>>) -> Self {
        Self { each, fleet: Vec::new() }
    }
}
