//! A sensor that repeats itself.

use std::time::Duration;

use depin_core::{
    Batch, Decimal, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{millis, quoted, stream_of};

/// The same value does not come too often for too long. Code `stuck`.
///
/// Calm weather repeats values, so both limits have to be reached: a reading loses its point when it is
/// at least the `times`-th of an unbroken run of one value and the run spans at least `duration` by
/// then. The readings before that keep theirs; any other value starts a new run.
///
/// ```
/// use std::time::Duration;
/// use depin_core::quality::QualityCheck;
/// use depin_data::quality::Stuck;
///
/// let check = Stuck::new("temperature", "Cel", 12, Duration::from_secs(7200));
/// assert_eq!(check.name(), "stuck(\"temperature\" \"Cel\", 12 times over 7200000ms)");
/// ```
#[derive(Clone, Debug)]
pub struct Stuck {
    quantity: Quantity,
    times: u32,
    duration: Duration,
}

/// An unbroken run of one value.
struct Run {
    value: Decimal,
    count: u32,
    earliest: u64,
    latest: u64,
}

impl Stuck {
    /// The quantity `name` in `unit` is stuck from the `times`-th equal reading on, but not before they
    /// span `duration`.
    pub fn new(name: &str, unit: &str, times: u32, duration: Duration) -> Self {
        Self { quantity: Quantity::new(name, unit), times, duration }
    }
}

impl QualityCheck for Stuck {
    fn name(&self) -> String {
        let (quantity, duration) = (quoted(&self.quantity), millis(self.duration));
        format!("stuck({quantity}, {} times over {duration}ms)", self.times)
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let (mut run, mut findings) = (None::<Run>, Vec::new());
        for at in stream_of(&self.quantity, batches) {
            let (value, time) = (at.reading.value(), at.reading.at().millis());
            let (count, earliest, latest) = match &run {
                Some(run) if run.value == value => {
                    (run.count.saturating_add(1), run.earliest.min(time), run.latest.max(time))
                }
                _ => (1, time, time),
            };
            let span = latest - earliest;
            if count >= self.times && span >= millis(self.duration) {
                let detail = format!("{value} {count} times in a row, over {span} ms");
                findings.push(at.finding("stuck", detail));
            }
            run = Some(Run { value, count, earliest, latest });
        }
        findings
    }
}
