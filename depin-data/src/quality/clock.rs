//! Clocks that were set, or that nobody keeps.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use depin_core::{
    Batch, Verified,
    quality::{Finding, QualityCheck},
    reading::Quantity,
};

use super::{Place, interval, millis, stream};

/// A device's clock runs forward and keeps the declared cadence. Code `clock`.
///
/// A chain is signed in the order of measuring. So a reading that is earlier than one of its quantity
/// before it shows a clock that was set back; it loses its point, and so do those after it until the clock
/// has caught up. With a [`cadence`](Self::every) readings moreover keep their beat: the time from one
/// reading of a quantity to the next is a whole number of intervals. Where it is not, the clock was set, and
/// what follows loses its points until the device is back on its beat. The beat is the one that the epoch
/// begins with, so a clock that is set in the evening costs the evening and not the day.
///
/// The beat may drift, for no timer is perfect: only steps count. Nor is every schedule: where more than three
/// intervals, and one of 256 besides, are off by so much, that is how the device measures, and no step. A device that
/// was silent for more than two intervals may have been restarted and may begin a new beat. One of whose
/// intervals more than a tenth are off has no beat, and is not judged by it.
///
/// What no check over signed bytes can see: whether a whole chain is early or late. When a batch arrived is
/// known to who received it and signed by nobody, so ingest refuses by it and epochs do not judge by it. A
/// clock that is off by whole intervals shows against neighbours only: see `Skew`.
///
/// ```
/// use std::time::Duration;
/// use depin_core::quality::QualityCheck;
/// use depin_data::quality::Clock;
///
/// let minute = Duration::from_secs(60);
/// assert_eq!(Clock::forward().name(), "clock(forward)");
/// let five = Clock::every(5 * minute, minute);
/// assert_eq!(five.name(), "clock(every 300000ms within 60000ms)");
/// assert_eq!(five.or_slower().name(), "clock(every 300000ms or slower within 60000ms)");
/// ```
#[derive(Clone, Debug)]
pub struct Clock {
    /// The interval and how far readings may be off their beat.
    beat: Option<(Duration, Duration)>,
    slower: bool,
}

impl Clock {
    /// Time does not run backwards.
    pub const fn forward() -> Self {
        Self { beat: None, slower: false }
    }

    /// Time does not run backwards, and readings come a whole number of intervals `every` after each other,
    /// or at most `tolerance` away from that. A tolerance of half an interval or more hides every step.
    pub const fn every(every: Duration, tolerance: Duration) -> Self {
        Self { beat: Some((every, tolerance)), slower: false }
    }

    /// A device may measure more seldom: where the median of its intervals is longer, that is its interval,
    /// and the tolerance grows with it.
    pub const fn or_slower(self) -> Self {
        Self { slower: true, ..self }
    }

