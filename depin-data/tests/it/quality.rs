//! Which readings lose their point, and above all which do not.

use std::time::Duration;

use depin_core::{
    Batch, Decimal, Reading, Signer, Timestamp, Unverified, Verified, quality::QualityCheck,
    reading::Quantity,
};
use depin_data::{
    batch::BatchVerifier,
    quality::{Bounds, Duplicate, Gap, Jump, Only, Stuck},
};
use proptest::{collection::vec, prelude::*};

use crate::support::{Device, NOW, network};

const MINUTE: Duration = Duration::from_secs(60);

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn temperature(value: &str, minute: u32) -> Reading {
    let quantity = Quantity::new("temperature", "Cel");
    Reading::new(quantity, decimal(value), NOW.plus(minute * MINUTE))
}

/// Readings a minute apart.
fn every_minute(values: &[&str]) -> Vec<Reading> {
    values.iter().zip(0..).map(|(value, minute)| temperature(value, minute)).collect()
}

/// The readings as one batch that a device signed.
fn signed(readings: &[Reading]) -> Verified<Batch> {
    let mut device = Device::new("station", depin_core::Algorithm::EdDsa);
    let batch = device.seal(readings);
    let verifier = BatchVerifier::new(&network(), device.key.public_key());
    Unverified::new(batch).verify(&verifier).unwrap()
}

/// Positions that lose their point.
fn lost(check: &dyn QualityCheck, readings: &[Reading]) -> Vec<usize> {
    let batch = signed(readings);
    check.inspect(&[&batch]).into_iter().map(|finding| finding.reading).collect()
}

fn all_checks() -> Vec<Box<dyn QualityCheck>> {
    let (name, unit) = ("temperature", "Cel");
    vec![
        Box::new(Bounds::new(name, unit, decimal("-60")..=decimal("60"))),
        Box::new(Stuck::new(name, unit, 3, 2 * MINUTE)),
        Box::new(Jump::new(name, unit, decimal("5"), 10 * MINUTE)),
        Box::new(Gap::new(name, unit, MINUTE, 2)),
        Box::new(Duplicate::same_moment()),
        Box::new(Duplicate::within(10 * MINUTE)),
        Box::new(Only::new([(name, unit)])),
    ]
}

#[test]
fn every_check_conforms() {
    for check in all_checks() {
        depin_testkit::quality::conforms(&*check, &Quantity::new("temperature", "Cel"));
    }
}

#[test]
fn checks_that_judge_differently_have_different_names() {
    let (a, b) = (decimal("1"), decimal("2"));
    let mut names: Vec<String> = all_checks().iter().map(|check| check.name()).collect();
    names.extend([
        Bounds::new("temperature", "Cel", a..=b).name(),
        Bounds::new("temperature", "K", a..=b).name(),
        Stuck::new("temperature", "Cel", 4, 2 * MINUTE).name(),
        Stuck::new("temperature", "Cel", 3, 3 * MINUTE).name(),
        Jump::new("temperature", "Cel", a, 10 * MINUTE).name(),
        Jump::new("temperature", "Cel", a, 11 * MINUTE).name(),
        Gap::new("temperature", "Cel", MINUTE, 3).name(),
        Gap::new("temperature", "Cel", 2 * MINUTE, 2).name(),
        Only::new([("temperature Cel", "")]).name(),
        Only::new([("temperature", "Cel"), ("a", "b")]).name(),
        Only::new([("temperature", "Cel")]).beside([("a", "b")]).name(),
        Only::new([("a", "b")]).beside([("temperature", "Cel")]).name(),
    ]);
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
}

#[test]
fn bounds_include_both_ends_and_are_exact() {
    let check = Bounds::new("temperature", "Cel", decimal("-60")..=decimal("60"));
    let values = ["-60", "60", "60.000000000001", "-60.000000000001", "80", "0"];
    assert_eq!(lost(&check, &every_minute(&values)), [2, 3, 4]);
}

#[test]
fn another_unit_is_no_way_around_the_bounds() {
    let check = Bounds::new("temperature", "Cel", decimal("-60")..=decimal("60"));
    let kelvin = Reading::new(Quantity::new("temperature", "K"), decimal("20"), NOW);
    let humidity = Reading::new(Quantity::new("humidity", "%RH"), decimal("99"), NOW);
    assert_eq!(lost(&check, &[kelvin, humidity]), [0]);
}

#[test]
fn a_stuck_sensor_loses_what_is_past_the_allowed_run() {
    let check = Stuck::new("temperature", "Cel", 3, 2 * MINUTE);
    assert_eq!(lost(&check, &every_minute(&["1", "7", "7", "7.0", "7", "8", "8"])), [3, 4]);
}

#[test]
fn a_run_that_is_long_but_brief_or_brief_but_long_is_calm_weather() {
    let often = Stuck::new("temperature", "Cel", 3, 60 * MINUTE);
    assert!(lost(&often, &every_minute(&["7"; 10])).is_empty());
    let rare = Stuck::new("temperature", "Cel", 3, MINUTE);
    assert!(lost(&rare, &[temperature("7", 0), temperature("7", 1000)]).is_empty());
}

#[test]
fn other_quantities_do_not_break_a_run() {
    let check = Stuck::new("temperature", "Cel", 2, MINUTE);
    let humidity = Reading::new(Quantity::new("humidity", "%RH"), decimal("99"), NOW);
    assert_eq!(lost(&check, &[temperature("7", 0), humidity, temperature("7", 1)]), [2]);
}

fn jump() -> Jump {
    Jump::new("temperature", "Cel", decimal("5"), 10 * MINUTE)
}

