//! How alike two devices are, window by window, and where that is no chance.

use std::ops::Range;

use depin_core::U256;

use super::{
    super::rows::sixteenths,
    shapes::{Series, Shapes},
};

/// Intervals of a window, and how many of them both devices have to have measured.
pub(super) const WINDOW: usize = 12;
const LEAST: i128 = 8;
/// Bits that a stretch has to say.
pub(super) const BITS: u64 = 48;
/// Bits by which the share of the variance that is not explained is less than one, where a window agrees: of the
/// first quantity, and of each further one.
const FIRST: u64 = 12;
const FURTHER: u64 = 6;
/// Bits that a quantity can say at most before it counts in a window.
const MOVING: u64 = 4;
/// What a window says, in sixteenths of a bit: the logarithms of (3/4) / (1/8) and of (1/4) / (7/8), rounded down.
const AGREES: i64 = 41;
const DIFFERS: i64 = -29;

/// A stretch of windows that is no chance.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) slots: Range<usize>,
    pub(super) agreeing: u64,
    pub(super) windows: u64,
    /// In sixteenths.
    pub(super) bits: u64,
}

/// The stretches of `own` that are alike `other`, whose intervals are `shift` later.
///
/// Tolerances are in 10^-12 of the quantities' units.
pub(super) fn segments(
    own: &Shapes,
    other: &Shapes,
    shift: i64,
    tolerances: &[u128],
) -> Vec<Segment> {
    let (mut found, mut run) = (Vec::new(), Run::default());
    let windows = own.slots().div_ceil(WINDOW);
    for window in 0..windows {
        let pair = Pair { own, other, shift };
        let Some(agrees) = pair.agrees(window * WINDOW, tolerances) else { continue };
        found.extend(run.take(window, agrees));
    }
    found.extend(run.finish(windows));
    found
}

/// The stretch since a run of evidence began, and the best end of it so far. Windows that say nothing belong to the
/// stretch beside them.
#[derive(Default)]
struct Run {
    /// Where it begins: after the last window that told of something else.
    start: usize,
    agreeing: u64,
    windows: u64,
    score: i64,
    best: Option<Segment>,
    /// Whether the best end goes on over windows that said nothing since.
    open: bool,
}

impl Run {
    /// Adds a window that says something; gives the stretch that ended before it.
    fn take(&mut self, window: usize, agrees: bool) -> Option<Segment> {
        self.close(window);
        self.windows += 1;
        self.agreeing += u64::from(agrees);
        self.score += if agrees { AGREES } else { DIFFERS };
        if self.score <= 0 {
            let ended = std::mem::take(self);
            self.start = window + 1;
            return ended.finish(window);
        }
        let bits = self.score.unsigned_abs();
        if self.best.as_ref().is_none_or(|best| best.bits < bits) {
            let slots = self.start * WINDOW..(window + 1) * WINDOW;
            let (agreeing, windows) = (self.agreeing, self.windows);
            self.best = Some(Segment { slots, agreeing, windows, bits });
            self.open = true;
        }
        None
    }

    /// Lets the best end reach up to this window.
    fn close(&mut self, window: usize) {
        if let Some(best) = self.best.as_mut().filter(|_| self.open) {
            best.slots.end = window * WINDOW;
        }
        self.open = false;
    }

    fn finish(mut self, window: usize) -> Option<Segment> {
        self.close(window);
        self.best.filter(|best| best.bits >= 16 * BITS)
    }
}

/// Two devices, one of them some intervals later.
struct Pair<'a> {
    own: &'a Shapes,
    other: &'a Shapes,
    shift: i64,
}

impl Pair<'_> {
    /// Whether they agree in the window from this interval on; `None` when it says nothing.
    fn agrees(&self, start: usize, tolerances: &[u128]) -> Option<bool> {
        let (mut needed, mut says, mut could_say, mut within) = (0, 0, 0, true);
        let pairs = self.own.series.iter().zip(&self.other.series);
        for ((own, other), tolerance) in pairs.zip(tolerances) {
            let Some(moments) = Moments::of(own, other, start, self.shift) else { continue };
            let likeness = moments.likeness(own, other, *tolerance);
            if likeness.most < 16 * MOVING {
                continue;
            }
            needed += 16 * if needed == 0 { FIRST } else { FURTHER };
            says += likeness.bits;
            could_say += likeness.most;
            within &= likeness.within;
        }
        (needed > 0 && could_say >= needed).then_some(within && says >= needed)
    }
}

/// Sums over a window, each times the count and without the means: variances and covariance times count squared.
struct Moments {
    count: i128,
    xx: i128,
    xy: i128,
    yy: i128,
}

/// How well a line through the values of one device explains the other's.
struct Likeness {
    /// By how much the share that it does not explain is less than one, in sixteenths of a bit.
    bits: u64,
    /// What perfect agreement would say, given how coarse the values are.
    most: u64,
    /// Whether what it does not explain is within the tolerance, in the units of either of the two.
    within: bool,
}

impl Moments {
    fn of(own: &Series, other: &Series, start: usize, shift: i64) -> Option<Self> {
        let (mut count, mut x, mut y) = (0i128, 0i128, 0i128);
        let (mut xx, mut xy, mut yy) = (0i128, 0i128, 0i128);
        for slot in start..start + WINDOW {
            let shifted = i64::try_from(slot).ok()?.checked_add(shift)?;
            let shifted = usize::try_from(shifted).ok();
            let Some((a, b)) = own.value(slot).zip(shifted.and_then(|slot| other.value(slot)))
            else {
                continue;
            };
            let (a, b) = (i128::from(a), i128::from(b));
            // Values have 32 bits: a dozen squares 66, times a dozen 70.
            (count, x, y) = (count + 1, x + a, y + b);
            (xx, xy, yy) = (xx + a * a, xy + a * b, yy + b * b);
        }
        let (xx, xy, yy) = (count * xx - x * x, count * xy - x * y, count * yy - y * y);
        (count >= LEAST && xx > 0 && yy > 0).then_some(Self { count, xx, xy, yy })
    }

    fn likeness(&self, own: &Series, other: &Series, tolerance: u128) -> Likeness {
        let wide = |value: i128| U256::from(value.unsigned_abs());
        let (xx, xy, yy) = (wide(self.xx), wide(self.xy), wide(self.yy));
        let squared = wide(self.count * self.count);
        let all = xx * yy;
        let rest = if self.xy > 0 { all - xy * xy } else { all };
        // Rounding to steps adds the twelfth of a squared step to the variance of each of the two; the finer
        // one's is counted, since a coarse stream does not agree with a fine one by chance.
        let square = |step: u64| U256::from(u128::from(step) * u128::from(step)) * squared;
        let of = |series: &Series| square(u64::from(series.quantum));
        let rounding = (of(own) * yy).min(of(other) * xx) / U256::from(6);
        // The variance that is left is `rest / all` of the whole; 145 and 71 bits, and eight of the sixteenths.
        let within = |series: &Series, variance: U256| {
            (rest * variance) << 8 <= square(series.sixteenths(tolerance)) * all
        };
        Likeness {
            bits: log(all, rest + rounding),
            most: log(all, rounding),
            within: within(own, xx) || within(other, yy),
        }
    }
}

/// `log2(all / some)` in sixteenths, rounded down, and 0 where `some` is more.
fn log(all: U256, some: U256) -> u64 {
    let shift = all.bit_len().saturating_sub(62);
    let narrow = |value: U256| u64::try_from(value >> shift).unwrap_or(u64::MAX >> 1);
    sixteenths(narrow(all), narrow(some).max(1))
}
