//! Habits of honest devices that look like faults, and the faults among them.

use std::time::Duration;

use depin_core::{Decimal, Reading, quality::QualityCheck, reading::Quantity};
use depin_data::quality::{Clock, Repeat, Stuck};
use depin_testkit::{faults, quality::findings};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::NOW;

const MINUTE: Duration = Duration::from_secs(60);

fn temperature(tenths: i64, at: Duration) -> Reading {
    let value = Decimal::new(tenths, -1).unwrap();
    Reading::new(Quantity::new("temperature", "Cel"), value, NOW.plus(at))
}

/// One value after the other, every so many minutes.
fn every(minutes: u32, tenths: impl IntoIterator<Item = i64>) -> Vec<Reading> {
    let of = |(value, n): (i64, u32)| temperature(value, n * minutes * MINUTE);
    tenths.into_iter().zip(0..).map(of).collect()
}

fn half_hours(tenths: impl IntoIterator<Item = i64>) -> Vec<Reading> {
    every(30, tenths)
}

fn lost(check: &dyn QualityCheck, readings: &[Reading]) -> Vec<usize> {
    let mut lost: Vec<usize> = findings(check, readings).into_iter().map(|found| found.0).collect();
    lost.sort_unstable();
    lost
}

#[test]
fn a_coarse_thermometer_in_slow_water_is_not_stuck_and_a_fine_one_beside_it_is() {
    let check = Stuck::new("temperature", "Cel", 12, 24 * 60 * MINUTE).whole_run();
    let check = check.unless_habitual();
    let mut rng = StdRng::seed_from_u64(1);
    // Half degrees that last four to thirteen hours, and once for forty.
    let mut steps: Vec<i64> = (0..40)
        .flat_map(|n: usize| {
            std::iter::repeat_n([65, 70, 75, 80, 75, 70][n % 6], rng.gen_range(8..=26))
        })
        .collect();
    steps.splice(400..400, std::iter::repeat_n(85, 80));
    assert!(lost(&check, &half_hours(steps.clone())).is_empty());
    let mut fine = |tenths: i64| if tenths == 85 { 85 } else { tenths + rng.gen_range(-9..=9) };
    let fine = half_hours(steps.into_iter().map(&mut fine));
    assert_eq!(lost(&check, &fine), (401..480).collect::<Vec<_>>());
}

/// Tenths of the sky in clouds: broken ones change all the time, an overcast sky lasts.
fn sky(seed: u64, hours: usize) -> Vec<i64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sky = Vec::new();
    while sky.len() < hours {
        let overcast = rng.gen_range(5..60);
        sky.extend(std::iter::repeat_n(100, overcast));
        let broken = rng.gen_range(3..30);
        sky.extend((0..broken).map(|_| 10 * rng.gen_range(0..10)));
    }
    sky.truncate(hours);
    sky
}

#[test]
fn a_value_that_lasts_whenever_it_comes_is_believed_and_another_that_lasts_as_long_is_not() {
    let check = Stuck::new("temperature", "Cel", 12, 360 * MINUTE).whole_run().surprising(32);
    for seed in 0..20 {
        let sky = sky(seed, 960);
        assert!(lost(&check, &half_hours(sky.clone())).is_empty(), "seed {seed}");
        let mut stuck = sky;
        stuck[300..500].fill(40);
        let lost = lost(&check, &half_hours(stuck));
        assert!((301..500).all(|at| lost.contains(&at)), "seed {seed}");
        assert!(lost.len() <= 205, "seed {seed}: {lost:?}");
    }
}

#[test]
fn a_fault_that_comes_back_four_times_is_no_habit() {
    let check = Stuck::new("temperature", "Cel", 12, 360 * MINUTE).whole_run().surprising(32);
    let mut rng = StdRng::seed_from_u64(3);
    let mut values: Vec<i64> = (0..900).map(|_| rng.gen_range(100..150)).collect();
    for start in [100, 300, 500, 700] {
        values[start..start + 40].fill(850);
    }
    assert_eq!(lost(&check, &half_hours(values)).len(), 4 * 39);
}

