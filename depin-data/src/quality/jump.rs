//! Values that change faster than the world does.

use std::time::Duration;

use depin_core::{
    Batch, Decimal, Reading, U256, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{Place, millis, quoted, stream_of};

/// A value changes by at most a step in a given time. Code `jump`.
///
/// Between two readings the value may change by `step`, or by proportionally more when they lie further
/// apart than `per`. The longest run of readings in which every change is allowed is believed (of equal
/// ones the first). Going outwards from it in both directions, a reading that is further from the last
/// believed one than the time between them allows loses its point.
///
/// So a spike costs its own point and not that of its good successor, also at the start of an epoch; and
/// a sensor that was moved is believed again once enough time has passed for the change.
///
/// ```
/// use std::time::Duration;
/// use depin_core::{Decimal, quality::QualityCheck};
/// use depin_data::quality::Jump;
///
/// let check = Jump::new("temperature", "Cel", Decimal::from(5), Duration::from_secs(600));
/// assert_eq!(check.name(), "jump(\"temperature\" \"Cel\", 5 per 600000ms)");
/// ```
#[derive(Clone, Debug)]
pub struct Jump {
    quantity: Quantity,
    step: Decimal,
    per: Duration,
}

impl Jump {
    /// The quantity `name` in `unit` changes by at most `step` (its sign does not matter) in `per`, which
    /// is taken as at least a millisecond.
    pub fn new(name: &str, unit: &str, step: Decimal, per: Duration) -> Self {
        Self { quantity: Quantity::new(name, unit), step, per }
    }

    fn per(&self) -> u64 {
        millis(self.per).max(1)
    }

    /// Whether `|a - b| / step <= max(time, per) / per`, without dividing.
    fn allows(&self, a: &Reading, b: &Reading) -> bool {
        let change = U256::from(a.value().abs_diff(b.value()));
        let step = U256::from(self.step.abs_diff(Decimal::default()));
        let time = a.at().millis().abs_diff(b.at().millis()).max(self.per());
        // 128 by 64 bits on either side.
        change * U256::from(self.per()) <= step * U256::from(time)
    }

    /// Walks away from the first of `places`, which is believed.
    fn walk<'a>(
        &self,
        mut places: impl Iterator<Item = &'a Place<'a>>,
        findings: &mut Vec<Finding>,
    ) {
        let Some(mut believed) = places.next() else { return };
        for at in places {
            if self.allows(believed.reading, at.reading) {
                believed = at;
                continue;
            }
            let (from, to) = (believed.reading, at.reading);
            let detail = format!(
                "{} at {} cannot be reached from {} at {} by {} per {} ms",
                to.value(),
                to.at(),
                from.value(),
                from.at(),
                self.step,
                self.per()
            );
            findings.push(at.finding("jump", detail));
        }
    }

    /// The longest run in which every change is allowed: its first position and the one after its last.
    fn longest_run(&self, places: &[Place<'_>]) -> (usize, usize) {
        let (mut best, mut start) = ((0, 0), 0);
        for (end, pair) in (1..).zip(places.windows(2).map(Some).chain([None])) {
            let goes_on = pair.is_some_and(|pair| match pair {
                [a, b] => self.allows(a.reading, b.reading),
                _ => false,
            });
            if !goes_on {
                if end - start > best.1 - best.0 {
                    best = (start, end);
                }
                start = end;
            }
        }
        best
    }
}

impl QualityCheck for Jump {
    fn name(&self) -> String {
        format!("jump({}, {} per {}ms)", quoted(&self.quantity), self.step, self.per())
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let places: Vec<Place<'_>> = stream_of(&self.quantity, batches).collect();
        if places.is_empty() {
            return Vec::new();
        }
        let (start, end) = self.longest_run(&places);
        let mut findings = Vec::new();
        self.walk(places.iter().take(start + 1).rev(), &mut findings);
        findings.reverse();
        self.walk(places.iter().skip(end - 1), &mut findings);
        findings
    }
}
