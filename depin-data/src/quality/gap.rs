//! Silence.

use std::time::Duration;

use depin_core::{
    Batch, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{interval, millis, quoted, stream_of};

/// Readings come at the expected interval. Code `gap`.
///
/// What was not sent earns nothing anyway. Beyond that, a gap costs one point: that of the first reading
/// after it, which has no recent predecessor that it could be judged against. All later ones keep
/// theirs. Time is measured from the latest reading so far; readings that are sent late fill no gap and
/// cost nothing. Where an epoch begins and ends there is nothing to compare, so there is no gap either.
///
/// ```
/// use std::time::Duration;
/// use depin_core::quality::QualityCheck;
/// use depin_data::quality::Gap;
///
/// // Every ten minutes, and an hour of silence is tolerated.
/// let check = Gap::new("temperature", "Cel", Duration::from_secs(600), 5);
/// assert_eq!(check.name(), "gap(\"temperature\" \"Cel\", every 600000ms, 5 may miss)");
/// ```
#[derive(Clone, Debug)]
pub struct Gap {
    quantity: Quantity,
    every: Duration,
    tolerated: u32,
    slower: bool,
}

impl Gap {
    /// The quantity `name` in `unit` is read once in every interval `every`, of which `tolerated` in a
    /// row may pass without a reading.
    pub fn new(name: &str, unit: &str, every: Duration, tolerated: u32) -> Self {
        Self { quantity: Quantity::new(name, unit), every, tolerated, slower: false }
    }

    /// A device may measure more seldom: where the median of its intervals is longer, that is its interval.
    /// What it does not measure it does not earn.
    pub fn or_slower(self) -> Self {
        Self { slower: true, ..self }
    }
}

impl QualityCheck for Gap {
    fn name(&self) -> String {
        let (quantity, every) = (quoted(&self.quantity), millis(self.every));
        let slower = if self.slower { " or slower" } else { "" };
        format!("gap({quantity}, every {every}ms{slower}, {} may miss)", self.tolerated)
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let mut every = millis(self.every);
        if self.slower {
            let times = stream_of(&self.quantity, batches).map(|at| at.reading.at().millis());
            every = interval(times, every);
        }
        let most = every.saturating_mul(u64::from(self.tolerated).saturating_add(1));
        let (mut latest, mut findings) = (None::<u64>, Vec::new());
        for at in stream_of(&self.quantity, batches) {
            let time = at.reading.at().millis();
            let silence = time.saturating_sub(latest.unwrap_or(time));
            if silence > most {
                let detail = format!("after {silence} ms of silence, more than {most} ms");
                findings.push(at.finding("gap", detail));
            }
            latest = latest.max(Some(time));
        }
        findings
    }
}
