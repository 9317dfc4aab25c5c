//! Policies over contributions.

use depin_core::{
    Address, Amount, EpochId, ErrorKind, Timestamp, U256, quality::Contributions,
    reward::RewardPolicy,
};
use depin_payment::{
    Banded, ProRata,
    emission::{Curve, Schedule},
};
use proptest::{collection::vec, prelude::*, sample::subsequence};

use super::{verified, work};

fn amounts(policy: &dyn RewardPolicy, scores: &[u64]) -> Vec<u64> {
    let allocation = policy.allocate(&work(0, scores.iter().copied())).unwrap();
    allocation.payouts.iter().map(|payout| payout.amount.to_units().to::<u64>()).collect()
}

#[test]
fn pro_rata_pays_by_score() {
    assert_eq!(amounts(&ProRata::per_epoch(Amount::from(100)), &[3, 1]), [75, 25]);
}

#[test]
fn bands_multiply_the_score() {
    let policy = Banded::per_epoch(Amount::from(100), [(200, 15_000), (50, 10_000)]);
    // Below 50 nothing; 50 weighs 50, 100 weighs 100, 200 weighs 300.
    assert_eq!(amounts(&policy, &[49, 50, 100, 200]), [11, 22, 67]);
}

#[test]
fn a_schedule_offers_in_each_epoch_what_it_allows_in_that_period_up_to_its_cap() {
    let curve = Curve::halving(Amount::from(100), 2).unwrap();
    let schedule = Schedule::new(Timestamp::EPOCH, 60, Amount::from(310), curve).unwrap();
    let policies: [&dyn RewardPolicy; 2] =
        [&ProRata::along(schedule.clone()), &Banded::along(schedule.clone(), [(0, 10_000)])];
    for policy in policies {
        for (epoch, pool) in
            [(0, 100), (1, 100), (2, 50), (3, 50), (4, 10), (5, 0), (u64::MAX - 1, 0)]
        {
            let allocation = policy.allocate(&work(epoch, [3, 1])).unwrap();
            assert_eq!(allocation.emission, Amount::from(pool), "epoch {epoch}");
        }
        let never = policy.allocate(&work(u64::MAX, [3, 1])).unwrap_err();
        assert_eq!(never.kind(), ErrorKind::Limit);
        assert!(policy.name().contains(&format!("pool={schedule}")), "{}", policy.name());
    }
}

#[test]
fn bounds_hold_for_each_device_that_scored() {
    let policy = ProRata::per_epoch(Amount::from(83)).within(Amount::from(5), Amount::from(40));
    assert_eq!(amounts(&policy, &[0, 1, 900, 99]), [5, 40, 38]);
    assert_eq!(amounts(&policy, &[1, 1]), [40, 40], "the rest is unallocated");
}

#[test]
fn an_epoch_in_which_nobody_scored_emits_nothing() {
    let pool = Amount::tokens(5);
    for scores in [vec![], vec![0, 0]] {
        let allocation = ProRata::per_epoch(pool).allocate(&work(3, scores)).unwrap();
        assert_eq!(allocation.epoch, EpochId::new(3));
        assert_eq!((allocation.emission, allocation.unallocated), (Amount::ZERO, pool));
        assert!(allocation.payouts.is_empty());
    }
}

#[test]
fn a_device_that_nobody_can_be_paid_for_takes_no_part() {
    let mut contributions = work(0, [1, 1]).into_inner();
    contributions.entries[0].beneficiary = Address::ZERO;
    let allocation =
        ProRata::per_epoch(Amount::from(9)).allocate(&verified(contributions)).unwrap();
    assert_eq!(allocation.payouts.len(), 1);
    assert_eq!(allocation.payouts[0].amount, Amount::from(9));
}

#[test]
fn a_device_listed_twice_is_a_conflict() {
    let mut contributions = work(0, [1, 2]).into_inner();
    contributions.entries[1].device = contributions.entries[0].device.clone();
    let error = ProRata::per_epoch(Amount::from(9)).allocate(&verified(contributions)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[test]
fn policies_that_pay_differently_have_different_names() {
    let (ten, eleven) = (Amount::from(10), Amount::from(11));
    let names = [
        ProRata::per_epoch(ten).name(),
        ProRata::per_epoch(eleven).name(),
        Banded::per_epoch(ten, []).name(),
        Banded::per_epoch(ten, [(1, 1)]).name(),
        Banded::per_epoch(ten, [(11, 1)]).name(),
        Banded::per_epoch(ten, [(1, 1), (2, 1)]).name(),
    ];
    for (i, name) in names.iter().enumerate() {
        assert!(!names[..i].contains(name), "{name}");
    }
}

#[test]
fn a_policy_without_its_grant_decides_nothing_and_others_take_none() {
    let open = ProRata::as_granted();
    let error = open.allocate(&work(0, [3, 1])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let granted = open.granted(Amount::from(100)).unwrap();
    assert_eq!(amounts(&*granted, &[3, 1]), [75, 25]);
    assert!(granted.granted(Amount::from(200)).is_none(), "an epoch is granted something once");
    assert!(granted.named(&granted.name()).is_none(), "it is found by its own name");
    let fixed = ProRata::per_epoch(Amount::from(100));
    assert!(fixed.granted(Amount::from(1)).is_none() && fixed.named(&granted.name()).is_none());
}

#[test]
fn a_grant_has_one_name() {
    let policy = ProRata::as_granted().reserve(5);
    let name = policy.granted(Amount::parse("12.5").unwrap()).unwrap().name();
    assert!(policy.named(&name).is_some());
    let others = ["12.50", "012.5", "+12.5", "12.5 ", "", "1e1", "12.5000000000000000000"];
    for other in others.map(|other| name.replace("12.5", other)) {
        assert!(policy.named(&other).is_none(), "{other}");
    }
    for other in [ProRata::as_granted(), ProRata::as_granted().reserve(6)] {
        assert!(other.named(&name).is_none());
    }
    assert!(Banded::as_granted([(0, 10_000)]).reserve(5).named(&name).is_none());
}

proptest! {
    #[test]
    fn any_grant_is_found_by_its_name(units: [u64; 4], bands in vec((0u64..9, 0u32..9), 0..3)) {
        let grant = Amount::units(U256::from_limbs(units));
        let policies: [&dyn RewardPolicy; 2] =
            [&ProRata::as_granted().within(1.into(), 2.into()), &Banded::as_granted(bands)];
        for policy in policies {
            let granted = policy.granted(grant).unwrap();
            prop_assert_eq!(policy.named(&granted.name()).unwrap().name(), granted.name());
        }
    }

    #[test]
    fn the_order_of_contributions_does_not_matter(
        scores in vec(0u64..100, 1..30),
        picks in subsequence((0..30usize).collect::<Vec<_>>(), 0..30),
        pool: u64,
    ) {
        let policy = ProRata::per_epoch(pool.into());
        let straight = work(0, scores);
        let mut shuffled: Contributions = straight.clone().into_inner();
        for pick in picks {
            let at = pick % shuffled.entries.len();
            let entry = shuffled.entries.remove(at);
            shuffled.entries.push(entry);
        }
        prop_assert_eq!(policy.allocate(&verified(shuffled)).unwrap(), policy.allocate(&straight).unwrap());
    }
}
