//! Payments are taken once and settled once.

use std::{sync::Arc, time::Duration};

use depin_core::{Address, B256, ErrorKind, ManualClock, SystemClock, U256};
use depin_evm::{
    Chain,
    alloy::{
        providers::Provider as _, rpc::types::TransactionRequest, signers::local::PrivateKeySigner,
    },
    bindings::NetworkToken,
};
use depin_payment::x402::{Authorization, ExactPayment, Outcome, Refusal, Till, TillOptions};

use super::{
    PAYEE, Town, account_of, in_a_minute,
    node::{Mood, Node},
    payer, pays, units,
};

const TEA: B256 = B256::repeat_byte(0x7e);
const CAKE: B256 = B256::repeat_byte(0xca);

fn refusal<T: std::fmt::Debug>(result: depin_core::Result<T>) -> Refusal {
    Refusal::of(&result.unwrap_err()).unwrap()
}

#[tokio::test]
async fn a_payment_is_taken_and_settled_once() {
    let town = Town::start().await;
    let till = town.till().await;
    let payment = pays(&till.terms(units(100)), 1);
    assert!(till.take(units(100), &payment, TEA).await.unwrap());
    assert!(!till.take(units(100), &payment, TEA).await.unwrap());
    assert_eq!(refusal(till.take(units(100), &payment, CAKE).await), Refusal::Spent);
    assert_eq!(till.balance().unwrap().due().unwrap(), units(100));

    let outcome = till.settle(units(100), &payment).await.unwrap();
    assert!(matches!(outcome, Outcome::Settled(_)));
    let blocks = town.devnet.block_number();
    assert_eq!(till.settle(units(100), &payment).await.unwrap(), outcome);
    assert_eq!(town.devnet.block_number(), blocks, "no second transaction");
    assert_eq!(town.balance(PAYEE).await, 100);
    assert_eq!(till.balance().unwrap().settled, units(100));
    assert!(till.settle_due().await.unwrap().is_empty());
}

#[tokio::test]
async fn settling_a_transfer_is_cheap() {
    let town = Town::start().await;
    let till = town.till().await;
    for nonce in 1..=2 {
        let payment = pays(&till.terms(units(1)), nonce);
        till.take(units(1), &payment, TEA).await.unwrap();
        let Outcome::Settled(transaction) = till.settle(units(1), &payment).await.unwrap() else {
            panic!("settled")
        };
        let provider = town.chain.provider();
        let receipt =
            depin_evm::alloy::providers::Provider::get_transaction_receipt(provider, transaction);
        let gas = receipt.await.unwrap().unwrap().gas_used;
        println!("x402 exact settlement {nonce}: {gas} gas");
        assert!(gas <= 85_000, "{gas}");
    }
}

#[tokio::test]
async fn what_the_payer_lacks_is_not_taken() {
    let town = Town::start().await;
    let till = town.till().await;
    let much = pays(&till.terms(units(1_001)), 1);
    assert_eq!(refusal(till.take(units(1_001), &much, TEA).await), Refusal::Funds);
    // Each is covered, both are not.
    let (one, two) = (pays(&till.terms(units(600)), 2), pays(&till.terms(units(600)), 3));
    till.take(units(600), &one, TEA).await.unwrap();
    assert_eq!(refusal(till.take(units(600), &two, CAKE).await), Refusal::Funds);
    assert_eq!(till.balance().unwrap().accepted, units(600));
}

#[tokio::test]
async fn a_used_or_cancelled_nonce_is_refused_before_anything_is_sent() {
    let town = Town::start().await;
    let till = town.till().await;
    let payment = pays(&till.terms(units(10)), 1);
    send_oneself(&town, &payment).await;
    let blocks = town.devnet.block_number();
    assert_eq!(refusal(till.take(units(10), &payment, TEA).await), Refusal::Used);
    assert_eq!(town.devnet.block_number(), blocks);
}

/// Somebody who saw the signature sends it to the chain.
async fn send_oneself(town: &Town, payment: &ExactPayment) {
    let (devnet, given) = (&town.devnet, payment.authorization());
    let chain = Chain::from_provider(devnet.provider(), devnet.account(5)).connect().await.unwrap();
    let (r, s) = payment.signature()[..64].split_at(32);
    let token = NetworkToken::new(town.token, chain.provider());
    let call = token.transferWithAuthorization(
        given.from,
        given.to,
        given.value.to_units(),
        given.valid_after,
        given.valid_before,
        given.nonce,
        payment.signature()[64],
        B256::from_slice(r),
        B256::from_slice(s),
    );
    chain.send(call.into_transaction_request()).await.unwrap();
}

