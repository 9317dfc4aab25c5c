//! Simulations: every unit is accounted for, and the same table comes out every time.

use depin_core::{Amount, ErrorKind, Timestamp};
use depin_payment::{
    ProRata,
    credits::Backstop,
    emission::{Curve, Schedule},
    tokenomics::{
        Kind, MAX_DEVICES, MAX_PERIODS, Market, Period, Policy, Rewarded, Scenario, Series,
        of_revenue, reward, simulate,
    },
};
use proptest::prelude::*;

fn scenario() -> Scenario {
    Scenario {
        devices: Series::growing(500, 30_000, 20_000).noisy(1, 200),
        revenue: Series::growing(1_000_000_000, 20_000, 50_000_000_000).noisy(2, 2_000),
        price: Series::constant(150_000).noisy(3, 3_000),
        device_cost: 200_000_000,
        running_cost: 300_000,
    }
}

fn policy() -> Policy {
    let backstop = Backstop::new(30_000, 5_000, (7, 10)).unwrap();
    Policy { supply: Amount::tokens(10_000_000), devices: 7_000, backstop: Some((13, backstop)) }
}

fn years(years: usize) -> Vec<Period> {
    let curve = Curve::halving(Amount::tokens(50_000), 104).unwrap();
    simulate(&scenario(), &policy(), years * 52, |period, _| curve.at(period), of_revenue(9_000))
        .unwrap()
}

#[test]
fn supply_is_what_was_minted_and_reissued_less_what_was_burned() {
    let mut supply = policy().supply;
    let table = years(10);
    assert_eq!(table.len(), 520);
    for (period, number) in table.iter().zip(0..) {
        assert_eq!(period.number, number);
        let issued = period.minted.checked_add(period.reissued).unwrap();
        supply = supply.checked_add(issued).unwrap().checked_sub(period.burned).unwrap();
        assert_eq!(period.supply, supply);
    }
    let sum = |part: fn(&Period) -> Amount| Amount::sum(table.iter().map(part)).unwrap();
    assert!(sum(|period| period.reissued) <= sum(|period| period.burned));
}

#[test]
fn what_a_period_burns_is_given_back_from_the_next_one_on() {
    let none = |_, _: &[Period]| Ok(Amount::ZERO);
    let scenario = Scenario { revenue: Series::constant(1_000_000_000), ..scenario() };
    let table = simulate(&scenario, &policy(), 3, none, of_revenue(9_000)).unwrap();
    assert!(!table[0].burned.is_zero() && table[0].reissued.is_zero());
    let released = table[0].burned.mul_div(1.into(), 13.into()).unwrap();
    assert!(!table[1].reissued.is_zero() && table[1].reissued <= released);
}

#[test]
fn small_numbers_grow_too_and_noise_goes_both_ways() {
    let grown: Vec<_> = Series::growing(19, 50_000, 10_000).values().take(4).collect();
    assert_eq!(grown, [19, 19, 20, 21], "19.95, 20.9475, 21.99...");
    let noisy: Vec<_> = Series::constant(10).noisy(7, 1_000).values().take(200).collect();
    assert!(noisy.contains(&9) && noisy.contains(&10) && noisy.contains(&11));
}

#[test]
fn the_same_scenario_gives_the_same_table() {
    assert_eq!(years(3), years(3));
}

#[test]
fn a_device_pays_for_itself_when_it_has_earned_its_cost() {
    let scenario = Scenario {
        devices: Series::constant(10),
        revenue: Series::constant(0),
        price: Series::constant(1_000_000),
        device_cost: 25_000_000,
        running_cost: 2_000_000,
    };
    let policy = Policy { supply: Amount::ZERO, devices: 10_000, backstop: None };
    // Ten tokens per device, of which eight are left: paid back in the fourth period.
    let table =
        simulate(&scenario, &policy, 6, |_, _| Ok(Amount::tokens(100)), of_revenue(0)).unwrap();
    assert_eq!(table[0].income_fiat, 10_000_000);
    let paybacks: Vec<_> = table.iter().map(|period| period.payback).collect();
    assert_eq!(paybacks, [Some(4), Some(4), Some(4), None, None, None]);
}

fn paybacks(period: &Rewarded) -> Vec<Option<u64>> {
    period.kinds.iter().map(|kind| kind.payback).collect()
}

