//! Checks that look at several quantities, at places, at clocks and at whole fleets.

#[cfg(feature = "geo")]
mod geo;

use std::time::Duration;

use depin_core::{
    Decimal, Reading, Timestamp,
    quality::{FleetCheck, QualityCheck},
    reading::Quantity,
};
use depin_data::quality::{
    Alike, Clock, Copied, Gap, Rate, Relation, Repeat, Spike, Stuck, Travel, presets,
};
use depin_testkit::{
    faults,
    quality::{conforms, findings, fleet_conforms, fleet_findings, fleet_findings_late},
};
use proptest::{collection::vec, prelude::*};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::NOW;

const MINUTE: Duration = Duration::from_secs(60);

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn at(name: &str, unit: &str, value: Decimal, minute: u32) -> Reading {
    Reading::new(Quantity::new(name, unit), value, NOW.plus(minute * MINUTE))
}

fn temperature(value: &str, minute: u32) -> Reading {
    at("temperature", "Cel", decimal(value), minute)
}

fn lost(check: &dyn QualityCheck, readings: &[Reading]) -> Vec<usize> {
    let mut lost: Vec<usize> = findings(check, readings).into_iter().map(|found| found.0).collect();
    lost.sort_unstable();
    lost
}

/// Weather that wanders by up to half a degree a minute.
fn weather(seed: u64, minutes: u32) -> Vec<Reading> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut level = 2_000i64;
    let mut step = |minute| {
        level += rng.gen_range(-50..=50);
        at("temperature", "Cel", Decimal::new(level, -2).unwrap(), minute)
    };
    (0..minutes).map(&mut step).collect()
}

fn device_checks() -> Vec<Box<dyn QualityCheck>> {
    let of = ("temperature", "Cel");
    let ten = || Decimal::from(-10)..=Decimal::from(10);
    vec![
        Box::new(Stuck::new(of.0, of.1, 3, 2 * MINUTE).whole_run()),
        Box::new(Stuck::new(of.0, of.1, 3, 2 * MINUTE).excused(ten())),
        Box::new(Stuck::new(of.0, of.1, 3, 2 * MINUTE).excused_when("suite-stranger", "1", ten())),
        Box::new(Rate::new(of.0, of.1, decimal("5"), 60 * MINUTE)),
        Box::new(Spike::new(of.0, of.1, decimal("5"), 60 * MINUTE)),
        Box::new(Clock::forward()),
        Box::new(Clock::every(MINUTE, MINUTE / 4)),
        Box::new(Clock::every(MINUTE, MINUTE / 4).or_slower()),
        Box::new(Gap::new(of.0, of.1, MINUTE, 2).or_slower()),
        Box::new(Stuck::new(of.0, of.1, 3, 2 * MINUTE).unless_counting()),
        Box::new(
            Relation::new(of, ("suite-stranger", "1"), MINUTE).at_most(decimal("1"), decimal("0")),
        ),
        Box::new(Relation::new(of, ("suite-stranger", "1"), MINUTE).required()),
        Box::new(Repeat::new([of]).bits(6)),
    ]
}

#[test]
fn every_check_conforms() {
    for check in device_checks() {
        conforms(&*check, &Quantity::new("temperature", "Cel"));
    }
    for name in ["latitude", "longitude"] {
        let unit = &name[..3];
        conforms(&Travel::new(decimal("70"), decimal("50")), &Quantity::new(name, unit));
    }
}

