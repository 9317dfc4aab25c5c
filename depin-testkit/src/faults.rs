//! Faults put into honest streams, with labels of what is false.
//!
//! Each takes the readings of one device, in chain order, and gives them back with a fault in them; what it
//! touched is labelled, so that checks can be measured against it. Stretches count moments: readings of one
//! timestamp belong together. Randomness is an argument: the same generator gives the same fault.

use std::{ops::Range, time::Duration};

use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
use rand::Rng;

/// Readings, some of them false.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faulty {
    /// The stream with the fault in it.
    pub readings: Vec<Reading>,
    /// Which readings are false: they say something else than the honest ones did.
    pub labels: Vec<bool>,
    /// Which readings the fault could have changed: those that it left as they were, such as a zero that is
    /// scaled, are neither false nor quite honest.
    pub touched: Vec<bool>,
}

/// An earlier stretch is sent again: later readings have its values and their own times.
///
/// Does nothing when there is no room for two stretches.
///
/// ```
/// use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
/// use depin_testkit::faults;
/// use rand::{SeedableRng, rngs::StdRng};
///
/// let celsius = Quantity::new("temperature", "Cel");
/// let reading = |n: i32| Reading::new(celsius.clone(), Decimal::from(n), Timestamp::from_secs(n as u64));
/// let honest: Vec<Reading> = (0..100).map(reading).collect();
/// let faulty = faults::replay(&honest, 10, &mut StdRng::seed_from_u64(1));
/// assert_eq!(faulty.labels.iter().filter(|label| **label).count(), 10);
/// assert_eq!(faulty.readings[50].at(), honest[50].at());
/// ```
pub fn replay(readings: &[Reading], moments: usize, rng: &mut impl Rng) -> Faulty {
    let mut faulty = Faulty::honest(readings);
    let all = self::moments(readings);
    let Some(room) = all.len().checked_sub(2 * moments).filter(|_| moments > 0) else {
        return faulty;
    };
    let from = rng.gen_range(0..=room);
    let to = rng.gen_range(from + moments..=all.len() - moments);
    for (old, new) in all[from..from + moments].iter().zip(&all[to..to + moments]) {
        for at in new.clone() {
            let quantity = readings[at].quantity();
            let old = readings[old.clone()].iter().find(|old| old.quantity() == quantity);
            if let Some(old) = old {
                faulty.set(at, old.value());
            }
        }
    }
    faulty
}

/// A quantity keeps the value that it has at the beginning of a stretch; that first reading is true.
pub fn stuck(
    readings: &[Reading],
    quantity: &Quantity,
    moments: usize,
    rng: &mut impl Rng,
) -> Faulty {
    let mut faulty = Faulty::honest(readings);
    let stretch = stretch(readings, moments, rng);
    let mut places = stretch.filter(|at| readings[*at].quantity() == quantity);
    if let Some(value) = places.next().map(|at| readings[at].value()) {
        for at in places {
            faulty.set(at, value);
        }
    }
    faulty
}

/// A quantity is multiplied by a percentage during a stretch.
pub fn scale(
    readings: &[Reading],
    quantity: &Quantity,
    percent: i64,
    moments: usize,
    rng: &mut impl Rng,
) -> Faulty {
    let mut faulty = Faulty::honest(readings);
    for at in stretch(readings, moments, rng).filter(|at| readings[*at].quantity() == quantity) {
        let scaled = readings[at].value().scaled().saturating_mul(i128::from(percent)) / 100;
        faulty.set(at, decimal(scaled));
    }
    faulty
}

/// A device is elsewhere during a stretch: degrees are added to the readings named latitude and longitude.
pub fn teleport(
    readings: &[Reading],
    north: Decimal,
    east: Decimal,
    moments: usize,
    rng: &mut impl Rng,
) -> Faulty {
    let mut faulty = Faulty::honest(readings);
    for at in stretch(readings, moments, rng) {
        let by = match readings[at].quantity().name() {
            "latitude" => north,
            "longitude" => east,
            _ => continue,
        };
        faulty.set(at, decimal(readings[at].value().scaled() + by.scaled()));
    }
    faulty
}

