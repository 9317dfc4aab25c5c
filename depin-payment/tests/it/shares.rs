//! The largest remainder rule.

use depin_core::{Amount, ErrorKind, U256};
use depin_payment::LargestRemainder;
use proptest::{collection::vec, prelude::*};

fn number(text: &str) -> U256 {
    U256::from_str_radix(text, 10).unwrap()
}

#[test]
fn shares_equal_the_known_answers() {
    let Some(vectors) = super::vectors("rewards.json") else { return };
    let cases = vectors["largest_remainder"].as_array().unwrap();
    assert!(cases.len() > 100);
    for case in cases {
        let pool = Amount::units(number(case["pool"].as_str().unwrap()));
        let weights: Vec<U256> = super::texts(&case["w"]).map(number).collect();
        let expected: Vec<Amount> =
            super::texts(&case["rewards"]).map(|text| Amount::units(number(text))).collect();
        assert_eq!(LargestRemainder::split(pool, &weights).unwrap().shares, expected);
    }
}

#[test]
fn a_pool_without_weight_stays_unallocated() {
    for weights in [vec![], vec![U256::ZERO; 3]] {
        let split = LargestRemainder::split(Amount::from(10), &weights).unwrap();
        assert_eq!(split.shares, vec![Amount::ZERO; weights.len()]);
        assert_eq!(split.unallocated, Amount::from(10));
    }
}

#[test]
fn one_weight_takes_the_largest_pool_whole() {
    let split = LargestRemainder::split(Amount::MAX, &[U256::MAX]).unwrap();
    assert_eq!(split.shares, [Amount::MAX]);
}

#[test]
fn equal_remainders_are_served_from_the_lowest_index() {
    let split = LargestRemainder::split(Amount::from(5), &[U256::from(1); 3]).unwrap();
    assert_eq!(split.shares, [2, 2, 1].map(Amount::from));
}

#[test]
fn weights_past_256_bits_are_refused() {
    let error = LargestRemainder::split(Amount::from(1), &[U256::MAX, U256::from(1)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overflow);
}

fn pools() -> impl Strategy<Value = Amount> {
    prop_oneof![
        (0u64..1000).prop_map(Amount::from),
        any::<[u64; 4]>().prop_map(|[a, b, c, d]| Amount::units(U256::from_limbs([
            a,
            b,
            c,
            d >> 1
        ]))),
    ]
}

fn weights() -> impl Strategy<Value = Vec<U256>> {
    let weight = prop_oneof![Just(0), 0u64..5, any::<u64>()].prop_map(U256::from);
    vec(weight, 1..60)
}

proptest! {
    #[test]
    fn shares_and_the_unallocated_sum_to_the_pool(pool in pools(), weights in weights()) {
        let split = LargestRemainder::split(pool, &weights).unwrap();
        let paid = Amount::sum(split.shares.iter().copied()).unwrap();
        prop_assert_eq!(paid.checked_add(split.unallocated).unwrap(), pool);
        prop_assert_eq!(split.unallocated.is_zero() || paid.is_zero(), true);
    }

    #[test]
    fn every_share_is_within_a_unit_of_its_quota(pool in pools(), weights in weights()) {
        let total: U256 = weights.iter().sum();
        prop_assume!(!total.is_zero());
        let split = LargestRemainder::split(pool, &weights).unwrap();
        for (share, weight) in split.shares.iter().zip(&weights) {
            let floor = pool.mul_div(Amount::units(*weight), Amount::units(total)).unwrap();
            let over = share.checked_sub(floor).unwrap();
            prop_assert!(over <= Amount::from(1));
            prop_assert!(!weight.is_zero() || share.is_zero());
        }
    }
}
