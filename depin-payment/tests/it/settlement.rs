//! What is paid at closing and at settling, and that it is never more than was emitted.

use std::collections::BTreeMap;

use depin_core::{
    Address, Amount, Did, EpochId, ErrorKind,
    reward::{Allocation, Payout},
};
use depin_payment::settlement::{advance, settle, together};
use proptest::prelude::*;

fn payout(device: usize, amount: u64) -> Payout {
    Payout {
        device: Did::parse(&format!("did:example:{device:03}")).unwrap(),
        beneficiary: Address::left_padding_from(&(device as u64 + 1).to_be_bytes()),
        amount: Amount::from(amount),
    }
}

fn allocation(amounts: &[u64]) -> Allocation {
    let payouts: Vec<_> = amounts
        .iter()
        .enumerate()
        .filter(|(_, amount)| **amount > 0)
        .map(|(device, amount)| payout(device, *amount))
        .collect();
    let emission = Amount::sum(payouts.iter().map(|it| it.amount)).unwrap();
    Allocation { epoch: EpochId::new(7), emission, unallocated: Amount::ZERO, payouts }
}

fn paid(of: &Allocation) -> BTreeMap<Did, Amount> {
    of.payouts.iter().map(|it| (it.device.clone(), it.amount)).collect()
}

fn of(allocation: &Allocation, device: usize) -> Amount {
    paid(allocation).get(&payout(device, 0).device).copied().unwrap_or_default()
}

#[test]
fn a_device_that_is_paid_twice_at_once_is_no_loss_but_a_conflict() {
    let mut twice = allocation(&[60]);
    twice.payouts.push(payout(0, 40));
    let error = together(&twice, &allocation(&[1])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[test]
fn when_nothing_came_late_everybody_gets_exactly_its_share() {
    let entitled = allocation(&[333, 1, 0, 9_999]);
    for reserve in [0, 1, 2_500, 9_999, 10_000] {
        let now = advance(&entitled, reserve).unwrap();
        let rest = settle(&entitled, &paid(&now)).unwrap();
        let all = together(&now, &rest).unwrap();
        assert_eq!(all, entitled, "{reserve}");
    }
}

#[test]
fn without_a_reserve_late_work_finds_nothing_left() {
    let now = advance(&allocation(&[100]), 0).unwrap();
    let rest = settle(&allocation(&[50, 50]), &paid(&now)).unwrap();
    assert!(rest.payouts.is_empty() && rest.emission.is_zero());
}

#[test]
fn who_did_everything_late_gets_everything() {
    let rest = settle(&allocation(&[0, 100]), &BTreeMap::new()).unwrap();
    assert_eq!(rest, allocation(&[0, 100]));
}

#[test]
fn more_than_all_cannot_be_reserved() {
    let error = advance(&allocation(&[1]), 10_001).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn two_allocations_for_one_device_go_to_one_beneficiary() {
    let (mut one, two) = (allocation(&[5]), allocation(&[5]));
    assert_eq!(together(&one, &two).unwrap().payouts, [payout(0, 10)]);
    one.payouts[0].beneficiary = Address::repeat_byte(9);
    assert_eq!(together(&one, &two).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn a_policy_that_offers_less_in_the_end_takes_nothing_back() {
    let now = advance(&allocation(&[100]), 1_000).unwrap();
    let rest = settle(&allocation(&[50]), &paid(&now)).unwrap();
    assert!(rest.payouts.is_empty());
}

proptest! {
    /// The pool is what it was; only whose work is known has changed.
    #[test]
    fn an_epoch_never_pays_more_than_its_emission_and_nobody_less_than_at_closing(
        at_closing in prop::collection::vec(0u64..1_000, 12),
        late in prop::collection::vec(0u64..1_000, 12),
        reserve in 0u16..=10_000,
        pool in 1u64..1_000_000,
    ) {
        let share = |work: &[u64]| {
            let work: Vec<_> = work.iter().copied().map(depin_core::U256::from).collect();
            let split = depin_payment::LargestRemainder::split(Amount::from(pool), &work).unwrap();
            let units = split.shares.iter().map(|it| u64::try_from(it.to_units()).unwrap());
            allocation(&units.collect::<Vec<_>>())
        };
        let all: Vec<_> = at_closing.iter().zip(&late).map(|(a, b)| a + b).collect();
        let entitled = share(&all);
        let now = advance(&share(&at_closing), reserve).unwrap();
        let rest = settle(&entitled, &paid(&now)).unwrap();
        let both = together(&now, &rest).unwrap();
        prop_assert!(both.emission <= Amount::from(pool));
        if !entitled.payouts.is_empty() {
            prop_assert_eq!(both.emission, Amount::from(pool), "nothing is left over");
        }
        for device in 0..12 {
            prop_assert!(of(&both, device) >= of(&now, device));
            prop_assert!(of(&both, device) <= of(&entitled, device).max(of(&now, device)));
        }
    }
}