/// The stream of another device, sent as one's own: with an `offset` added to every value, and all times
/// later by `delay`.
pub fn clone_stream(readings: &[Reading], offset: Decimal, delay: Duration) -> Faulty {
    let copy = |reading: &Reading| {
        let value = decimal(reading.value().scaled() + offset.scaled());
        Reading::new(reading.quantity().clone(), value, reading.at().plus(delay))
    };
    let all = vec![true; readings.len()];
    Faulty { readings: readings.iter().map(copy).collect(), labels: all.clone(), touched: all }
}

/// A [clone](clone_stream) whose values, but those of the quantity named `but`, were multiplied by a percentage
/// before, and then moved by up to `noise` at random; noisy ones are rounded to hundredths.
pub fn clone_scaled(
    readings: &[Reading],
    percent: i64,
    (offset, noise): (Decimal, Decimal),
    but: &str,
    delay: Duration,
    rng: &mut impl Rng,
) -> Faulty {
    let most = noise.scaled();
    let mut scaled = |reading: &Reading| {
        if reading.quantity().name() == but {
            return Reading::new(
                reading.quantity().clone(),
                reading.value(),
                reading.at().plus(delay),
            );
        }
        let mut value =
            reading.value().scaled().saturating_mul(i128::from(percent)) / 100 + offset.scaled();
        if most > 0 {
            value += rng.gen_range(-most..=most);
            value -= value.rem_euclid(HUNDREDTH);
        }
        Reading::new(reading.quantity().clone(), decimal(value), reading.at().plus(delay))
    };
    let all = vec![true; readings.len()];
    Faulty {
        readings: readings.iter().map(&mut scaled).collect(),
        labels: all.clone(),
        touched: all,
    }
}

/// Of scaled values.
const HUNDREDTH: i128 = 10_000_000_000;

/// A clock that is off by so many milliseconds (positive: ahead) from some moment of the first half on; with
/// `whole`, from the beginning.
pub fn clock_skew(readings: &[Reading], ahead: i64, whole: bool, rng: &mut impl Rng) -> Faulty {
    let mut faulty = Faulty::honest(readings);
    let all = moments(readings);
    let first = if whole || all.len() < 4 { 0 } else { rng.gen_range(1..all.len() / 2) };
    for at in all.get(first..).unwrap_or_default().iter().cloned().flatten() {
        let reading = &readings[at];
        let time = reading.at().millis().saturating_add_signed(ahead);
        let (quantity, value) = (reading.quantity().clone(), reading.value());
        faulty.readings[at] = Reading::new(quantity, value, Timestamp::from_millis(time));
        faulty.labels[at] = true;
        faulty.touched[at] = true;
    }
    faulty
}

impl Faulty {
    /// Readings without a fault.
    pub fn honest(readings: &[Reading]) -> Self {
        let none = vec![false; readings.len()];
        Self { readings: readings.to_vec(), labels: none.clone(), touched: none }
    }

    fn set(&mut self, at: usize, value: Decimal) {
        let reading = &self.readings[at];
        self.labels[at] = reading.value() != value;
        self.touched[at] = true;
        self.readings[at] = Reading::new(reading.quantity().clone(), value, reading.at());
    }
}

/// Positions of the readings of each moment.
fn moments(readings: &[Reading]) -> Vec<Range<usize>> {
    let mut start = 0;
    let runs = readings.chunk_by(|a, b| a.at() == b.at());
    runs.map(|run| {
        start += run.len();
        start - run.len()..start
    })
    .collect()
}

/// Positions of a random stretch of so many moments, or of all when there are fewer.
fn stretch(readings: &[Reading], moments: usize, rng: &mut impl Rng) -> Range<usize> {
    let all = self::moments(readings);
    let moments = moments.min(all.len());
    let first = rng.gen_range(0..=all.len() - moments);
    let stretch = &all[first..first + moments];
    let start = stretch.first().map_or(0, |moment| moment.start);
    start..stretch.last().map_or(start, |moment| moment.end)
}

/// A value in units of 10^-12, cut to the digits that fit; zero when it is too large.
fn decimal(scaled: i128) -> Decimal {
    let (mut mantissa, mut exponent) = (scaled, Decimal::MIN_EXPONENT);
    while i64::try_from(mantissa).is_err() && exponent < Decimal::MAX_EXPONENT {
        (mantissa, exponent) = (mantissa / 10, exponent + 1);
    }
    let mantissa = i64::try_from(mantissa).unwrap_or_default();
    Decimal::new(mantissa, exponent).unwrap_or_default()
}
