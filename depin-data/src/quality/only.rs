//! Which quantities are work that is paid for.

use std::collections::BTreeSet;

use depin_core::{
    Batch, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{quoted, stream};

/// A device earns with the network's quantities and no others. Codes `unexpected` and `context`.
///
/// Every accepted reading is worth a point; without this check a device could earn with quantities that
/// no other check looks at. Where a device is and how fast are no measurements that a weather network pays for, but its
/// other checks need to know: readings [beside](Self::beside) those that earn are welcome and earn nothing.
///
/// ```
/// use depin_core::quality::QualityCheck;
/// use depin_data::{geo::CELL, quality::Only};
///
/// let check = Only::new([("temperature", "Cel"), ("humidity", "%RH")]);
/// assert_eq!(check.name(), "only(\"humidity\" \"%RH\", \"temperature\" \"Cel\")");
/// let check = Only::new([("temperature", "Cel")]).beside([CELL]);
/// assert_eq!(check.name(), "only(\"temperature\" \"Cel\", beside \"cell\" \"h3\")");
/// ```
#[derive(Clone, Debug)]
pub struct Only {
    quantities: BTreeSet<Quantity>,
    context: BTreeSet<Quantity>,
}

impl Only {
    /// The quantities, as name and unit, that earn points.
    pub fn new<'a>(quantities: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let quantities = quantities.into_iter().map(|(name, unit)| Quantity::new(name, unit));
        Self { quantities: quantities.collect(), context: BTreeSet::new() }
    }

    /// Further quantities, as name and unit, that are expected and earn nothing: their readings lose their points
    /// with the code `context`. What earns points stays what it is.
    pub fn beside<'a>(mut self, context: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let context = context.into_iter().map(|(name, unit)| Quantity::new(name, unit));
        self.context.extend(context.filter(|quantity| !self.quantities.contains(quantity)));
        self
    }
}

impl QualityCheck for Only {
    fn name(&self) -> String {
        let earning = self.quantities.iter().map(quoted);
        let context = self.context.iter().map(|quantity| format!("beside {}", quoted(quantity)));
        let names: Vec<String> = earning.chain(context).collect();
        format!("only({})", names.join(", "))
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let judge = |at: super::Place<'_>| {
            let quantity = at.reading.quantity();
            if self.quantities.contains(quantity) {
                None
            } else if self.context.contains(quantity) {
                let detail = format!("{} stands beside what earns points", quantity.name());
                Some(at.finding("context", detail))
            } else {
                let detail = format!("{quantity:?} is not a quantity of this network");
                Some(at.finding("unexpected", detail))
            }
        };
        stream(batches).filter_map(judge).collect()
    }
}
