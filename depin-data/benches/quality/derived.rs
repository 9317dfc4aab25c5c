//! The same series as other devices would have measured them: more seldom, coarser, noisier, with holes, jitter,
//! a stronger climate, or a clock that was put forward by an hour in spring. What a check takes for a fault must not
//! hang on how the series that it was made with happened to be measured.

use depin_core::{Decimal, Reading, Timestamp};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::series::{Kind, Series};

/// Every series in every other guise.
pub(crate) fn all(series: &[Series]) -> Vec<Series> {
    let plain = series.iter().filter(|series| series.labels.is_none());
    plain.flat_map(|series| GUISES.iter().filter_map(|guise| guise.wear(series))).collect()
}

/// How a series is measured otherwise.
struct Guise {
    name: &'static str,
    wear: fn(&Series, &mut StdRng) -> Vec<Reading>,
    /// Whether tracks can be measured so.
    tracks: bool,
}

const GUISES: [Guise; 7] = [
    Guise { name: "seldom", wear: seldom, tracks: true },
    Guise { name: "coarse", wear: coarse, tracks: false },
    Guise { name: "noisy", wear: noisy, tracks: false },
    Guise { name: "holes", wear: holes, tracks: true },
    Guise { name: "jitter", wear: jitter, tracks: false },
    Guise { name: "season", wear: season, tracks: false },
    Guise { name: "spring", wear: spring, tracks: false },
];

impl Guise {
    fn wear(&self, series: &Series) -> Option<Series> {
        if series.kind == Kind::Drive && !self.tracks {
            return None;
        }
        let mut rng = StdRng::seed_from_u64(self.name.len() as u64);
        Some(Series {
            name: format!("{}/{}", series.name, self.name).leak(),
            held_out: true,
            kind: series.kind,
            every: series.every,
            preset: series.preset.clone(),
            readings: (self.wear)(series, &mut rng),
            labels: None,
        })
    }
}

fn moments(series: &Series) -> impl Iterator<Item = &[Reading]> {
    series.readings.chunk_by(|a, b| a.at() == b.at())
}

/// Every other moment, under the checks of the shorter interval.
fn seldom(series: &Series, _: &mut StdRng) -> Vec<Reading> {
    let every = u64::try_from(series.every.as_millis()).unwrap();
    let even = |moment: &&[Reading]| (moment[0].at().millis() / every).is_multiple_of(2);
    moments(series).filter(even).flatten().cloned().collect()
}

/// Every tenth moment is lost, and now and then up to forty on end.
fn holes(series: &Series, rng: &mut StdRng) -> Vec<Reading> {
    let mut silent = 0u32;
    let heard = moments(series).filter(|_| {
        silent = silent.saturating_sub(1);
        if rng.gen_ratio(1, 300) {
            silent = rng.gen_range(5..40);
        }
        silent == 0 && !rng.gen_ratio(1, 10)
    });
    heard.flatten().cloned().collect()
}

/// Moments are late by up to a fiftieth of an interval.
fn jitter(series: &Series, rng: &mut StdRng) -> Vec<Reading> {
    let most = u64::try_from(series.every.as_millis() / 50).unwrap();
    let late = |moment: &[Reading]| {
        let late = rng.gen_range(0..=most);
        moment.iter().map(|reading| at(reading, reading.at().millis() + late)).collect::<Vec<_>>()
    };
    moments(series).flat_map(late).collect()
}

/// In the middle the clock is put forward by an hour, as by daylight saving.
fn spring(series: &Series, _: &mut StdRng) -> Vec<Reading> {
    let middle = series.readings[series.readings.len() / 2].at();
    let forward = |reading: &Reading| {
        let late = if reading.at() >= middle { 3_600_000 } else { 0 };
        at(reading, reading.at().millis() + late)
    };
    series.readings.iter().map(forward).collect()
}

/// Half a degree, whole percents and Hectopascals, a hundredth of the rating.
fn coarse(series: &Series, _: &mut StdRng) -> Vec<Reading> {
    let step = steps(series);
    let coarse = |reading: &Reading| {
        value(reading, |value| {
            let step = step(reading);
            (value / step).round() * step
        })
    };
    series.readings.iter().map(coarse).collect()
}

/// White noise of up to two fifths of the coarse steps.
fn noisy(series: &Series, rng: &mut StdRng) -> Vec<Reading> {
    let step = steps(series);
    let mut noisy = |reading: &Reading| {
        let noise = rng.gen_range(-0.4..0.4) * step(reading);
        value(reading, |value| {
            let night = matches!(reading.quantity().unit(), "W" | "W/m2")
                && value.abs() < 5.0 * step(reading);
            let capped = reading.quantity().unit() == "%RH" && value > 99.0;
            if night || capped { value } else { value + noise }
        })
    };
    series.readings.iter().map(&mut noisy).collect()
}

/// Temperatures are half as far again from 10 degrees, and pressure is that of a mountain.
fn season(series: &Series, _: &mut StdRng) -> Vec<Reading> {
    let season = |reading: &Reading| {
        value(reading, |value| match reading.quantity().unit() {
            "Cel" => 10.0 + 1.5 * (value - 10.0),
            "Pa" => 0.8 * value,
            "m/s" => 1.3 * value,
            _ => value,
        })
    };
    series.readings.iter().map(season).collect()
}

/// What a coarse sensor resolves.
fn steps(series: &Series) -> impl Fn(&Reading) -> f64 {
    let most = |name: &str| {
        let of = series.readings.iter().filter(|reading| reading.quantity().name() == name);
        of.map(|reading| reading.value().scaled() as f64 / 1e12).fold(0.0, f64::max)
    };
    let main = most(series.main().name());
    let climate = series.kind == Kind::Climate;
    move |reading| match reading.quantity().unit() {
        "Cel" | "m/s" => 0.5,
        "%RH" => 1.0,
        "Pa" => 100.0,
        "W/m2" | "deg" => 10.0,
        _ if climate => 1.0,
        _ => main / 100.0,
    }
}

fn value(reading: &Reading, change: impl Fn(f64) -> f64) -> Reading {
    let value = change(reading.value().scaled() as f64 / 1e12);
    let value = Decimal::new((value * 1e4).round() as i64, -4).unwrap();
    Reading::new(reading.quantity().clone(), value, reading.at())
}

fn at(reading: &Reading, millis: u64) -> Reading {
    Reading::new(reading.quantity().clone(), reading.value(), Timestamp::from_millis(millis))
}
