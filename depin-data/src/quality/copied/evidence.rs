//! How improbable it is that an honest neighbour shows the same.
//!
//! Coarse sensors of one room round the same air to the same few steps, so that they agree for hours. What tells
//! a copy from them is that it goes on agreeing.

use std::ops::RangeInclusive;

use depin_core::reading::Quantity;

use super::super::rows::{Row, logarithm};

/// By how much two honest devices differ, sooner or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Differ {
    /// Sensors of one room: in a change by a 32nd of its size, and by a 16th of the time that it took.
    Change,
    /// Meters: in each reading by a 256th of what it shows.
    Share,
}

impl Differ {
    const SIZE: u64 = 32;
    const TIME: u64 = 16;
    /// What stood still for a night was at rest.
    const CALM: u64 = 2 * Self::TIME;
    const SHARE: u64 = 256;
    /// Longer calm is that of an inverter at its limit.
    const STILL: u64 = 4;

    /// What each change says, in 2^-8 bits, with its row.
    fn says(self, changes: &[Change]) -> Vec<(usize, u64)> {
        let mut sizes: Vec<u128> = changes.iter().map(|change| change.size).collect();
        sizes.sort_unstable();
        // What the sensor resolves, whatever a few odd values do.
        let step = sizes.get(sizes.len() / 16).copied().unwrap_or(1);
        sizes.dedup();
        let says = |change: &Change| match self {
            Self::Change => {
                // In steps of the sensor: sizes that it shows, so that neither units nor a few odd values blur them.
                let steps = sizes.partition_point(|size| *size <= change.size) as u64;
                let calm = change.calm.min(Self::CALM);
                logarithm(Self::SIZE + steps, Self::SIZE, DIGITS)
                    + logarithm(Self::TIME + calm, Self::TIME, DIGITS)
            }
            Self::Share => {
                let [before, after] = change.levels.map(|level| level / step);
                let shown = u128::from(change.calm.min(Self::STILL)) * before + after;
                let shown = u64::try_from(shown).unwrap_or(u64::MAX).min(Self::SHARE << 4);
                logarithm(Self::SHARE + shown, Self::SHARE, DIGITS)
            }
        };
        changes.iter().map(|change| (change.row, says(change))).collect()
    }
}

/// Units are 2^-8 bits.
const DIGITS: u32 = 8;
const BIT: u64 = 1 << DIGITS;
/// Bits that a stretch has to say.
pub(super) const BITS: u64 = 20;
/// What a window that differs takes away.
const DIFFERS: u64 = 2 * BIT;

/// A window that was compared: its rows, and where another device had it first.
pub(super) struct Compared {
    pub(super) rows: RangeInclusive<usize>,
    pub(super) first: Option<u64>,
}

/// What the changes of a stream say against an honest neighbour that shows the same.
pub(super) struct Evidence {
    /// Up to each row.
    sums: Vec<u64>,
}

