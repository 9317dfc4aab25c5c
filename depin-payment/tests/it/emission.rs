//! Emission: known answers, a century of periods, and caps that hold.

use depin_core::{Amount, ErrorKind, Timestamp, U256};
use depin_payment::emission::{Curve, Direction, Schedule, Targeted, samples, target_samples};
use proptest::{collection::vec, prelude::*};

const WEEK: u64 = 604_800;
/// In weeks, so that a period is one.
const CENTURY: u64 = 5_219;

fn units(text: &str) -> Amount {
    Amount::units(U256::from_str_radix(text, 10).unwrap())
}

fn week(n: u64) -> Timestamp {
    Timestamp::from_secs(1_000 + n * WEEK)
}

fn largest() -> Amount {
    Amount::units(U256::from(u128::MAX))
}

#[test]
fn forty_years_of_weekly_limits_equal_the_known_answers() {
    let Some(vectors) = super::vectors("rewards.json") else { return };
    let years = vectors["dimo_week_limit"].as_array().unwrap();
    assert_eq!(years.len(), 40);
    let curve = Curve::geometric(Amount::tokens(1_105_000), 52, 85, 100).unwrap();
    let mut sum = Amount::ZERO;
    for (year, known) in (0u64..).zip(years) {
        let weekly = units(known["weekly"].as_str().unwrap());
        for week in [0, 51] {
            assert_eq!(curve.at(year * 52 + week).unwrap(), weekly, "year {year}");
        }
        sum = sum.checked_add(weekly.mul_div(52.into(), 1.into()).unwrap()).unwrap();
        assert_eq!(curve.span(0, (year + 1) * 52).unwrap(), sum, "year {year}");
    }
}

#[test]
fn halving_stops_at_nothing_and_its_sum_stays_below_twice_the_first_era() {
    let curve = Curve::halving(Amount::from(50), 10).unwrap();
    let amounts = [0, 9, 10, 20, 30, 40, 50, 60, 1_000_000].map(|p| curve.at(p).unwrap());
    assert_eq!(amounts, [50, 50, 25, 12, 6, 3, 1, 0, 0].map(Amount::from));
    assert_eq!(curve.span(0, u64::MAX).unwrap(), Amount::from(970));
}

#[test]
fn a_flat_curve_is_exact_to_the_end_of_time() {
    let span = Curve::flat(largest()).unwrap().span(0, u64::MAX).unwrap();
    assert_eq!(span.to_units(), U256::from(u128::MAX) * U256::from(u64::MAX));
}