#[test]
fn checks_that_judge_differently_have_different_names() {
    let (a, b, of) = (decimal("1"), decimal("2"), ("temperature", "Cel"));
    let line = || Relation::new(of, ("humidity", "%RH"), MINUTE);
    let stuck = || Stuck::new(of.0, of.1, 3, 2 * MINUTE);
    let mut names: Vec<String> = device_checks().iter().map(|check| check.name()).collect();
    names.extend([
        stuck().excused(a..=b).name(),
        stuck().excused(a..=a).excused(b..=b).name(),
        stuck().excused_when(of.0, of.1, a..=b).name(),
        Rate::new(of.0, of.1, a, MINUTE).name(),
        Rate::new(of.0, of.1, b, MINUTE).name(),
        Spike::new(of.0, of.1, a, MINUTE).name(),
        Spike::new(of.0, of.1, a, 2 * MINUTE).name(),
        Clock::every(2 * MINUTE, MINUTE / 4).name(),
        Clock::every(MINUTE, MINUTE / 2).name(),
        line().name(),
        line().at_most(a, b).name(),
        line().at_most(b, a).name(),
        line().at_least(a, b).name(),
        line().at_least(a, b).at_most(a, b).name(),
        line().at_least(a, b).required().name(),
        Repeat::new([of]).name(),
        Repeat::new([of, ("humidity", "%RH")]).name(),
        Repeat::new([("humidity", "%RH"), of]).name(),
        Travel::new(a, b).name(),
        Travel::new(b, a).name(),
        Travel::new(a, b).all_or_nothing(5).name(),
        Copied::new([of]).name(),
        Copied::new([("a", "b")]).name(),
        stuck().unless_habitual().name(),
        Alike::new([(of.0, of.1, a)], MINUTE).name(),
        Alike::new([(of.0, of.1, b)], MINUTE).name(),
        Alike::new([(of.0, of.1, a)], 2 * MINUTE).name(),
    ]);
    #[cfg(feature = "geo")]
    names.extend(geo::names());
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
}

#[test]
fn a_stuck_run_that_is_not_believed_keeps_its_first_reading_only() {
    let check = Stuck::new("temperature", "Cel", 3, 2 * MINUTE).whole_run();
    let readings: Vec<Reading> = ["1", "7", "7", "7", "7", "8", "8"]
        .iter()
        .zip(0..)
        .map(|(v, m)| temperature(v, m))
        .collect();
    assert_eq!(lost(&check, &readings), [2, 3, 4]);
}

#[test]
fn fog_excuses_constancy_and_its_absence_does_not() {
    let wet = decimal("95")..=decimal("100");
    let check =
        Stuck::new("temperature", "Cel", 3, 2 * MINUTE).excused_when("humidity", "%RH", wet);
    let with = |humidity: Option<&str>| {
        let air = |minute| humidity.map(|value| at("humidity", "%RH", decimal(value), minute));
        (0..4)
            .flat_map(|minute| [Some(temperature("7", minute)), air(minute)])
            .flatten()
            .collect::<Vec<_>>()
    };
    assert!(lost(&check, &with(Some("97"))).is_empty());
    assert_eq!(lost(&check, &with(Some("60"))), [4, 6]);
    assert_eq!(lost(&check, &with(None)), [2, 3]);
}

#[test]
fn an_excuse_is_for_devices_that_repeat_themselves_then() {
    let wet = decimal("95")..=decimal("100");
    let check = Stuck::new("temperature", "Cel", 10, 10 * MINUTE)
        .surprising(32)
        .excused_when("humidity", "%RH", wet);
    let series = |humidity: &dyn Fn(u32) -> i32, level: &dyn Fn(u32) -> i32| {
        let moment = |minute: u32| {
            let air = at("humidity", "%RH", Decimal::from(humidity(minute)), minute);
            [air, at("temperature", "Cel", Decimal::from(level(minute)), minute)]
        };
        (0..400).flat_map(moment).collect::<Vec<_>>()
    };
    // It never repeats a value, dry or wet, but for one hour.
    let once = |minute| if (200..260).contains(&minute) { 5 } else { minute as i32 };
    assert_eq!(lost(&check, &series(&|_| 99, &once)).len(), 59 - 9);
    // It never repeats a value when it is dry, and always when it is wet.
    let wet = |minute| if minute < 200 { 50 } else { 99 };
    let habit = |minute| if minute < 200 { minute as i32 } else { minute as i32 / 50 };
    assert!(lost(&check, &series(&wet, &habit)).is_empty());
}

#[test]
fn a_counter_that_stands_still_is_not_stuck() {
    let check = Stuck::new("energy", "Wh", 3, 2 * MINUTE).unless_counting();
    let counted = [1, 2, 5, 5, 5, 5, 5, 9, 10];
    let series = |values: &[i32]| {
        let values = values.iter().zip(0..);
        values.map(|(v, m)| at("energy", "Wh", Decimal::from(*v), m)).collect::<Vec<_>>()
    };
    assert!(lost(&check, &series(&counted)).is_empty());
    assert_eq!(lost(&check, &series(&[5, 2, 1, 5, 5, 5, 5, 1, 9])), [5, 6]);
}

