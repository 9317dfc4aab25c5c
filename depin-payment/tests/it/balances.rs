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
fn kept_rows_are_gone_on_with() {
    let policy = ProRata::per_epoch(Amount::from(10));
    let mut balances = Cumulative::default();
    balances.add(&policy.allocate(&work(3, [1, 2, 1])).unwrap()).unwrap();
    let kept = Cumulative::from_rows(EpochId::new(3), balances.iter()).unwrap();
    assert_eq!(kept, balances);
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

#[test]
fn saved_balances_are_loaded_whole_or_refused() {
    let rows = (1..4).map(|i| (account(i), Amount::from(i * 7)));
    let balances = Cumulative::from_rows(EpochId::new(3), rows).unwrap();
    for balances in [balances, Cumulative::default()] {
        let text = balances.to_text();
        assert_eq!(Cumulative::from_text(&text).unwrap(), balances);
        for cut in 0..text.len() {
            let error = Cumulative::from_text(&text[..cut]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "cut at {cut}");
            let mut changed = text.clone().into_bytes();
            changed[cut] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert!(Cumulative::from_text(&changed).is_err(), "changed at {cut}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("balances");
    std::fs::write(&path, [0xff; 40]).unwrap();
    assert_eq!(Cumulative::load(&path).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(Cumulative::load(folder.path()).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn savers_of_one_process_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("balances");
    // Large enough to take a while.
    let of = |i: u64| {
        let rows = (0..2_000).map(|n| (account(n), Amount::from(i + 1)));
        Cumulative::from_rows(EpochId::new(i), rows).unwrap()
    };
    std::thread::scope(|scope| {
        for i in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let balances = of(i);
                for _ in 0..10 {
                    balances.save(path).unwrap();
                    assert_eq!(Cumulative::load(path).unwrap().unwrap().iter().len(), 2_000);
                }
            });
        }
    });
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing lies beside it: {left:?}");
    // Nor does what a process left that died with our number stand in the way.
    let dead = format!("balances.{}-0.new", std::process::id());
    std::fs::write(folder.path().join(dead), "half").unwrap();
    of(7).save(&path).unwrap();
    assert_eq!(Cumulative::load(&path).unwrap().unwrap().latest(), Some(EpochId::new(7)));
}

#[test]
fn rows_that_no_epochs_add_up_to_are_refused() {
    let (ann, one) = (account(1), Amount::from(1));
    for (rows, kind) in [
        (vec![(ann, one), (ann, one)], ErrorKind::Conflict),
        (vec![(Address::ZERO, one)], ErrorKind::Rejected),
        (vec![(ann, Amount::ZERO)], ErrorKind::Rejected),
        (vec![(ann, Amount::MAX), (account(2), one)], ErrorKind::Overflow),
    ] {
        assert_eq!(Cumulative::from_rows(EpochId::new(0), rows).unwrap_err().kind(), kind);
    }
}

proptest! {
    #[test]
    fn no_text_of_balances_panics(body in "(depin balances 1\n)?(epoch [0-9]{1,21}\n)?(earned 0x[0-9a-f]{38,40} [0-9]{1,80}\n){0,3}", any in ".{0,80}") {
        let end = depin_core::keccak256(body.as_bytes());
        for text in [format!("{body}end {end}\n"), format!("{body}{any}"), any] {
            if let Ok(balances) = Cumulative::from_text(&text) {
                prop_assert_eq!(balances.to_text(), text);
            }
        }
    }
}
