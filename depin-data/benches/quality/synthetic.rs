//! Made-up series of shapes that no file here has: other quantities, cadences, resolutions, nights, switches,
//! counters, saturation, missing hours, a car that stands about. Each from its own seed. They showed where checks
//! took the habits of a series for faults, so they are no held-out series of what was repaired since.

use std::{f64::consts::TAU, time::Duration};

use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
use depin_data::quality::presets;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::series::{Kind, Series};

/// Noise that lasts.
struct Walk {
    value: f64,
    keep: f64,
    spread: f64,
}

impl Walk {
    const fn new(keep: f64, spread: f64) -> Self {
        Self { value: 0.0, keep, spread }
    }

    fn step(&mut self, rng: &mut StdRng) -> f64 {
        self.value = self.keep * self.value + rng.gen_range(-1.0..1.0) * self.spread;
        self.value
    }
}

/// A quantity: name, unit, decimals and how it follows the hour since the start.
struct Column {
    name: &'static str,
    unit: &'static str,
    digits: i8,
}

const fn column(name: &'static str, unit: &'static str, digits: i8) -> Column {
    Column { name, unit, digits }
}

/// Midnight in March, so that no series begins at the epoch.
const START: u64 = 1_741_046_400_000;

/// Moments of a series.
struct Times {
    every: Duration,
    count: usize,
    /// Out of a thousand moments so many begin an outage of up to five hours.
    outages: u32,
    /// Most milliseconds that a moment is late.
    jitter: u64,
}

fn tabulate(
    seed: u64,
    times: &Times,
    columns: &[Column],
    mut row: impl FnMut(f64, &mut StdRng) -> Vec<f64>,
) -> Vec<Reading> {
    let mut rng = StdRng::seed_from_u64(seed);
    let every = u64::try_from(times.every.as_millis()).unwrap();
    let (mut readings, mut silent_until) = (Vec::new(), 0);
    for moment in 0..times.count as u64 {
        let at = moment * every;
        let values = row(at as f64 / 3.6e6, &mut rng);
        if rng.gen_ratio(times.outages, 1_000) {
            silent_until = at + rng.gen_range(3_600_000..18_000_000);
        }
        if at < silent_until {
            continue;
        }
        let late = rng.gen_range(0..=times.jitter);
        for (column, value) in columns.iter().zip(values) {
            let scaled = (value * 10f64.powi(column.digits.into())).round() as i64;
            readings.push(Reading::new(
                Quantity::new(column.name, column.unit),
                Decimal::new(scaled, -column.digits).unwrap(),
                Timestamp::from_millis(START + at + late),
            ));
        }
    }
    readings
}

fn daylight(hour: f64) -> f64 {
    (TAU * (hour - 6.0) / 24.0).sin().max(0.0)
}

/// A weather station: days, fronts, gusts, air that saturates at night.
fn station(seed: u64, times: &Times, digits: i8) -> Vec<Reading> {
    let step = times.every.as_secs_f64() / 3600.0;
    let slow = |hours: f64| (-step / hours).exp();
    let noise = |hours: f64, spread: f64| {
        Walk::new(slow(hours), spread * (1.0 - slow(hours).powi(2)).sqrt() * 1.7)
    };
    let (mut front, mut local) = (noise(40.0, 4.0), noise(0.5, 0.3));
    let (mut moist, mut weight, mut gust) = (noise(20.0, 3.0), noise(60.0, 600.0), noise(2.0, 2.0));
    let mut cloud = noise(1.0, 0.3);
    let columns = [
        column("temperature", "Cel", digits),
        column("humidity", "%RH", (digits - 1).max(0)),
        column("pressure", "Pa", 0),
        column("wind_speed", "m/s", digits),
        column("irradiance", "W/m2", digits.min(1)),
    ];
    tabulate(seed, times, &columns, |hour, rng| {
        let day = (TAU * (hour - 9.0) / 24.0).sin();
        let temperature = 8.0 + 5.0 * day + front.step(rng) + local.step(rng);
        let humidity = (82.0 - 22.0 * day + 4.0 * moist.step(rng)).clamp(5.0, 100.0);
        let pressure = 98_000.0 + weight.step(rng) + rng.gen_range(-4.0..4.0);
        let wind = (2.0 + gust.step(rng) + rng.gen_range(-0.8..0.8)).max(0.0);
        let sun = 700.0 * daylight(hour) * (0.8 + cloud.step(rng)).clamp(0.1, 1.05);
        vec![temperature, humidity, pressure, wind, sun]
    })
}

/// A photovoltaic system of 8 kW that clips, with an inverter that shows nothing at night.
fn panels(seed: u64, times: &Times, digits: i8) -> Vec<Reading> {
    let mut cloud = Walk::new(0.8, 0.25);
    let columns = [
        column("ac_power", "W", digits),
        column("dc_power", "W", digits),
        column("irradiance", "W/m2", digits),
    ];
    tabulate(seed, times, &columns, |hour, rng| {
        let sun = 950.0 * daylight(hour) * (0.75 + cloud.step(rng)).clamp(0.05, 1.0);
        let panels = 9.2 * sun * rng.gen_range(0.97..1.03);
        let out = (0.96 * panels).min(8_000.0);
        vec![out, out / 0.96, sun]
    })
}

