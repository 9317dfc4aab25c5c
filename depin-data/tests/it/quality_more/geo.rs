//! Checks that need a place: cells, neighbours, crowds.

use depin_data::{
    geo::{Cell, Position},
    quality::{Density, Neighbours, Skew},
};

use super::*;

const QUARTER: Duration = Duration::from_secs(900);

pub(super) fn names() -> Vec<String> {
    let near = |tolerance, resolution, rings| {
        Neighbours::new("temperature", "Cel", decimal(tolerance), QUARTER, resolution, rings).name()
    };
    let skew = |most, resolution, rings| {
        Skew::new("temperature", "Cel", QUARTER, most, resolution, rings).name()
    };
    vec![
        near("4", 7, 1),
        near("5", 7, 1),
        near("4", 8, 1),
        near("4", 7, 2),
        skew(12, 7, 1),
        skew(11, 7, 1),
        skew(12, 8, 1),
        skew(12, 7, 2),
        Density::new(7, 10).name(),
        Density::new(8, 10).name(),
        Density::new(7, 11).name(),
    ]
}

/// The readings, with the cell of a place at each moment.
fn located(readings: Vec<Reading>, north: i32) -> Vec<Reading> {
    let cell = Cell::at(Position::try_new(470_000_000 + north, 110_000_000).unwrap(), 7).unwrap();
    let place = |at: Timestamp| Reading::new(Quantity::new("cell", "h3"), cell.value(), at);
    readings.into_iter().flat_map(|reading| [place(reading.at()), reading]).collect()
}

/// A day that warms and cools by ten degrees, a reading a minute.
fn day(seed: u64, offset: i64) -> Vec<Reading> {
    let mut rng = StdRng::seed_from_u64(seed);
    let value = |minute: u32| {
        let half = i64::from(minute).min(1_440 - i64::from(minute));
        Decimal::new(offset + half * 1_000 / 720 + rng.gen_range(-20..20), -2).unwrap()
    };
    let mut value = value;
    (0..1_440).map(|minute| at("temperature", "Cel", value(minute), minute)).collect()
}

fn fleet() -> Vec<Vec<Reading>> {
    (0..5).map(|seed| located(day(seed, 1_000 + 10 * seed as i64), 0)).collect()
}

fn lost_by(check: &dyn FleetCheck, fleet: &[Vec<Reading>]) -> Vec<usize> {
    fleet_findings(check, fleet).iter().map(Vec::len).collect()
}

#[test]
fn a_station_that_disagrees_with_its_neighbours_loses_and_they_do_not() {
    let check = Neighbours::new("temperature", "Cel", decimal("4"), QUARTER, 7, 1);
    let mut fleet = fleet();
    assert_eq!(lost_by(&check, &fleet), [0; 5]);
    fleet[2] = located(day(9, 2_000), 0);
    assert_eq!(lost_by(&check, &fleet), [0, 0, 1_440, 0, 0]);
    // Far away it may be warmer.
    fleet[2] = located(day(9, 2_000), 9_000_000);
    assert_eq!(lost_by(&check, &fleet), [0; 5]);
    fleet[2] = located(day(9, 2_000), 0);
    fleet_conforms(&check, &Quantity::new("temperature", "Cel"), &fleet);
}

#[test]
fn a_few_chosen_names_do_not_outvote_a_neighbourhood() {
    let check = Neighbours::new("temperature", "Cel", decimal("4"), QUARTER, 7, 1);
    // Nine liars whose names come first, among forty honest stations, in the same cell and around it.
    let liars = (0..9).map(|seed| located(day(100 + seed, 3_000), 0));
    let honest = (0..40).map(|seed| located(day(seed, 1_000), if seed < 20 { 0 } else { 200_000 }));
    let fleet: Vec<Vec<Reading>> = liars.chain(honest).collect();
    let lost = lost_by(&check, &fleet);
    assert!(lost[..9].iter().all(|lost| *lost == 1_440), "{lost:?}");
    assert_eq!(lost[9..], [0; 40]);
    let skew = Skew::new("temperature", "Cel", QUARTER, 12, 7, 1);
    assert_eq!(lost_by(&skew, &fleet), [0; 49]);
}

#[test]
fn slots_beyond_those_that_are_compared_earn_nothing() {
    let check = Neighbours::new("temperature", "Cel", decimal("4"), MINUTE, 7, 1);
    assert_eq!(lost_by(&check, &fleet()), [440; 5]);
}