#[test]
fn a_spike_costs_its_own_point_only() {
    assert_eq!(lost(&jump(), &every_minute(&["10", "11", "80", "11", "12"])), [2]);
    assert_eq!(lost(&jump(), &every_minute(&["10", "11", "80", "81", "11", "12", "12"])), [2, 3]);
}

#[test]
fn a_spike_at_either_end_costs_its_own_point_only() {
    assert_eq!(lost(&jump(), &every_minute(&["80", "10", "11", "12"])), [0]);
    assert_eq!(lost(&jump(), &every_minute(&["10", "11", "12", "-80"])), [3]);
}

#[test]
fn a_change_of_exactly_the_step_is_allowed_and_grows_with_time() {
    assert!(lost(&jump(), &every_minute(&["10", "15", "20"])).is_empty());
    assert_eq!(lost(&jump(), &every_minute(&["10", "15.000000000001"])), [1]);
    let slowly = |minute| [temperature("10", 0), temperature("20", minute)];
    assert!(lost(&jump(), &slowly(20)).is_empty());
    assert_eq!(lost(&jump(), &slowly(19)), [1]);
}

#[test]
fn a_sensor_that_was_moved_is_believed_again_after_a_while() {
    let mut readings: Vec<Reading> = (0..100).map(|minute| temperature("10", minute)).collect();
    readings.extend((100..160).map(|minute| temperature("30", minute)));
    // 20 degrees at 5 per 10 minutes: 40 minutes after the last reading at 10, in minute 99.
    assert_eq!(lost(&jump(), &readings), (100..139).collect::<Vec<_>>());
}

#[test]
fn the_widest_values_and_times_do_not_overflow() {
    let far = Timestamp::from_millis(i64::MAX as u64);
    let quantity = Quantity::new("temperature", "Cel");
    let widest = [i64::MIN, i64::MAX].map(|mantissa| Decimal::new(mantissa, 6).unwrap());
    let readings = [
        Reading::new(quantity.clone(), widest[0], Timestamp::EPOCH),
        Reading::new(quantity, widest[1], far),
    ];
    let steep = Jump::new("temperature", "Cel", widest[0], Duration::MAX);
    for check in all_checks().iter().map(|check| &**check).chain([&steep as _]) {
        lost(check, &readings);
    }
}

#[test]
fn a_gap_costs_the_reading_after_it_and_nothing_else() {
    let check = Gap::new("temperature", "Cel", MINUTE, 2);
    let at = |minutes: &[u32]| {
        minutes.iter().map(|minute| temperature("7", *minute)).collect::<Vec<_>>()
    };
    assert!(lost(&check, &at(&[0, 1, 4, 7])).is_empty(), "two may miss");
    assert_eq!(lost(&check, &at(&[0, 1, 5, 6, 100, 101])), [2, 4]);
    assert_eq!(lost(&check, &at(&[0, 10, 1, 2, 3, 11])), [1], "late readings cost nothing");
}

#[test]
fn of_one_moment_the_first_reading_counts() {
    let readings = [temperature("7", 0), temperature("8", 0), temperature("7", 1)];
    assert_eq!(lost(&Duplicate::same_moment(), &readings), [1]);
    let humidity = Reading::new(Quantity::new("humidity", "%RH"), decimal("99"), NOW);
    assert!(lost(&Duplicate::same_moment(), &[temperature("7", 0), humidity]).is_empty());
}

#[test]
fn sending_more_often_than_a_slot_earns_nothing() {
    let readings: Vec<Reading> = (0..30).map(|minute| temperature("7", minute)).collect();
    let kept = readings.len() - lost(&Duplicate::within(10 * MINUTE), &readings).len();
    assert!(kept == 3 || kept == 4, "{kept}");
}

#[test]
fn quantities_that_nobody_asked_for_earn_nothing() {
    let check = Only::new([("temperature", "Cel")]);
    let junk = Reading::new(Quantity::new("junk", ""), decimal("1"), NOW);
    assert_eq!(lost(&check, &[temperature("7", 0), junk]), [1]);
}

#[test]
fn what_is_needed_beside_the_work_is_told_apart_from_junk_and_earns_nothing() {
    let of = |name, unit| Reading::new(Quantity::new(name, unit), decimal("1"), NOW);
    let check = Only::new([("temperature", "Cel"), ("speed", "m/s")])
        .beside([("cell", "h3"), ("speed", "m/s")]);
    let readings = [temperature("7", 0), of("cell", "h3"), of("cell", "m"), of("speed", "m/s")];
    let batch = signed(&readings);
    let found = check.inspect(&[&batch]);
    let found: Vec<_> = found.iter().map(|it| (it.reading, &*it.code)).collect();
    assert_eq!(found, [(1, "context"), (2, "unexpected")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_steady_stream_with_lone_spikes_loses_exactly_the_spikes(
        steps in vec(-50i64..=50, 12..120),
        spikes in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut level = 0;
        let mut values: Vec<i64> = steps.iter().map(|step| { level += step; level }).collect();
        let mut spiked: Vec<usize> =
            spikes.iter().map(|index| index.index(values.len() / 3) * 3 + 1).collect();
        spiked.sort_unstable();
        spiked.dedup();
        spiked.retain(|at| *at + 1 < values.len());
        for at in &spiked {
            values[*at] += 1_000_000;
        }
        let quantity = Quantity::new("temperature", "Cel");
        let readings: Vec<Reading> = values.iter().zip(0..).map(|(value, minute)| {
            let value = Decimal::new(*value, -1).unwrap();
            Reading::new(quantity.clone(), value, NOW.plus(minute * MINUTE))
        }).collect();
        // Two steps of 5.0 bridge a spike.
        let check = Jump::new("temperature", "Cel", decimal("10"), 10 * MINUTE);
        prop_assert_eq!(lost(&check, &readings), spiked);
    }
}
