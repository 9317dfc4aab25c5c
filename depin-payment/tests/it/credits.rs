//! Credits and the backstop: worked examples, bad prices, and what can never be minted.

use std::time::Duration;

use depin_core::{Amount, ErrorKind, Timestamp, U256};
use depin_payment::credits::{
    Backstop, Credits, FixedPrice, Price, PriceSource, SmoothedBurn, Usage,
};
use proptest::{collection::vec, prelude::*};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);

/// A token of 8 decimals, prices with exponent -8, and credits of 0.00001 dollars.
fn credits() -> Credits {
    Credits::new(8, 5, MINUTE)
}

fn dollars(cents: i64) -> Price {
    Price::new(cents * 1_000_000, 0, -8, NOW)
}

/// Whole tokens of 8 decimals.
fn coins(tokens: u64) -> Amount {
    Amount::from(tokens * 100_000_000)
}

/// A network whose customers use credits for 9,100 dollars a day.
fn usage(smoothed_burn: Amount) -> Usage {
    Usage { credits: U256::from(910_000_000), smoothed_burn, emission: Amount::ZERO }
}

fn backstop() -> Backstop {
    Backstop::new(30_000, 5_000, (1, 1)).unwrap()
}

#[test]
fn credits_follow_the_lower_bound_of_the_price() {
    let price = Price::new(250_000_000, 5_000_000, -8, NOW); // 2.50 give or take 0.05
    assert_eq!(credits().bought(coins(1), &price, NOW).unwrap(), U256::from(240_000));
    assert_eq!(credits().bought(Amount::from(1), &price, NOW).unwrap(), U256::ZERO);
    assert_eq!(credits().cost(U256::from(1), &price, NOW).unwrap(), Amount::from(417));
}

#[test]
fn the_ceiling_is_three_times_the_revenue() {
    let much = coins(10_000_000);
    for (cents, tokens) in [(100, 27_300), (250, 10_920)] {
        let reissue = backstop().reissue(&credits(), &usage(much), &dollars(cents), NOW).unwrap();
        assert_eq!(reissue.re_emission, coins(tokens));
        assert_eq!(reissue.top_up, Amount::ZERO);
    }
    let little = coins(5);
    let reissue = backstop().reissue(&credits(), &usage(little), &dollars(100), NOW).unwrap();
    assert_eq!(reissue.re_emission, little);
}

#[test]
fn the_floor_is_half_of_the_revenue() {
    // At ten cents half of the revenue is 45,500 tokens; a ceiling of nothing leaves all to the floor.
    let floor = Backstop::new(0, 5_000, (1, 1)).unwrap();
    let reissue = floor.reissue(&credits(), &usage(coins(10_000_000)), &dollars(10), NOW).unwrap();
    assert_eq!((reissue.re_emission, reissue.top_up), (Amount::ZERO, coins(45_500)));
    // Providers get half of what is emitted, so it takes twice as much, less what they get anyway.
    let half = Backstop::new(0, 5_000, (1, 2)).unwrap();
    let usage = Usage { emission: coins(1_000), ..usage(coins(10_000_000)) };
    let reissue = half.reissue(&credits(), &usage, &dollars(10), NOW).unwrap();
    assert_eq!(reissue.top_up, coins(90_000));
    // Never more than was burned, and nothing when no provider would get it.
    let usage = Usage { smoothed_burn: coins(7), ..usage };
    assert_eq!(half.reissue(&credits(), &usage, &dollars(10), NOW).unwrap().top_up, coins(7));
    let none = Backstop::new(0, 5_000, (0, 1)).unwrap();
    assert_eq!(none.reissue(&credits(), &usage, &dollars(10), NOW).unwrap().top_up, Amount::ZERO);
}

