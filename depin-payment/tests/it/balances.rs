//! Money is conserved over epochs.

use depin_core::{
    Address, Amount, B256, EpochId, ErrorKind,
    reward::{RewardDistributor, RewardPolicy, TokenLedger},
};
use depin_payment::{Cumulative, MemoryLedger, ProRata};
use proptest::{collection::vec, prelude::*};

use super::{account, work};

#[test]
fn epochs_count_once_and_in_order() {
    let policy = ProRata::per_epoch(Amount::from(10));
    let mut balances = Cumulative::default();
    for (epoch, fine) in [(1, true), (1, false), (0, false), (7, true)] {
        let before = balances.clone();
        let added = balances.add(&policy.allocate(&work(epoch, [1])).unwrap());
        assert_eq!(added.is_ok(), fine, "epoch {epoch}");
        if let Err(error) = added {
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert_eq!(balances, before);
        }
    }
    assert_eq!(balances.total(), Amount::from(20));
    assert_eq!(balances.latest(), Some(EpochId::new(7)));
}

#[test]
fn an_allocation_that_does_not_add_up_changes_nothing() {
    let policy = ProRata::per_epoch(Amount::from(10));
    let mut allocation = policy.allocate(&work(0, [1, 1])).unwrap();
    allocation.payouts.pop();
    let mut balances = Cumulative::default();
    assert_eq!(balances.add(&allocation).unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(balances, Cumulative::default());
}

#[test]
fn a_payout_to_nobody_changes_nothing() {
    let policy = ProRata::per_epoch(Amount::from(10));
    let mut allocation = policy.allocate(&work(0, [1, 1])).unwrap();
    allocation.payouts[1].beneficiary = Address::ZERO;
    let mut balances = Cumulative::default();
    let error = balances.add(&allocation).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("did:example:00001"), "{error}");
    assert_eq!(balances, Cumulative::default());
}

#[test]
fn a_total_past_256_bits_changes_nothing() {
    let mut balances = Cumulative::default();
    balances.add(&ProRata::per_epoch(Amount::MAX).allocate(&work(0, [1])).unwrap()).unwrap();
    let before = balances.clone();
    let more = ProRata::per_epoch(Amount::from(1)).allocate(&work(1, [0, 1])).unwrap();
    assert_eq!(balances.add(&more).unwrap_err().kind(), ErrorKind::Overflow);
    assert_eq!(balances, before);
}

#[test]
fn kept_rows_are_gone_on_with_and_others_refused() {
    let policy = ProRata::per_epoch(Amount::from(10));
    let mut balances = Cumulative::default();
    balances.add(&policy.allocate(&work(3, [1, 2, 1])).unwrap()).unwrap();
    let rows: Vec<_> = balances.iter().collect();
    let kept = Cumulative::resume(EpochId::new(3), rows.clone()).unwrap();
    assert_eq!(kept, balances);
    let refused = |change: &dyn Fn(&mut Vec<(Address, Amount)>)| {
        let mut rows = rows.clone();
        change(&mut rows);
        Cumulative::resume(EpochId::new(3), rows).unwrap_err().kind()
    };
    assert_eq!(refused(&|rows| rows.swap(0, 1)), ErrorKind::Malformed);
    assert_eq!(refused(&|rows| rows[1] = rows[0]), ErrorKind::Malformed);
    assert_eq!(refused(&|rows| rows[0].1 = Amount::ZERO), ErrorKind::Malformed);
    assert_eq!(refused(&|rows| rows[0].0 = Address::ZERO), ErrorKind::Malformed);
    assert_eq!(refused(&|rows| rows[0].1 = Amount::MAX), ErrorKind::Overflow);
}

#[test]
fn several_devices_of_one_owner_share_a_leaf() {
    let mut contributions = work(0, [1, 1, 2]).into_inner();
    contributions.entries[1].beneficiary = account(0);
    let work = super::verified(contributions);
    let mut balances = Cumulative::default();
    balances.add(&ProRata::per_epoch(Amount::from(8)).allocate(&work).unwrap()).unwrap();
    assert_eq!(balances.iter().len(), 2);
    assert_eq!(balances.of(account(0)), Amount::from(4));
}

/// Some of many accounts claim in every epoch.
async fn pay(epochs: Vec<(Vec<u64>, u64, u64)>) {
    let ledger = MemoryLedger::default();
    let mut balances = Cumulative::default();
    for (epoch, (scores, pool, claimers)) in epochs.into_iter().enumerate() {
        let accounts = scores.len() as u64;
        let work = work(epoch as u64, scores);
        let allocation = ProRata::per_epoch(pool.into()).allocate(&work).unwrap();
        balances.add(&allocation).unwrap();
        let tree = balances.tree().unwrap();
        let commitment = balances.commitment(&tree, B256::ZERO).unwrap();
        ledger.publish(&commitment).await.unwrap();
        for i in (0..accounts).filter(|i| claimers >> (i % 64) & 1 == 1) {
            let Some(claim) = tree.claim(account(i)) else { continue };
            let before = ledger.balance(account(i)).await.unwrap();
            let paid = ledger.claim(claim.account, claim.cumulative, &claim.proof).await.unwrap();
            assert_eq!(before.checked_add(paid).unwrap(), balances.of(account(i)));
        }
        let mut held = Amount::ZERO;
        for holder in ledger.holders() {
            held = held.checked_add(ledger.balance(holder).await.unwrap()).unwrap();
        }
        assert_eq!(held, balances.total());
        assert_eq!(ledger.supply().await.unwrap(), balances.total());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn money_is_conserved_whoever_claims_when(
        epochs in vec((vec(0u64..1000, 1..12), any::<u64>(), any::<u64>()), 1..6),
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(pay(epochs));
    }
}
