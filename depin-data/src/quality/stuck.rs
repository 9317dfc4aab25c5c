//! A sensor that repeats itself.

use std::{ops::RangeInclusive, time::Duration};

use depin_core::{
    Batch, Decimal, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{
    Place,
    habits::{Habits, Run},
    millis, quoted,
    rows::sixteenths,
    stream_of,
};

/// The same value does not come too often for too long. Code `stuck`.
///
/// Calm weather repeats values, so both limits have to be reached: a reading loses its point when it is
/// at least the `times`-th of an unbroken run of one value and the run spans at least `duration` by
/// then. The readings before that keep theirs, unless the [`whole run`](Self::whole_run) is not believed;
/// any other value starts a new run.
///
/// Some constancy is honest: no power at night, saturated air in fog. A run of an
/// [`excused`](Self::excused) value, or one during which the median of another quantity lies in a range
/// ([`excused_when`](Self::excused_when)), loses nothing. Without readings of that other quantity there is
/// no excuse.
///
/// ```
/// use std::time::Duration;
/// use depin_core::{Decimal, quality::QualityCheck};
/// use depin_data::quality::Stuck;
///
/// let check = Stuck::new("temperature", "Cel", 12, Duration::from_secs(7200));
/// assert_eq!(check.name(), "stuck(\"temperature\" \"Cel\", 12 times over 7200000ms)");
///
/// // Four hours of one temperature, unless it is as wet as in fog.
/// let wet = Decimal::from(95)..=Decimal::from(100);
/// let check = Stuck::new("temperature", "Cel", 12, Duration::from_secs(4 * 3600))
///     .excused_when("humidity", "%RH", wet);
/// assert!(check.name().ends_with("14400000ms, excused when \"humidity\" \"%RH\" is 95..=100)"));
/// ```
#[derive(Clone, Debug)]
pub struct Stuck {
    quantity: Quantity,
    times: u32,
    duration: Duration,
    whole_run: bool,
    bits: u32,
    habits: bool,
    counter: bool,
    excused: Vec<RangeInclusive<Decimal>>,
    excused_when: Vec<(Quantity, RangeInclusive<Decimal>)>,
}

impl Stuck {
    /// The quantity `name` in `unit` is stuck from the `times`-th equal reading on, but not before they
    /// span `duration`.
    pub fn new(name: &str, unit: &str, times: u32, duration: Duration) -> Self {
        Self {
            quantity: Quantity::new(name, unit),
            times,
            duration,
            whole_run: false,
            bits: 0,
            habits: false,
            counter: false,
            excused: Vec::new(),
            excused_when: Vec::new(),
        }
    }

    /// All readings of a stuck run but its first, which was measured, lose their points.
    pub fn whole_run(self) -> Self {
        Self { whole_run: true, ..self }
    }

    /// A run is stuck only when it is no chance, by at least so many bits: each repetition counts as many as
    /// repetitions are rare in the rest of the device's stream, excused values left out, or among other runs of
    /// the same value where that is less, but at least as many as among those where they are eight or more. A thermometer
    /// that shows whole degrees repeats itself all day, one that shows hundredths never does, and an overcast sky lasts
    /// whenever it comes, but one that is half covered does not. The three longest other runs of a value are no habit, for a
    /// fault may come back.
    pub fn surprising(self, bits: u32) -> Self {
        Self { bits, ..self }
    }

    /// A stream with three other runs at least half as long in time is used to stand still: the sea of a
    /// thermometer that shows half degrees. So is one that stood still a quarter as long at three values, when the
    /// run is less than 20 bits of surprise.
    pub fn unless_habitual(self) -> Self {
        Self { habits: true, ..self }
    }

    /// A stream that rises and hardly ever falls is a counter's, and nobody can tell whether one that stands
    /// still is stuck or has nothing to count.
    pub fn unless_counting(self) -> Self {
        Self { counter: true, ..self }
    }

    /// Values that may last, such as no power at night.
    pub fn excused(mut self, values: RangeInclusive<Decimal>) -> Self {
        self.excused.push(values);
        self
    }

    /// A run may last while the median of the quantity `name` in `unit` lies in `range`. When runs have to be
    /// [`surprising`](Self::surprising), the excuse is for devices that are used to repeat themselves then: not
    /// for a run that is as surprising among the other readings taken while the quantity lay in the range.
    pub fn excused_when(mut self, name: &str, unit: &str, range: RangeInclusive<Decimal>) -> Self {
        self.excused_when.push((Quantity::new(name, unit), range));
        self
    }

    /// Whether a run is of a value that may last.
    fn excuses(&self, run: &[Place<'_>]) -> bool {
        let value = run.first().map(|at| at.reading.value());
        value.is_some_and(|value| self.excused.iter().any(|range| range.contains(&value)))
    }

    /// What is wrong with an unbroken run of one value.
    fn judge(&self, run: &[Place<'_>], contexts: &[Context<'_>], findings: &mut Vec<Finding>) {
        let Some(value) = run.first().map(|at| at.reading.value()) else { return };
        let (mut earliest, mut latest) = (u64::MAX, 0);
        let (mut named, mut stuck) = (Vec::new(), false);
        for (count, at) in (1u32..).zip(run) {
            let time = at.reading.at().millis();
            (earliest, latest) = (time.min(earliest), time.max(latest));
            let span = latest - earliest;
            let late = count >= self.times && span >= millis(self.duration);
            stuck |= late;
            if late || self.whole_run && count > 1 {
                let detail = format!("{value} {count} times in a row, over {span} ms");
                named.push(at.finding("stuck", detail));
            }
        }
        let excuses = |context: &Context<'_>| {
            context.excuses(earliest, latest)
                && (self.bits == 0 || context.bits(run) < u64::from(self.bits))
        };
        if stuck && !contexts.iter().any(excuses) {
            findings.append(&mut named);
        }
    }
}

/// Another quantity that says whether constancy is honest, by time.
struct Context<'a> {
    readings: Vec<(u64, Decimal)>,
    range: &'a RangeInclusive<Decimal>,
    /// Of the judged readings taken while it was so: how many, and how many of them repeat the one before.
    taken: u64,
    repetitions: u64,
}