/// One quantity of a sensor of which nothing is known.
fn other(seed: u64, shape: &str, times: &Times, digits: i8) -> Vec<Reading> {
    let (mut slow, mut fast) = (Walk::new(0.995, 0.2), Walk::new(0.7, 1.0));
    let (mut total, mut level, mut on) = (1_234_567.0, 0.0, false);
    let of = |name, unit| [column(name, unit, digits)];
    match shape {
        "co2" => tabulate(seed, times, &of("co2", "ppm"), |hour, rng| {
            let people = if (8.0..18.0).contains(&(hour % 24.0)) { 6.0 } else { 0.0 };
            level = 0.98f64.mul_add(level, people * rng.gen_range(0.5..2.0));
            vec![430.0 + level + 3.0 * fast.step(rng)]
        }),
        "dust" => tabulate(seed, times, &of("pm2_5", "ug/m3"), |_, rng| {
            vec![8.0 * (slow.step(rng) / 2.0).exp() + rng.gen_range(0.0..2.0)]
        }),
        "soil" => tabulate(seed, times, &of("soil_moisture", "%"), |_, rng| {
            level *= 0.9995;
            level += if rng.gen_ratio(1, 300) { rng.gen_range(1.0..8.0) } else { 0.0 };
            vec![18.0 + level + rng.gen_range(-0.06..0.06)]
        }),
        "tide" => tabulate(seed, times, &of("water_level", "m"), |hour, rng| {
            let moon = (TAU * hour / 12.42).sin() + 0.3 * (TAU * hour / 12.0).sin();
            vec![2.0 + moon + 0.1 * slow.step(rng) + rng.gen_range(-0.02..0.02)]
        }),
        "meter" => tabulate(seed, times, &of("energy", "Wh"), |hour, rng| {
            total += daylight(hour) * rng.gen_range(20.0..80.0);
            vec![total]
        }),
        "switch" => tabulate(seed, times, &of("power", "W"), |_, rng| {
            on ^= rng.gen_ratio(1, 12);
            vec![if on { 84.0 } else { 0.0 }]
        }),
        _ => tabulate(seed, times, &of("load", "W"), |hour, rng| {
            on ^= rng.gen_ratio(1, 15);
            let evening = 400.0 * (TAU * (hour - 13.0) / 24.0).sin().max(0.0);
            vec![120.0 + evening + if on { 1_800.0 } else { 0.0 } + 30.0 * fast.step(rng)]
        }),
    }
}

/// A car that commutes along the same streets, stands at lights and all day in the car park, where its
/// receiver holds its position or wanders.
fn commute(seed: u64, digits: i8, holds: bool) -> Vec<Reading> {
    let times = Times { every: Duration::from_secs(5), count: 2_400, outages: 0, jitter: 0 };
    let columns = [column("latitude", "lat", digits), column("longitude", "lon", digits)];
    let (mut way, mut wander, mut east) = (0.0f64, Walk::new(0.9, 0.8), Walk::new(0.9, 0.8));
    tabulate(seed, &times, &columns, |hour, rng| {
        let second = hour * 3600.0;
        // Fifty minutes to work, fifty there, a hundred home and on.
        let speed = match second {
            _ if rng.gen_ratio(1, 9) => 0.0,
            s if s < 3_000.0 => 13.0,
            s if s < 6_000.0 => 0.0,
            _ => -13.0,
        };
        way += 5.0 * speed * rng.gen_range(0.6..1.2);
        let drift =
            if holds && speed == 0.0 { (0.0, 0.0) } else { (wander.step(rng), east.step(rng)) };
        let metres = 1.0 / 111_000.0;
        let north = 48.2 + metres * (way + drift.0);
        vec![north, 16.3 + metres * (400.0 * (way / 900.0).sin() + drift.1)]
    })
}

/// All made-up series.
pub(crate) fn all() -> Vec<Series> {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let times = |every, outages, jitter| Times { every, count: 1_500, outages, jitter };
    let mut all = Vec::new();
    let mut add = |name, kind, every, preset, readings| {
        all.push(Series { name, held_out: true, kind, every, preset, readings, labels: None });
    };
    for (seed, name, every, digits, outages, jitter) in [
        (1, "station_1min_0.01", 1, 2, 0, 0),
        (2, "station_10min_0.1", 10, 1, 2, 0),
        (3, "station_15min_1", 15, 0, 0, 20_000),
        (4, "station_60min_0.1", 60, 1, 4, 0),
    ] {
        let every = minutes(every);
        let readings = station(seed, &times(every, outages, jitter), digits);
        add(name, Kind::Climate, every, presets::climate(every), readings);
    }
    for (seed, name, every, digits, outages) in
        [(5, "panels_5min_1", 5, 0, 0), (6, "panels_30min_0.01", 30, 2, 3)]
    {
        let every = minutes(every);
        let preset = presets::energy(every, Decimal::from(8_000));
        add(name, Kind::Energy, every, preset, panels(seed, &times(every, outages, 0), digits));
    }
    for (seed, name, shape, of, every, digits, outages) in [
        (7, "co2_2min_1", "co2", ("co2", "ppm"), 2, 0, 0),
        (8, "dust_10min_0.1", "dust", ("pm2_5", "ug/m3"), 10, 1, 2),
        (9, "soil_30min_0.1", "soil", ("soil_moisture", "%"), 30, 1, 0),
        (10, "tide_6min_0.01", "tide", ("water_level", "m"), 6, 2, 3),
        (11, "meter_15min_1", "meter", ("energy", "Wh"), 15, 0, 0),
        (12, "switch_1min", "switch", ("power", "W"), 1, 0, 0),
        (13, "load_1min_1", "load", ("load", "W"), 1, 0, 2),
    ] {
        let every = minutes(every);
        let preset = presets::sensor(every, &[of]);
        let readings = other(seed, shape, &times(every, outages, 0), digits);
        add(name, Kind::Other, every, preset, readings);
    }
    for (seed, name, digits, holds) in
        [(14, "commute_1e-7_held", 7, true), (15, "commute_1e-5", 5, false)]
    {
        let preset = presets::drive(Decimal::from(70));
        add(name, Kind::Drive, Duration::from_secs(5), preset, commute(seed, digits, holds));
    }
    all
}