#[test]
fn a_stream_that_is_used_to_stand_still_is_not_stuck() {
    let check = Stuck::new("temperature", "Cel", 3, 10 * MINUTE).whole_run();
    // Half degrees of the sea: runs of twelve to twenty minutes.
    let sea = |minute: u32| temperature(["7", "7.5", "8", "7.5"][minute as usize / 16 % 4], minute);
    let readings: Vec<Reading> = (0..128).map(sea).collect();
    assert!(!lost(&check, &readings).is_empty());
    assert!(lost(&check.clone().unless_habitual(), &readings).is_empty());
    // One that stands still only once is stuck, and so is one that always did.
    let mut once = weather(1, 100);
    once.extend((100..140).map(|minute| temperature("7", minute)));
    assert_eq!(lost(&check.clone().unless_habitual(), &once).len(), 39);
    let always: Vec<Reading> = (0..60).map(|minute| temperature("7", minute)).collect();
    assert_eq!(lost(&check.unless_habitual(), &always).len(), 59);
}

#[test]
fn a_lone_value_among_broken_clouds_is_one_of_them() {
    let check = Spike::new("temperature", "Cel", decimal("5"), 2 * MINUTE);
    let of = |values: &[&str]| -> Vec<Reading> {
        values.iter().zip(0..).map(|(value, minute)| temperature(value, minute)).collect()
    };
    let calm = of(&["10", "11", "12", "11", "30", "11", "12", "11", "10"]);
    assert_eq!(lost(&check, &calm), [4]);
    let clouds = of(&["10", "28", "12", "29", "11", "30", "12", "11", "29", "10"]);
    assert!(lost(&check, &clouds).is_empty());
    // Another lone value nearby does not hide one.
    let two = of(&["10", "11", "30", "11", "12", "31", "12", "11", "10"]);
    assert_eq!(lost(&check, &two), [2, 5]);
}

#[test]
fn a_replayed_day_does_not_cost_the_honest_night_after_it() {
    let check = Repeat::new([("temperature", "Cel")]);
    // Days of twelve hours in readings every ten minutes, and nights of nothing.
    let day = |seed: u64| -> Vec<Decimal> {
        let day = weather(seed, 72).into_iter().map(|reading| reading.value());
        let night = std::iter::repeat_n(Decimal::default(), 72);
        day.chain(night).collect()
    };
    let values = [day(1), day(2), day(1), day(3)].concat();
    let of = |(value, minute): (&Decimal, u32)| at("temperature", "Cel", *value, 10 * minute);
    let readings: Vec<Reading> = values.iter().zip(0..).map(of).collect();
    let lost = lost(&check, &readings);
    assert!((71..=74).contains(&lost.len()), "{lost:?}");
    assert!(lost.iter().all(|at| (287..362).contains(at)), "{lost:?}");
}

#[test]
fn two_nights_of_fog_are_no_replay() {
    let check = Repeat::new([("temperature", "Cel")]);
    let mut readings = weather(1, 300);
    let fog = |from: u32| (from..from + 500).map(|minute| temperature("99.9", minute));
    readings.extend(fog(300));
    readings.extend(weather(2, 1_100).into_iter().skip(800));
    readings.extend(fog(1_100));
    readings.extend(weather(3, 1_900).into_iter().skip(1_600));
    assert!(lost(&check, &readings).is_empty());
}

#[test]
fn no_power_at_night_is_not_stuck() {
    let check = Stuck::new("ac_power", "W", 3, 2 * MINUTE).excused(decimal("-10")..=decimal("5"));
    let power =
        |value: &str| (0..5).map(|m| at("ac_power", "W", decimal(value), m)).collect::<Vec<_>>();
    assert!(lost(&check, &power("0")).is_empty());
    assert_eq!(lost(&check, &power("731")), [2, 3, 4]);
}

#[test]
fn a_fast_walk_of_allowed_steps_is_too_fast_in_the_end() {
    let check = Rate::new("temperature", "Cel", decimal("5"), 10 * MINUTE);
    let walk: Vec<Reading> = (0..10u32).map(|m| temperature(&m.to_string(), m)).collect();
    assert_eq!(lost(&check, &walk), [6, 7, 8, 9]);
    let slow: Vec<Reading> = (0..10u32).map(|m| temperature(&m.to_string(), 3 * m)).collect();
    assert!(lost(&check, &slow).is_empty());
}

