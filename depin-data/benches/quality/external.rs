//! Anybody's series: CSV files in the folder named by `DEPIN_SERIES`.
//!
//! A file is called `KIND-SECONDS-NAME.csv`, where the kind is `climate`, `energy`, `sensor` or `drive`; of `energy` and
//! `drive` a rating in watts or a speed in metres a second follows the seconds (`energy-900-6000-roof.csv`). Each
//! line is a reading: milliseconds since 1970, name, unit, value, and 1 where it is labelled as an outlier.

use std::{fs, path::Path, time::Duration};

use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
use depin_data::quality::presets;

use crate::series::{Kind, Series};

/// All of them, none when the folder is not named.
pub(crate) fn all() -> Vec<Series> {
    let Some(folder) = std::env::var_os("DEPIN_SERIES") else { return Vec::new() };
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Series {
    let name: &'static str = path.file_stem().unwrap().to_string_lossy().into_owned().leak();
    let mut parts = name.split('-');
    let (kind, seconds) = (parts.next().unwrap(), parts.next().unwrap().parse().unwrap());
    let every = Duration::from_secs(seconds);
    let mut rating = || Decimal::parse(parts.next().unwrap()).unwrap();
    let text = fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let reading = |row: &Vec<&str>| {
        let at = Timestamp::from_millis(row[0].parse().unwrap());
        Reading::new(Quantity::new(row[1], row[2]), Decimal::parse(row[3]).unwrap(), at)
    };
    let labelled = rows.iter().any(|row| row.get(4) == Some(&"1"));
    let labels = rows.iter().map(|row| row.get(4) == Some(&"1")).collect();
    let (kind, preset) = match kind {
        "climate" => (Kind::Climate, presets::climate(every)),
        "energy" => (Kind::Energy, presets::energy(every, rating())),
        "drive" => (Kind::Drive, presets::drive(rating())),
        _ => (Kind::Other, presets::sensor(every, &[(rows[0][1], rows[0][2])])),
    };
    Series {
        name,
        held_out: true,
        kind,
        every,
        preset,
        readings: rows.iter().map(reading).collect(),
        labels: labelled.then_some(labels),
    }
}
