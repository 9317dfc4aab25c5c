//! What a payee forgets, and what it does not take from then on.

use std::{sync::Arc, time::Duration};

use depin_core::{
    ErrorKind, ManualClock, Timestamp,
    payment::{Payer, PaymentRail},
};
use depin_payment::{
    evm::{ChannelRail, ChannelRules},
    rail::RailStore,
};
use depin_testkit::rails::{RailSetup, charge};

use super::{channel::Channel, flow::Flowing};

const KEEP: Duration = Duration::from_secs(7 * 24 * 3_600);

fn store(clock: &Arc<ManualClock>) -> RailStore {
    RailStore::in_memory().unwrap().keep(KEEP).clock(clock.clone())
}

#[tokio::test]
async fn vouchers_are_forgotten_when_they_are_settled_for_good_and_old_and_never_taken_again() {
    let channel = Channel::open().await;
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let (payee, token) = (channel.terms.payee, channel.terms.token);
    let (contract, rules) = (channel.payees(), ChannelRules::default());
    let rail = ChannelRail::new(contract, payee, token, rules, store(&clock)).unwrap();
    // The last one leaves a credit of 50 in the lane, which an old voucher would use up.
    for (number, cumulative) in [(1, 10), (2, 20), (3, 80)] {
        let voucher = channel.voucher(channel.terms, 0, cumulative);
        rail.accept(&charge(payee, number, 10), &voucher).await.unwrap();
    }
    let again = async || {
        let voucher = channel.voucher(channel.terms, 0, 10);
        rail.accept(&charge(payee, 1, 10), &voucher).await
    };
    rail.settle().await.unwrap();
    clock.advance(KEEP + Duration::from_secs(1));
    rail.settle().await.unwrap();
    again().await.expect("the chain may take the settlement back");
    channel.world.devnet.mine(64);
    rail.settle().await.unwrap();
    let error = again().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("older than"), "{error}");
    let voucher = channel.voucher(channel.terms, 0, 10);
    let examined = rail.examine(&charge(payee, 1, 10), &voucher).await.map(drop);
    assert!(examined.is_err(), "no work is done for it either");
    // Nor for another charge, nor what was never shown in time.
    for (number, cumulative) in [(4, 20), (5, 80), (6, 79)] {
        let voucher = channel.voucher(channel.terms, 0, cumulative);
        let error = rail.accept(&charge(payee, number, 1), &voucher).await.unwrap_err();
        assert!(error.to_string().contains("older than"), "{cumulative}: {error}");
    }
    let next = channel.voucher(channel.terms, 0, 90);
    rail.accept(&charge(payee, 7, 10), &next).await.unwrap();
    let balance = rail.balance().await.unwrap();
    assert_eq!((balance.accepted, balance.settled), (90.into(), 80.into()));
}

#[tokio::test]
async fn what_is_young_or_not_settled_is_remembered() {
    let channel = Channel::open().await;
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
    let (payee, token) = (channel.terms.payee, channel.terms.token);
    let (contract, rules) = (channel.payees(), ChannelRules::default());
    let rail = ChannelRail::new(contract, payee, token, rules, store(&clock)).unwrap();
    let accept = async |number, cumulative| {
        let voucher = channel.voucher(channel.terms, 0, cumulative);
        rail.accept(&charge(payee, number, 10), &voucher).await
    };
    accept(1, 10).await.unwrap();
    rail.settle().await.unwrap();
    channel.world.devnet.mine(64);
    clock.advance(KEEP);
    rail.settle().await.unwrap();
    accept(1, 10).await.expect("it is as old as is remembered, not older");
    accept(2, 20).await.unwrap();
    clock.advance(KEEP + KEEP);
    // Long ago and not settled: the settlement of now is not deep yet.
    rail.settle().await.unwrap();
    accept(2, 20).await.expect("not settled for good");
    assert!(accept(1, 10).await.is_err());
    assert_eq!(rail.balance().await.unwrap().accepted, 20.into());
}

#[tokio::test]
async fn spends_are_forgotten_by_their_number_and_never_taken_again() {
    for flowing in [Flowing::stream().await, Flowing::escrow().await] {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        let (rail, payee) = (flowing.rail_in(store(&clock)), flowing.payee());
        let first = charge(payee, 1, 10);
        let payment = flowing.payer().pay(&first).await.unwrap();
        rail.accept(&first, &payment).await.unwrap();
        let unseen = charge(payee, 2, 10);
        let late = flowing.payer().pay(&unseen).await.unwrap();
        assert!(flowing.pays(rail.as_ref(), 3, 10).await);
        rail.settle().await.unwrap();
        flowing.world.devnet.mine(64);
        clock.advance(KEEP + Duration::from_secs(1));
        for _ in 0..2 {
            rail.settle().await.unwrap();
        }
        for (charge, payment) in [(&first, &payment), (&unseen, &late)] {
            let error = rail.accept(charge, payment).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rejected);
            assert!(error.to_string().contains("older than"), "{error}");
        }
        assert!(flowing.pays(rail.as_ref(), 4, 10).await);
        // A payer who lost its memory says from where to number on.
        let forgetful = flowing.told(0);
        let asked = charge(payee, 5, 10);
        let payment = forgetful.pay(&asked).await.unwrap();
        assert!(rail.accept(&asked, &payment).await.is_err());
        let told = flowing.told(3);
        let payment = told.pay(&asked).await.unwrap();
        rail.accept(&asked, &payment).await.unwrap_err();
        let told = flowing.told(4);
        let payment = told.pay(&asked).await.unwrap();
        rail.accept(&asked, &payment).await.unwrap();
        assert_eq!(rail.balance().await.unwrap().accepted, 40.into());
    }
}