#[test]
fn kinds_of_devices_earn_what_the_policy_of_a_network_pays_them() {
    let kind = |devices: Series, score| Kind {
        devices,
        score: Series::constant(score),
        device_cost: 10_000_000,
        running_cost: 0,
    };
    let kinds = [kind(Series::steps([(0, 3), (2, 1)]), 10), kind(Series::constant(2), 5)];
    let price = Series::constant(1_000_000);
    let curve = Curve::table([(0, Amount::tokens(80)), (1, Amount::tokens(40))]).unwrap();
    let schedule = Schedule::new(Timestamp::EPOCH, 1, Amount::tokens(150), curve).unwrap();
    let table = reward(&kinds, &price, &ProRata::along(schedule), 4).unwrap();
    let incomes = table.iter().map(|period| [period.kinds[0].income, period.kinds[1].income]);
    let expected = [[20, 10], [10, 5], [15, 7], [0, 0]]; // pools of 80, 40, 30 and nothing
    for (income, expected) in incomes.zip(expected) {
        assert_eq!(income[0], Amount::tokens(expected[0]));
        assert!(income[1] >= Amount::tokens(expected[1]));
    }
    for period in &table {
        let paid = Amount::sum(period.kinds.iter().map(|kind| kind.paid)).unwrap();
        assert_eq!(paid, period.emission);
    }
    assert_eq!(paybacks(&table[0]), [Some(1), Some(1)]);
    assert_eq!(paybacks(&table[1]), [Some(1), Some(2)]);
    assert_eq!(paybacks(&table[3]), [None, None]);

    let capped = ProRata::per_epoch(Amount::tokens(80)).within(Amount::ZERO, Amount::tokens(12));
    let capped = reward(&kinds, &price, &capped, 1).unwrap();
    assert_eq!(capped[0].unallocated, Amount::tokens(80 - 5 * 12));

    let many = [kind(Series::constant(MAX_DEVICES + 1), 1)];
    let none = ProRata::per_epoch(Amount::ZERO);
    assert_eq!(reward(&many, &price, &none, 1).unwrap_err().kind(), ErrorKind::Limit);
    let long = reward(&kinds, &price, &none, MAX_PERIODS + 1).unwrap_err();
    assert_eq!(long.kind(), ErrorKind::Limit);
}

#[test]
fn an_emission_may_follow_what_happened_before() {
    let follow = |_, before: &[Period]| {
        Ok(before.last().map_or_else(|| Amount::tokens(1), |period| period.burned))
    };
    let table = simulate(&scenario(), &policy(), 50, follow, of_revenue(9_000)).unwrap();
    assert!(table.array_windows().all(|[a, b]| b.minted == a.burned));
}

#[test]
fn impossible_scenarios_are_refused() {
    let none = |_, _: &[Period]| Ok(Amount::ZERO);
    let run = |scenario: &Scenario, policy: &Policy, periods, share| {
        simulate(scenario, policy, periods, none, of_revenue(share)).map_err(|error| error.kind())
    };
    let (free, poor) = (Scenario { price: Series::constant(0), ..scenario() }, scenario());
    let broke = Policy { supply: Amount::ZERO, ..policy() };
    assert_eq!(run(&free, &policy(), 1, 0), Err(ErrorKind::Rejected));
    assert_eq!(run(&poor, &broke, 1, 9_000), Err(ErrorKind::Rejected));
    assert_eq!(run(&poor, &policy(), MAX_PERIODS + 1, 0), Err(ErrorKind::Limit));
    assert_eq!(run(&poor, &policy(), 1, 10_001), Err(ErrorKind::Config));
    let more = Policy { devices: 10_001, ..policy() };
    assert_eq!(run(&poor, &more, 1, 0), Err(ErrorKind::Config));
    let nobody = Scenario { devices: Series::constant(0), ..poor };
    assert!(run(&nobody, &policy(), 1, 9_000).unwrap()[0].income.is_zero());
}

#[test]
fn a_burn_may_follow_the_market_and_what_happened_before() {
    let curve = Curve::halving(Amount::tokens(50_000), 104).unwrap();
    // All of what is above ten million and a tenth of what the price buys, never more than is minted.
    let burning = |market: &Market<'_>| {
        let above = market.supply.checked_sub(Amount::tokens(10_000_000)).unwrap_or_default();
        assert_eq!(market.before.len() as u64, market.number);
        Ok(market.buys(market.revenue / 10)?.max(above).min(market.minted))
    };
    let table =
        simulate(&scenario(), &policy(), 100, |period, _| curve.at(period), burning).unwrap();
    for period in &table {
        assert_eq!(period.burned, period.minted);
        let least = period.supply.checked_sub(period.reissued).unwrap();
        assert!(least >= policy().supply);
    }
    assert!(table.iter().any(|period| !period.reissued.is_zero()), "the backstop sees any burn");
}