    /// The interval of readings at these times, and the tolerance.
    fn beat(&self, places: &[Place<'_>]) -> Option<Beat> {
        let (every, tolerance) = self.beat?;
        let (every, tolerance) = (millis(every).max(1), millis(tolerance));
        let times = places.iter().map(|at| at.reading.at().millis());
        let own = if self.slower { interval(times, every) } else { every };
        let tolerance = u128::from(tolerance) * u128::from(own) / u128::from(every);
        Some(Beat { every: own, tolerance: u64::try_from(tolerance).unwrap_or(u64::MAX) })
    }
}

impl QualityCheck for Clock {
    fn name(&self) -> String {
        match self.beat {
            None => "clock(forward)".into(),
            Some((every, tolerance)) => {
                let slower = if self.slower { " or slower" } else { "" };
                format!("clock(every {}ms{slower} within {}ms)", millis(every), millis(tolerance))
            }
        }
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let mut forward: BTreeMap<&Quantity, Vec<Place<'_>>> = BTreeMap::new();
        let mut findings = Vec::new();
        for at in stream(batches) {
            let places = forward.entry(at.reading.quantity()).or_default();
            let latest = places.last().map_or(0, |latest| latest.reading.at().millis());
            let back = latest.saturating_sub(at.reading.at().millis());
            if back > 0 {
                let detail = format!("{back} ms earlier than what was measured before it");
                findings.push(at.finding("clock", detail));
            } else {
                places.push(at);
            }
        }
        for places in forward.values() {
            if let Some(beat) = self.beat(places) {
                beat.inspect(places, &mut findings);
            }
        }
        findings
    }
}

/// The cadence of one quantity.
struct Beat {
    every: u64,
    tolerance: u64,
}

/// Readings with nothing but whole intervals between them.
struct Segment {
    /// The first reading and the one after the last.
    start: usize,
    end: usize,
    /// Whether the device was silent before it.
    restarted: bool,
}

/// Readings that the place of a segment on the beat is taken from, at either end; what is shorter than both
/// together has one place.
const ENDS: usize = 8;
/// Readings that a first segment has to have before it is a beat.
const ESTABLISHED: usize = 2;
/// Steps that may be of a clock that was set, and one more of so many intervals: more are how the device measures.
const STEPS: usize = 3;
const SELDOM: usize = 256;

impl Beat {
    /// Names readings of segments that are off the beat that was kept first.
    fn inspect(&self, places: &[Place<'_>], findings: &mut Vec<Finding>) {
        let times: Vec<u64> = places.iter().map(|at| at.reading.at().millis()).collect();
        let beat = Self { tolerance: self.tolerance.max(self.habit(&times)), ..*self };
        beat.judge(places, &times, findings);
    }

    /// How far off the beat this device's intervals are now and then.
    fn habit(&self, times: &[u64]) -> u64 {
        let passed = times.windows(2).filter_map(|pair| pair.last()?.checked_sub(*pair.first()?));
        let mut away: Vec<u64> = passed.map(|passed| self.away(passed)).collect();
        away.sort_unstable_by_key(|away| Reverse(*away));
        away.get(STEPS + away.len() / SELDOM).copied().unwrap_or_default()
    }

    fn judge(&self, places: &[Place<'_>], times: &[u64], findings: &mut Vec<Finding>) {
        let segments = self.segments(times);
        if segments.len().saturating_sub(1) * 10 > times.len() {
            return;
        }
        for era in segments.chunk_by(|_, next| !next.restarted) {
            let offsets = self.offsets(era, times);
            let established = era.iter().position(|part| part.end - part.start >= ESTABLISHED);
            let beat = offsets.get(established.unwrap_or(0)).copied().unwrap_or_default();
            for (part, offset) in era.iter().zip(&offsets) {
                let away = self.away(offset.abs_diff(beat));
                for at in places.get(part.start..part.end).unwrap_or_default() {
                    if away > self.tolerance {
                        let (every, most) = (self.every, self.tolerance);
                        let detail = format!(
                            "the clock was set: {away} ms off the beat of {every} ms, more than {most}"
                        );
                        findings.push(at.finding("clock", detail));
                    }
                }
            }
        }
    }

    fn segments(&self, times: &[u64]) -> Vec<Segment> {
        let (mut segments, mut start, mut restarted) = (Vec::new(), 0, false);
        for (end, pair) in (1..).zip(times.windows(2)) {
            let passed = pair.last().zip(pair.first()).map_or(0, |(b, a)| b.saturating_sub(*a));
            if self.away(passed) > self.tolerance {
                segments.push(Segment { start, end, restarted });
                (start, restarted) = (end, passed / 2 > self.every);
            }
        }
        segments.push(Segment { start, end: times.len(), restarted });
        segments
    }

    /// How far from a whole number of intervals.
    fn away(&self, time: u64) -> u64 {
        let rest = time % self.every;
        rest.min(self.every - rest)
    }

    /// How far each segment is moved on the beat against the first, drift within segments left out.
    fn offsets(&self, era: &[Segment], times: &[u64]) -> Vec<u64> {
        let (mut offset, mut offsets) = (0u128, vec![0]);
        for pair in era.windows(2) {
            let [before, after] = pair else { continue };
            let (from, to) = (self.phase(before, times, true), self.phase(after, times, false));
            // Both are less than an interval.
            offset += u128::from(to) + u128::from(self.every - from);
            offset %= u128::from(self.every);
            offsets.push(u64::try_from(offset).unwrap_or_default());
        }
        offsets
    }

    /// The median place on the beat at the end or the start of a segment.
    fn phase(&self, part: &Segment, times: &[u64], late: bool) -> u64 {
        let times = times.get(part.start..part.end).unwrap_or_default();
        let few = times.len() < 2 * ENDS;
        let times = match late {
            _ if few => times,
            true => times.get(times.len() - ENDS..).unwrap_or_default(),
            false => times.get(..ENDS).unwrap_or_default(),
        };
        // Against the first of them, so that no median falls between the end and the start of an interval.
        let first = times.first().copied().unwrap_or_default();
        let half = self.every / 2;
        let turned = |time: &u64| ((time - first) % self.every).saturating_add(half) % self.every;
        let mut places: Vec<u64> = times.iter().map(turned).collect();
        places.sort_unstable();
        let median = places.get(places.len() / 2).copied().unwrap_or(half);
        let place =
            u128::from(first % self.every) + u128::from(median) + u128::from(self.every - half);
        u64::try_from(place % u128::from(self.every)).unwrap_or_default()
    }
}