#[test]
fn a_lone_value_between_two_that_agree_is_a_spike_and_a_step_is_none() {
    let check = Spike::new("temperature", "Cel", decimal("5"), 2 * MINUTE);
    let series = |values: &[&str]| {
        values.iter().zip(0..).map(|(v, m)| temperature(v, m)).collect::<Vec<_>>()
    };
    assert_eq!(lost(&check, &series(&["1", "1", "9", "2", "2"])), [2]);
    assert_eq!(lost(&check, &series(&["1", "1", "-9", "2", "2"])), [2]);
    assert!(lost(&check, &series(&["1", "1", "9", "9", "9"])).is_empty());
    assert!(lost(&check, &series(&["1", "4", "12", "2", "-6"])).len() <= 1);
}

#[test]
fn a_clock_that_is_set_back_loses_what_it_measures_again() {
    let readings = [0, 1, 2, 1, 2, 3].map(|minute| temperature("1", minute));
    assert_eq!(lost(&Clock::forward(), &readings), [3]);
}

#[test]
fn a_clock_that_is_set_by_half_an_interval_leaves_its_beat() {
    let honest = weather(1, 200);
    let check = Clock::every(MINUTE, MINUTE / 8);
    assert!(lost(&check, &honest).is_empty());
    for seed in 0..8 {
        let ahead = if seed % 2 == 0 { 30_000 } else { -30_000 };
        let mut rng = StdRng::seed_from_u64(seed);
        let faulty = faults::clock_skew(&honest, ahead, false, &mut rng);
        let labelled: Vec<usize> = (0..200).filter(|at| faulty.labels[*at]).collect();
        // One reading is no beat yet.
        if labelled.len() < 199 {
            assert_eq!(lost(&check, &faulty.readings), labelled, "however long it lasts");
        }
    }
}

/// A reading at each of these seconds.
fn at_seconds(seconds: impl IntoIterator<Item = u64>) -> Vec<Reading> {
    let reading = |second| {
        let at = NOW.plus(Duration::from_secs(second));
        Reading::new(Quantity::new("temperature", "Cel"), Decimal::from(1), at)
    };
    seconds.into_iter().map(reading).collect()
}

#[test]
fn a_clock_that_is_set_right_again_is_believed_again() {
    let check = Clock::every(MINUTE, MINUTE / 8);
    let seconds = |n: u64| 60 * n + if (40..70).contains(&n) { 25 } else { 0 };
    assert_eq!(lost(&check, &at_seconds((0..100).map(seconds))), (40..70).collect::<Vec<_>>());
}

#[test]
fn a_timer_that_drifts_or_starts_anew_after_a_silence_keeps_its_points() {
    let check = Clock::every(MINUTE, MINUTE / 8);
    assert!(lost(&check, &at_seconds((0..300).map(|n| 61 * n))).is_empty());
    let restarted = |n: u64| 60 * n + if n < 50 { 0 } else { 1_000 };
    assert!(lost(&check, &at_seconds((0..100).map(restarted))).is_empty());
    assert!(lost(&check, &at_seconds((0..100).map(|n| 7 * n * n))).is_empty(), "no beat at all");
}

#[test]
fn a_device_that_measures_more_seldom_has_a_beat_and_gaps_of_its_own() {
    let hourly =
        |step: u64| at_seconds((0..100).map(move |n| 3_600 * n + if n < 60 { 0 } else { step }));
    let strict = Clock::every(5 * MINUTE, MINUTE);
    assert!(lost(&strict, &hourly(1_800)).is_empty(), "half an hour is six times five minutes");
    assert_eq!(lost(&strict.or_slower(), &hourly(1_800)), (60..100).collect::<Vec<_>>());
    let gap = Gap::new("temperature", "Cel", 5 * MINUTE, 5);
    assert_eq!(lost(&gap, &hourly(0)).len(), 99);
    assert_eq!(lost(&gap.or_slower(), &hourly(36_000)), [60]);
}

#[test]
fn an_inverter_that_gives_more_than_it_takes_loses_and_so_does_one_that_hides_what_it_takes() {
    let check = Relation::new(("ac_power", "W"), ("dc_power", "W"), MINUTE)
        .at_most(decimal("1"), decimal("50"));
    let power = |ac: &str, dc: Option<&str>| {
        let dc = dc.map(|value| at("dc_power", "W", decimal(value), 0));
        [Some(at("ac_power", "W", decimal(ac), 0)), dc].into_iter().flatten().collect::<Vec<_>>()
    };
    assert!(lost(&check, &power("1050", Some("1000"))).is_empty());
    assert_eq!(lost(&check, &power("1050.000001", Some("1000"))), [0]);
    assert!(lost(&check, &power("1050", None)).is_empty());
    assert_eq!(lost(&check.required(), &power("1050", None)), [0]);
}

