//! Copies with noise, rounded, shifted and scaled, and honest sensors that are nearly as alike.

use std::time::Duration;

use depin_core::{Decimal, Reading, Timestamp, quality::FleetCheck, reading::Quantity};
use depin_data::quality::Alike;
use depin_testkit::quality::{fleet_conforms, fleet_findings, fleet_findings_late};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::NOW;

const MINUTE: Duration = Duration::from_secs(60);

fn check() -> Alike {
    Alike::new([("temperature", "Cel", Decimal::new(4, -2).unwrap())], MINUTE)
}

fn reading(hundredths: i64, at: Timestamp) -> Reading {
    let value = Decimal::new(hundredths, -2).unwrap();
    Reading::new(Quantity::new("temperature", "Cel"), value, at)
}

/// Weather that wanders by up to two degrees a minute.
fn weather(seed: u64, minutes: u32) -> Vec<Reading> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut level = 2_000;
    let mut step = |minute| {
        level += rng.gen_range(-200..=200);
        reading(level, NOW.plus(minute * MINUTE))
    };
    (0..minutes).map(&mut step).collect()
}

/// The readings times a factor, each with noise of up to so many hundredths, so many seconds later.
fn copy(of: &[Reading], percent: i64, noise: i64, late: u64) -> Vec<Reading> {
    let mut rng = StdRng::seed_from_u64(9);
    let mut copy = |original: &Reading| {
        let hundredths = i64::try_from(original.value().scaled() / 10_000_000_000).unwrap();
        let noise = rng.gen_range(-noise..=noise);
        let late = Duration::from_secs(late);
        reading(hundredths * percent / 100 + 30 + noise, original.at().plus(late))
    };
    of.iter().map(&mut copy).collect()
}

fn lost(fleet: &[Vec<Reading>]) -> Vec<usize> {
    fleet_findings(&check(), fleet).iter().map(Vec::len).collect()
}

#[test]
fn noise_scale_and_delay_hide_no_copy_and_the_original_keeps_its_points() {
    let honest = weather(3, 600);
    for (percent, late) in [(100, 600), (90, 60), (110, 627), (100, 7_200)] {
        let copied = copy(&honest, percent, 1, late);
        let lost = lost(&[copied, honest.clone(), weather(4, 600)]);
        assert!(lost[0] >= 570 && lost[1..] == [0, 0], "{percent} %, {late} s: {lost:?}");
    }
    let copied = copy(&honest, 100, 1, 600);
    fleet_conforms(&check(), &Quantity::new("temperature", "Cel"), &[copied, honest]);
}

#[test]
fn a_copy_that_is_rounded_is_found_and_the_finding_says_by_what() {
    let honest = weather(3, 600);
    let twentieth = |original: &Reading| {
        let hundredths = i64::try_from(original.value().scaled() / 10_000_000_000).unwrap();
        reading(hundredths.div_euclid(5) * 5, original.at().plus(MINUTE))
    };
    let rounded = honest.iter().map(twentieth).collect();
    let found = fleet_findings(&check(), &[honest, rounded]);
    assert!(found[0].is_empty() && found[1].len() >= 570, "{}", found[1].len());
    let (_, code, detail) = &found[1][0];
    assert_eq!(code, "alike");
    assert!(
        detail.contains("in the batches 0 to 4 of the log before")
            && detail.contains(" windows agree"),
        "{detail}"
    );
}

#[test]
fn a_noisy_copy_that_is_signed_with_earlier_times_was_not_first() {
    let honest = weather(3, 600);
    for minutes in [0, 7, 60] {
        let earlier = |it: &Reading| {
            let at = Timestamp::from_millis(it.at().millis() - 60_000 * minutes);
            Reading::new(it.quantity().clone(), it.value(), at)
        };
        let copied: Vec<Reading> = copy(&honest, 100, 1, 0).iter().map(earlier).collect();
        // It comes a second after the original.
        let late = Duration::from_secs(60 * minutes + 1);
        let found = fleet_findings_late(&check(), &[(late, &copied), (Duration::ZERO, &honest)]);
        assert!(found[0].len() >= 570 && found[1].is_empty(), "{minutes}: {}", found[0].len());
    }
}