/// The points of a chart's lines, each as the label of its time and its value by the labels of the scale.
#[cfg(feature = "charts")]
fn drawn(svg: &str) -> Vec<Vec<(f64, f64)>> {
    let numbers = |text: &str| -> Vec<f64> {
        let parts = text.split(|c: char| !c.is_ascii_digit() && c != '.');
        parts.filter_map(|part| part.parse().ok()).collect()
    };
    let label = |text: &str| {
        let digits = text.trim_end_matches(['k', 'M', 'G']);
        let thousands = match &text[digits.len()..] {
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            _ => 1.0,
        };
        digits.parse::<f64>().unwrap() * thousands
    };
    let between = |line: &str, from: &str, to: &str| {
        let rest = line.split_once(from).unwrap().1;
        rest.split_once(to).unwrap().0.to_owned()
    };
    // Grid lines: how far down, the value there; how far across, the period there.
    let grid: Vec<_> = svg.lines().filter(|line| line.contains("stroke=\"#ddd\"")).collect();
    let (mut down, mut across) = (Vec::new(), Vec::new());
    for line in grid {
        let [value, period] =
            ["\"end\">", "\"middle\">"].map(|from| label(&between(line, from, "</text>")));
        down.push((numbers(&between(line, "d=\"", "\""))[1], value));
        across.push((numbers(&between(line, "/text><text x=\"", "\""))[0], period));
    }
    let scale = |marks: &[(f64, f64)], at: f64| {
        let [first, last] = [marks[0], marks[marks.len() - 1]];
        first.1 + (at - first.0) * (last.1 - first.1) / (last.0 - first.0)
    };
    let lines = svg.lines().filter(|line| line.contains("stroke-width=\"2\""));
    let points = |line: &str| {
        let path = numbers(&between(line, "d=\"", "\""));
        let point = |xy: &[f64; 2]| (scale(&across, xy[0]), scale(&down, xy[1]));
        path.as_chunks().0.iter().map(point).collect()
    };
    lines.map(points).collect()
}

#[cfg(feature = "charts")]
#[test]
fn what_is_drawn_is_what_the_table_says() {
    use depin_payment::tokenomics::charts;

    let table = years(4);
    let tokens = |amount: Amount| amount.to_string().parse::<f64>().unwrap();
    let agree = |svg: String, expected: Vec<Vec<Option<f64>>>| {
        let drawn = drawn(&svg);
        assert_eq!(drawn.len(), expected.len());
        for (drawn, expected) in drawn.iter().zip(&expected) {
            let expected: Vec<_> =
                (0..).zip(expected).filter_map(|(at, value)| Some((at, (*value)?))).collect();
            let highest = expected.iter().fold(1.0, |most: f64, (_, value)| most.max(*value));
            assert_eq!(drawn.len(), expected.len());
            for ((period, value), (at, exact)) in drawn.iter().zip(expected) {
                assert!((period - f64::from(at)).abs() < 0.3, "period {period}, not {at}");
                assert!((value - exact).abs() < highest / 200.0, "{value}, not {exact} at {at}");
            }
        }
    };
    let of = |value: &dyn Fn(&Period) -> Option<f64>| table.iter().map(value).collect::<Vec<_>>();
    agree(charts::supply(&table), vec![of(&|it| Some(tokens(it.supply)))]);
    let flows = [
        of(&|it| Some(tokens(it.minted))),
        of(&|it| Some(tokens(it.burned))),
        of(&|it| Some(tokens(it.reissued))),
    ];
    agree(charts::flows(&table), flows.into());
    agree(charts::income(&table), vec![of(&|it| Some(it.income_fiat as f64 / 1e6))]);
    agree(charts::payback(&table), vec![of(&|it| it.payback.map(|periods| periods as f64))]);
}

#[cfg(feature = "charts")]
#[test]
fn charts_are_well_formed_and_leave_gaps_where_nothing_is_paid_back() {
    use depin_payment::tokenomics::charts;

    let table = years(4);
    for table in [&table[..], &table[..1], &[]] {
        for svg in [
            charts::supply(table),
            charts::flows(table),
            charts::income(table),
            charts::payback(table),
        ] {
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
            assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
    assert!(charts::flows(&table).contains(">burned</text>"));
    let kind = |score| Kind {
        devices: Series::constant(3),
        score: Series::constant(score),
        device_cost: 1_000_000,
        running_cost: 0,
    };
    let rewards = ProRata::per_epoch(Amount::tokens(90));
    let price = Series::constant(100_000);
    let rewarded = reward(&[kind(2), kind(0)], &price, &rewards, 5).unwrap();
    let names = ["roof & field", "<cellar>"];
    let income = charts::income_by_kind(&rewarded, &names);
    assert!(income.contains("roof &amp; field") && income.contains("&lt;cellar&gt;"), "{income}");
    let payback = charts::payback_by_kind(&rewarded, &names);
    assert!(payback.contains("<path d=\"\""), "the cellar never pays: {payback}");
}

proptest! {
    #[test]
    fn series_never_leave_their_limits(from: u64, per_million: i32, limit: u64, seed: u64, noise in 0u16..=10_000) {
        let smooth = Series::growing(from, per_million, limit);
        let (low, high) = (from.min(limit), from.max(limit));
        prop_assert!(smooth.values().take(200).all(|value| (low..=high).contains(&value)));
        let noisy = smooth.clone().noisy(seed, noise);
        for (exact, value) in smooth.values().zip(noisy.values()).take(200) {
            let most = u128::from(exact) * u128::from(noise) / 10_000 + 1;
            prop_assert!(u128::from(exact.abs_diff(value)) <= most || value == u64::MAX);
        }
    }
}
