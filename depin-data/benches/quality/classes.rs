//! What is measured: one class of faults in one series at a time, judged by the whole preset of its network.

use std::{collections::BTreeMap, time::Duration};

use depin_core::{Decimal, Reading};
use depin_data::quality::presets::Preset;
use depin_testkit::{
    faults::{self, Faulty},
    quality::{findings, fleet_findings},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::series::{Kind, Series, at_home, neighbour};

/// A class of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// None: what honest series lose.
    Clean,
    /// Outliers that the origin of the series labelled.
    Labelled,
    /// An earlier stretch of 96 moments again.
    Replay,
    /// One value for 30 hours of weather or 8 hours of power by day.
    Stuck,
    /// Temperature or power times 0.6 or 1.5; false is what that moves by more than 5 Cel or 5 % of the
    /// rating, which is what the checks tolerate.
    Scale,
    /// 20 to 200 fixes, at most a quarter of all, half a degree away.
    Teleport,
    /// The stream of another device, some with an offset, some later.
    Clone,
    /// A clock that is 2 to 8 slots ahead or behind for a whole epoch, among neighbours.
    Skew,
    /// A clock set forward or back by half an interval.
    Step,
    /// The stream of another device, every value times 0.9 to 1.1 and with an offset.
    CloneScaled,
    /// The same of weather with a noise of up to 0.05 in all quantities, rounded to hundredths.
    CloneNoisy,
    /// Weather with a noise of a five hundredth of what each quantity varies by over the epoch (its standard
    /// deviation), and an offset.
    CloneNoise2,
    /// Of half a percent.
    CloneNoise5,
    /// Of one percent.
    CloneNoise10,
    /// Of two percent, which is as much as sensors side by side differ.
    CloneNoise20,
    /// Weather rounded to steps of a twentieth of the standard deviation.
    CloneRounded,
}

impl Class {
    pub(crate) const ALL: [Self; 16] = [
        Self::Clean,
        Self::Labelled,
        Self::Replay,
        Self::Stuck,
        Self::Scale,
        Self::Teleport,
        Self::Clone,
        Self::Skew,
        Self::Step,
        Self::CloneScaled,
        Self::CloneNoisy,
        Self::CloneNoise2,
        Self::CloneNoise5,
        Self::CloneNoise10,
        Self::CloneNoise20,
        Self::CloneRounded,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Labelled => "labelled",
            Self::Replay => "replay",
            Self::Stuck => "stuck",
            Self::Scale => "scale",
            Self::Teleport => "teleport",
            Self::Clone => "clone",
            Self::Skew => "clock_skew",
            Self::Step => "clock_step",
            Self::CloneScaled => "clone_scaled",
            Self::CloneNoisy => "clone_noisy",
            Self::CloneNoise2 => "clone_noise_0.2%",
            Self::CloneNoise5 => "clone_noise_0.5%",
            Self::CloneNoise10 => "clone_noise_1%",
            Self::CloneNoise20 => "clone_noise_2%",
            Self::CloneRounded => "clone_rounded",
        }
    }

    /// The noise of a copy, as a share of the standard deviation of each quantity, or of what it is rounded to.
    const fn noise(self) -> Option<f64> {
        match self {
            Self::CloneNoise2 => Some(0.002),
            Self::CloneNoise5 => Some(0.005),
            Self::CloneNoise10 => Some(0.01),
            Self::CloneNoise20 => Some(0.02),
            _ => None,
        }
    }

    /// Whether the series has what the class is about.
    fn applies(self, series: &Series) -> bool {
        match self {
            Self::Clean => series.labels.is_none(),
            // A switch has two values: nobody can tell what it does again from what it did before.
            Self::Replay | Self::Clone => {
                series.labels.is_none() && !series.name.starts_with("switch")
            }
            Self::CloneScaled => Self::Clone.applies(series) && series.kind != Kind::Drive,
            Self::CloneNoisy
            | Self::CloneNoise2
            | Self::CloneNoise5
            | Self::CloneNoise10
            | Self::CloneNoise20
            | Self::CloneRounded => series.kind == Kind::Climate,
            Self::Labelled => series.labels.is_some(),
            Self::Stuck => {
                let constant = ["switch", "meter_15min"];
                let constant = constant.iter().any(|name| series.name.starts_with(name));
                series.kind != Kind::Drive && series.labels.is_none() && !constant
            }
            Self::Scale => series.kind == Kind::Climate || series.has("dc_power"),
            Self::Teleport => series.kind == Kind::Drive,
            Self::Skew => series.kind == Kind::Climate,
            Self::Step => series.kind != Kind::Drive && series.labels.is_none(),
        }
    }
}

