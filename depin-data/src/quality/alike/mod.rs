//! Streams that are nearly another device's.
//!
//! A copy with noise, or rounded, has other changes than its original, so [`Copied`](super::Copied) does not see
//! it. But what two honest sensors measure differs in more than noise: one stands in the sun first, the other is
//! slower. Over a window of a dozen moments a copy is the original times a factor plus an offset, up to a share of
//! its variance that no two sensors come down to window after window.

mod likeness;
mod shapes;
mod sketch;

use std::{collections::BTreeMap, time::Duration};

use depin_core::{
    Decimal, Did, Result, Timestamp,
    quality::{Finding, FleetCheck, Notes, Sent},
    reading::Quantity,
};

use self::{
    likeness::{Segment, segments},
    shapes::Shapes,
    sketch::Sketches,
};
use super::{Place, millis, of_devices, quoted, stream};

/// No device measures what another one did, up to noise. Code `alike`.
///
/// Time is cut into intervals (the given one, or where a device measures more seldom its own), and 12 of them are
/// a window. In a window two devices agree when each quantity of one is a linear function of the other's, up to a
/// rest whose standard deviation is at most the quantity's tolerance, and whose share of the variance is at most
/// 2^-12 for one quantity, or 2^-12 * 2^-6(n - 1) as the product of the shares of `n`. To that share counts what
/// rounding alone may hide, so that values which took the same few steps are no evidence, and windows in which it
/// hides too much do not count.
///
/// **The bound.** Suppose that two honest devices agree in at most one window of eight, whatever the windows
/// before. A window in which they agree then says log2(6) bits for a copy (which agrees in three of four), and one
/// in which they do not -1.8 bits. Named are stretches that add up to 48 bits: by Ville's inequality two honest
/// devices have one by chance with a probability below 2^-48 for each window that it may begin in and each shift in
/// time. Three sensors mounted side by side for a month agreed in 0 to 3 % of the windows in temperature (0.05
/// Cel) and humidity (0.2 %RH) together, and in 0 to 16 % in temperature alone, at intervals between a minute and
/// an hour. A stretch takes 19 windows that agree: 228 intervals.
///
/// Not every pair is compared. A device's first quantity is sketched by the order of eight means over 32
/// intervals, wherever noise would not change it; the devices that share most of 64 such sketches at one shift in
/// time, at most 16, are compared window by window. Notes hold at most 4,000 values, fewer where there is less
/// [room](Sent::room) or batches are short: what comes after the first 4,000
/// intervals (2,000 of two quantities) is not compared.
///
/// Who had a stretch first, by the [places in the log](Sent::index) of most of its intervals, keeps the points,
/// as with [`Copied`](super::Copied).
///
/// **What it does not see:** noise beyond the tolerance, or beyond about a fiftieth of what a quantity moves within
/// a window, since two honest sensors may differ by as little; copies that were resampled at another interval, or shorter than 19 telling
/// windows; one among hundreds of devices that all see the same weather, when their sketches crowd each other out.
/// **What it is not for:** quantities that neighbours measure alike, as pressure, tides, a cloudless sky, or
/// the track of one road: the supposition above does not hold for them.
///
/// ```
/// use std::time::Duration;
/// use depin_core::{Decimal, quality::FleetCheck};
/// use depin_data::quality::Alike;
///
/// let tolerance = Decimal::new(5, -2)?;
/// let check = Alike::new([("temperature", "Cel", tolerance)], Duration::from_secs(300));
/// assert_eq!(
///     check.name(),
///     "alike(\"temperature\" \"Cel\" within 0.05, 48 bits in windows of 12 times 300000ms)"
/// );
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Alike {
    quantities: Vec<Quantity>,
    tolerances: Vec<Decimal>,
    every: Duration,
    whole_moments: bool,
}

/// Devices that one is compared with: those that share most sketches with it.
const MOST_COMPARED: usize = 16;

impl Alike {
    /// These quantities, given as name, unit and tolerance (of which the sign does not matter) and measured every
    /// `every` or more seldom, are one device's only. A tolerance is less than what two honest sensors side by side
    /// differ by from one moment to the next.
    pub fn new<'a>(
        quantities: impl IntoIterator<Item = (&'a str, &'a str, Decimal)>,
        every: Duration,
    ) -> Self {
        let of = |(name, unit, tolerance)| (Quantity::new(name, unit), tolerance);
        let (quantities, tolerances) = quantities.into_iter().map(of).unzip();
        Self { quantities, tolerances, every, whole_moments: false }
    }

    /// All readings of a stretch lose their points, also those of other quantities.
    pub fn whole_moments(self) -> Self {
        Self { whole_moments: true, ..self }
    }

    fn every(&self) -> u64 {
        millis(self.every).max(1)
    }
}

impl FleetCheck for Alike {
    fn name(&self) -> String {
        let of = |(quantity, tolerance)| format!("{} within {tolerance}", quoted(quantity));
        let names: Vec<String> = self.quantities.iter().zip(&self.tolerances).map(of).collect();
        let (names, every) = (names.join(", "), self.every());
        let whole = if self.whole_moments { ", whole moments" } else { "" };
        let (window, bits) = (likeness::WINDOW, likeness::BITS);
        format!("alike({names}, {bits} bits in windows of {window} times {every}ms{whole})")
    }