impl Evidence {
    pub(super) fn of(quantities: &[Quantity], rows: &[Row<'_>], differ: Differ) -> Self {
        let mut says = vec![0u64; rows.len()];
        for quantity in quantities {
            // Degrees count from where somebody put the zero: a share of them says nothing.
            let differ = if quantity.unit() == "Cel" { Differ::Change } else { differ };
            for (row, bits) in differ.says(&changes(quantity, rows)) {
                if let Some(says) = says.get_mut(row) {
                    *says += bits;
                }
            }
        }
        let mut sum = 0;
        let sums = says.into_iter().map(|says| {
            sum += says;
            sum
        });
        Self { sums: sums.collect() }
    }

    /// The stretches of windows that no honest neighbour shows: places among them.
    pub(super) fn stretches(&self, windows: &[Compared]) -> Vec<RangeInclusive<usize>> {
        let (mut found, mut run, mut clear) = (Vec::new(), Run::default(), 0);
        for (position, Compared { rows, first }) in windows.iter().enumerate() {
            // What overlaps with a window that differs is no news.
            if *rows.start() < clear {
                continue;
            }
            if first.is_some() {
                run.agrees(position, self.between(run.told.max(*rows.start() + 1), *rows.end()));
                run.told = *rows.end();
                continue;
            }
            clear = rows.end() + 1;
            if run.score <= DIFFERS {
                found.extend(std::mem::replace(&mut run, Run::after(position)).finish());
            } else {
                run.score -= DIFFERS;
            }
        }
        found.extend(run.finish());
        found
    }

    /// What the rows after one up to another say.
    fn between(&self, before: usize, last: usize) -> u64 {
        let sum = |row| self.sums.get(row).copied().unwrap_or_default();
        sum(last).saturating_sub(sum(before))
    }
}

/// A change of a quantity: in which row, by how much, after how many rows without, and how far from zero before and after.
struct Change {
    row: usize,
    size: u128,
    calm: u64,
    levels: [u128; 2],
}

fn changes(quantity: &Quantity, rows: &[Row<'_>]) -> Vec<Change> {
    let (mut changes, mut before, mut calm) = (Vec::new(), None, 0);
    for (row, of) in rows.iter().enumerate() {
        let place = of.places.iter().find(|place| place.reading.quantity() == quantity);
        let Some(value) = place.map(|place| place.reading.value().scaled()) else { continue };
        let last = before.replace(value).unwrap_or(value);
        if last == value {
            calm += 1;
            continue;
        }
        let levels = [last, value].map(i128::unsigned_abs);
        let (size, calm) = (value.abs_diff(last), std::mem::take(&mut calm));
        changes.push(Change { row, size, calm, levels });
    }
    changes
}

/// The windows since evidence began to add up, and their best end so far.
#[derive(Default)]
struct Run {
    start: usize,
    /// The last row that was counted.
    told: usize,
    score: u64,
    best: Option<(u64, usize)>,
}

impl Run {
    /// One that begins after this window.
    fn after(position: usize) -> Self {
        Self { start: position + 1, ..Self::default() }
    }

    fn agrees(&mut self, position: usize, says: u64) {
        // A copy agrees in all but a quarter of these bits.
        self.score += says * 3 / 4;
        if self.best.is_none_or(|(best, _)| best <= self.score) {
            self.best = Some((self.score, position));
        }
    }

    fn finish(self) -> Option<RangeInclusive<usize>> {
        let (_, end) = self.best.filter(|(best, _)| *best >= BITS * BIT)?;
        Some(self.start..=end)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::{BIT, Compared, Evidence};

    /// Windows of 64 rows, of which each says so many units, and that agree where all their rows do.
    fn windows(says: u64, agreeing: &[bool]) -> (Evidence, Vec<Compared>) {
        let sums = (1..=agreeing.len() as u64).map(|row| row * says).collect();
        let window = |last: usize| {
            let all = agreeing[last - 63..=last].iter().all(|agrees| *agrees);
            Compared { rows: last - 64..=last, first: all.then_some(7) }
        };
        (Evidence { sums }, (64..agreeing.len()).step_by(5).map(window).collect())
    }

    #[test]
    fn neighbours_that_differ_as_supposed_are_accused_as_seldom_as_claimed() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut accused = 0;
        for (steps, says) in [(1, 11), (4, 43), (32, BIT)] {
            for _ in 0..1_000 {
                let agrees = |rng: &mut StdRng| rng.gen_ratio(32, 32 + steps);
                let rows: Vec<bool> = (0..1_300).map(|_| agrees(&mut rng)).collect();
                let (evidence, windows) = windows(says, &rows);
                accused += usize::from(!evidence.stretches(&windows).is_empty());
            }
        }
        // Of 3,000 pairs fewer than one, at 2^-12 each.
        assert!(accused <= 1, "{accused}");
    }

    #[test]
    fn a_stretch_ends_with_the_last_window_that_added_to_it() {
        let rows: Vec<bool> = (0..2_000).map(|row| (300..1_200).contains(&row)).collect();
        let (evidence, windows) = windows(11, &rows);
        let found = evidence.stretches(&windows);
        assert_eq!(found.len(), 1);
        let of = |position: usize| windows[position].rows.clone();
        assert!(*of(*found[0].end()).end() >= 1_195 && of(*found[0].end()).end() < &1_200);
        assert!((180..=300).contains(of(*found[0].start()).start()));
        // A row in between takes two bits and no more.
        let holed: Vec<bool> = rows.iter().enumerate().map(|(at, it)| *it && at != 700).collect();
        let (evidence, windows) = self::windows(11, &holed);
        assert_eq!(evidence.stretches(&windows), found);
        // Half of it says too little.
        let (evidence, windows) = self::windows(5, &rows);
        assert!(evidence.stretches(&windows).is_empty());
    }
}