#[tokio::test]
async fn a_payment_that_somebody_else_sent_first_counts() {
    let town = Town::start().await;
    let till = town.till().await;
    let payment = pays(&till.terms(units(10)), 1);
    till.take(units(10), &payment, TEA).await.unwrap();
    send_oneself(&town, &payment).await;
    assert!(matches!(till.settle(units(10), &payment).await.unwrap(), Outcome::Settled(_)));
    assert_eq!(town.balance(PAYEE).await, 10);
    assert_eq!(till.balance().unwrap().settled, units(10));
}

#[tokio::test]
async fn a_payment_that_its_payer_sent_first_counts_no_sooner_than_one_that_the_till_sent() {
    let town = Town::start().await;
    let careful = Chain::from_provider(town.devnet.provider(), town.devnet.account(0));
    let careful = careful.confirmations(3).connect().await.unwrap();
    let (clock, options) = (Arc::new(SystemClock), TillOptions::in_memory().pay_to(PAYEE));
    let till = Till::open(careful, town.token, clock, options).await.unwrap();
    let payment = pays(&till.terms(units(10)), 1);
    till.take(units(10), &payment, TEA).await.unwrap();
    send_oneself(&town, &payment).await;

    let settle = || till.settle(units(10), &payment);
    for _ in 0..2 {
        assert_eq!(settle().await.unwrap(), Outcome::Pending, "that block may be taken back");
        assert_eq!(till.balance().unwrap().settled, units(0));
        town.devnet.mine(1);
    }
    assert!(matches!(settle().await.unwrap(), Outcome::Settled(_)));
    assert_eq!(till.balance().unwrap().settled, units(10));
}

#[tokio::test]
async fn all_that_is_due_goes_into_one_block_and_what_ends_first_goes_first() {
    let town = Town::start().await;
    let till = town.till().await;
    let (terms, from) = (till.terms(units(10)), account_of(&payer()));
    let until = |nonce: u8, seconds| {
        let end = super::now().plus(Duration::from_secs(seconds));
        let given = Authorization::new(&terms, from, end, B256::repeat_byte(nonce));
        given.sign(&terms, &*payer()).unwrap()
    };
    for (nonce, seconds) in [(1, 50), (2, 20), (3, 40), (4, 30)] {
        till.take(units(10), &until(nonce, seconds), B256::repeat_byte(nonce)).await.unwrap();
    }
    town.devnet.set_automine(false);
    let settling = tokio::spawn({
        let till = till.clone();
        async move { till.settle_due().await.unwrap() }
    });
    while town.devnet.waiting().len() < 4 {
        tokio::task::yield_now().await;
    }
    town.devnet.set_automine(true);
    town.devnet.mine(1);
    let outcomes = settling.await.unwrap();
    assert!(outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Settled(_))));
    assert_eq!(town.balance(PAYEE).await, 40);

    let contract = NetworkToken::new(town.token, town.chain.provider());
    let used = contract.AuthorizationUsed_filter().query().await.unwrap();
    let order: Vec<u8> = used.iter().map(|(event, _)| event.nonce[0]).collect();
    assert_eq!(order, [2, 4, 3, 1]);
}

#[tokio::test]
async fn a_payer_who_uses_the_nonce_for_himself_has_not_paid() {
    let town = Town::start().await;
    let till = town.till_with(TillOptions::in_memory().confirmations(3)).await;
    let terms = till.terms(units(10));
    let payment = pays(&terms, 1);
    till.take(units(10), &payment, TEA).await.unwrap();
    let mut to_himself =
        Authorization::new(&terms, account_of(&payer()), in_a_minute(), B256::repeat_byte(1));
    to_himself.to = account_of(&payer());
    send_oneself(&town, &to_himself.sign(&terms, &*payer()).unwrap()).await;
    // The same money does reach the payee, for something else.
    send_oneself(&town, &pays(&terms, 2)).await;

    let settle = || till.settle(units(10), &payment);
    assert_eq!(settle().await.unwrap(), Outcome::Pending, "that block may be taken back");
    town.devnet.mine(3);
    assert_eq!(settle().await.unwrap(), Outcome::Failed(Refusal::Used));
    assert!(till.settle_due().await.unwrap().is_empty(), "nothing more is tried");
    let balance = till.balance().unwrap();
    assert_eq!((balance.accepted, balance.settled), (units(10), units(0)), "the loss is told");
}

