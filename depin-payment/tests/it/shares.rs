//! The largest remainder rule.

use depin_core::{Address, Amount, ErrorKind, U256};
use depin_payment::{
    LargestRemainder,
    shares::{
        self, RoundDown, Shares,
        bounded::{Recipient, share},
        carry::{Carry, Pot},
        classes::{Class, Classes, Parties, basis_points},
    },
};
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
fn shares_rounded_down_equal_those_of_a_network_that_rounds_so() {
    let Some(vectors) = super::vectors("rewards.json") else { return };
    let cases = vectors["helium_data_transfer"].as_array().unwrap();
    assert_eq!(cases.len(), 200);
    for case in cases {
        let units = |field: &str| Amount::units(number(case[field].as_str().unwrap()));
        let weights: Vec<U256> = super::texts(&case["dc"]).map(number).collect();
        let expected: Vec<Amount> =
            super::texts(&case["rewards"]).map(|text| Amount::units(number(text))).collect();
        let split = RoundDown::split(units("pool"), &weights).unwrap();
        assert_eq!((split.shares, split.unallocated), (expected, units("unallocated")));
    }
}

#[test]
fn basis_points_and_a_residual_give_the_known_splits() {
    let Some(vectors) = super::vectors("rewards.json") else { return };
    let cases = vectors["helium_split"].as_array().unwrap();
    assert_eq!(cases.len(), 200);
    for case in cases {
        let units = |field: &str| Amount::units(number(case[field].as_str().unwrap()));
        let providers = basis_points(units("total"), 2_400).unwrap().min(units("issued"));
        assert_eq!(providers, units("service_provider"));
        assert_eq!(units("issued").checked_sub(providers).unwrap(), units("data_transfer"));
    }
}

#[test]
fn floors_that_the_pool_does_not_cover_are_served_in_proportion() {
    let recipients = [(1, 30), (0, 10)].into_iter().enumerate();
    let recipients = recipients.map(|(key, (weight, floor))| {
        Recipient::new(key, U256::from(weight)).at_least(Amount::from(floor))
    });
    let split = share(Amount::from(20), recipients.collect()).unwrap();
    assert_eq!(split.shares, [(0, Amount::from(15)), (1, Amount::from(5))]);
    assert!(split.unallocated.is_zero());
}

#[test]
fn what_caps_leave_over_is_unallocated() {
    let capped = |key, cap| Recipient::new(key, U256::from(1)).at_most(Amount::from(cap));
    let split = share(Amount::MAX, vec![capped("a", 3), capped("b", 4)]).unwrap();
    assert_eq!(split.shares, [("a", Amount::from(3)), ("b", Amount::from(4))]);
    assert_eq!(split.unallocated, Amount::MAX.checked_sub(Amount::from(7)).unwrap());
}

#[test]
fn the_largest_amounts_are_shared_exactly() {
    let half = U256::from(1) << 255;
    let all = [("a", half - U256::from(1)), ("b", half)];
    let recipients = all.map(|(key, weight)| Recipient::new(key, weight).at_least(Amount::from(1)));
    let split = share(Amount::MAX, recipients.to_vec()).unwrap();
    assert_eq!(split.shares, all.map(|(key, weight)| (key, Amount::units(weight))));
}

#[test]
fn a_recipient_alone_takes_the_pool_and_nobody_takes_nothing() {
    let split = share(Amount::MAX, vec![Recipient::new(0, U256::MAX)]).unwrap();
    assert_eq!(split.shares, [(0, Amount::MAX)]);
    for nobody in [vec![], vec![Recipient::new(0, U256::ZERO)]] {
        assert_eq!(share(Amount::from(9), nobody).unwrap().unallocated, Amount::from(9));
    }
}