/// How often a class was found in a series, counted in readings.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) class: Class,
    pub(crate) series: &'static str,
    pub(crate) held_out: bool,
    pub(crate) positives: usize,
    pub(crate) found: usize,
    pub(crate) negatives: usize,
    pub(crate) false_positives: usize,
    /// What the false positives were lost for.
    pub(crate) blamed: BTreeMap<String, usize>,
}

impl Counts {
    fn count(&mut self, label: bool, touched: bool, code: Option<String>) {
        let honest = !label && !touched;
        self.positives += usize::from(label);
        self.found += usize::from(label && code.is_some());
        self.negatives += usize::from(honest);
        if let Some(code) = code.filter(|_| honest) {
            self.false_positives += 1;
            *self.blamed.entry(code).or_default() += 1;
        }
    }

    pub(crate) fn recall(&self) -> f64 {
        self.found as f64 / self.positives.max(1) as f64
    }

    pub(crate) fn false_rate(&self) -> f64 {
        self.false_positives as f64 / self.negatives.max(1) as f64
    }
}

/// What honest readings lose their points for: how many by code.
pub(crate) fn codes(series: &Series) -> BTreeMap<String, usize> {
    let mut codes = BTreeMap::new();
    for check in &series.preset.checks {
        for (_, code, _) in findings(&**check, &series.readings) {
            *codes.entry(code).or_default() += 1;
        }
    }
    codes
}

/// Puts the class into the series `rounds` times and counts; `None` when it does not apply.
pub(crate) fn measure(class: Class, series: &Series, rounds: u64) -> Option<Counts> {
    if !class.applies(series) {
        return None;
    }
    let (name, held_out) = (series.name, series.held_out);
    let mut counts = Counts {
        class,
        series: name,
        held_out,
        positives: 0,
        found: 0,
        negatives: 0,
        false_positives: 0,
        blamed: BTreeMap::new(),
    };
    for round in 0..if class == Class::Labelled { 1 } else { rounds } {
        let mut rng = StdRng::seed_from_u64(1_000 * round + class as u64);
        let fleet = fleet(class, series, &mut rng);
        let streams: Vec<Vec<Reading>> =
            fleet.iter().map(|device| device.readings.clone()).collect();
        for (device, flagged) in fleet.iter().zip(judge(&series.preset, &streams)) {
            for ((label, touched), code) in device.labels.iter().zip(&device.touched).zip(flagged) {
                counts.count(*label, *touched, code);
            }
        }
    }
    Some(counts)
}

/// What each reading of each device loses its point for. Silence is not judged: it is in the files.
fn judge(preset: &Preset, fleet: &[Vec<Reading>]) -> Vec<Vec<Option<String>>> {
    let mut flagged: Vec<Vec<Option<String>>> =
        fleet.iter().map(|readings| vec![None; readings.len()]).collect();
    let mut note = |device: usize, found: Vec<(usize, String, String)>| {
        // What no honest device earns either.
        for (at, code, _) in found.into_iter().filter(|(_, code, _)| code != "context") {
            flagged[device][at].get_or_insert(code);
        }
    };
    for check in preset.checks.iter().filter(|check| !check.name().starts_with("gap")) {
        for (device, readings) in fleet.iter().enumerate() {
            note(device, findings(&**check, readings));
        }
    }
    let crowds = |name: String| fleet.len() > 1 || !name.starts_with("density");
    for check in preset.fleet.iter().filter(|check| crowds(check.name())) {
        for (device, found) in fleet_findings(&**check, fleet).into_iter().enumerate() {
            note(device, found);
        }
    }
    flagged
}

