//! Readings that nobody asked for.

use std::collections::BTreeSet;

use depin_core::{
    Batch, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{quoted, stream};

/// A device reports the network's quantities and no others. Code `unexpected`.
///
/// Every accepted reading is worth a point; without this check a device could earn with quantities that
/// no other check looks at.
///
/// ```
/// use depin_core::quality::QualityCheck;
/// use depin_data::quality::Only;
///
/// let check = Only::new([("temperature", "Cel"), ("humidity", "%RH")]);
/// assert_eq!(check.name(), "only(\"humidity\" \"%RH\", \"temperature\" \"Cel\")");
/// ```
#[derive(Clone, Debug)]
pub struct Only {
    quantities: BTreeSet<Quantity>,
}

impl Only {
    /// The quantities, as name and unit, that earn points.
    pub fn new<'a>(quantities: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let quantities = quantities.into_iter().map(|(name, unit)| Quantity::new(name, unit));
        Self { quantities: quantities.collect() }
    }
}

impl QualityCheck for Only {
    fn name(&self) -> String {
        let names: Vec<String> = self.quantities.iter().map(quoted).collect();
        format!("only({})", names.join(", "))
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let strangers =
            stream(batches).filter(|at| !self.quantities.contains(at.reading.quantity()));
        let name = |at: super::Place<'_>| {
            let detail = format!("{:?} is not a quantity of this network", at.reading.quantity());
            at.finding("unexpected", detail)
        };
        strangers.map(name).collect()
    }
}
