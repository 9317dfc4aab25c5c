//! Real series as the readings of one device, and fleets made of them.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
use depin_data::{
    geo::Position,
    quality::presets::{self, Preset},
};
use rand::Rng;

/// A real series with the checks of its network.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// Whether it was never looked at while the checks were made.
    pub(crate) held_out: bool,
    pub(crate) kind: Kind,
    pub(crate) every: Duration,
    pub(crate) preset: Preset,
    pub(crate) readings: Vec<Reading>,
    /// Outliers that the origin labelled.
    pub(crate) labels: Option<Vec<bool>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Climate,
    Energy,
    Drive,
    /// A sensor of one quantity.
    Other,
}

impl Series {
    /// The quantity that faults are put into.
    pub(crate) fn main(&self) -> Quantity {
        match self.kind {
            Kind::Climate => Quantity::new("temperature", "Cel"),
            Kind::Energy => Quantity::new("ac_power", "W"),
            Kind::Drive => Quantity::new("latitude", "lat"),
            Kind::Other => self.readings[0].quantity().clone(),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.readings.iter().any(|reading| reading.quantity().name() == name)
    }

    /// Moments that fill this time.
    pub(crate) fn moments(&self, time: Duration) -> usize {
        usize::try_from(time.as_millis() / self.every.as_millis().max(1)).unwrap_or(usize::MAX)
    }

    /// A stretch that an epoch may have: at most 960 moments.
    pub(crate) fn epoch(&self, rng: &mut impl Rng) -> Vec<Reading> {
        let starts: Vec<usize> = (0..self.readings.len())
            .filter(|at| *at == 0 || self.readings[at - 1].at() != self.readings[*at].at())
            .collect();
        let first = rng.gen_range(0..=starts.len().saturating_sub(960));
        let end = starts.get(first + 960).copied().unwrap_or(self.readings.len());
        self.readings[starts[first]..end].to_vec()
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// All series that are there.
pub(crate) fn all(vectors: &Path) -> Vec<Series> {
    let apps = vectors.join("apps");
    let telemetry = vectors.join("data/telemetry");
    let climate = |name, held_out, every, readings| Series {
        name,
        held_out,
        kind: Kind::Climate,
        every,
        preset: presets::climate(every),
        readings,
        labels: None,
    };
    let energy = |name, held_out, every, rated, readings, labels| Series {
        name,
        held_out,
        kind: Kind::Energy,
        every,
        preset: presets::energy(every, Decimal::from(rated)),
        readings,
        labels,
    };
    let drive = |name, held_out, speed, readings| Series {
        name,
        held_out,
        kind: Kind::Drive,
        every: Duration::from_secs(1),
        preset: presets::drive(Decimal::from(speed)),
        readings,
        labels: None,
    };
    let (outliers, labels) = outliers(&apps.join("fraud_outlier_labelled.csv"));
    vec![
        climate("weather_5min", false, 5 * MINUTE, weather(&apps.join("weather_5min.csv"))),
        energy(
            "inverter_15min",
            false,
            15 * MINUTE,
            6_000,
            inverter(&apps.join("energy_inverter_15min.csv")),
            None,
        ),
        energy("outlier_labelled", false, 15 * MINUTE, 1, outliers, Some(labels)),
        drive("track_drive", false, 70, track(&apps.join("track_drive.csv"))),
        climate("tmy3_703165", true, HOUR, tmy3(&telemetry.join("703165TY.csv"))),
        climate("buoy_30min", true, 30 * MINUTE, buoy(&apps.join("climate_buoy_30min.csv"))),
        climate(
            "seattle_normals",
            true,
            HOUR,
            normals(&telemetry.join("seattle-weather-hourly-normals.csv")),
        ),
        energy("meter_1min", true, MINUTE, 5_000, meter(&apps.join("energy_meter_1min.csv")), None),
        drive("flight_adsb", true, 360, flight(vectors)),
        drive("gnss_nmea", true, 120, nmea(&apps.join("gnss_nmea.log"))),
    ]
}

/// The positions that an airliner broadcast from Paris to Toulouse.
fn flight(vectors: &Path) -> Vec<Reading> {
    let text = fs::read_to_string(vectors.join("apps/adsb_frames.jsonl")).unwrap();
    let mut readings = Vec::new();
    for line in text.lines() {
        let frame: serde_json::Value = serde_json::from_str(line).unwrap();
        let number = |key: &str| frame.get(key).and_then(serde_json::Value::as_f64);
        let (Some(time), Some(north), Some(east)) =
            (number("timestamp"), number("latitude"), number("longitude"))
        else {
            continue;
        };
        let at = Timestamp::from_millis((time * 1000.0) as u64);
        if readings.last().is_some_and(|last: &Reading| last.at() == at) {
            continue;
        }
        readings.extend(fix(at, &format!("{north:.7}"), &format!("{east:.7}")));
    }
    readings
}

fn decimal(text: &str) -> Option<Decimal> {
    // Shortest floats in these files have up to 17 digits, and small ones an exponent.
    let value: f64 = text.trim().parse().ok().filter(|value: &f64| value.is_finite())?;
    Decimal::parse(&format!("{value:.7}")).ok()
}

fn reading(name: &str, unit: &str, value: Decimal, at: Timestamp) -> Reading {
    Reading::new(Quantity::new(name, unit), value, at)
}

fn fix(at: Timestamp, north: &str, east: &str) -> Vec<Reading> {
    let coordinate = |text| Decimal::parse(text).unwrap();
    vec![
        reading("latitude", "lat", coordinate(north), at),
        reading("longitude", "lon", coordinate(east), at),
    ]
}

/// The columns of a table by name.
fn table(path: &Path, skip: usize) -> (HashMap<String, usize>, Vec<Vec<String>>) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines =
        text.lines().skip(skip).map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let head = lines.next().unwrap_or_default();
    (head.into_iter().zip(0..).collect(), lines.collect())
}

/// `2022-01-02 00:01:00`, with `T` or a space, and whatever follows, as if it were UTC.
fn iso(text: &str) -> Timestamp {
    let number = |range: std::ops::Range<usize>| {
        text.get(range).and_then(|part| part.parse::<i64>().ok()).unwrap_or(0)
    };
    instant(
        number(0..4),
        number(5..7),
        number(8..10),
        number(11..13),
        number(14..16),
        number(17..19),
    )
}

/// Days since 1970 by the civil calendar.
fn instant(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> Timestamp {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
    Timestamp::from_secs((days * 86_400 + hour * 3_600 + minute * 60 + second) as u64)
}

/// What a column means: its head, name, unit and factor.
type Column = (&'static str, &'static str, &'static str, i32);

fn rows(
    path: &Path,
    skip: usize,
    time: impl Fn(&[String]) -> Timestamp,
    columns: &[Column],
) -> Vec<Reading> {
    let (head, rows) = table(path, skip);
    let mut readings = Vec::new();
    for row in rows.iter().filter(|row| row.len() > 1) {
        for (column, name, unit, factor) in columns {
            let value =
                head.get(*column).and_then(|at| row.get(*at)).and_then(|text| decimal(text));
            let Some(value) = value.filter(|value| *value > Decimal::from(-9_000)) else {
                continue;
            };
            let value =
                Decimal::new(value.mantissa() * i64::from(*factor), value.exponent()).unwrap();
            readings.push(reading(name, unit, value, time(row)));
        }
    }
    readings
}

fn weather(path: &Path) -> Vec<Reading> {
    let time = |row: &[String]| {
        let number = |text: &str| text.parse::<i64>().unwrap();
        let parts: Vec<i64> = row[0].split(['/', ' ', ':']).map(number).collect();
        instant(parts[2], parts[0], parts[1], parts[3], parts[4], 0)
    };
    let columns = [
        ("Ambient Temperature", "temperature", "Cel", 1),
        ("Relative Humidity", "humidity", "%RH", 1),
        ("Barometric Pressure", "pressure", "Pa", 100),
        ("Wind Speed", "wind_speed", "m/s", 1),
        ("Wind Direction", "wind_direction", "deg", 1),
        ("Global Horizontal", "irradiance", "W/m2", 1),
    ];
    rows(path, 0, time, &columns)
}

fn tmy3(path: &Path) -> Vec<Reading> {
    // A typical year is put together of months of several years: one year here.
    let time = |row: &[String]| {
        let number =
            |text: &str, range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
        let (date, clock) = (&row[0], &row[1]);
        instant(2001, number(date, 0..2), number(date, 3..5), number(clock, 0..2), 0, 0)
    };
    let columns = [
        ("Dry-bulb (C)", "temperature", "Cel", 1),
        ("Dew-point (C)", "dew_point", "Cel", 1),
        ("RHum (%)", "humidity", "%RH", 1),
        // Not the pressure: the file fills it in with one value for the whole year, and `Stuck` says so.
        ("Wspd (m/s)", "wind_speed", "m/s", 1),
        ("Wdir (degrees)", "wind_direction", "deg", 1),
        ("GHI (W/m^2)", "irradiance", "W/m2", 1),
    ];
    rows(path, 1, time, &columns)
}

fn buoy(path: &Path) -> Vec<Reading> {
    rows(path, 0, |row| iso(&row[0]), &[("temperature (celsius)", "temperature", "Cel", 1)])
}

fn normals(path: &Path) -> Vec<Reading> {
    let columns = [
        ("temperature", "temperature", "Cel", 1),
        ("pressure", "pressure", "Pa", 100),
        ("wind", "wind_speed", "m/s", 1),
    ];
    rows(path, 0, |row| iso(&row[0]), &columns)
}

fn inverter(path: &Path) -> Vec<Reading> {
    let columns = [
        ("ac_power__773", "ac_power", "W", 1),
        ("dc_power__772", "dc_power", "W", 1),
        ("poa_irradiance__771", "irradiance", "W/m2", 1),
        ("module_temp_1__781", "module_temperature", "Cel", 1),
    ];
    rows(path, 0, |row| iso(&row[0]), &columns)
}

fn meter(path: &Path) -> Vec<Reading> {
    rows(path, 0, |row| iso(&row[0]), &[("ac_power__752", "ac_power", "W", 1)])
}

fn outliers(path: &Path) -> (Vec<Reading>, Vec<bool>) {
    let readings = rows(path, 0, |row| iso(&row[0]), &[("value_normalized", "ac_power", "W", 1)]);
    let labels = table(path, 0).1.iter().map(|row| row[2].trim() == "TRUE").collect();
    (readings, labels)
}

fn track(path: &Path) -> Vec<Reading> {
    let (_, rows) = table(path, 0);
    let of = |row: &Vec<String>| fix(iso(&row[0]), &row[1], &row[2]);
    rows.iter().flat_map(of).collect()
}

fn nmea(path: &Path) -> Vec<Reading> {
    let text = fs::read_to_string(path).unwrap();
    let mut readings = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("$GPRMC")) {
        let part: Vec<&str> = line.split(',').collect();
        let number = |text: &str, range: std::ops::Range<usize>| {
            text.get(range).and_then(|text| text.parse::<i64>().ok())
        };
        let (clock, date) = (part[1], part[9]);
        let time = (number(clock, 0..2), number(clock, 2..4), number(clock, 4..6));
        let ((Some(hour), Some(minute), Some(second)), Some(day), Some(month), Some(year)) =
            (time, number(date, 0..2), number(date, 2..4), number(date, 4..6))
        else {
            continue;
        };
        let at = instant(2000 + year, month, day, hour, minute, second);
        let degrees = |text: &str, digits: usize, negative: bool| {
            let (degrees, minutes): (f64, f64) =
                (text[..digits].parse().unwrap(), text[digits..].parse().unwrap());
            format!("{:.7}", if negative { -1.0 } else { 1.0 } * (degrees + minutes / 60.0))
        };
        if part[3].len() > 4 {
            readings.extend(fix(
                at,
                &degrees(part[3], 2, part[4] == "S"),
                &degrees(part[5], 3, part[6] == "W"),
            ));
        }
    }
    readings
}

/// A neighbour of a weather station: the same weather at a place of its own, with an offset of up to half a
/// degree, noise that lasts, and rounding to a hundredth; and its place, within a kilometre.
pub(crate) fn neighbour(readings: &[Reading], rng: &mut impl Rng) -> Vec<Reading> {
    let mut noise: HashMap<String, (f64, f64)> = HashMap::new();
    let mut fleet = at_home(readings, rng);
    for reading in &mut fleet {
        let spread = match reading.quantity().name() {
            "temperature" | "dew_point" => 0.5,
            "humidity" => 2.0,
            "pressure" => 20.0,
            "wind_speed" => 0.5,
            "irradiance" => 5.0,
            _ => continue,
        };
        let (offset, walk) = noise
            .entry(reading.quantity().name().to_owned())
            .or_insert_with(|| (rng.gen_range(-spread..spread), 0.0));
        *walk = 0.9 * *walk + rng.gen_range(-0.2..0.2) * spread;
        let value = reading.value().scaled() as f64 / 1e12;
        let shine = if reading.quantity().name() == "irradiance" && value < 5.0 {
            0.0
        } else {
            *offset + *walk
        };
        let mut value = value + shine;
        match reading.quantity().name() {
            "humidity" => value = value.clamp(0.0, 100.0),
            "wind_speed" => value = value.max(0.0),
            _ => {}
        }
        let value = Decimal::new((value * 100.0).round() as i64, -2).unwrap();
        *reading = Reading::new(reading.quantity().clone(), value, reading.at());
    }
    fleet
}

/// The readings with a place of the device at each moment.
pub(crate) fn at_home(readings: &[Reading], rng: &mut impl Rng) -> Vec<Reading> {
    let home = Position::try_new(
        553_170_000 + rng.gen_range(-40_000..40_000),
        -1_605_170_000 + rng.gen_range(-60_000..60_000),
    )
    .unwrap();
    let cell = depin_data::geo::Cell::at(home, 7).unwrap();
    let mut with_place = Vec::new();
    for moment in readings.chunk_by(|a, b| a.at() == b.at()) {
        with_place.extend(moment.iter().cloned());
        with_place.push(reading("cell", "h3", cell.value(), moment[0].at()));
    }
    with_place
}