#[test]
fn a_replayed_stretch_loses_all_of_its_points_and_the_original_none() {
    let honest = weather(2, 600);
    let check = Repeat::new([("temperature", "Cel")]);
    assert!(lost(&check, &honest).is_empty());
    for seed in 0..20 {
        let faulty = faults::replay(&honest, 60, &mut StdRng::seed_from_u64(seed));
        let found = lost(&check, &faulty.readings);
        let missed = (0..600).filter(|at| faulty.labels[*at] && !found.contains(at)).count();
        let extra = found.iter().filter(|at| !faulty.touched[**at]).count();
        assert_eq!((missed, extra <= 1), (0, true), "seed {seed}");
    }
}

#[test]
fn a_day_sent_again_after_another_is_a_replay() {
    let mut rng = StdRng::seed_from_u64(12);
    let usual: Vec<i64> = (0..96).map(|_| rng.gen_range(0..5_000)).collect();
    let other: Vec<i64> = (0..96).map(|_| rng.gen_range(0..5_000)).collect();
    let days = |days: &[&Vec<i64>]| {
        let values = days.iter().flat_map(|day| day.iter()).zip(0u32..);
        let reading =
            |(value, n): (&i64, u32)| at("load", "W", Decimal::new(*value, 0).unwrap(), 15 * n);
        values.map(reading).collect::<Vec<_>>()
    };
    let check = Repeat::new([("load", "W")]);
    let found = lost(&check, &days(&[&usual, &other, &usual]));
    assert!(found.iter().all(|at| *at >= 2 * 96 - 1) && found.len() >= 94, "{found:?}");
}

#[test]
fn a_flat_night_repeated_every_night_is_no_replay() {
    let mut rng = StdRng::seed_from_u64(8);
    let nights: Vec<Reading> = (0..600u32)
        .map(|minute| {
            let day = if minute % 60 < 30 { 0 } else { rng.gen_range(1..5_000) };
            at("ac_power", "W", Decimal::from(day), minute)
        })
        .collect();
    assert!(lost(&Repeat::new([("ac_power", "W")]), &nights).is_empty());
}

fn fix(north: i64, east: i64, second: u32) -> [Reading; 2] {
    let time = NOW.plus(Duration::from_secs(second.into()));
    let of = |name, unit, steps| {
        Reading::new(Quantity::new(name, unit), Decimal::new(steps, -7).unwrap(), time)
    };
    [of("latitude", "lat", north), of("longitude", "lon", east)]
}

/// North at 22 m/s.
fn drive(seconds: u32) -> Vec<Reading> {
    (0..seconds)
        .flat_map(|second| fix(470_000_000 + 2_000 * i64::from(second), 110_000_000, second))
        .collect()
}

#[test]
fn a_teleported_stretch_loses_all_of_its_points_however_long_it_lasts() {
    let check = Travel::new(decimal("70"), decimal("50"));
    let honest = drive(3_000);
    assert!(lost(&check, &honest).is_empty());
    for seed in 0..5 {
        let mut rng = StdRng::seed_from_u64(seed);
        let away = decimal("0.2");
        let faulty = faults::teleport(&honest, away, away, 900, &mut rng);
        let labelled: Vec<usize> = (0..6_000).filter(|at| faulty.labels[*at]).collect();
        assert_eq!(lost(&check, &faulty.readings), labelled, "seed {seed}");
    }
}

#[test]
fn half_a_fix_or_one_off_the_globe_earns_nothing() {
    let check = Travel::new(decimal("70"), decimal("50"));
    let mut readings = drive(3);
    readings.pop();
    assert_eq!(lost(&check, &readings), [4]);
    readings.extend(fix(910_000_000, 0, 10));
    assert_eq!(lost(&check, &readings), [4, 5, 6]);
}

#[test]
fn a_track_of_which_too_much_is_impossible_is_not_believed_at_all() {
    let mut readings = drive(20);
    for second in [3u32, 9, 15] {
        let away = fix(100_000_000, 0, second);
        readings.splice(2 * second as usize..2 * second as usize + 2, away);
    }
    let check = Travel::new(decimal("70"), decimal("50"));
    assert_eq!(lost(&check, &readings).len(), 6);
    assert_eq!(lost(&check.clone().all_or_nothing(10), &readings).len(), 40);
    assert_eq!(lost(&check.all_or_nothing(15), &readings).len(), 6);
}