#[test]
fn prices_that_nothing_can_be_bought_at_are_refused() {
    let future = Timestamp::from_secs(1_000_061);
    for (price, kind) in [
        (Price::new(0, 0, -8, NOW), ErrorKind::Rejected),
        (Price::new(-5, 0, -8, NOW), ErrorKind::Rejected),
        (Price::new(i64::MIN, u64::MAX, -8, NOW), ErrorKind::Rejected),
        (Price::new(10, 5, -8, NOW), ErrorKind::Rejected),
        (Price::new(10, u64::MAX, -8, NOW), ErrorKind::Rejected),
        (Price::new(10, 0, -8, Timestamp::from_secs(999_939)), ErrorKind::Unavailable),
        (Price::new(10, 0, -8, future), ErrorKind::Unavailable),
        (Price::new(10, 0, -74, NOW), ErrorKind::Malformed),
        (Price::new(10, 0, i32::MIN, NOW), ErrorKind::Malformed),
        (Price::new(10, 0, i32::MAX, NOW), ErrorKind::Malformed),
        (Price::new(i64::MAX, 0, 79, NOW), ErrorKind::Overflow),
    ] {
        let bought = credits().bought(coins(1), &price, NOW).unwrap_err();
        let cost = credits().cost(U256::MAX, &price, NOW).unwrap_err();
        let given = backstop().reissue(&credits(), &usage(coins(1)), &price, NOW).unwrap_err();
        assert_eq!([bought.kind(), cost.kind(), given.kind()], [kind; 3], "{price:?}");
    }
    assert!(Price::new(10, 0, -8, future).fresh(NOW, MINUTE).unwrap_err().is_retryable());
}

/// The values that the contract's tests have too.
#[test]
fn a_burn_is_released_as_the_contract_does() {
    let mut burn = SmoothedBurn::over(4).unwrap();
    assert_eq!(burn.period(100.into()).unwrap(), 25.into());
    for released in [18, 14, 10, 8, 6, 4, 3, 3, 2, 1, 1_u64] {
        assert_eq!(burn.period(Amount::ZERO).unwrap(), released.into());
    }
}

#[test]
fn settings_without_meaning_are_refused() {
    assert_eq!(SmoothedBurn::over(0).unwrap_err().kind(), ErrorKind::Config);
    for providers in [(1, 0), (2, 1)] {
        assert_eq!(Backstop::new(1, 1, providers).unwrap_err().kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn a_fixed_price_is_a_source_that_does_not_judge() {
    let stale = Price::new(-1, 0, 0, Timestamp::from_secs(0));
    assert_eq!(FixedPrice::new(stale).price().await.unwrap(), stale);
}

proptest! {
    #[test]
    fn no_more_is_ever_given_back_than_was_burned(
        days in vec((any::<u64>(), any::<u64>(), any::<u64>(), 1i64.., 0u64..1_000), 1..60),
        window in 1u64..40, ceiling: u32, floor: u32, part in 0u64..=100,
    ) {
        let backstop = Backstop::new(ceiling, floor, (part, 100)).unwrap();
        let mut smoothed = SmoothedBurn::over(window).unwrap();
        let (mut burned, mut given) = (Amount::ZERO, Amount::ZERO);
        for (burn, credits_used, emission, price, confidence) in days {
            burned = burned.checked_add(burn.into()).unwrap();
            let smoothed_burn = smoothed.period(burn.into()).unwrap();
            let usage = Usage { credits: U256::from(credits_used), smoothed_burn, emission: emission.into() };
            let price = Price::new(price, confidence, -8, NOW);
            if let Ok(reissue) = backstop.reissue(&credits(), &usage, &price, NOW) {
                let both = reissue.re_emission.checked_add(reissue.top_up).unwrap();
                prop_assert!(both <= smoothed_burn);
                given = given.checked_add(both).unwrap();
            }
            prop_assert!(given.checked_add(smoothed.held()).unwrap() <= burned);
        }
    }

    #[test]
    fn what_is_paid_for_credits_buys_them_and_a_unit_less_does_not(
        wanted in 1u64.., price in 1i64.., exponent in -12i32..3,
    ) {
        let price = Price::new(price, 0, exponent, NOW);
        let cost = credits().cost(U256::from(wanted), &price, NOW).unwrap();
        prop_assert!(credits().bought(cost, &price, NOW).unwrap() >= U256::from(wanted));
        let less = cost.checked_sub(1.into()).unwrap();
        prop_assert!(credits().bought(less, &price, NOW).unwrap() < U256::from(wanted));
    }
}