/// The devices of a round, one of them with the fault.
fn fleet(class: Class, series: &Series, rng: &mut StdRng) -> Vec<Faulty> {
    let honest = series.epoch(rng);
    let main = series.main();
    let faulty = match class {
        Class::Clean => Faulty::honest(&honest),
        Class::Labelled => {
            let mut faulty = Faulty::honest(&series.readings);
            faulty.labels = series.labels.clone().unwrap_or_default();
            faulty
        }
        Class::Replay => replay(series, &honest, rng),
        Class::Stuck => stuck(series, &honest, rng),
        Class::Scale if series.kind == Kind::Energy => {
            let percent = if rng.r#gen() { 60 } else { 150 };
            moved(faults::scale(&honest, &main, percent, 96, rng), &honest, Decimal::from(300))
        }
        Class::Teleport => {
            let moments = rng.gen_range(20..200).min(honest.len() / 8);
            let half = Decimal::new(5, -1).unwrap();
            faults::teleport(&honest, half, half, moments, rng)
        }
        Class::Step => {
            let half = i64::try_from(series.every.as_millis() / 2).unwrap();
            faults::clock_skew(&honest, if rng.r#gen() { half } else { -half }, false, rng)
        }
        _ => return among_neighbours(class, series, &honest, rng),
    };
    vec![faulty]
}

fn stuck(series: &Series, honest: &[Reading], rng: &mut StdRng) -> Faulty {
    let main = series.main();
    let hours = if series.kind == Kind::Energy { 8 } else { 30 };
    // No more than half of an epoch.
    let moments = series.moments(Duration::from_secs(hours * 3600)).min(480);
    telling(series, honest, || faults::stuck(honest, &main, moments, rng), 0)
}

fn replay(series: &Series, honest: &[Reading], rng: &mut StdRng) -> Faulty {
    let moments = 96.min(series.moments(Duration::MAX));
    telling(series, honest, || faults::replay(honest, moments, rng), 24)
}

/// Nobody can tell whether a meter that shows nothing, or the most that it can, is stuck or replays a night: of
/// such faults the first that takes some other value and makes so many changes.
fn telling(
    series: &Series,
    honest: &[Reading],
    fault: impl FnMut() -> Faulty,
    changes: usize,
) -> Faulty {
    let main = series.main();
    let of_main = |readings: &[Reading]| -> Vec<Decimal> {
        let readings = readings.iter().filter(|reading| *reading.quantity() == main);
        readings.map(Reading::value).collect()
    };
    let (least, most) = (of_main(honest).into_iter().min(), of_main(honest).into_iter().max());
    let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
    let margin = if series.kind == Kind::Energy { most.abs_diff(least) / 20 } else { 0 };
    let inside = |value: &Decimal| value.abs_diff(least) > margin && value.abs_diff(most) > margin;
    let tells = |faulty: &Faulty| {
        let touched = faulty.readings.iter().zip(&faulty.touched).filter(|(_, touched)| **touched);
        let touched: Vec<Reading> = touched.map(|(reading, _)| reading.clone()).collect();
        let values = of_main(&touched);
        let made = values.windows(2).filter(|pair| pair[0] != pair[1]).count();
        made >= changes && values.iter().any(inside)
    };
    let honest = Faulty::honest(honest);
    std::iter::repeat_with(fault).take(200).find(tells).unwrap_or(honest)
}

/// Counts as false only what was moved by more than the checks tolerate.
fn moved(mut faulty: Faulty, honest: &[Reading], tolerance: Decimal) -> Faulty {
    for ((label, reading), honest) in faulty.labels.iter_mut().zip(&faulty.readings).zip(honest) {
        *label &= reading.value().abs_diff(honest.value()) > tolerance.abs_diff(Decimal::default());
    }
    faulty
}

/// Seven devices that see the same weather, or two that drive the same road at different times.
fn among_neighbours(
    class: Class,
    series: &Series,
    honest: &[Reading],
    rng: &mut StdRng,
) -> Vec<Faulty> {
    let main = series.main();
    let station = |rng: &mut StdRng| match series.kind {
        Kind::Climate => neighbour(honest, rng),
        _ => honest.to_vec(),
    };
    let strangers = if series.kind == Kind::Climate { 6 } else { 0 };
    let mut fleet: Vec<Faulty> = (0..strangers).map(|_| Faulty::honest(&station(rng))).collect();
    let own = match series.kind {
        Kind::Climate => at_home(honest, rng),
        _ => honest.to_vec(),
    };
    match class {
        Class::Scale => {
            let percent = if rng.r#gen() { 60 } else { 150 };
            let faulty = faults::scale(&own, &main, percent, 96, rng);
            fleet.push(moved(faulty, &own, Decimal::from(5)));
        }
        Class::Skew => {
            let slot = series.every.max(Duration::from_secs(900));
            let slots = rng.gen_range(2..=8) * i64::try_from(slot.as_millis()).unwrap();
            fleet.push(faults::clock_skew(
                &own,
                if rng.r#gen() { slots } else { -slots },
                true,
                rng,
            ));
        }
        _ => {
            // An hour shows as a clock that is wrong: copies with noise are to be found by their shape.
            let hour = class.noise().is_none() && class != Class::CloneRounded && rng.r#gen();
            let late = Duration::from_secs(if hour { 3600 } else { 600 });
            let offset = Decimal::new(if rng.r#gen() { 0 } else { 3 }, -1).unwrap();
            fleet.push(Faulty::honest(&own));
            fleet.push(match class {
                Class::Clone => faults::clone_stream(&own, offset, late),
                Class::CloneRounded => blurred(
                    &own,
                    |value, spread, _| {
                        let step = (spread / 20.0).max(1e-9);
                        (value / step).round() * step
                    },
                    late,
                    rng,
                ),
                _ if class.noise().is_some() => {
                    let noise = class.noise().unwrap_or_default();
                    let blur = |value: f64, spread: f64, rng: &mut StdRng| {
                        // As wide as this standard deviation.
                        let most = noise * spread * 3f64.sqrt();
                        value + 0.3 + if most > 0.0 { rng.gen_range(-most..most) } else { 0.0 }
                    };
                    blurred(&own, blur, late, rng)
                }
                _ => {
                    let percent = [90, 95, 105, 110][rng.gen_range(0..4)];
                    let noise = if class == Class::CloneNoisy { 5 } else { 0 };
                    let noise = Decimal::new(noise, -2).unwrap();
                    faults::clone_scaled(&own, percent, (offset, noise), "cell", late, rng)
                }
            });
        }
    }
    fleet
}

/// A copy of a stream in which every value but the place was blurred, given the value and the standard deviation of
/// its quantity.
fn blurred(
    readings: &[Reading],
    blur: impl Fn(f64, f64, &mut StdRng) -> f64,
    late: Duration,
    rng: &mut StdRng,
) -> Faulty {
    let float = |value: Decimal| value.scaled() as f64 / 1e12;
    let mut sums: BTreeMap<&str, (f64, f64, f64)> = BTreeMap::new();
    for reading in readings {
        let (count, sum, squares) = sums.entry(reading.quantity().name()).or_default();
        let value = float(reading.value());
        (*count, *sum, *squares) = (*count + 1.0, *sum + value, *squares + value * value);
    }
    let spread = |name: &str| {
        let (count, sum, squares) = sums[name];
        (squares / count - (sum / count).powi(2)).max(0.0).sqrt()
    };
    let mut copy = |reading: &Reading| {
        let (name, value) = (reading.quantity().name(), reading.value());
        let value = match name {
            "cell" => value,
            _ => {
                let blurred = blur(float(value), spread(name), rng);
                Decimal::new((blurred * 1e4).round() as i64, -4).unwrap()
            }
        };
        Reading::new(reading.quantity().clone(), value, reading.at().plus(late))
    };
    let copies: Vec<Reading> = readings.iter().map(&mut copy).collect();
    let mut faulty = Faulty::honest(&copies);
    faulty.labels.fill(true);
    faulty.touched.fill(true);
    faulty
}
