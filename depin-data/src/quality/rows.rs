//! A device's readings as rows of changes, and how surprising each change is.
//!
//! What repeats exactly is judged by changes rather than values, so that a copy with an offset shows too.
//! Weather and machines repeat small changes all the time; how much a repetition says is therefore counted
//! in bits, by how rare the device's own changes are.

use std::collections::HashMap;

use depin_core::{Batch, Timestamp, Verified, reading::Quantity};

use super::{Place, stream};

/// Readings of one moment.
pub(super) struct Row<'a> {
    pub(super) at: Timestamp,
    pub(super) places: Vec<Place<'a>>,
    /// Digest of the changes against the row before, with the quantities they are of.
    pub(super) change: u64,
    /// The same of each change in proportion to the last of its quantity that was none of zero: no factor that
    /// all values are multiplied with shows in it.
    pub(super) shape: u64,
    /// How surprising the change is, in sixteenths of a bit: by how rare it is in the device's stream, or where
    /// it is that of the row before once more, by how rarely it lasts, but by no more than [`LASTING`] while it does.
    pub(super) surprise: u64,
}

/// The readings of these quantities, those of one moment together, in chain order.
pub(super) fn rows<'a>(quantities: &[Quantity], batches: &'a [&Verified<Batch>]) -> Vec<Row<'a>> {
    rows_of(quantities, stream(batches))
}

/// The same of some readings.
pub(super) fn rows_of<'a>(
    quantities: &[Quantity],
    places: impl Iterator<Item = Place<'a>>,
) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    for place in places.filter(|at| quantities.contains(at.reading.quantity())) {
        let (quantity, at) = (place.reading.quantity(), place.reading.at());
        match rows.last_mut() {
            Some(row) if row.at == at && !row.has(quantity) => row.places.push(place),
            _ => rows.push(Row { at, places: vec![place], change: 0, shape: 0, surprise: 0 }),
        }
    }
    digest_changes(quantities, &mut rows);
    count_surprise(&mut rows);
    rows
}

impl Row<'_> {
    /// Whether it has the same values.
    pub(super) fn shows(&self, other: &Self) -> bool {
        let same = |(a, b): (&Place<'_>, &Place<'_>)| {
            (a.reading.quantity(), a.reading.value()) == (b.reading.quantity(), b.reading.value())
        };
        self.places.len() == other.places.len() && self.places.iter().zip(&other.places).all(same)
    }

    fn has(&self, quantity: &Quantity) -> bool {
        self.places.iter().any(|place| place.reading.quantity() == quantity)
    }
}

fn digest_changes(quantities: &[Quantity], rows: &mut [Row<'_>]) {
    let mut lasts = vec![(None::<i128>, 0); quantities.len()];
    for row in rows {
        let (mut digest, mut shape) = (Digest::default(), Digest::default());
        for (position, (quantity, (last, step))) in (0..).zip(quantities.iter().zip(&mut lasts)) {
            let place = row.places.iter().find(|place| place.reading.quantity() == quantity);
            let Some(place) = place else { continue };
            let value = place.reading.value().scaled();
            // Two scaled decimals differ by less than 2^125.
            let change = value - last.unwrap_or(value);
            digest.take(position);
            digest.take_wide(change);
            shape.take(position);
            let (this, before) = in_proportion(change, *step);
            shape.take_wide(this);
            shape.take_wide(before);
            *last = Some(value);
            if change != 0 {
                *step = change;
            }
        }
        (row.change, row.shape) = (digest.0, shape.0);
    }
}

/// Two changes in lowest terms, the earlier one positive. Both are less than 2^126.
fn in_proportion(change: i128, before: i128) -> (i128, i128) {
    let common = common_divisor(change.unsigned_abs(), before.unsigned_abs()).max(1);
    let common = i128::try_from(common).unwrap_or(1) * if before < 0 { -1 } else { 1 };
    if change == 0 { (0, 1) } else { (change / common, before / common) }
}

fn common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = match (u64::try_from(a), u64::try_from(b)) {
            // Several times as fast.
            (Ok(a), Ok(b)) => (b.into(), (a % b).into()),
            _ => (b, a % b),
        };
    }
    a
}

/// What a change that lasts says in all, in sixteenths of a bit.
const LASTING: u64 = 8 * 16;

fn count_surprise(rows: &mut [Row<'_>]) {
    let (mut counts, mut lasting) = (HashMap::<u64, u64>::new(), HashMap::<u64, u64>::new());
    let mut before = None;
    for row in rows.iter() {
        *counts.entry(row.change).or_default() += 1;
        if before == Some(row.change) {
            *lasting.entry(row.change).or_default() += 1;
        }
        before = Some(row.change);
    }
    let (all, mut before, mut left) = (rows.len() as u64, None, 0);
    for row in rows {
        let often = counts.get(&row.change).copied().unwrap_or(all);
        row.surprise = match lasting.get(&row.change) {
            Some(lasting) if before == Some(row.change) => sixteenths(often, *lasting).min(left),
            _ => {
                left = LASTING;
                sixteenths(all, often)
            }
        };
        if before == Some(row.change) {
            left -= row.surprise;
        }
        before = Some(row.change);
    }
}

/// A digest that is the same on every machine. Whoever looks for collisions can only make two stretches
/// of their own look alike.
#[derive(Clone, Copy)]
pub(super) struct Digest(pub(super) u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Digest {
    fn take_wide(&mut self, wide: i128) {
        self.take(wide as u64);
        self.take((wide >> 64) as u64);
    }

    pub(super) fn take(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// `log2(all / some)` in sixteenths, rounded down; both are positive and less than 2^63.
pub(super) fn sixteenths(all: u64, some: u64) -> u64 {
    logarithm(all, some, 4)
}

/// The same in units of 2^-`digits`.
pub(super) fn logarithm(all: u64, some: u64, digits: u32) -> u64 {
    let ratio = ((u128::from(all) << 32) / u128::from(some.max(1))).max(1 << 32);
    let whole = ratio.ilog2() - 32;
    let (mut rest, mut log) = (ratio >> whole, u64::from(whole));
    for _ in 0..digits {
        rest = (rest * rest) >> 32;
        log *= 2;
        if rest >= 2 << 32 {
            rest >>= 1;
            log += 1;
        }
    }
    log
}

#[cfg(test)]
mod tests {
    use super::{in_proportion, sixteenths};

    #[test]
    fn proportions_know_no_factor() {
        assert_eq!(in_proportion(6, 4), (3, 2));
        assert_eq!(in_proportion(6, -4), (-3, 2));
        assert_eq!((in_proportion(0, 7), in_proportion(0, 0)), ((0, 1), (0, 1)));
        assert_eq!(in_proportion(9, 0), (1, 0));
        let most = (1 << 126) - 1;
        assert_eq!(in_proportion(most, -most), (-1, 1));
        for (change, before) in [(1, 2), (17, -5), (1000, 35), (-3, 3)] {
            for factor in [1, 7, -1, -100, 1 << 80] {
                let scaled = in_proportion(change * factor, before * factor);
                assert_eq!(scaled, in_proportion(change, before));
            }
        }
    }

    #[test]
    fn logarithms_are_floored_to_sixteenths() {
        for (all, some, log) in
            [(1, 1, 0), (2, 1, 16), (1024, 1, 160), (3, 2, 9), (10, 9, 2), (1, 2, 0)]
        {
            assert_eq!(sixteenths(all, some), log, "{all} / {some}");
        }
    }
}