#[test]
fn a_curve_that_hardly_decays_ends_after_its_last_era() {
    let curve = Curve::geometric(largest(), 3, (1 << 64) - 1, 1 << 64).unwrap();
    let last = 3 << 20;
    assert!(curve.at(last - 1).unwrap() > Amount::tokens(1));
    assert_eq!(curve.span(last, u64::MAX).unwrap(), Amount::ZERO);
    let flat = Curve::geometric(largest(), 3, 1 << 64, 1 << 64).unwrap();
    assert_eq!(flat.at(u64::MAX - 1).unwrap(), largest());
    assert_eq!(flat.at(u64::MAX).unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn a_table_holds_from_row_to_row_and_its_last_row_for_ever() {
    let curve = Curve::table([(0, 5.into()), (3, 0.into()), (10, 2.into())]).unwrap();
    let amounts = [0, 2, 3, 9, 10, 999].map(|p| curve.at(p).unwrap());
    assert_eq!(amounts, [5, 5, 0, 0, 2, 2].map(Amount::from));
    assert_eq!(curve.span(1, 12).unwrap(), Amount::from(14));
}

#[test]
fn parameters_that_no_contract_takes_are_refused() {
    let one = Amount::from(1);
    let wide = largest().checked_add(one).unwrap();
    let curve = || Curve::flat(one).unwrap();
    for (error, kind) in [
        (Curve::geometric(one, 0, 1, 2).err(), ErrorKind::Config),
        (Curve::geometric(one, 1, 3, 2).err(), ErrorKind::Config),
        (Curve::geometric(one, 1, 0, 0).err(), ErrorKind::Config),
        (Curve::geometric(one, 1, 1, (1 << 64) + 1).err(), ErrorKind::Config),
        (Curve::flat(wide).err(), ErrorKind::Limit),
        (Curve::exponential(one, 0).err(), ErrorKind::Config),
        (Curve::table([]).err(), ErrorKind::Config),
        (Curve::table([(1, one)]).err(), ErrorKind::Config),
        (Curve::table([(0, one), (0, one)]).err(), ErrorKind::Config),
        (Curve::table((0..257).map(|from| (from, one))).err(), ErrorKind::Config),
        (Curve::table([(0, wide)]).err(), ErrorKind::Limit),
        (Schedule::new(week(0), 0, one, curve()).err(), ErrorKind::Config),
        (Schedule::new(week(0), 1, Amount::ZERO, curve()).err(), ErrorKind::Config),
        (Schedule::new(week(0), 1, wide, curve()).err(), ErrorKind::Limit),
        (Targeted::new(Amount::ZERO, 0, Direction::Rising, one).err(), ErrorKind::Config),
        (Targeted::new(one, 10_001, Direction::Rising, one).err(), ErrorKind::Config),
    ] {
        assert_eq!(error.unwrap().kind(), kind);
    }
}

#[test]
fn nothing_is_allowed_before_the_first_period_is_over() {
    let schedule = Schedule::new(week(1), WEEK, largest(), Curve::flat(Amount::from(3)).unwrap());
    let schedule = schedule.unwrap();
    for (now, allowed) in [(Timestamp::from_secs(0), 0), (week(1), 0), (week(2), 3), (week(4), 9)] {
        assert_eq!(schedule.allowed(now).unwrap(), Amount::from(allowed));
    }
    assert_eq!(schedule.mintable(week(4), Amount::from(10)).unwrap(), Amount::ZERO);
}

#[test]
fn a_period_is_reported_once_in_order_and_when_it_is_over() {
    let curve = Curve::flat(Amount::from(100)).unwrap();
    let mut state = Targeted::new(10.into(), 0, Direction::Falling, largest()).unwrap();
    state.report(&curve, 1, Amount::ZERO, 2).unwrap();
    let before = state.clone();
    for (period, completed, kind) in [
        (0, 9, ErrorKind::Conflict),
        (1, 9, ErrorKind::Conflict),
        (2, 2, ErrorKind::Rejected),
        (u64::MAX, u64::MAX, ErrorKind::Rejected),
    ] {
        let error = state.report(&curve, period, Amount::ZERO, completed).unwrap_err();
        assert_eq!(error.kind(), kind);
    }
    assert_eq!(state.report(&curve, 2, Amount::MAX, 9).unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(state, before);
}

#[test]
fn the_samples_cover_every_curve_and_reach_the_cap() {
    assert!(samples().unwrap().len() > 300);
    let targets = target_samples().unwrap();
    assert!(targets.iter().any(|sample| sample.reports.last().unwrap().2 == sample.cap));
}

fn curves() -> impl Strategy<Value = Curve> {
    let amount = any::<u128>().prop_map(|n| Amount::units(U256::from(n)));
    let decay =
        (amount.clone(), 1u64..2_000, any::<u64>(), 1u64..).prop_map(|(initial, every, a, b)| {
            Curve::geometric(initial, every, u128::from(a.min(b)), u128::from(a.max(b))).unwrap()
        });
    let smooth = (amount.clone(), 1u64..10_000)
        .prop_map(|(initial, half_life)| Curve::exponential(initial, half_life).unwrap());
    let table = vec((1u64..4_000, amount), 1..20).prop_map(|rows| {
        let mut from = 0;
        let rows = rows.into_iter().map(|(step, amount)| {
            let row = (from, amount);
            from += step;
            row
        });
        Curve::table(rows.collect::<Vec<_>>()).unwrap()
    });
    prop_oneof![decay, smooth, table]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn over_a_century_of_weeks_no_more_than_allowed_and_never_more_than_the_cap_is_minted(
        curve in curves(),
        cap in 1u128..,
        visits in vec((0..CENTURY, 0u8..=100), 1..12),
    ) {
        let cap = Amount::units(U256::from(cap));
        let schedule = Schedule::new(week(0), WEEK, cap, curve).unwrap();
        let (mut minted, mut allowed_before) = (Amount::ZERO, Amount::ZERO);
        let mut visits = visits;
        visits.sort_unstable();
        for (at, percent) in visits {
            let allowed = schedule.allowed(week(at)).unwrap();
            prop_assert!(allowed >= allowed_before && allowed <= cap);
            let mintable = schedule.mintable(week(at), minted).unwrap();
            let part = mintable.mul_div(u64::from(percent).into(), 100.into()).unwrap();
            minted = minted.checked_add(part).unwrap();
            prop_assert!(minted <= allowed);
            allowed_before = allowed;
        }
    }

    #[test]
    fn a_span_is_the_sum_of_its_parts(curve in curves(), mut cuts in vec(0..CENTURY, 3)) {
        cuts.sort_unstable();
        let [a, b, c] = cuts[..] else { unreachable!("three cuts") };
        let parts = [curve.span(a, b).unwrap(), curve.span(b, c).unwrap()];
        prop_assert_eq!(curve.span(a, c).unwrap(), Amount::sum(parts).unwrap());
        prop_assert_eq!(curve.span(b, b + 1).unwrap(), curve.at(b).unwrap());
    }

    #[test]
    fn decaying_curves_never_rise(initial: u128, half_life in 1u64..5_000, at in 0..CENTURY) {
        let curve = Curve::exponential(Amount::units(U256::from(initial)), half_life).unwrap();
        prop_assert!(curve.at(at + 1).unwrap() <= curve.at(at).unwrap());
        // Half after every half-life, within rounding: 64 places, and a unit per era.
        let half = curve.at(half_life).unwrap().to_units();
        let (exact, slack) = (U256::from(initial / 2), U256::from(initial) >> 48);
        prop_assert!(half <= exact + slack && half + slack + U256::from(half_life) >= exact);
    }

    #[test]
    fn a_target_grants_between_the_floor_and_the_whole_curve(
        curve in curves(), target in 1u128.., floor in 0u16..=10_000, rising: bool,
        reports in vec((0u64..30, any::<u128>()), 1..20),
    ) {
        let direction = if rising { Direction::Rising } else { Direction::Falling };
        let mut state = Targeted::new(Amount::units(U256::from(target)), floor, direction, largest()).unwrap();
        for (skip, measure) in reports {
            let period = state.next() + skip;
            let before = state.granted();
            state.report(&curve, period, Amount::units(U256::from(measure)), period + 1).unwrap();
            prop_assert!(state.granted() >= before);
        }
        let all = curve.span(0, state.next()).unwrap();
        prop_assert!(state.granted() <= all.min(largest()));
        let least = all.mul_div(u64::from(floor).into(), 10_000.into()).unwrap();
        // One unit is lost at most in each of two divisions per report.
        prop_assert!(state.granted().checked_add(40.into()).unwrap() >= least.min(largest()));
    }
}
