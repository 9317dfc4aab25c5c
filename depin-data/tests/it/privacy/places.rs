//! Coordinates that never leave, and zones in which nothing is said.

use std::{collections::BTreeSet, fs};

use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
use depin_data::{
    geo::{Cell, Position},
    privacy::{Coarsen, PrivacyZones, Zone},
};
use depin_testkit::vectors;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

fn reading(name: &str, unit: &str, value: &str, second: u64) -> Reading {
    let at = Timestamp::from_secs(1_700_000_000 + second);
    Reading::new(Quantity::new(name, unit), Decimal::parse(value).unwrap(), at)
}

fn north(value: &str, second: u64) -> Reading {
    reading("latitude", "lat", value, second)
}

fn east(value: &str, second: u64) -> Reading {
    reading("longitude", "lon", value, second)
}

fn names(readings: &[Reading]) -> Vec<&str> {
    readings.iter().map(|reading| reading.quantity().name()).collect()
}

#[test]
fn a_pair_becomes_the_cell_that_h3_has_for_it() {
    let Some(folder) = vectors::find(env!("CARGO_MANIFEST_DIR"), "data/h3") else { return };
    let text = fs::read_to_string(folder.join("latLngToCell.sample.txt")).unwrap();
    let mut checked = 0;
    for line in text.lines().step_by(11) {
        let mut parts = line.split(' ');
        let (cell, latitude, longitude) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        // The file counts longitudes to 360.
        let longitude = Decimal::parse(longitude).unwrap();
        let around = Decimal::new(360, 0).unwrap();
        let west = longitude > Decimal::from(180);
        let shifted = (longitude.scaled() - around.scaled()) / 1_000_000;
        let longitude = if west { Decimal::new(shifted as i64, -6).unwrap() } else { longitude };
        let cell: Cell = format!("{:0>15}", cell.trim_start_matches('0')).parse().unwrap();
        let told = Coarsen::to(cell.resolution()).unwrap();
        let told = told.apply(vec![east(&longitude.to_string(), 0), north(latitude, 0)]);
        assert_eq!(told.len(), 1);
        let found = Cell::from_value(told[0].value()).unwrap();
        // Coordinates of six decimals may lie across the edge of a cell of a metre.
        assert!(found == cell || found.steps(cell) == Some(1), "{line}");
        checked += 1;
    }
    assert!(checked > 900, "{checked}");
}

#[test]
fn no_coordinate_goes_through_whatever_it_is_called() {
    let told = Coarsen::to(6).unwrap().apply(vec![
        north("47.4844814", 0),
        east("10.9756895", 0),
        reading("temperature", "Cel", "4.9", 0),
        // Half a pair, two of a kind, no place, other names, other units.
        north("47.5", 1),
        east("10.9", 2),
        north("47.5", 3),
        north("47.6", 3),
        east("10.9", 3),
        north("97.5", 4),
        east("10.9", 4),
        reading("y", "lat", "47.5", 5),
        reading("latitude", "deg", "47.5", 6),
        reading("cell", "h3", "17", 7),
    ]);
    assert_eq!(names(&told), ["cell", "temperature"]);
    let cell = Cell::from_value(told[0].value()).unwrap();
    let here = Position::try_new(474_844_814, 109_756_895).unwrap();
    assert_eq!(cell, Cell::at(here, 6).unwrap());
    // A name of one's own does not hide a pair, and a finer cell becomes coarser.
    let fine = Cell::at(here, 12).unwrap().value().to_string();
    let told = Coarsen::to(6).unwrap().apply(vec![
        reading("y", "lat", "47.4844814", 0),
        reading("x", "lon", "10.9756895", 0),
        reading("home", "h3", &fine, 1),
    ]);
    assert!(told.iter().all(|reading| Cell::from_value(reading.value()).unwrap() == cell));
    assert_eq!(told.len(), 2);
    assert!(Coarsen::to(16).is_err());
}

#[test]
fn nothing_is_told_from_inside_a_zone_not_even_the_temperature() {
    let home = Position::try_new(474_844_814, 109_756_895).unwrap();
    let mut zones = PrivacyZones::new([Zone::Circle { centre: home, radius: 500 }]);
    let track = vec![
        reading("temperature", "Cel", "21", 0), // no place is known yet
        north("47.4844814", 1),
        east("10.9756895", 1),
        reading("temperature", "Cel", "20", 1),
        reading("temperature", "Cel", "19", 2), // still at home
        north("47.4944", 3),                    // 1.1 km away
        east("10.9756895", 3),
        reading("temperature", "Cel", "5", 3),
        reading("temperature", "Cel", "6", 4),
        north("47.6", 5), // half a place: it may be home
        reading("temperature", "Cel", "7", 6),
        north("47.6", 7),
        east("10.9756895", 7),
        north("95", 8), // no place
        east("10.9", 8),
        reading("temperature", "Cel", "8", 9),
        north("47.6", 10),
        east("10.9756895", 10),
        reading("home", "h3", "17", 11), // no cell
        reading("temperature", "Cel", "9", 12),
        north("47.4850", 13), // back
        east("10.9757", 13),
    ];
    let told = zones.apply(track);
    let values: Vec<_> = told.iter().map(|reading| reading.value().to_string()).collect();
    assert_eq!(
        values,
        ["47.4944", "10.9756895", "5", "6", "47.6", "10.9756895", "47.6", "10.9756895"]
    );
    // The next batch goes on where this one ended: at home.
    assert_eq!(zones.apply(vec![reading("temperature", "Cel", "22", 14)]), []);
}

