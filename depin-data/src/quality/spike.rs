//! Lone values that nothing around them explains.

use std::time::Duration;

use depin_core::{
    Batch, Decimal, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{Place, millis, quoted, stream_of};

/// A value does not leave both of its neighbours in time while they agree. Code `spike`.
///
/// Clouds make power fall fast, so no [`Jump`](super::Jump) bounds it; but a reading that is more than
/// `height` above both the one before and the one after it, or below both, and by more than twice what those
/// two differ by, is none of a cloud. Neighbours further than `within` away say nothing.
///
/// ```
/// use std::time::Duration;
/// use depin_core::{Decimal, quality::QualityCheck};
/// use depin_data::quality::Spike;
///
/// let check = Spike::new("ac_power", "W", Decimal::from(2_000), Duration::from_secs(1800));
/// assert_eq!(check.name(), "spike(\"ac_power\" \"W\", 2000, neighbours within 1800000ms)");
/// ```
#[derive(Clone, Debug)]
pub struct Spike {
    quantity: Quantity,
    height: Decimal,
    within: Duration,
}

impl Spike {
    /// The quantity `name` in `unit` has no lone value more than `height` (its sign does not matter) away from
    /// neighbours that are at most `within` away.
    pub fn new(name: &str, unit: &str, height: Decimal, within: Duration) -> Self {
        Self { quantity: Quantity::new(name, unit), height, within }
    }

    fn stands_out(&self, before: &Place<'_>, at: &Place<'_>, after: &Place<'_>) -> bool {
        let near = |other: &Place<'_>| {
            let away = other.reading.at().millis().abs_diff(at.reading.at().millis());
            away <= millis(self.within)
        };
        let [a, value, b] = [before, at, after].map(|place| place.reading.value());
        let one_side = (value > a) == (value > b);
        let least = value.abs_diff(a).min(value.abs_diff(b));
        let limit = self.height.abs_diff(Decimal::default()).max(a.abs_diff(b).saturating_mul(2));
        one_side && least > limit && near(before) && near(after)
    }
}

impl QualityCheck for Spike {
    fn name(&self) -> String {
        let (quantity, within) = (quoted(&self.quantity), millis(self.within));
        format!("spike({quantity}, {}, neighbours within {within}ms)", self.height)
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let mut places: Vec<Place<'_>> = stream_of(&self.quantity, batches).collect();
        places.sort_by_key(|place| place.reading.at());
        let judge = |around: &[Place<'_>]| {
            let [before, at, after] = around else { return None };
            let [a, value, b] = [before, at, after].map(|place| place.reading.value());
            let detail = format!("{value} between {a} and {b}");
            self.stands_out(before, at, after).then(|| at.finding("spike", detail))
        };
        places.windows(3).filter_map(judge).collect()
    }
}
