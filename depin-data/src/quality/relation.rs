//! Two quantities that physics ties together.

use std::{cmp::Ordering, time::Duration};

use depin_core::{
    Batch, Decimal, U256, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{millis, quoted, stream_of};

/// A quantity lies between two linear functions of another one, measured at nearly the same time. Code
/// `implausible`.
///
/// What an inverter gives is less than what it takes, a dew point is no higher than the temperature, a
/// panel gives no more than the sun. Each reading of the first quantity is held against the one of the
/// second that is nearest in time (of two equally near the earlier). It is the first that loses its point:
/// nobody can tell which of the two is wrong, so a network that distrusts the second as well adds a second
/// relation the other way round. Without a second reading near enough nothing is judged, unless the
/// relation is [`required`](Self::required).
///
/// ```
/// use std::time::Duration;
/// use depin_core::{Decimal, quality::QualityCheck};
/// use depin_data::quality::Relation;
///
/// let check = Relation::new(("ac_power", "W"), ("dc_power", "W"), Duration::from_secs(60))
///     .at_most(Decimal::from(1), Decimal::from(50));
/// assert_eq!(check.name(), "relation(\"ac_power\" \"W\" <= 1 * \"dc_power\" \"W\" + 50, within 60000ms)");
/// ```
#[derive(Clone, Debug)]
pub struct Relation {
    judged: Quantity,
    other: Quantity,
    within: Duration,
    at_least: Option<Line>,
    at_most: Option<Line>,
    required: bool,
}

/// `factor * other + plus`.
#[derive(Clone, Copy, Debug)]
struct Line {
    factor: Decimal,
    plus: Decimal,
}

impl Relation {
    /// Readings of `judged` are held against those of `other`, both given as name and unit, that are at
    /// most `within` away.
    pub fn new(judged: (&str, &str), other: (&str, &str), within: Duration) -> Self {
        Self {
            judged: Quantity::new(judged.0, judged.1),
            other: Quantity::new(other.0, other.1),
            within,
            at_least: None,
            at_most: None,
            required: false,
        }
    }

    /// The judged reading is at most `factor * other + plus`.
    pub fn at_most(self, factor: Decimal, plus: Decimal) -> Self {
        Self { at_most: Some(Line { factor, plus }), ..self }
    }

    /// The judged reading is at least `factor * other + plus`.
    pub fn at_least(self, factor: Decimal, plus: Decimal) -> Self {
        Self { at_least: Some(Line { factor, plus }), ..self }
    }

    /// A reading without another that it can be held against loses its point, so that leaving out the other
    /// quantity is no way around the relation.
    pub fn required(self) -> Self {
        Self { required: true, ..self }
    }

    fn objection(&self, value: Decimal, other: Option<Decimal>) -> Option<String> {
        let (judged, name, unit) = (self.judged.name(), self.other.name(), self.other.unit());
        let Some(other) = other else {
            let missing = || format!("no {name} within {} ms", millis(self.within));
            return self.required.then(missing);
        };
        let wrong = |line: &Option<Line>, wrong: Ordering, words: &str| {
            let line = line.filter(|line| line.compare(value, other) == wrong)?;
            let Line { factor, plus } = line;
            Some(format!(
                "{judged} {value} is {words} {factor} * {other} + {plus}, {name} in {unit}"
            ))
        };
        wrong(&self.at_most, Ordering::Greater, "more than")
            .or_else(|| wrong(&self.at_least, Ordering::Less, "less than"))
    }
}

impl Line {
    /// `value` against `factor * other + plus`, exact.
    fn compare(&self, value: Decimal, other: Decimal) -> Ordering {
        // Scaled decimals have less than 124 bits: their difference 125, the products 247.
        let unit = Decimal::from(1).scaled();
        let rest = Signed::product(value.scaled() - self.plus.scaled(), unit);
        rest.cmp(&Signed::product(self.factor.scaled(), other.scaled()))
    }
}

/// A number with its sign apart.
#[derive(PartialEq, Eq)]
struct Signed {
    negative: bool,
    magnitude: U256,
}

impl Signed {
    fn product(a: i128, b: i128) -> Self {
        let magnitude = U256::from(a.unsigned_abs()) * U256::from(b.unsigned_abs());
        Self { negative: (a < 0) != (b < 0) && !magnitude.is_zero(), magnitude }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude.cmp(&other.magnitude),
            (true, true) => other.magnitude.cmp(&self.magnitude),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl QualityCheck for Relation {
    fn name(&self) -> String {
        let (judged, other) = (quoted(&self.judged), quoted(&self.other));
        let line = |sign: &str, line: &Option<Line>| match line {
            Some(Line { factor, plus }) => format!(" {sign} {factor} * {other} + {plus}"),
            None => String::new(),
        };
        let (most, least) = (line("<=", &self.at_most), line(">=", &self.at_least));
        let required = if self.required { ", required" } else { "" };
        format!("relation({judged}{most}{least}, within {}ms{required})", millis(self.within))
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let other = stream_of(&self.other, batches);
        let mut others: Vec<(u64, Decimal)> =
            other.map(|at| (at.reading.at().millis(), at.reading.value())).collect();
        others.sort_by_key(|(time, _)| *time);
        let judge = |at: super::Place<'_>| {
            let other = nearest(&others, at.reading.at().millis(), millis(self.within));
            let detail = self.objection(at.reading.value(), other)?;
            Some(at.finding("implausible", detail))
        };
        stream_of(&self.judged, batches).filter_map(judge).collect()
    }
}

/// The value nearest in time, of two equally near the earlier.
fn nearest(others: &[(u64, Decimal)], time: u64, within: u64) -> Option<Decimal> {
    let after = others.partition_point(|(other, _)| *other < time);
    let around = [after.checked_sub(1), Some(after)].into_iter().flatten();
    let near = around.filter_map(|position| others.get(position));
    let near = near.map(|(other, value)| (other.abs_diff(time), *value));
    near.filter(|(away, _)| *away <= within).min_by_key(|(away, _)| *away).map(|(_, value)| value)
}
