//! Values that the sensor cannot measure or the place cannot have.

use std::ops::RangeInclusive;

use depin_core::{
    Batch, Decimal, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{quoted, stream};

/// A value lies within a range, both ends included. Code `out-of-bounds`.
///
/// Judges every reading of that name: one in another unit cannot be compared and loses its point too, so
/// that renaming the unit is no way around the range.
///
/// ```
/// use depin_core::{Decimal, quality::QualityCheck};
/// use depin_data::quality::Bounds;
///
/// let check = Bounds::new("temperature", "Cel", Decimal::from(-60)..=Decimal::from(60));
/// assert!(check.inspect(&[]).is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Bounds {
    quantity: Quantity,
    range: RangeInclusive<Decimal>,
}

impl Bounds {
    /// The quantity `name`, measured in `unit`, lies in `range`.
    pub fn new(name: &str, unit: &str, range: RangeInclusive<Decimal>) -> Self {
        Self { quantity: Quantity::new(name, unit), range }
    }
}

impl QualityCheck for Bounds {
    fn name(&self) -> String {
        let (low, high) = (self.range.start(), self.range.end());
        format!("bounds({}, {low}..={high})", quoted(&self.quantity))
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let named =
            stream(batches).filter(|at| at.reading.quantity().name() == self.quantity.name());
        let judged = named.filter_map(|at| {
            let (value, unit) = (at.reading.value(), at.reading.quantity().unit());
            let detail = if unit != self.quantity.unit() {
                format!("measured in {unit:?}, expected {:?}", self.quantity.unit())
            } else if !self.range.contains(&value) {
                let (low, high) = (self.range.start(), self.range.end());
                format!("{value} {unit} lies outside {low} to {high}")
            } else {
                return None;
            };
            Some(at.finding("out-of-bounds", detail))
        });
        judged.collect()
    }
}