/// Every five minutes; one in twenty a minute early or late, after which the next make up for it.
fn now_and_then_a_minute(seed: u64, count: u32) -> Vec<Reading> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut of = |n: u32| {
        let off = if rng.gen_ratio(1, 20) { rng.gen_range(0..=2) } else { 1 };
        let value = rng.gen_range(0..500);
        temperature(value, 5 * n * MINUTE + off * MINUTE)
    };
    (0..count).map(&mut of).collect()
}

#[test]
fn a_schedule_that_is_a_minute_off_now_and_then_is_honest_and_a_clock_that_was_set_is_not() {
    let check = Clock::every(5 * MINUTE, 5 * MINUTE / 8);
    for seed in 0..20 {
        let honest = now_and_then_a_minute(seed, 600);
        assert!(lost(&check, &honest).is_empty(), "seed {seed}");
        let ahead = if seed % 2 == 0 { 150_000 } else { -150_000 };
        let mut rng = StdRng::seed_from_u64(seed);
        let faulty = faults::clock_skew(&honest, ahead, false, &mut rng);
        let lost = lost(&check, &faulty.readings);
        let labelled = (0..600).filter(|at| faulty.labels[*at]);
        let (found, all) = labelled
            .fold((0, 0), |(found, all), at| (found + usize::from(lost.contains(&at)), all + 1));
        assert!(found * 100 >= all * 95, "seed {seed}: {found} of {all}");
        assert!(lost.len() <= found + 4, "seed {seed}");
    }
}

#[test]
fn a_replayed_day_does_not_cost_the_night_after_it_though_it_had_a_moment_of_light() {
    let check = Repeat::new([("temperature", "Cel")]);
    let day = |seed: u64, light: i64| -> Vec<i64> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut day: Vec<i64> = (0..72).map(|_| rng.gen_range(100..900)).collect();
        day.extend([0; 72]);
        // Two hours before dawn.
        day[132] = light;
        day
    };
    // The light shows on the first morning and again on the one after the replay.
    let days = [day(1, 2), day(2, 0), day(3, 0), day(1, 2), day(4, 0), day(5, 0)].concat();
    let lost = lost(&check, &every(10, days));
    let replayed = 3 * 144..3 * 144 + 72;
    assert!(replayed.clone().skip(1).all(|at| lost.contains(&at)), "{lost:?}");
    assert!(lost.iter().all(|at| (replayed.start - 1..=replayed.end + 1).contains(at)), "{lost:?}");
}

/// Tenths of a sky that is overcast for days and half covered for an hour or two, again and again.
fn dull_sky(seed: u64, hours: usize) -> Vec<i64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sky = Vec::new();
    while sky.len() < hours {
        sky.extend(std::iter::repeat_n(100, rng.gen_range(20..40)));
        for _ in 0..12 {
            let tenths = 10 * rng.gen_range(4..=6);
            sky.extend(std::iter::repeat_n(tenths, rng.gen_range(1..=2)));
        }
    }
    sky.truncate(hours);
    sky
}

#[test]
fn a_value_that_comes_often_and_never_lasts_is_stuck_when_it_does_however_long_others_last() {
    let check = Stuck::new("temperature", "Cel", 12, 360 * MINUTE).whole_run().surprising(32);
    for seed in 0..20 {
        let sky = dull_sky(seed, 960);
        assert!(lost(&check, &half_hours(sky.clone())).is_empty(), "seed {seed}");
        let mut stuck = sky;
        stuck[299..361].fill(100);
        stuck[300..360].fill(50);
        let lost = lost(&check, &half_hours(stuck));
        assert_eq!(lost, (301..360).collect::<Vec<_>>(), "seed {seed}");
    }
}
