//! Stations and the slices of real measurements that they replay.

use std::time::Duration;

use anyhow::{Context, Result};
use depin::{Decimal, Quantity, Reading, Timestamp};

/// Midnight before the first measurement; every slice is shifted by whole days onto it.
pub const START: Timestamp = Timestamp::from_secs(1_767_225_600);
/// Length of a day.
pub const DAY: Duration = Duration::from_secs(86_400);
/// Days that every station replays; each is one epoch.
pub const DAYS: usize = 2;

/// One measuring site: its readings, day by day, as texts.
struct Site {
    name: &'static str,
    quantities: Vec<Quantity>,
    days: Vec<Vec<(Duration, Vec<Decimal>)>>,
}

/// The slice of measurements that one station replays.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Site and days, for people.
    pub label: String,
    /// Readings of each day, in order of time.
    pub days: [Vec<Reading>; DAYS],
}

/// Columns of the files, the quantities that they are, and the power of ten between their units.
const COLUMNS: [(&str, (&str, &str), i8); 5] = [
    ("temperature", ("temperature", "Cel"), 0),
    ("water_temperature", ("water_temperature", "Cel"), 0),
    ("humidity", ("humidity", "%RH"), 0),
    ("pressure", ("pressure", "Pa"), 2),
    ("wind", ("wind_speed", "m/s"), 0),
];

/// All slices, dealt out site by site so that any number of stations is a mixture.
///
/// # Errors
/// When a data file is damaged.
pub fn slices() -> Result<Vec<Slice>> {
    let mut sites = [
        site("Golden", include_str!("../data/rmis_golden_5min.csv"))?,
        site("Gulf of Maine", include_str!("../data/neracoos_b01_30min.csv"))?,
        site("Sand Point", include_str!("../data/tmy3_sand_point_hourly.csv"))?,
        site("Seattle", include_str!("../data/noaa_seattle_hourly.csv"))?,
    ]
    .map(|site| site.slices().into_iter());
    let mut dealt = Vec::new();
    loop {
        let before = dealt.len();
        dealt.extend(sites.iter_mut().filter_map(Iterator::next));
        if dealt.len() == before {
            return Ok(dealt);
        }
    }
}

fn site(name: &'static str, csv: &str) -> Result<Site> {
    let mut lines = csv.lines();
    let header = lines.next().with_context(|| format!("{name}: the file is empty"))?;
    let columns = header.split(',').skip(1).map(column).collect::<Result<Vec<_>>>()?;
    let mut days: Vec<(&str, Vec<_>)> = Vec::new();
    for line in lines {
        let (stamp, values) = line.split_once(',').with_context(|| format!("{name}: {line}"))?;
        let (day, time) = stamp.split_once('T').with_context(|| format!("{name}: {stamp}"))?;
        let values =
            values.split(',').zip(&columns).map(|(value, (_, power))| scaled(value, *power));
        let values = values.collect::<depin::Result<_>>()?;
        if days.last().is_none_or(|(last, _)| *last != day) {
            days.push((day, Vec::new()));
        }
        let (_, rows) = days.last_mut().context("a day was just added")?;
        rows.push((time_of_day(time)?, values));
    }
    // The first and last day of a series may be cut short; a station replays whole days only.
    let longest = days.iter().map(|(_, rows)| rows.len()).max().unwrap_or(0);
    days.retain(|(_, rows)| rows.len() * 10 >= longest * 9);
    let quantities = columns.into_iter().map(|(quantity, _)| quantity).collect();
    Ok(Site { name, quantities, days: days.into_iter().map(|(_, rows)| rows).collect() })
}

fn column(column: &str) -> Result<(Quantity, i8)> {
    let known = COLUMNS.iter().find(|(name, ..)| *name == column);
    let (_, (name, unit), power) = known.with_context(|| format!("no quantity for {column}"))?;
    Ok((Quantity::new(name, unit), *power))
}

fn scaled(value: &str, power: i8) -> depin::Result<Decimal> {
    let value = Decimal::parse(value)?;
    Decimal::new(value.mantissa(), value.exponent().saturating_add(power))
}

fn time_of_day(time: &str) -> Result<Duration> {
    let (hours, minutes) =
        time.trim_end_matches('Z').split_once(':').with_context(|| format!("no time: {time}"))?;
    let (hours, minutes): (u64, u64) = (hours.parse()?, minutes.parse()?);
    Ok(Duration::from_secs(hours * 3600 + minutes * 60))
}

impl Site {
    fn slices(self) -> Vec<Slice> {
        let pairs = self.days.chunks_exact(DAYS).enumerate();
        pairs
            .map(|(i, pair)| Slice {
                label: format!("{} {}", self.name, i + 1),
                days: std::array::from_fn(|day| self.readings(day, &pair[day])),
            })
            .collect()
    }

    fn readings(&self, day: usize, rows: &[(Duration, Vec<Decimal>)]) -> Vec<Reading> {
        let midnight = (0..day).fold(START, |time, _| time.plus(DAY));
        rows.iter()
            .flat_map(|(time, values)| {
                let at = midnight.plus(*time);
                self.quantities
                    .iter()
                    .zip(values)
                    .map(move |(quantity, value)| Reading::new(quantity.clone(), *value, at))
            })
            .collect()
    }
}