#[tokio::test]
async fn what_was_taken_survives_a_restart_and_belongs_to_one_till() {
    let town = Town::start().await;
    let folder = tempfile::tempdir().unwrap();
    let options = || TillOptions::kept_in(folder.path().join("till.redb"));
    let till = town.till_with(options()).await;
    let payment = pays(&till.terms(units(100)), 1);
    till.take(units(100), &payment, TEA).await.unwrap();
    drop(till);

    let till = town.till_with(options()).await;
    assert_eq!(refusal(till.take(units(100), &payment, CAKE).await), Refusal::Spent);
    let outcomes = till.settle_due().await.unwrap();
    assert!(matches!(outcomes[..], [(amount, Outcome::Settled(_))] if amount == units(100)));
    assert_eq!(town.balance(PAYEE).await, 100);
    drop(till);

    let clock = Arc::new(SystemClock);
    let other = options().pay_to(account_of(&payer()));
    let other = depin_payment::x402::Till::open(town.chain.clone(), town.token, clock, other);
    assert_eq!(other.await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn what_the_till_forgot_is_refused_by_the_chain() {
    let town = Town::start().await;
    let clock = Arc::new(ManualClock::at(super::now()));
    let options = TillOptions::in_memory().pay_to(PAYEE).keep(Duration::from_secs(5));
    let till = Till::open(town.chain.clone(), town.token, clock.clone(), options).await.unwrap();
    let payment = pays(&till.terms(units(10)), 1);
    till.take(units(10), &payment, TEA).await.unwrap();
    till.settle(units(10), &payment).await.unwrap();
    assert!(!till.take(units(10), &payment, TEA).await.unwrap(), "still known");
    clock.advance(Duration::from_secs(10));
    till.settle_due().await.unwrap();
    let forgotten = till.settle(units(10), &payment).await.unwrap_err();
    assert_eq!(forgotten.kind(), ErrorKind::NotFound);
    assert_eq!(refusal(till.take(units(10), &payment, CAKE).await), Refusal::Used);
    assert_eq!((town.balance(PAYEE).await, till.balance().unwrap().settled), (10, units(10)));
}

#[tokio::test]
async fn a_debt_is_collected_when_the_payer_has_money_again() {
    let town = Town::start().await;
    let clock = Arc::new(ManualClock::at(super::now()));
    let options = TillOptions::in_memory().pay_to(PAYEE);
    let till = Till::open(town.chain.clone(), town.token, clock.clone(), options).await.unwrap();
    let [first, second] = [1, 2].map(|nonce| pays(&till.terms(units(10)), nonce));
    till.take(units(10), &first, TEA).await.unwrap();
    till.take(units(10), &second, CAKE).await.unwrap();
    // Served, and then the payer moves everything away.
    move_all(&town, account_of(&payer()), Address::repeat_byte(0xaa)).await;
    assert_eq!(till.settle(units(10), &first).await.unwrap(), Outcome::Pending);
    assert_eq!(till.balance().unwrap().due().unwrap(), units(20));
    mint(&town, account_of(&payer()), 10).await;
    assert!(matches!(till.settle(units(10), &first).await.unwrap(), Outcome::Settled(_)));
    assert_eq!(town.balance(PAYEE).await, 10);

    clock.advance(Duration::from_secs(200));
    let settle = || till.settle(units(10), &second);
    assert_eq!(settle().await.unwrap(), Outcome::Pending, "the till's clock may be wrong");
    town.devnet.increase_time(200).unwrap();
    town.devnet.mine(65);
    assert_eq!(settle().await.unwrap(), Outcome::Failed(Refusal::Expired));
    let balance = till.balance().unwrap();
    assert_eq!((balance.accepted, balance.settled), (units(20), units(10)));
}

pub(super) async fn move_all(town: &Town, from: Address, to: Address) {
    town.devnet.set_balance(from, U256::from(10).pow(U256::from(18)));
    let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(1)).unwrap();
    let chain = Chain::from_provider(town.devnet.provider(), signer).connect().await.unwrap();
    let token = NetworkToken::new(town.token, chain.provider());
    let all = U256::from(town.balance(from).await);
    chain.send(token.transfer(to, all).into_transaction_request()).await.unwrap();
}

pub(super) async fn mint(town: &Town, to: Address, amount: u64) {
    let token = NetworkToken::new(town.token, town.chain.provider());
    let mint = token.mint(to, U256::from(amount)).into_transaction_request();
    town.chain.send(mint).await.unwrap();
}

#[tokio::test]
async fn a_payment_that_was_sent_long_after_it_was_taken_is_found() {
    let town = Town::start().await;
    let long = TillOptions::in_memory().timeout(Duration::from_secs(1_000_000));
    let till = town.till_with(long).await;
    let (terms, from) = (till.terms(units(10)), account_of(&payer()));
    // The chain's time runs with its blocks.
    let expires = super::now().plus(Duration::from_secs(1_000_000));
    let payment = Authorization::new(&terms, from, expires, B256::repeat_byte(1));
    let payment = payment.sign(&terms, &*payer()).unwrap();
    till.take(units(10), &payment, TEA).await.unwrap();
    let start = town.devnet.block_number();
    for _ in 0..21 {
        town.devnet.mine(1_000);
    }
    assert!(town.devnet.block_number() >= start + 21_000);
    send_oneself(&town, &payment).await;
    assert!(matches!(till.settle(units(10), &payment).await.unwrap(), Outcome::Settled(_)));
}

#[tokio::test]
async fn half_a_file_of_an_earlier_start_does_no_harm() {
    let town = Town::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("till.redb");
    let half = folder.path().join(format!("till.redb.{}-0.new", std::process::id()));
    std::fs::write(&half, b"redb, and then the power went").unwrap();
    let till = town.till_with(TillOptions::kept_in(&path)).await;
    assert!(path.exists());
    drop(till);
    town.till_with(TillOptions::kept_in(&path)).await;
}

#[tokio::test]
async fn a_till_without_gas_money_loses_nothing() {
    let town = Town::start().await;
    let till = town.till().await;
    let payment = pays(&till.terms(units(10)), 1);
    till.take(units(10), &payment, TEA).await.unwrap();
    town.devnet.set_balance(town.chain.account(), U256::ZERO);
    assert_eq!(till.settle(units(10), &payment).await.unwrap(), Outcome::Pending);
    assert_eq!(till.balance().unwrap().due().unwrap(), units(10));
    town.devnet.set_balance(town.chain.account(), U256::from(10).pow(U256::from(18)));
    assert!(matches!(till.settle(units(10), &payment).await.unwrap(), Outcome::Settled(_)));
}

#[tokio::test]
async fn concurrent_takers_take_once() {
    let town = Town::start().await;
    let till = town.till().await;
    let payment = pays(&till.terms(units(10)), 1);
    let mut takers = tokio::task::JoinSet::new();
    for purpose in [TEA, CAKE].into_iter().cycle().take(16) {
        let (till, payment) = (till.clone(), payment.clone());
        takers.spawn(async move {
            let taken = till.take(units(10), &payment, purpose).await;
            let settled = till.settle(units(10), &payment).await;
            (taken, settled)
        });
    }
    let all = takers.join_all().await;
    assert_eq!(all.iter().filter(|(taken, _)| matches!(taken, Ok(true))).count(), 1);
    assert_eq!(all.iter().filter(|(taken, _)| taken.is_err()).count(), 8, "one purpose only");
    assert_eq!(town.balance(PAYEE).await, 10);
}

#[tokio::test]
async fn a_transfer_of_which_the_node_does_not_tell_is_not_taken_for_lost() {
    let town = Town::start().await;
    let node = Node::start(&town.devnet).await;
    let options = TillOptions::in_memory().pay_to(PAYEE).confirmations(3);
    let clock = Arc::new(depin_core::SystemClock);
    let chain = node.chain(&town.devnet, 4).await;
    let till = Till::open(chain, town.token, clock, options).await.unwrap();
    let payment = pays(&till.terms(units(10)), 1);
    till.take(units(10), &payment, TEA).await.unwrap();
    send_oneself(&town, &payment).await;
    node.set(Mood::Forgetful);
    assert_eq!(till.settle(units(10), &payment).await.unwrap(), Outcome::Pending);
    assert_eq!(till.balance().unwrap().due().unwrap(), units(10));
    node.set(Mood::Honest);
    assert!(matches!(till.settle(units(10), &payment).await.unwrap(), Outcome::Settled(_)));
}

/// As after a crash between the two: the chain handle heard of the success, and the book did not.
#[tokio::test]
async fn what_is_written_down_as_moved_needs_no_receipt() {
    let town = Town::start().await;
    let node = Node::start(&town.devnet).await;
    let chain = node.hasty(&town.devnet, 4).await;
    let till = async || {
        let (options, clock) = (TillOptions::in_memory().pay_to(PAYEE), Arc::new(SystemClock));
        Till::open(chain.clone(), town.token, clock, options).await.unwrap()
    };
    let (heard, unheard) = (till().await, till().await);
    let payment = pays(&heard.terms(units(10)), 1);
    for till in [&heard, &unheard] {
        till.take(units(10), &payment, TEA).await.unwrap();
    }
    let settled = heard.settle(units(10), &payment).await.unwrap();
    assert!(matches!(settled, Outcome::Settled(_)), "{settled:?}");
    node.set(Mood::Pruned);
    assert_eq!(unheard.settle(units(10), &payment).await.unwrap(), settled);
    assert_eq!(town.balance(PAYEE).await, 10);
}

#[tokio::test]
async fn what_moved_in_a_block_that_was_replaced_is_not_settled() {
    let town = Town::start().await;
    let node = Node::start(&town.devnet).await;
    let chain = node.hasty(&town.devnet, 4).await;
    let till = async || {
        let (options, clock) = (TillOptions::in_memory().pay_to(PAYEE), Arc::new(SystemClock));
        Till::open(chain.clone(), town.token, clock, options).await.unwrap()
    };
    let (heard, unheard) = (till().await, till().await);
    let payment = pays(&heard.terms(units(10)), 1);
    for till in [&heard, &unheard] {
        till.take(units(10), &payment, TEA).await.unwrap();
    }
    heard.settle(units(10), &payment).await.unwrap();
    town.devnet.reorg(1).unwrap();
    // In the new chain the payer gives away everything, and the till's account uses its nonce otherwise.
    let payer = town.payer_chain().await;
    let token = NetworkToken::new(town.token, payer.provider());
    let away = token.transfer(Address::repeat_byte(9), U256::from(1_000));
    payer.send(away.into_transaction_request()).await.unwrap();
    let other = TransactionRequest::default().from(chain.account()).to(PAYEE);
    town.devnet.provider().send_transaction(other).await.unwrap().get_receipt().await.unwrap();
    node.set(Mood::Pruned);
    assert_eq!(unheard.settle(units(10), &payment).await.unwrap(), Outcome::Pending);
    assert_eq!(unheard.balance().unwrap().due().unwrap(), units(10));
    assert_eq!(town.balance(PAYEE).await, 0);
}

#[tokio::test]
async fn what_moved_long_ago_is_found_on_a_node_that_tells_of_few_blocks_at_once() {
    let town = Town::start().await;
    let till = town.till().await;
    let payment = pays(&till.terms(units(10)), 1);
    till.take(units(10), &payment, TEA).await.unwrap();
    send_oneself(&town, &payment).await;
    town.devnet.mine(2_000);
    town.devnet.limit_logs(500);
    assert!(matches!(till.settle(units(10), &payment).await.unwrap(), Outcome::Settled(_)));
}

#[tokio::test]
async fn a_payment_that_would_be_valid_for_long_is_not_taken() {
    let town = Town::start().await;
    let till = town.till().await;
    let terms = till.terms(units(10));
    let lasting = |seconds| {
        let expires = super::now().plus(Duration::from_secs(seconds));
        let from = account_of(&payer());
        Authorization::new(&terms, from, expires, B256::repeat_byte(1)).sign(&terms, &*payer())
    };
    let take = async |payment: ExactPayment| till.take(units(10), &payment, TEA).await;
    assert_eq!(refusal(take(lasting(700).unwrap()).await), Refusal::TooLong);
    let mut always =
        Authorization::new(&terms, account_of(&payer()), in_a_minute(), B256::repeat_byte(1));
    always.valid_before = U256::MAX;
    assert_eq!(refusal(take(always.sign(&terms, &*payer()).unwrap()).await), Refusal::TooLong);
    take(lasting(600).unwrap()).await.unwrap();
}