impl<'a> Context<'a> {
    fn new(
        range: &'a RangeInclusive<Decimal>,
        mut readings: Vec<(u64, Decimal)>,
        judged: &[Place<'_>],
    ) -> Self {
        readings.sort_unstable();
        let mut context = Self { readings, range, taken: 0, repetitions: 0 };
        (context.taken, context.repetitions) = context.count(judged);
        context
    }

    fn holds(&self, time: u64) -> bool {
        let after = self.readings.partition_point(|(other, _)| *other <= time);
        let latest = after.checked_sub(1).and_then(|latest| self.readings.get(latest));
        latest.is_some_and(|(_, value)| self.range.contains(value))
    }

    fn count(&self, judged: &[Place<'_>]) -> (u64, u64) {
        let (mut taken, mut repetitions) = (0, 0);
        for pair in judged.windows(2) {
            let [before, at] = pair else { continue };
            if self.holds(at.reading.at().millis()) {
                taken += 1;
                repetitions += u64::from(before.reading.value() == at.reading.value());
            }
        }
        (taken, repetitions)
    }

    /// How surprising a run is among the other readings taken while it was so.
    fn bits(&self, run: &[Place<'_>]) -> u64 {
        let (taken, repetitions) = self.count(run);
        let (others, habit) = (self.taken - taken, self.repetitions - repetitions);
        sixteenths(others + 1, habit + 1).saturating_mul(repetitions) / 16
    }

    fn excuses(&self, earliest: u64, latest: u64) -> bool {
        let start = self.readings.partition_point(|(time, _)| *time < earliest);
        let end = self.readings.partition_point(|(time, _)| *time <= latest);
        let during = self.readings.get(start..end).unwrap_or_default();
        let mut values: Vec<Decimal> = during.iter().map(|(_, value)| *value).collect();
        values.sort_unstable();
        values.get(values.len() / 2).is_some_and(|median| self.range.contains(median))
    }
}

impl QualityCheck for Stuck {
    fn name(&self) -> String {
        let (quantity, duration) = (quoted(&self.quantity), millis(self.duration));
        let whole = if self.whole_run { ", whole run" } else { "" };
        let mut name = format!("stuck({quantity}, {} times over {duration}ms{whole}", self.times);
        if self.bits > 0 {
            name += &format!(", {} bits", self.bits);
        }
        if self.habits {
            name += ", unless habitual";
        }
        if self.counter {
            name += ", unless counting";
        }
        for range in &self.excused {
            name += &format!(", {}..={} excused", range.start(), range.end());
        }
        for (quantity, range) in &self.excused_when {
            let (low, high) = (range.start(), range.end());
            name += &format!(", excused when {} is {low}..={high}", quoted(quantity));
        }
        name + ")"
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let places: Vec<Place<'_>> = stream_of(&self.quantity, batches).collect();
        if self.counter && counts(&places) {
            return Vec::new();
        }
        let context = |(quantity, range)| {
            let readings = stream_of(quantity, batches);
            let readings = readings.map(|at| (at.reading.at().millis(), at.reading.value()));
            Context::new(range, readings.collect(), &places)
        };
        let contexts: Vec<Context<'_>> =
            self.excused_when.iter().map(|(quantity, range)| context((quantity, range))).collect();
        let runs = places.chunk_by(|a, b| a.reading.value() == b.reading.value());
        let runs: Vec<&[Place<'_>]> = runs.filter(|run| !self.excuses(run)).collect();
        let habits = Habits::of(runs.iter().filter_map(|run| as_one(run)));
        let mut findings = Vec::new();
        for run in runs {
            let Some(one) = as_one(run) else { continue };
            let habitual = self.habits && habits.excuse(&one);
            if !habitual && (self.bits == 0 || habits.bits(&one) >= u64::from(self.bits)) {
                self.judge(run, &contexts, &mut findings);
            }
        }
        findings
    }
}

/// A run, in chain order.
fn as_one(run: &[Place<'_>]) -> Option<Run> {
    let (first, last) = (run.first()?.reading, run.last()?.reading);
    let span = last.at().millis().saturating_sub(first.at().millis());
    Some(Run { value: first.value(), readings: run.len() as u64, span })
}

/// Rises for each fall of a counter that starts anew.
const RESETS: usize = 16;

/// Whether values rise, more than once, and hardly ever fall.
fn counts(places: &[Place<'_>]) -> bool {
    let pairs = || places.windows(2).filter_map(|pair| Some((pair.first()?, pair.last()?)));
    let value = |at: &Place<'_>| at.reading.value();
    let rises = pairs().filter(|(a, b)| value(a) < value(b)).count();
    let falls = pairs().filter(|(a, b)| value(a) > value(b)).count();
    rises > 1 && falls * RESETS <= rises
}