#[test]
fn a_clock_that_is_two_hours_ahead_shows_in_the_weather() {
    let check = Skew::new("temperature", "Cel", QUARTER, 12, 7, 1);
    let mut fleet = fleet();
    assert_eq!(lost_by(&check, &fleet), [0; 5]);
    let mut rng = StdRng::seed_from_u64(1);
    fleet[1] = faults::clock_skew(&fleet[1], 7_200_000, true, &mut rng).readings;
    assert_eq!(lost_by(&check, &fleet), [0, 2_880, 0, 0, 0]);
    fleet_conforms(&check, &Quantity::new("temperature", "Cel"), &fleet);
}

/// Two weeks of days that warm and cool by ten degrees, a reading every so many hours, each device at a minute of
/// its own.
fn seldom(seed: u64, hours: u32) -> Vec<Reading> {
    let mut rng = StdRng::seed_from_u64(seed);
    let phase = rng.gen_range(0..60 * hours);
    let mut of = |n: u32| {
        let minute = 60 * hours * n + phase;
        let of_day = i64::from(minute % 1_440);
        let half = of_day.min(1_440 - of_day);
        let value = Decimal::new(1_000 + half * 1_000 / 720 + rng.gen_range(-20..20), -2).unwrap();
        at("temperature", "Cel", value, minute)
    };
    located((0..14 * 24 / hours).map(&mut of).collect(), 0)
}

#[test]
fn a_clock_that_is_off_by_more_than_its_interval_shows_also_where_all_measure_seldom() {
    let check = Skew::new("temperature", "Cel", QUARTER, 12, 7, 1);
    for hours in [1, 2, 3] {
        let mut fleet: Vec<Vec<Reading>> = (0..8).map(|seed| seldom(seed, hours)).collect();
        assert_eq!(lost_by(&check, &fleet), [0; 8], "every {hours} h");
        let mut rng = StdRng::seed_from_u64(1);
        let ahead = 2 * 3_600_000 * i64::from(hours);
        fleet[1] = faults::clock_skew(&fleet[1], ahead, true, &mut rng).readings;
        let mut lost = [0; 8];
        lost[1] = fleet[1].len();
        assert_eq!(lost_by(&check, &fleet), lost, "every {hours} h");
        if hours == 3 {
            fleet_conforms(&check, &Quantity::new("temperature", "Cel"), &fleet);
        }
    }
}

#[test]
fn a_sensor_that_is_wrong_for_a_while_is_not_late() {
    let check = Skew::new("temperature", "Cel", QUARTER, 12, 7, 1);
    let mut fleet = fleet();
    for reading in
        fleet[1].iter_mut().filter(|it| it.quantity().name() == "temperature").skip(600).take(96)
    {
        let twice = Decimal::new(2 * reading.value().mantissa(), reading.value().exponent());
        *reading = Reading::new(reading.quantity().clone(), twice.unwrap(), reading.at());
    }
    assert_eq!(lost_by(&check, &fleet), [0; 5]);
}

#[test]
fn ten_devices_in_a_cell_for_two_earn_as_much_as_two() {
    let check = Density::new(7, 2);
    let crowd: Vec<Vec<Reading>> = (0..10).map(|seed| located(day(seed, 0), 0)).collect();
    let kept: usize = lost_by(&check, &crowd).iter().map(|lost| 2_880 - lost).sum();
    assert!(kept.abs_diff(2 * 2_880) <= 10, "{kept}");
    assert_eq!(lost_by(&check, &crowd[..2]), [0, 0]);
    assert_eq!(lost_by(&check, &[day(1, 0)]), [1_440], "without a place nothing is earned");
    fleet_conforms(&check, &Quantity::new("temperature", "Cel"), &crowd);
}

#[test]
fn idle_devices_crowd_nobody_out() {
    let check = Density::new(7, 10);
    let mut crowd: Vec<Vec<Reading>> = (0..10).map(|seed| located(day(seed, 0), 0)).collect();
    // A measurement, to be there.
    crowd.extend((0..90).map(|seed| located(day(seed, 0), 0)[..2].to_vec()));
    let lost = lost_by(&check, &crowd);
    assert!(lost[..10].iter().all(|lost| *lost < 2_880 / 100), "{lost:?}");
}

#[test]
fn signed_coordinates_count_as_a_place() {
    let check = Density::new(7, 1);
    let mut readings = day(1, 0);
    readings.extend(fix(470_000_000, 110_000_000, 0));
    let cell = located(day(2, 0), 0);
    assert_eq!(lost_by(&check, &[readings.clone()]), [0]);
    assert!(lost_by(&check, &[readings, cell]).iter().all(|lost| *lost > 0));
}