    fn note(&self, sent: &Sent<'_>) -> Vec<u8> {
        let shapes = Shapes::of(&self.quantities, self.every(), sent);
        shapes.map(|shapes| shapes.encode()).unwrap_or_default()
    }

    fn compare(&self, notes: &dyn Notes) -> Result<Vec<(Did, Vec<u8>)>> {
        let tolerances = self.tolerances.iter().map(|it| it.abs_diff(Decimal::default()));
        let fleet =
            Fleet { notes, quantities: self.quantities.len(), tolerances: tolerances.collect() };
        let sketches = Sketches::of((0..notes.len()).map(|at| fleet.shapes(at)))?;
        let mut suspicions = Vec::new();
        for at in 0..notes.len() {
            let candidates = sketches.most_alike(at, MOST_COMPARED);
            let bytes = fleet.compare(at, candidates)?;
            suspicions.extend(Some((at, bytes)).filter(|(_, bytes)| !bytes.is_empty()));
        }
        Ok(of_devices(notes, suspicions))
    }

    fn inspect(&self, suspicion: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let stretches: Vec<Stretch> = suspicion.as_chunks().0.iter().map(Stretch::decode).collect();
        let judge = |at: Place<'_>| {
            let time = at.reading.at().millis();
            let stretch = stretches.iter().find(|stretch| stretch.holds(time))?;
            let named = self.whole_moments || self.quantities.contains(at.reading.quantity());
            named.then(|| at.finding("alike", stretch.detail()))
        };
        stream(sent.batches()).filter_map(judge).collect()
    }
}

/// Devices by what was noted of them. Notes are read when they are compared: the values of a whole fleet would be as
/// much again.
struct Fleet<'a> {
    notes: &'a dyn Notes,
    quantities: usize,
    tolerances: Vec<u128>,
}

impl Fleet<'_> {
    fn shapes(&self, at: usize) -> Result<Option<Shapes>> {
        Ok(Shapes::decode(&self.notes.read(at)?, self.quantities))
    }

    /// What is held against a device: the stretches that those had first that it is compared with, each at a shift in
    /// time.
    fn compare(&self, at: usize, candidates: Vec<(usize, i64)>) -> Result<Vec<u8>> {
        let own = if candidates.is_empty() { None } else { self.shapes(at)? };
        let Some(own) = own else { return Ok(Vec::new()) };
        // At which shift another device is most alike decides what was first: days resemble each other.
        let mut best: BTreeMap<usize, (u64, i64, Vec<Segment>)> = BTreeMap::new();
        for (other, shift) in candidates {
            let Some(theirs) = self.shapes(other)? else { continue };
            let segments = segments(&own, &theirs, shift, &self.tolerances);
            let bits = segments.iter().map(|segment| segment.bits).sum();
            if best.get(&other).is_none_or(|(most, ..)| *most < bits) {
                best.insert(other, (bits, shift, segments));
            }
        }
        let mut bytes = Vec::new();
        for (other, (_, shift, segments)) in best.iter().filter(|(_, it)| !it.2.is_empty()) {
            let Some(theirs) = self.shapes(*other)? else { continue };
            let stretch = |segment| Stretch::of(&own, segment, &theirs, *shift);
            let stretches = segments.iter().filter_map(stretch);
            bytes.extend(stretches.flat_map(|stretch| stretch.encode()));
        }
        Ok(bytes)
    }
}

/// What a suspicion says of a stretch.
#[derive(Debug, PartialEq, Eq)]
struct Stretch {
    /// When it begins, and the end that is no longer part of it.
    start: u64,
    end: u64,
    agreeing: u64,
    windows: u64,
    /// In sixteenths.
    bits: u64,
    /// In which batches of the log, from one to another, the other device had it before.
    first: u64,
    last: u64,
}

impl Stretch {
    const WORDS: usize = 7;

    /// `None` where the other device, whose intervals `shift` later show the same, was not the first.
    fn of(own: &Shapes, segment: &Segment, other: &Shapes, shift: i64) -> Option<Self> {
        let (first, last) = own.preceded_by(other, shift, segment.slots.clone())?.into_inner();
        Some(Self {
            start: own.time(segment.slots.start).saturating_sub(own.every() / 2),
            end: own.time(segment.slots.end).saturating_sub(own.every() / 2),
            agreeing: segment.agreeing,
            windows: segment.windows,
            bits: segment.bits,
            first,
            last,
        })
    }

    fn holds(&self, time: u64) -> bool {
        (self.start..self.end).contains(&time)
    }

    fn detail(&self) -> String {
        let Self { agreeing, windows, first, last, .. } = self;
        format!(
            "part of a stretch up to {} that is alike what another device had in the batches {first} to {last} of the log before: {agreeing} of {windows} windows agree, which says {} bits",
            Timestamp::from_millis(self.end),
            self.bits / 16
        )
    }

    fn encode(&self) -> [u8; 8 * Self::WORDS] {
        let Self { start, end, agreeing, windows, bits, first, last } = *self;
        let words = [start, end, agreeing, windows, bits, first, last];
        let mut bytes = [0; 8 * Self::WORDS];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; 8 * Self::WORDS]) -> Self {
        let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_be_bytes(*word));
        let mut word = || words.next().unwrap_or_default();
        Self {
            start: word(),
            end: word(),
            agreeing: word(),
            windows: word(),
            bits: word(),
            first: word(),
            last: word(),
        }
    }
}
