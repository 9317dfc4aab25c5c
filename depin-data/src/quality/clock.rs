//! Clocks that were set, or that nobody keeps.

use std::{collections::HashMap, time::Duration};

use depin_core::{
    Batch, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{Place, millis, stream};

/// A device's clock runs forward and keeps the declared cadence. Code `clock`.
///
/// A chain is signed in the order of measuring. So a reading that is earlier than one of its quantity
/// before it shows a clock that was set back; it loses its point, and so do those after it until the clock
/// has caught up. With a [`cadence`](Self::every) readings moreover keep their place in the interval: a
/// clock that is set forward or back by half an interval moves all later readings off the beat. The beat is
/// the device's own, whichever most of its readings keep.
///
/// What no check over signed bytes can see: whether a whole chain is early or late. When a batch arrived is
/// known to who received it and signed by nobody, so ingest refuses by it and epochs do not judge by it. A
/// clock that is off by whole intervals, or drifts with its own beat, shows against neighbours only: see
/// [`Skew`](super::Skew).
///
/// ```
/// use std::time::Duration;
/// use depin_core::quality::QualityCheck;
/// use depin_data::quality::Clock;
///
/// let minute = Duration::from_secs(60);
/// assert_eq!(Clock::forward().name(), "clock(forward)");
/// assert_eq!(Clock::every(5 * minute, minute).name(), "clock(every 300000ms within 60000ms)");
/// ```
#[derive(Clone, Debug)]
pub struct Clock {
    /// The interval and how far readings may be off their beat.
    beat: Option<(Duration, Duration)>,
}

impl Clock {
    /// Time does not run backwards.
    pub const fn forward() -> Self {
        Self { beat: None }
    }

    /// Time does not run backwards, and readings come at one place of the interval `every`, or at most
    /// `tolerance` away from it. A tolerance of a quarter or more hides a clock that is set by half an
    /// interval.
    pub const fn every(every: Duration, tolerance: Duration) -> Self {
        Self { beat: Some((every, tolerance)) }
    }
}

impl QualityCheck for Clock {
    fn name(&self) -> String {
        match self.beat {
            None => "clock(forward)".into(),
            Some((every, tolerance)) => {
                format!("clock(every {}ms within {}ms)", millis(every), millis(tolerance))
            }
        }
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let mut latest: HashMap<&Quantity, u64> = HashMap::new();
        let mut findings = Vec::new();
        let mut forward: Vec<Place<'_>> = Vec::new();
        for at in stream(batches) {
            let time = at.reading.at().millis();
            let latest = latest.entry(at.reading.quantity()).or_insert(time);
            let back = latest.saturating_sub(time);
            if back > 0 {
                let detail = format!("{back} ms earlier than what was measured before it");
                findings.push(at.finding("clock", detail));
            } else {
                forward.push(at);
            }
            *latest = time.max(*latest);
        }
        if let Some((every, tolerance)) = self.beat {
            off_beat(&forward, millis(every).max(1), millis(tolerance), &mut findings);
        }
        findings
    }
}

/// Readings away from the place in the interval that most of them keep.
fn off_beat(places: &[Place<'_>], every: u64, tolerance: u64, findings: &mut Vec<Finding>) {
    let mut phases: Vec<u64> = places.iter().map(|at| at.reading.at().millis() % every).collect();
    phases.sort_unstable();
    let Some(beat) = crowded(&phases, every, tolerance) else { return };
    for at in places {
        let phase = at.reading.at().millis() % every;
        let away = phase.abs_diff(beat);
        let away = away.min(every - away);
        if away > tolerance {
            let detail =
                format!("{away} ms off the device's own beat of {every} ms, more than {tolerance}");
            findings.push(at.finding("clock", detail));
        }
    }
}

/// The middle of the arc of `2 * tolerance` that holds most phases, of equal ones the first.
fn crowded(phases: &[u64], every: u64, tolerance: u64) -> Option<u64> {
    let arc = tolerance.saturating_mul(2);
    let around =
        phases.iter().copied().chain(phases.iter().map(|phase| phase.saturating_add(every)));
    let around: Vec<u64> = around.collect();
    let (mut best, mut end) = (None::<(usize, u64)>, 0);
    for (start, first) in around.iter().enumerate().take(phases.len()) {
        while around.get(end).is_some_and(|phase| phase.saturating_sub(*first) <= arc) {
            end += 1;
        }
        let held = (end - start).min(phases.len());
        if best.is_none_or(|(most, _)| held > most) {
            // The middle of what is held, so that the tolerance reaches both ends.
            let last = around.get(end.saturating_sub(1)).copied().unwrap_or(*first);
            best = Some((held, first.saturating_add((last - first) / 2) % every));
        }
    }
    best.map(|(_, beat)| beat)
}