#[test]
fn honest_sensors_in_the_same_weather_are_accused_of_nothing() {
    let common = weather(3, 2_000);
    // Each errs by up to a fifth of a degree.
    let sensor = |seed: u64| -> Vec<Reading> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut err = |it: &Reading| {
            let hundredths = i64::try_from(it.value().scaled() / 10_000_000_000).unwrap();
            reading(hundredths + rng.gen_range(-20..=20), it.at())
        };
        common.iter().map(&mut err).collect()
    };
    assert_eq!(lost(&[sensor(1), sensor(2), sensor(3), sensor(4)]), [0; 4]);
    // A coarse sensor shows the same few steps as another one.
    let coarse = |it: &Reading| {
        let hundredths = i64::try_from(it.value().scaled() / 10_000_000_000).unwrap();
        reading((hundredths + 50).div_euclid(100) * 100, it.at())
    };
    let coarse: Vec<Reading> = sensor(5).iter().map(coarse).collect();
    let other = coarse.iter().map(|it| reading(0, it.at())).collect();
    assert_eq!(lost(&[coarse, other]), [0, 0]);
}

#[test]
fn who_was_copied_yesterday_is_no_copier_because_days_resemble_each_other() {
    // Three days that are the same up to a hundredth.
    let mut rng = StdRng::seed_from_u64(5);
    let mut value = |minute: u32| {
        let phase = i64::from(minute % 720);
        let wave = (phase - 360).pow(2) / 200 + (phase % 97 - 48).pow(2) / 10;
        reading(wave + rng.gen_range(-1..=1), NOW.plus(minute * MINUTE))
    };
    let honest: Vec<Reading> = (0..2_160).map(&mut value).collect();
    let found = lost(&[honest.clone(), copy(&honest, 100, 0, 1_200)]);
    assert!(found[0] == 0 && found[1] >= 2_000, "{found:?}");
}

#[test]
fn a_copied_part_costs_about_that_part() {
    let (honest, mut partly) = (weather(5, 900), weather(6, 900));
    partly[300..700].clone_from_slice(&copy(&honest, 100, 1, 60)[300..700]);
    let found = fleet_findings(&check(), &[honest, partly]);
    assert!(found[0].is_empty());
    let positions: Vec<usize> = found[1].iter().map(|found| found.0).collect();
    assert!(
        positions.iter().all(|at| (276..724).contains(at)) && positions.len() >= 370,
        "{positions:?}"
    );
}

#[test]
fn a_copy_is_found_in_a_crowd_that_has_other_weather() {
    let mut fleet: Vec<Vec<Reading>> = (0..150).map(|seed| weather(100 + seed, 400)).collect();
    fleet[70] = copy(&fleet[20], 95, 1, 180);
    let found = lost(&fleet);
    assert!(found[70] >= 370, "{}", found[70]);
    assert_eq!(found.iter().filter(|lost| **lost > 0).count(), 1);
}

#[test]
fn all_readings_of_a_copied_moment_are_lost_when_asked_for() {
    let honest = weather(3, 400);
    let with_dust = |readings: &[Reading]| -> Vec<Reading> {
        let dust = |at| Reading::new(Quantity::new("dust", "ug/m3"), Decimal::from(1), at);
        readings.iter().flat_map(|it| [it.clone(), dust(it.at())]).collect()
    };
    let fleet = [with_dust(&honest), with_dust(&copy(&honest, 100, 1, 60))];
    let temperature = fleet_findings(&check(), &fleet);
    assert!((370..=400).contains(&temperature[1].len()));
    let all = fleet_findings(&check().whole_moments(), &fleet);
    assert_eq!(all[1].len(), 2 * temperature[1].len());
    assert_ne!(check().name(), check().whole_moments().name());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_value_no_time_and_no_note_makes_it_panic(
        values in proptest::collection::vec((any::<i64>(), -18i8..=18, 0u64..=u64::MAX), 0..120),
        note in proptest::collection::vec(any::<u8>(), 0..400),
        every in 0u64..1_000_000_000,
    ) {
        let of = |(mantissa, exponent, at): &(i64, i8, u64)| {
            let value = Decimal::new(*mantissa, *exponent).unwrap_or_default();
            Reading::new(Quantity::new("temperature", "Cel"), value, Timestamp::from_millis(*at))
        };
        let readings: Vec<Reading> = values.iter().map(of).collect();
        let check = Alike::new(
            [("temperature", "Cel", Decimal::new(i64::MIN, 0).unwrap()), ("humidity", "%RH", Decimal::default())],
            Duration::from_millis(every),
        );
        let mut twice = readings.clone();
        twice.reverse();
        fleet_findings(&check, &[readings.clone(), twice, readings]);
        let did = |name: &str| depin_core::Did::parse(name).unwrap();
        check.compare(&vec![(did("did:example:a"), note.clone()), (did("did:example:b"), note)]).unwrap();
    }
}
