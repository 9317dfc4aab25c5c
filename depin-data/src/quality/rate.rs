//! Values that wander further than they may in a while.

use std::{collections::VecDeque, time::Duration};

use depin_core::{
    Batch, Decimal, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{Place, millis, quoted, stream_of};

/// Within a window of time, values stay within a span. Code `rate`.
///
/// [`Jump`](super::Jump) allows a step from each reading to the next, and so also a fast walk of many
/// allowed steps; this bounds the walk. Readings are taken by time: one that is further than `span` from any
/// believed reading of the `window` before it loses its point and is not believed.
///
/// ```
/// use std::time::Duration;
/// use depin_core::{Decimal, quality::QualityCheck};
/// use depin_data::quality::Rate;
///
/// let check = Rate::new("temperature", "Cel", Decimal::from(15), Duration::from_secs(3600));
/// assert_eq!(check.name(), "rate(\"temperature\" \"Cel\", 15 in 3600000ms)");
/// ```
#[derive(Clone, Debug)]
pub struct Rate {
    quantity: Quantity,
    span: Decimal,
    window: Duration,
}

impl Rate {
    /// The quantity `name` in `unit` spans at most `span` (its sign does not matter) in any `window`.
    pub fn new(name: &str, unit: &str, span: Decimal, window: Duration) -> Self {
        Self { quantity: Quantity::new(name, unit), span, window }
    }
}

/// The least or the largest value of a moving window, in the usual queue of candidates.
#[derive(Default)]
struct Extreme {
    candidates: VecDeque<(u64, Decimal)>,
}

impl Extreme {
    fn forget_before(&mut self, time: u64) {
        while self.candidates.front().is_some_and(|(at, _)| *at < time) {
            self.candidates.pop_front();
        }
    }

    fn push(&mut self, at: u64, value: Decimal, beaten: impl Fn(Decimal) -> bool) {
        while self.candidates.back().is_some_and(|(_, last)| beaten(*last)) {
            self.candidates.pop_back();
        }
        self.candidates.push_back((at, value));
    }

    fn value(&self) -> Option<Decimal> {
        self.candidates.front().map(|(_, value)| *value)
    }
}

impl QualityCheck for Rate {
    fn name(&self) -> String {
        let (quantity, window) = (quoted(&self.quantity), millis(self.window));
        format!("rate({quantity}, {} in {window}ms)", self.span)
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let mut places: Vec<Place<'_>> = stream_of(&self.quantity, batches).collect();
        places.sort_by_key(|at| at.reading.at());
        let (mut least, mut most) = (Extreme::default(), Extreme::default());
        let (span, mut findings) = (self.span.abs_diff(Decimal::default()), Vec::new());
        for at in places {
            let (time, value) = (at.reading.at().millis(), at.reading.value());
            let since = time.saturating_sub(millis(self.window));
            least.forget_before(since);
            most.forget_before(since);
            let far = [least.value(), most.value()].into_iter().flatten();
            let far = far.max_by_key(|other| value.abs_diff(*other));
            if let Some(far) = far.filter(|far| value.abs_diff(*far) > span) {
                let window = millis(self.window);
                let detail =
                    format!("{value} and {far} within {window} ms, more than {} apart", self.span);
                findings.push(at.finding("rate", detail));
                continue;
            }
            least.push(time, value, |last| last >= value);
            most.push(time, value, |last| last <= value);
        }
        findings
    }
}
