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
/// two differ by, is none of a cloud, for clouds come in crowds: at most two of the other changes around it, from
/// six readings before to six after, are more than a third as high. Neighbours further than `within` away say
/// nothing.
///
/// What it does not see: a lone value among broken clouds, which is as they are.
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

/// Readings on either side that show whether it is calm, and changes among them that may be none.
const AROUND: usize = 6;
const ROUGH: usize = 2;

impl Spike {
    /// The quantity `name` in `unit` has no lone value more than `height` (its sign does not matter) away from
    /// neighbours that are at most `within` away.
    pub fn new(name: &str, unit: &str, height: Decimal, within: Duration) -> Self {
        Self { quantity: Quantity::new(name, unit), height, within }
    }

    /// Whether what is around the reading in the middle hardly changes.
    fn calm(around: &[Place<'_>], middle: usize, height: u128) -> bool {
        let others =
            (1..).zip(around.windows(2)).filter(|(at, _)| ![middle, middle + 1].contains(at));
        let change = |pair: &[Place<'_>]| match pair {
            [a, b] => a.reading.value().abs_diff(b.reading.value()),
            _ => 0,
        };
        others.filter(|(_, pair)| change(pair).saturating_mul(3) > height).count() <= ROUGH
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
        let judge = |(middle, three): (usize, &[Place<'_>])| {
            let [before, at, after] = three else { return None };
            if !self.stands_out(before, at, after) {
                return None;
            }
            let [a, value, b] = [before, at, after].map(|place| place.reading.value());
            let (first, last) =
                (middle.saturating_sub(AROUND), (middle + AROUND).min(places.len() - 1));
            let around = places.get(first..=last).unwrap_or_default();
            let height = value.abs_diff(a).min(value.abs_diff(b));
            let calm = Self::calm(around, middle - first, height);
            calm.then(|| {
                at.finding("spike", format!("{value} between {a} and {b} while all around is calm"))
            })
        };
        (1..).zip(places.windows(3)).filter_map(judge).collect()
    }
}