#[test]
fn a_recipient_listed_twice_or_with_crossed_bounds_is_refused() {
    let twice = vec![Recipient::new(0, U256::from(1)), Recipient::new(0, U256::from(1))];
    let plain = vec![(0, U256::from(1)); 2];
    assert_eq!(shares::by_key(Amount::from(9), plain).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(share(Amount::from(9), twice).unwrap_err().kind(), ErrorKind::Conflict);
    let crossed = Recipient::new(0, U256::from(1)).at_least(2.into()).at_most(1.into());
    assert_eq!(share(Amount::from(9), vec![crossed]).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn many_recipients_are_shared_with_alike_in_any_order() {
    // Enough for several threads.
    let mut recipients: Vec<_> = (0..20_000_u64).map(|key| (key, U256::from(key % 97))).collect();
    let weights: Vec<U256> = recipients.iter().map(|(_, weight)| *weight).collect();
    let plain = LargestRemainder::split(Amount::tokens(1), &weights).unwrap().shares;
    recipients.reverse();
    recipients.rotate_left(7_777);
    let split = shares::by_key(Amount::tokens(1), recipients).unwrap();
    assert_eq!(split.shares, (0..).zip(plain).collect::<Vec<_>>());
}

#[test]
fn classes_that_do_not_sum_to_the_whole_are_refused() {
    for wrong in [vec![], vec![(Class::Owner, 9_999)], vec![(Class::Owner, 5_000); 2]] {
        assert_eq!(Classes::new(wrong).unwrap_err().kind(), ErrorKind::Config);
    }
}

#[test]
fn an_absent_class_leaves_its_part_to_the_others() {
    let classes =
        Classes::new([(Class::Device, 1_000), (Class::Owner, 6_000), (Class::Delegators, 3_000)])
            .unwrap();
    let owner = Address::repeat_byte(1);
    let unstaked = vec![(Address::repeat_byte(2), U256::ZERO)];
    let parties = Parties { owner: Some(owner), delegators: unstaked, ..Parties::default() };
    let (parts, unallocated) = classes.split(Amount::MAX, &parties).unwrap();
    assert_eq!(parts.len(), 1);
    assert_eq!((parts[0].account, parts[0].amount), (owner, Amount::MAX));
    assert!(unallocated.is_zero());
    let (parts, unallocated) = classes.split(Amount::MAX, &Parties::default()).unwrap();
    assert_eq!((parts, unallocated), (vec![], Amount::MAX));
}

#[test]
fn a_delegator_listed_twice_is_a_conflict() {
    let classes = Classes::new([(Class::Delegators, 10_000)]).unwrap();
    let delegators = vec![(Address::ZERO, U256::from(1)), (Address::ZERO, U256::from(2))];
    let error = classes.split(Amount::from(9), &Parties { delegators, ..Parties::default() });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn more_than_was_offered_cannot_be_carried() {
    let mut pot = Pot::new(Carry::Roll);
    let error = pot.close(Amount::from(1), Amount::from(2)).unwrap_err();
    assert_eq!((error.kind(), pot.carried()), (ErrorKind::Rejected, Amount::ZERO));
    pot.close(Amount::MAX, Amount::MAX).unwrap();
    assert_eq!(pot.pool(Amount::from(1)).unwrap_err().kind(), ErrorKind::Overflow);
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

    #[test]
    fn more_weight_never_gets_less(pool in pools(), weights in weights()) {
        let shares = LargestRemainder::split(pool, &weights).unwrap().shares;
        let mut pairs: Vec<_> = weights.into_iter().zip(shares).collect();
        pairs.sort_unstable();
        let ordered = pairs.array_windows().all(|[a, b]| a.0 == b.0 || a.1 <= b.1);
        prop_assert!(ordered, "{:?}", pairs);
    }

    #[test]
    fn who_gains_weight_alone_never_loses(pool in pools(), weights in weights(), at: usize, more: u64) {
        let mut heavier = weights.clone();
        let at = at % weights.len();
        heavier[at] += U256::from(more);
        let [before, after] = [weights, heavier].map(|w| LargestRemainder::split(pool, &w).unwrap().shares[at]);
        prop_assert!(before <= after, "{before} {after}");
    }

    #[test]
    fn bounded_shares_conserve_keep_bounds_and_know_no_order(
        pool in prop_oneof![pools(), (0u64..20_000).prop_map(Amount::from)],
        wanted in vec((prop_oneof![Just(0u64), 0u64..5, any::<u64>()], 0u64..200, 0u64..1_000, any::<bool>()), 1..40),
        rotate in 0usize..40,
    ) {
        let recipient = |(key, (weight, floor, room, capped)): (usize, &(u64, u64, u64, bool))| {
            let recipient = Recipient::new(key, U256::from(*weight)).at_least((*floor).into());
            if *capped { recipient.at_most((floor + room).into()) } else { recipient }
        };
        let recipients: Vec<_> = wanted.iter().enumerate().map(recipient).collect();
        let mut turned = recipients.clone();
        turned.rotate_left(rotate % recipients.len());
        turned.reverse();
        let split = share(pool, recipients).unwrap();
        prop_assert_eq!(&share(pool, turned).unwrap(), &split);
        check_bounds(pool, &wanted, &split)?;
    }

    #[test]
    fn without_bounds_the_level_is_the_plain_split(pool in pools(), weights in weights()) {
        let keyed: Vec<_> = weights.iter().copied().enumerate().rev().collect();
        let free = keyed.iter().map(|(key, weight)| Recipient::new(*key, *weight)).collect();
        let plain = LargestRemainder::split(pool, &weights).unwrap();
        let split = shares::by_key(pool, keyed).unwrap();
        prop_assert_eq!(&split.shares, &plain.shares.into_iter().enumerate().collect::<Vec<_>>());
        prop_assert_eq!(share(pool, free).unwrap(), split);
    }

    #[test]
    fn parts_of_classes_sum_to_the_amount(
        amount in pools(),
        device: bool, owner: bool, operator: bool,
        stakes in vec(0u64..4, 0..5),
        cuts in (0u16..=10_000, 0u16..=10_000, 0u16..=10_000),
    ) {
        let mut cuts = [cuts.0, cuts.1, cuts.2];
        cuts.sort_unstable();
        let [a, b, c] = cuts;
        let parts = [(Class::Device, a), (Class::Owner, b - a), (Class::Operator, c - b), (Class::Delegators, 10_000 - c)];
        let party = |present: bool, byte| present.then(|| Address::repeat_byte(byte));
        let delegators = stakes.iter().zip(10..).map(|(stake, byte)| (Address::repeat_byte(byte), U256::from(*stake)));
        let mut parties = Parties {
            device: party(device, 1), owner: party(owner, 2), operator: party(operator, 3), delegators: delegators.collect(),
        };
        let classes = Classes::new(parts).unwrap();
        let (parts, unallocated) = classes.split(amount, &parties).unwrap();
        let paid = Amount::sum(parts.iter().map(|part| part.amount)).unwrap();
        prop_assert_eq!(paid.checked_add(unallocated).unwrap(), amount);
        prop_assert!(unallocated.is_zero() || parts.is_empty());
        parties.delegators.reverse();
        prop_assert_eq!(classes.split(amount, &parties).unwrap().0, parts);
    }

    #[test]
    fn every_unit_is_paid_carried_or_lapsed(
        epochs in vec((0u64..1_000, 0u64..=100), 1..50),
        rule in prop_oneof![Just(Carry::Lapse), Just(Carry::Roll), (0u64..500).prop_map(|n| Carry::RollUpTo(n.into()))],
    ) {
        let mut pot = Pot::new(rule);
        let (mut offered, mut paid, mut lapsed) = (0, 0, 0);
        for (fresh, percent) in epochs {
            let pool = pot.pool(fresh.into()).unwrap().to_units().to::<u64>();
            let unallocated = pool * percent / 100;
            lapsed += pot.close(fresh.into(), unallocated.into()).unwrap().to_units().to::<u64>();
            (offered, paid) = (offered + fresh, paid + pool - unallocated);
            prop_assert_eq!(offered, paid + lapsed + pot.carried().to_units().to::<u64>());
        }
    }
}

/// Conservation, bounds, and one level for all who are between their bounds.
fn check_bounds(
    pool: Amount,
    wanted: &[(u64, u64, u64, bool)],
    split: &Shares<usize>,
) -> Result<(), TestCaseError> {
    let paid = Amount::sum(split.shares.iter().map(|(_, share)| *share)).unwrap();
    prop_assert_eq!(paid.checked_add(split.unallocated).unwrap(), pool);
    let floors = Amount::from(wanted.iter().map(|(_, floor, ..)| floor).sum::<u64>());
    let mut between = Vec::new();
    for ((weight, floor, room, capped), (_, share)) in wanted.iter().zip(&split.shares) {
        let (floor, cap) = (Amount::from(*floor), Amount::from(floor + room));
        prop_assert!(!capped || *share <= cap);
        if floors > pool {
            prop_assert!(*share <= floor);
            continue;
        }
        prop_assert!(*share >= floor);
        prop_assert!(*weight > 0 || *share == floor);
        // What is left over, nobody could have taken.
        let full = *weight == 0 || (*capped && *share == cap);
        prop_assert!(split.unallocated.is_zero() || full);
        let inside = *share > floor && (!capped || *share < cap);
        if inside {
            between.push((U256::from(*weight), *share));
        }
    }
    between.sort_unstable();
    prop_assert!(between.array_windows().all(|[a, b]| a.0 == b.0 || a.1 <= b.1));
    Ok(())
}