#[test]
fn copies_lose_their_points_and_the_first_device_keeps_its_own() {
    let check = Copied::new([("temperature", "Cel")]);
    let honest = weather(3, 400);
    let late = faults::clone_stream(&honest, decimal("0.5"), 10 * MINUTE).readings;
    let found = fleet_findings(&check, &[late.clone(), honest.clone(), weather(4, 400)]);
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [400, 0, 0]);
    fleet_conforms(&check, &Quantity::new("temperature", "Cel"), &[late, honest]);
}

#[test]
fn whoever_signs_a_copy_with_earlier_times_was_not_first() {
    let check = Copied::new([("temperature", "Cel")]);
    let honest = weather(3, 400);
    let hour = |reading: &Reading| {
        let earlier = Timestamp::from_millis(reading.at().millis() - 3_600_000);
        Reading::new(reading.quantity().clone(), reading.value(), earlier)
    };
    let backdated: Vec<Reading> = honest.iter().map(hour).collect();
    // It comes a second after the original.
    let late = Duration::from_secs(3_601);
    let found = fleet_findings_late(&check, &[(late, &backdated), (Duration::ZERO, &honest)]);
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [400, 0]);
    assert!(found[0][0].2.contains("in batch 0 of the log first"), "{}", found[0][0].2);
    // Who was offline for days has what nobody else has.
    let days = Duration::from_secs(3 * 86_400);
    let other = weather(4, 400);
    let found = fleet_findings_late(&check, &[(days, &honest), (Duration::ZERO, &other)]);
    assert!(found.iter().all(Vec::is_empty));
}

#[test]
fn of_a_feed_that_is_split_over_ten_identities_one_earns() {
    let check = Copied::new([("temperature", "Cel")]);
    let found = fleet_findings(&check, &vec![weather(3, 400); 10]);
    let found: Vec<usize> = found.iter().map(Vec::len).collect();
    assert_eq!((found[0], &found[1..]), (0, &[400; 9][..]));
}

#[test]
fn a_copy_is_found_behind_many_who_had_a_little_of_it_first() {
    let check = Copied::new([("temperature", "Cel")]);
    let stream = weather(3, 400);
    // Two windows each, and before everybody else.
    let mut fleet: Vec<(Duration, &[Reading])> =
        stream.windows(18).step_by(2).map(|part| (Duration::ZERO, part)).collect();
    let day = Duration::from_secs(86_400);
    fleet.extend([(day, &stream[..]), (2 * day, &stream[..])]);
    let found = fleet_findings_late(&check, &fleet);
    assert_eq!(found.last().map(Vec::len), Some(400));
}

#[test]
fn a_factor_and_an_offset_hide_no_copy_and_noise_accuses_nobody() {
    let check = Copied::new([("temperature", "Cel")]);
    let honest = weather(3, 400);
    let copy = |percent, noise: &str| {
        let change = (decimal("0.5"), decimal(noise));
        let rng = &mut StdRng::seed_from_u64(1);
        faults::clone_scaled(&honest, percent, change, "cell", 10 * MINUTE, rng).readings
    };
    for percent in [60, 97, 150, -100] {
        let found = fleet_findings(&check, &[copy(percent, "0"), honest.clone(), weather(4, 400)]);
        let found: Vec<_> = found.iter().map(Vec::len).collect();
        assert!(found[0] >= 396 && found[1..] == [0, 0], "{percent} %: {found:?}");
    }
    let found = fleet_findings(&check, &[copy(100, "0.05"), honest]);
    assert!(found.iter().all(Vec::is_empty), "as alike as honest neighbours may be");
}

#[test]
fn a_copied_part_costs_that_part() {
    let check = Copied::new([("temperature", "Cel")]);
    let (honest, mut partly) = (weather(5, 400), weather(6, 400));
    let late = faults::clone_stream(&honest, decimal("0"), MINUTE).readings;
    partly[100..200].clone_from_slice(&late[100..200]);
    let found = fleet_findings(&check, &[honest, partly]);
    assert!(found[0].is_empty());
    let positions: Vec<usize> = found[1].iter().map(|found| found.0).collect();
    assert!(
        positions.iter().all(|at| (99..201).contains(at)) && positions.len() >= 98,
        "{positions:?}"
    );
}