#[test]
fn a_device_that_tells_cells_is_silent_in_its_zone_too() {
    let home = Position::try_new(474_844_814, 109_756_895).unwrap();
    let far = Position::try_new(484_844_814, 109_756_895).unwrap();
    let cell = |at, resolution: u8| Cell::at(at, resolution).unwrap();
    let told = |zone: Zone, cell: Cell| {
        let reading = reading("cell", "h3", &cell.value().to_string(), 0);
        PrivacyZones::new([zone]).apply(vec![reading]).len()
    };
    for resolution in [5, 9, 12] {
        assert_eq!(told(Zone::Cells(vec![cell(home, 9)]), cell(home, resolution)), 0);
        assert_eq!(told(Zone::Circle { centre: home, radius: 300 }, cell(home, resolution)), 0);
        assert_eq!(told(Zone::Cells(vec![cell(home, 9)]), cell(far, resolution)), 1);
        assert_eq!(told(Zone::Circle { centre: home, radius: 300 }, cell(far, resolution)), 1);
    }
}

#[test]
fn home_is_in_its_zone_but_not_in_the_middle() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut middles = BTreeSet::new();
    for (latitude, longitude) in [(474_844_814, 109_756_895), (-900_000_000, 0), (0, 1_800_000_000)]
    {
        let home = Position::try_new(latitude, longitude).unwrap();
        for radius in [100, 400, 5000] {
            for _ in 0..50 {
                let zone = Zone::around(home, radius, &mut rng).unwrap();
                assert!(zone.holds(home));
                let Zone::Circle { centre, .. } = zone else { panic!("a circle") };
                assert!(centre.distance(home) <= u64::from(radius) * 500);
                middles.insert(centre);
            }
        }
    }
    assert!(middles.len() > 400, "{}", middles.len());
    let home = Position::try_new(0, 0).unwrap();
    assert!(Zone::around(home, 99, &mut rng).is_err());
}

/// The real drive of the shared files begins and ends at one place.
#[test]
fn the_ends_of_a_real_drive_stay_in_the_zone() {
    let Some(file) = vectors::find(env!("CARGO_MANIFEST_DIR"), "apps/track_drive.csv") else {
        return;
    };
    let text = fs::read_to_string(file).unwrap();
    let fixes = text.lines().skip(1).map(|line| {
        let mut cells = line.split(',');
        let at = Timestamp::parse(cells.next().unwrap()).unwrap();
        let of = |name, unit, text: Option<&str>| {
            let value = Decimal::parse(text.unwrap()).unwrap();
            Reading::new(Quantity::new(name, unit), value, at)
        };
        [of("latitude", "lat", cells.next()), of("longitude", "lon", cells.next())]
    });
    let track: Vec<_> = fixes.flatten().collect();
    let place = |pair: &[Reading]| Position::of(pair[0].value(), pair[1].value()).unwrap();
    let home = place(&track[..2]);
    let zone = Zone::Circle { centre: home, radius: 300 };
    let told = PrivacyZones::new([zone.clone()]).apply(track.clone());
    assert!(told.chunks(2).all(|pair| !zone.holds(place(pair))));
    let outside = track.chunks(2).filter(|pair| !zone.holds(place(pair))).count();
    println!("{outside} of {} fixes lie outside", track.len() / 2);
    assert!(0 < outside && outside < track.len() / 2);
    // Fixes of the same second count together; none that is told lies inside.
    assert!(told.len() / 2 <= outside && told.len() / 2 > outside - 10);
}

proptest! {
    #[test]
    fn no_list_of_readings_lets_a_coordinate_through(
        list in prop::collection::vec((0..4usize, any::<i32>(), 0u64..6), 0..40),
    ) {
        let of = |(kind, raw, second): (usize, i32, u64)| {
            let (name, unit) = [("latitude", "lat"), ("x", "lon"), ("cell", "h3"), ("t", "Cel")][kind];
            reading(name, unit, &Decimal::new(raw.into(), -7).unwrap().to_string(), second)
        };
        let readings: Vec<_> = list.into_iter().map(of).collect();
        for told in Coarsen::to(7).unwrap().apply(readings.clone()) {
            let unit = told.quantity().unit();
            prop_assert!(unit == "Cel" || unit == "h3" && Cell::from_value(told.value()).unwrap().resolution() <= 7);
        }
        let everywhere = Position::try_new(0, 0).unwrap();
        let zone = Zone::Circle { centre: everywhere, radius: u32::MAX };
        prop_assert_eq!(PrivacyZones::new([zone]).apply(readings), []);
    }
}
