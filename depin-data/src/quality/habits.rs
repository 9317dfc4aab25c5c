//! How long a device is used to show one value.

use std::collections::BTreeMap;

use depin_core::Decimal;

use super::rows::sixteenths;

/// The runs of one value in a stream, by value.
///
/// A coarse sensor of something slow stands still on whichever step it is, and one that saturates again and again
/// on the same. A sensor that is stuck is an outlier among its own runs.
#[derive(Default)]
pub(super) struct Habits {
    runs: u64,
    readings: u64,
    of_value: BTreeMap<Decimal, Runs>,
    /// How long all last, and the longest of each value, in rising order.
    spans: Vec<u64>,
    longest: Vec<u64>,
}

/// Those of one value.
#[derive(Default)]
struct Runs {
    readings: u64,
    /// How many readings each has, and how long it lasts, in rising order.
    lengths: Vec<u64>,
    spans: Vec<u64>,
}

/// One of the runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) value: Decimal,
    pub(super) readings: u64,
    /// From the first to the last reading, in milliseconds.
    pub(super) span: u64,
}

/// Other runs that make a habit, half as long.
const OTHERS: usize = 3;
/// Values whose runs make a habit of what is not [`RARE`], a quarter as long.
const VALUES: usize = 3;
/// Bits from which on a run is rarer than one in a million.
const RARE: u64 = 20;
/// Other runs of the same value, the longest, that may be the same fault.
const FAULTS: usize = 3;
/// Other runs of a value from which on they say by themselves what it is used to.
const OFTEN: usize = 8;
/// Runs as of other values by which those of one value are judged besides.
const USUAL: u64 = 8;

impl Habits {
    pub(super) fn of(runs: impl Iterator<Item = Run>) -> Self {
        let mut habits = Self::default();
        for run in runs {
            habits.runs += 1;
            habits.readings += run.readings;
            habits.spans.push(run.span);
            let same = habits.of_value.entry(run.value).or_default();
            same.readings += run.readings;
            same.lengths.push(run.readings);
            same.spans.push(run.span);
        }
        for same in habits.of_value.values_mut() {
            same.lengths.sort_unstable();
            same.spans.sort_unstable();
            habits.longest.extend(same.spans.last());
        }
        habits.spans.sort_unstable();
        habits.longest.sort_unstable();
        habits
    }

    /// How surprising one of the runs is: each repetition counts as many bits as repetitions are rare in the rest
    /// of the stream, or among the others of its value where that is less. Of a value that came often, its own runs alone
    /// say how rare they are.
    pub(super) fn bits(&self, run: &Run) -> u64 {
        let own = run.readings.saturating_sub(1);
        // As if the rest had one repetition and one change more, so that nothing is impossible.
        let all = self.readings - own + 1;
        let usual = (all, all - self.runs);
        let each = sixteenths(usual.0, usual.1).min(self.rarity(self.others_of(run), usual));
        let known = self.known(run).map_or(0, |known| self.rarity(known, usual));
        each.max(known).saturating_mul(own) / 16
    }

    /// How rare repetitions are where so many readings of a value have so many, besides some that are as usual.
    fn rarity(&self, (readings, repeated): (u64, u64), usual: (u64, u64)) -> u64 {
        let beside = |of: u64, usual: u64| {
            of.saturating_mul(self.runs).saturating_add(USUAL.saturating_mul(usual))
        };
        sixteenths(beside(readings, usual.0), beside(repeated, usual.1))
    }

    /// Readings, and repetitions among them, of the other runs of its value but the longest.
    fn others_of(&self, run: &Run) -> (u64, u64) {
        let Some(same) = self.of_value.get(&run.value) else { return (0, 0) };
        let count = same.lengths.len();
        let longest = |most| same.lengths.get(count.saturating_sub(most)..).unwrap_or_default();
        let left_out = if longest(FAULTS + 1).contains(&run.readings) {
            longest(FAULTS + 1).to_vec()
        } else {
            [longest(FAULTS), &[run.readings]].concat()
        };
        let runs = count.saturating_sub(left_out.len()) as u64;
        let readings = same.readings.saturating_sub(left_out.into_iter().sum());
        (readings, readings.saturating_sub(runs))
    }

    /// Readings, and repetitions among them, of all other runs of its value, where these are many.
    fn known(&self, run: &Run) -> Option<(u64, u64)> {
        let same = self.of_value.get(&run.value)?;
        let others = same.lengths.len().checked_sub(1).filter(|others| *others >= OFTEN)?;
        let readings = same.readings.saturating_sub(run.readings);
        Some((readings, readings.saturating_sub(others as u64)))
    }

    /// Whether one of the runs is nothing unusual beside the others.
    pub(super) fn excuse(&self, run: &Run) -> bool {
        let at_least = |spans: &[u64], part: u64| {
            spans.len() - spans.partition_point(|other| other.saturating_mul(part) < run.span)
        };
        if at_least(&self.spans, 2) > OTHERS {
            return true;
        }
        let same = self.of_value.get(&run.value).map_or(0, |same| at_least(&same.spans, 4));
        let values = at_least(&self.longest, 4) - usize::from(same == 1);
        values >= VALUES && self.bits(run) < RARE
    }
}
