//! Looking at a channel's funds before work is done for its payer.

use std::time::Duration;

use depin_core::{ErrorKind, payment::PaymentRail};
use depin_payment::{
    channel::Terms,
    evm::{ChannelRules, Uncovered},
};
use depin_testkit::rails::charge;

use super::channel::Channel;

#[tokio::test]
async fn nobody_has_more_worked_for_him_than_he_has_deposited() {
    let channel = Channel::open().await;
    let rail = channel.rail_in("rail.redb", ChannelRules::default());
    let payee = channel.terms.payee;
    let examine = async |number, lane, price, cumulative| {
        let voucher = channel.voucher(channel.terms, lane, cumulative);
        rail.examine(&charge(payee, number, price), &voucher).await
    };
    let first = examine(1, 0, 600, 600).await.unwrap();
    // At the same time: in another lane, and in the same one.
    for (number, lane, price, cumulative) in [(2, 1, 401, 401), (3, 0, 401, 1_001)] {
        let error = examine(number, lane, price, cumulative).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert_eq!(Uncovered::of(&error), Some(Uncovered::Funds), "{error}");
    }
    // A voucher that grants what the first one uses.
    let error = examine(4, 0, 600, 601).await.unwrap_err();
    assert!(error.to_string().contains("worth less"), "{error}");
    let second = examine(2, 1, 400, 400).await.unwrap();
    // The same request again is promised once, and what is given up is free.
    drop(examine(1, 0, 600, 600).await.unwrap());
    assert!(examine(5, 2, 1, 1).await.is_err());
    drop(second);
    let third = examine(5, 2, 400, 400).await.unwrap();
    assert!(rail.balance().await.unwrap().accepted.is_zero(), "nothing is taken");

    // What is accepted is not counted beside its own promise.
    let voucher = channel.voucher(channel.terms, 0, 600);
    rail.accept(&charge(payee, 1, 600), &voucher).await.unwrap();
    drop(third);
    let fourth = examine(6, 0, 400, 1_000).await.unwrap();
    drop(first);
    drop(rail.examine(&charge(payee, 1, 600), &voucher).await.expect("it was paid before"));
    assert!(examine(7, 1, 1, 1).await.is_err());
    drop(fourth);
    drop(examine(7, 1, 400, 400).await.unwrap());
}

#[tokio::test]
async fn requests_in_flight_may_come_in_any_order() {
    let channel = Channel::open().await;
    let rail = channel.rail_in("rail.redb", ChannelRules::default());
    let payee = channel.terms.payee;
    let mut examined = Vec::new();
    for number in [3, 1, 4, 2_u64] {
        let voucher = channel.voucher(channel.terms, 0, number * 10);
        let charge = charge(payee, number, 10);
        examined.push((rail.examine(&charge, &voucher).await.unwrap(), charge, voucher));
    }
    for (_, charge, voucher) in examined.iter().rev() {
        rail.accept(charge, voucher).await.unwrap();
    }
    assert_eq!(rail.balance().await.unwrap().accepted, 40.into());
}

#[tokio::test]
async fn no_work_is_done_for_channels_that_close_or_were_never_opened() {
    let channel = Channel::open().await;
    let rules = ChannelRules::default().fresh(Duration::ZERO);
    let rail = channel.rail_in("rail.redb", rules);
    let payee = channel.terms.payee;
    let never = Terms { salt: channel.contract.into_word(), ..channel.terms };
    let examine = async |number, terms, cumulative| {
        let voucher = channel.voucher(terms, 0, cumulative);
        let examined = rail.examine(&charge(payee, number, 10), &voucher).await;
        examined.map(drop).map_err(|error| Uncovered::of(&error).unwrap())
    };
    assert_eq!(examine(1, never, 10).await, Err(Uncovered::Funds));
    examine(1, channel.terms, 10).await.unwrap();
    let voucher = channel.voucher(channel.terms, 0, 10);
    rail.accept(&charge(payee, 1, 10), &voucher).await.unwrap();
    channel.payers().request_close(&channel.terms).await.unwrap();
    assert_eq!(examine(2, channel.terms, 20).await, Err(Uncovered::Closing));
    examine(1, channel.terms, 10).await.expect("it was paid before");
    rail.close(&channel.terms).await.unwrap();
    assert_eq!(examine(2, channel.terms, 20).await, Err(Uncovered::Closed));
}