#[test]
fn presets_have_distinct_names_and_survive_the_worst_of_streams() {
    let presets = [
        presets::climate(5 * MINUTE),
        presets::energy(15 * MINUTE, decimal("6000")),
        presets::drive(decimal("70")),
        presets::sensor(MINUTE, &[("co2", "ppm"), ("pm2_5", "ug/m3")]),
    ];
    for preset in presets {
        let mut names: Vec<String> = preset.checks.iter().map(|check| check.name()).collect();
        names.extend(preset.fleet.iter().map(|check| check.name()));
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}

#[test]
fn presets_pay_for_measurements_and_for_places_only_where_these_are_the_work() {
    let of = |(name, unit)| at(name, unit, decimal("1"), 0);
    let place = [("latitude", "lat"), ("longitude", "lon"), ("cell", "h3")].map(of);
    let lost = |preset: &presets::Preset, readings: &[Reading]| -> Vec<usize> {
        let found = findings(&*preset.checks[0], readings);
        assert!(found.iter().all(|(_, code, _)| code == "context"), "{found:?}");
        found.into_iter().map(|(at, ..)| at).collect()
    };
    for (preset, work) in [
        (presets::climate(MINUTE), ("temperature", "Cel")),
        (presets::energy(MINUTE, decimal("6000")), ("ac_power", "W")),
        (presets::sensor(MINUTE, &[("co2", "ppm")]), ("co2", "ppm")),
    ] {
        assert_eq!(lost(&preset, &[&place[..], &[of(work)]].concat()), [0, 1, 2]);
    }
    let more = [("speed", "m/s"), ("altitude", "m")].map(of);
    let drive = presets::drive(decimal("70"));
    assert_eq!(lost(&drive, &[&place[..], &more].concat()), [2, 3, 4]);
    // A tracker of a network of its own is paid for what it asks for.
    let tracker = presets::sensor(MINUTE, &[("latitude", "lat"), ("longitude", "lon")]);
    assert_eq!(lost(&tracker, &place), [2]);
}

fn reading() -> impl Strategy<Value = Reading> {
    let names = prop::sample::select(vec![
        ("temperature", "Cel"),
        ("humidity", "%RH"),
        ("ac_power", "W"),
        ("dc_power", "W"),
        ("irradiance", "W/m2"),
        ("latitude", "lat"),
        ("longitude", "lon"),
        ("cell", "h3"),
    ]);
    let time = prop_oneof![any::<u64>(), 0u64..100, Just(u64::MAX), Just(0)];
    let value = prop_oneof![any::<i64>(), -1_000i64..1_000, Just(i64::MIN), Just(i64::MAX)];
    (names, value, -12i8..=6, time).prop_map(|((name, unit), mantissa, exponent, time)| {
        let value = Decimal::new(mantissa, exponent).unwrap_or_default();
        Reading::new(Quantity::new(name, unit), value, Timestamp::from_millis(time))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_value_and_no_time_makes_a_check_panic(fleet in vec(vec(reading(), 0..60), 0..5), every in 0u64..10) {
        let every = Duration::from_millis(every);
        for preset in [presets::climate(every), presets::energy(every, Decimal::new(i64::MAX, 6).unwrap()), presets::drive(decimal("70")), presets::sensor(every, &[("humidity", "%RH")])] {
            for readings in &fleet {
                for check in &preset.checks {
                    findings(&**check, readings);
                }
            }
            for check in &preset.fleet {
                fleet_findings(&**check, &fleet);
            }
        }
        for check in device_checks() {
            for readings in &fleet {
                findings(&*check, readings);
            }
        }
    }

    #[test]
    fn the_order_of_devices_changes_nothing(seed: u64, rotate in 0usize..5) {
        let honest = weather(7, 120);
        let late = |minutes| faults::clone_stream(&honest, decimal("0"), minutes * MINUTE).readings;
        let mut fleet = vec![honest.clone(), late(1), late(2), weather(seed, 120), late(1)];
        let check = Copied::new([("temperature", "Cel")]);
        let lost = |fleet: &[Vec<Reading>]| -> Vec<Vec<usize>> {
            let found = fleet_findings(&check, fleet);
            found.iter().map(|of| of.iter().map(|found| found.0).collect()).collect()
        };
        let mut found = lost(&fleet);
        fleet.rotate_left(rotate);
        found.rotate_left(rotate);
        prop_assert_eq!(lost(&fleet), found);
    }
}
