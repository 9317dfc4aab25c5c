//! Routes that cost up to so much, over real connections.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router, extract::Path, http::StatusCode, response::IntoResponse, routing::get,
};
use depin_core::{Address, ErrorKind, ManualClock, SystemClock};
use depin_evm::{
    Chain,
    alloy::{
        consensus::Transaction, primitives::Bytes, providers::Provider,
        rpc::types::TransactionRequest,
    },
    bindings::NetworkToken,
};
use depin_payment::x402::{
    Allowance, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PERMIT2, PayingClient, PaymentPayload,
    PaymentRequired, Policy, Purse, SettleResponse, Till, TillOptions, UPTO_PROXY, UptoTerms, Used,
    Wallet,
};
use rand::thread_rng;

use super::{
    PAYEE, Town, account_of,
    node::{Mood, Node},
    payer,
    permit2::pays_up_to,
    service::{Served, Service, exchange, refusal, said, with},
    till::move_all,
    units,
};

/// A server that uses what it is told to, of at most 100 units.
pub(super) async fn meter(till: &Till) -> Service {
    let served = Served::default();
    let count = served.clone();
    let meter = get(move |Path(units): Path<u64>| async move {
        count.count();
        (Extension(Used(units.into())), "done")
    });
    let price = till.price_upto(units(100)).await.unwrap();
    let failing =
        get(|| async { (StatusCode::BAD_GATEWAY, Extension(Used(50.into()))).into_response() });
    let app = Router::new()
        .route("/use/{units}", meter.layer(price.clone()))
        .route("/silent", get(|| async { "how much?" }).layer(price.clone()))
        .route("/failing", failing.layer(price));
    Service::open(app, served).await
}

/// At most 100 units for a request, 250 for all. What three blocks follow is final.
pub(super) fn metering_purse(chain: &Chain, asset: Address) -> Purse {
    let allowance = Allowance { chain: chain.id(), asset, each: 100.into(), total: 250.into() };
    let policy = Policy::default().allow(allowance).with_upto().confirmations(3);
    Purse::new(payer(), policy, Arc::new(SystemClock)).unwrap()
}

/// A client that looks at the chain what was used.
fn paying(town: &Town, purse: &Purse) -> PayingClient {
    PayingClient::new(Wallet::new(purse.clone()).with_chain(town.chain.clone())).unwrap()
}

async fn town() -> Option<(Town, Till, Service, Purse)> {
    let town = Town::with_permit2().await?;
    let till = town.till().await;
    let meter = meter(&till).await;
    let purse = metering_purse(&town.chain, town.token);
    Some((town, till, meter, purse))
}

#[tokio::test]
async fn a_client_pays_what_was_used_and_counts_only_that() {
    let Some((town, _, meter, purse)) = town().await else { return };
    let client = paying(&town, &purse);
    let spent = || purse.spent(town.chain.id(), town.token);
    for (used, sum) in [(30, 30), (100, 130), (1, 131), (7, 138)] {
        let request = meter.get(&format!("/use/{used}"));
        let paid = client.send(request, &mut thread_rng()).await.unwrap();
        assert_eq!(paid.response.body(), b"done");
        let settlement = paid.settlement.unwrap();
        assert_eq!(settlement.amount, Some(used.to_string()));
        assert!(settlement.success && settlement.transaction.len() == 66);
        assert_eq!((town.balance(PAYEE).await, spent()), (sum, units(sum - used + 100)));
        town.devnet.mine(3);
        assert_eq!(purse.reclaim(&town.chain).await.unwrap(), units(100 - used));
        assert_eq!(spent(), units(sum));
    }
}

#[tokio::test]
async fn a_limit_is_looked_at_again_before_it_refuses() {
    let Some((town, _, meter, purse)) = town().await else { return };
    let client = paying(&town, &purse);
    for _ in 0..2 {
        client.send(meter.get("/use/10"), &mut thread_rng()).await.unwrap();
    }
    let refused = client.send(meter.get("/use/10"), &mut thread_rng()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limit, "200 may still be taken");
    town.devnet.mine(3);
    client.send(meter.get("/use/10"), &mut thread_rng()).await.unwrap();
    assert_eq!(town.balance(PAYEE).await, 30);
}

/// A server whose settlement is taken back takes all instead: what it left was not spent elsewhere meanwhile.
#[tokio::test]
async fn a_purse_gives_nothing_back_for_a_block_that_may_be_taken_back() {
    let Some((town, _, meter, purse)) = town().await else { return };
    let client = paying(&town, &purse);
    let paid = client.send(meter.get("/use/30"), &mut thread_rng()).await.unwrap();
    let told = paid.settlement.unwrap().transaction.parse().unwrap();
    let sent = town.chain.provider().get_transaction_by_hash(told).await.unwrap().unwrap();
    let spent = async || {
        purse.reclaim(&town.chain).await.unwrap();
        purse.spent(town.chain.id(), town.token)
    };
    town.devnet.mine(2);
    assert_eq!(spent().await, units(100), "not deep enough");
    town.devnet.reorg(3).unwrap();
    assert_eq!((town.balance(PAYEE).await, spent().await), (0, units(100)));

    let mut call = sent.inner.input().to_vec();
    let amount = &mut call[4 + 4 * 32 + 31];
    assert_eq!(*amount, 30);
    *amount = 100;
    let server = Chain::from_provider(town.devnet.provider(), town.devnet.account(0));
    let server = server.connect().await.unwrap();
    let all = TransactionRequest::default().to(UPTO_PROXY).input(Bytes::from(call).into());
    server.send(all).await.unwrap();
    town.devnet.mine(3);
    assert_eq!((town.balance(PAYEE).await, spent().await), (100, units(100)));
    town.devnet.increase_time(120).unwrap();
    town.devnet.mine(4);
    assert_eq!(spent().await, units(100), "used, and all of it may have been");
}

#[tokio::test]
async fn unless_told_the_purse_waits_for_64_blocks() {
    let Some((town, _, meter, _)) = town().await else { return };
    let allowance = Allowance {
        chain: town.chain.id(),
        asset: town.token,
        each: 100.into(),
        total: 250.into(),
    };
    let policy = Policy::default().allow(allowance).with_upto();
    let purse = Purse::new(payer(), policy, Arc::new(SystemClock)).unwrap();
    let client = PayingClient::new(purse.clone()).unwrap();
    client.send(meter.get("/use/30"), &mut thread_rng()).await.unwrap();
    town.devnet.mine(63);
    assert_eq!(purse.reclaim(&town.chain).await.unwrap(), units(0));
    town.devnet.mine(1);
    assert_eq!(purse.reclaim(&town.chain).await.unwrap(), units(70));
}

/// The node of the client's books is silent, and its answers do not wait for it.
#[tokio::test]
async fn an_answer_that_was_paid_waits_for_no_books() {
    let Some((town, _, meter, purse)) = town().await else { return };
    let node = Node::start(&town.devnet).await;
    let chain = node.chain(&town.devnet, 6).await;
    let client = PayingClient::new(Wallet::new(purse).with_chain(chain)).unwrap();
    client.send(meter.get("/use/10"), &mut thread_rng()).await.unwrap();
    node.set(Mood::Silent);
    // A request to that node would take half a minute.
    let patience = tokio::time::sleep(Duration::from_secs(25));
    let paid = tokio::select! {
        paid = client.send(meter.get("/use/10"), &mut thread_rng()) => paid.unwrap(),
        () = patience => panic!("it waits for the books"),
    };
    assert_eq!((paid.response.body().as_slice(), town.balance(PAYEE).await), (&b"done"[..], 20));
}

/// Nobody pays for what cost nothing to be kept, so it is not kept for long.
#[tokio::test]
async fn an_answer_that_cost_nothing_is_kept_as_long_as_others_and_its_payment_longer() {
    let Some(town) = Town::with_permit2().await else { return };
    let clock = Arc::new(ManualClock::at(super::now()));
    let options = TillOptions::in_memory().pay_to(PAYEE).keep(Duration::from_secs(5));
    let till = Till::open(town.chain.clone(), town.token, clock.clone(), options).await.unwrap();
    let (meter, purse) = (meter(&till).await, metering_purse(&town.chain, town.token));
    let payment = purse.pay(&meter.offer("/use/0").await, &mut thread_rng()).unwrap();
    for (seconds, status) in [
        (0, StatusCode::OK),
        (0, StatusCode::OK),
        (6, StatusCode::CONFLICT),
        (50, StatusCode::CONFLICT),
    ] {
        clock.advance(Duration::from_secs(seconds));
        till.settle_due().await.unwrap();
        assert_eq!(exchange(with(meter.get("/use/0"), &payment)).await.status(), status);
    }
    assert_eq!((meter.served(), town.balance(PAYEE).await), (1, 0));
}

#[tokio::test]
async fn what_is_not_used_is_free_and_counts_until_the_signature_has_ended() {
    let Some((town, till, meter, purse)) = town().await else { return };
    let client = paying(&town, &purse);
    let blocks = town.devnet.block_number();
    let paid = client.send(meter.get("/use/0"), &mut thread_rng()).await.unwrap();
    let settlement = paid.settlement.unwrap();
    assert_eq!((settlement.success, settlement.transaction.as_str()), (true, ""));
    assert_eq!(settlement.amount.as_deref(), Some("0"));
    assert_eq!(
        (town.devnet.block_number(), paid.response.body().as_slice()),
        (blocks, &b"done"[..])
    );
    assert_eq!(till.balance().unwrap().accepted, units(0));
    let spent = || purse.spent(town.chain.id(), town.token);
    assert_eq!(spent(), units(100), "the server could still take it");
    town.devnet.increase_time(120).unwrap();
    town.devnet.mine(4);
    assert_eq!(purse.reclaim(&town.chain).await.unwrap(), units(100));
    assert_eq!((spent(), purse.reclaim(&town.chain).await.unwrap()), (units(0), units(0)));
}

#[tokio::test]
async fn a_server_that_lies_about_what_it_used_gives_nothing_back() {
    let Some((town, till, meter, purse)) = town().await else { return };
    let offer = meter.offer("/use/1").await;
    let lie = purse.pay(&offer, &mut thread_rng()).unwrap();
    let honest = purse.pay(&offer, &mut thread_rng()).unwrap();
    let spent = || purse.spent(town.chain.id(), town.token);
    assert_eq!(spent(), units(200));
    // It names the settlement of another payment, or nothing, and keeps the signature for later.
    let response = exchange(with(meter.get("/use/1"), &honest)).await;
    let other = said(&response).transaction;
    town.devnet.mine(3);
    for transaction in [other.as_str(), "", "0x", &format!("0x{}", "7".repeat(64))] {
        let lied = liar(&lie, transaction).await;
        let client = paying(&town, &purse);
        let refused = client.send(lied.get("/use/1"), &mut thread_rng()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Limit, "nothing is left for it");
        assert_eq!(purse.reclaim(&town.chain).await.unwrap(), units(0));
    }
    assert_eq!(spent(), units(200));
    let _ = till;
}

/// A server that asks for up to 100 units and says that it took one, in any transaction.
async fn liar(payment: &PaymentPayload, transaction: &str) -> Service {
    let offer = PaymentRequired::from_json(
        serde_json::json!({
            "x402Version": 2, "resource": { "url": "/" }, "accepts": [payment.accepted],
        })
        .to_string()
        .as_bytes(),
    );
    let offer = offer.unwrap().to_header();
    let said = serde_json::json!({
        "success": true, "transaction": transaction, "network": payment.accepted.network,
        "amount": "1",
    });
    let said = SettleResponse::from_json(said.to_string().as_bytes()).unwrap().to_header();
    let answer = get(move |headers: axum::http::HeaderMap| async move {
        if headers.contains_key("payment-signature") {
            return ([(PAYMENT_RESPONSE, said)], "lied").into_response();
        }
        (StatusCode::PAYMENT_REQUIRED, [(PAYMENT_REQUIRED, offer)]).into_response()
    });
    Service::open(Router::new().route("/use/1", answer), Served::default()).await
}

#[tokio::test]
async fn a_service_that_uses_too_much_or_says_nothing_sells_nothing() {
    let Some((town, till, meter, purse)) = town().await else { return };
    let payment = purse.pay(&meter.offer("/use/1").await, &mut thread_rng()).unwrap();
    for path in ["/use/101", "/silent"] {
        let response = exchange(with(meter.get(path), &payment)).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(!response.body().starts_with(b"done"), "the answer stays here");
    }
    let response = exchange(with(meter.get("/failing"), &payment)).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(till.balance().unwrap().accepted, units(0));
    // The payment is still good for something that works.
    let response = exchange(with(meter.get("/use/9"), &payment)).await;
    assert_eq!((response.status(), town.balance(PAYEE).await), (StatusCode::OK, 9));
}

#[tokio::test]
async fn a_payment_buys_one_answer_however_often_it_is_shown() {
    let Some((town, _, meter, purse)) = town().await else { return };
    for (used, sum) in [(30, 30), (0, 30)] {
        let path = format!("/use/{used}");
        let payment = purse.pay(&meter.offer(&path).await, &mut thread_rng()).unwrap();
        let before = meter.served();
        let first = exchange(with(meter.get(&path), &payment)).await;
        let again = exchange(with(meter.get(&path), &payment)).await;
        assert_eq!((first.body(), again.body()), (&b"done".to_vec(), &b"done".to_vec()));
        assert_eq!(said(&first), said(&again));
        let other = exchange(with(meter.get("/use/1"), &payment)).await;
        assert_eq!(other.status(), StatusCode::CONFLICT);
        assert_eq!((meter.served(), town.balance(PAYEE).await), (before + 1, sum));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_with_one_payment_is_won_once() {
    let Some((town, _, meter, purse)) = town().await else { return };
    let payment = purse.pay(&meter.offer("/use/30").await, &mut thread_rng()).unwrap();
    let before = town.devnet.block_number();
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..24 {
        racers.spawn(exchange(with(meter.get("/use/30"), &payment)));
    }
    let answers = racers.join_all().await;
    assert!(answers.iter().any(|answer| answer.status() == StatusCode::OK));
    for answer in answers {
        match answer.status() {
            StatusCode::OK => assert_eq!(said(&answer).amount.as_deref(), Some("30")),
            status => assert_eq!(status, StatusCode::CONFLICT),
        }
    }
    assert_eq!((meter.served(), town.balance(PAYEE).await), (1, 30));
    assert_eq!(town.devnet.block_number(), before + 1, "one transaction");
}

#[tokio::test]
async fn refusals_have_the_codes_of_the_scheme() {
    let Some((town, till, meter, _)) = town().await else { return };
    let offer = meter.offer("/use/1").await;
    let terms = UptoTerms::parse(&offer.accepts[0]).unwrap();
    assert_eq!(terms, till.upto_terms(units(100)));
    let answer = async |payment: depin_payment::x402::UptoPayment| {
        let message = payment.to_message(&offer, 0).unwrap();
        refusal(&exchange(with(meter.get("/use/1"), &message)).await)
    };
    let changed = |change: fn(&mut UptoTerms)| {
        let mut terms = terms.clone();
        change(&mut terms);
        pays_up_to(&terms, 1)
    };
    let other = changed(|terms| terms.most = 99.into());
    assert_eq!(answer(other).await, "permit2_amount_mismatch");
    let other = changed(|terms| terms.pay_to = Address::repeat_byte(9));
    assert_eq!(answer(other).await, "invalid_permit2_recipient_mismatch");
    let other = changed(|terms| terms.facilitator = Address::repeat_byte(9));
    assert_eq!(answer(other).await, "upto_facilitator_mismatch");
    let other = changed(|terms| terms.chain = depin_core::ChainId::new(1));
    assert_eq!(answer(other).await, "invalid_permit2_signature");
    let late =
        terms.sign(&*payer(), super::now().plus(Duration::from_secs(2)), 1.try_into().unwrap());
    assert_eq!(answer(late.unwrap()).await, "permit2_deadline_expired");
    move_all(&town, account_of(&payer()), Address::repeat_byte(0xaa)).await;
    assert_eq!(answer(pays_up_to(&terms, 1)).await, "permit2_insufficient_balance");
    assert_eq!(meter.served(), 0);
}

#[tokio::test]
async fn a_purse_signs_up_to_so_much_only_when_its_policy_says_so() {
    let Some((town, _, meter, _)) = town().await else { return };
    let offer = meter.offer("/use/1").await;
    let strict = super::purse(&town.chain, town.token);
    let refused = strict.pay(&offer, &mut thread_rng()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert_eq!(strict.spent(town.chain.id(), town.token), units(0));
    // All of what is signed counts.
    let purse = metering_purse(&town.chain, town.token);
    purse.pay(&offer, &mut thread_rng()).unwrap();
    purse.pay(&offer, &mut thread_rng()).unwrap();
    let refused = purse.pay(&offer, &mut thread_rng()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limit);
}

#[tokio::test]
async fn a_payer_who_takes_the_money_away_during_the_work_gets_no_answer() {
    for (what, code) in
        [("money", "permit2_insufficient_balance"), ("approval", "permit2_allowance_required")]
    {
        let Some(town) = Town::with_permit2().await else { return };
        let (till, town) = (town.till().await, Arc::new(town));
        let world = Arc::clone(&town);
        let work = get(move || async move {
            if what == "money" {
                move_all(&world, account_of(&payer()), Address::repeat_byte(0xaa)).await;
            } else {
                let chain = world.chain_of(&payer()).await;
                let token = NetworkToken::new(world.token, chain.provider());
                let approve = token.approve(PERMIT2, depin_core::U256::ZERO);
                chain.send(approve.into_transaction_request()).await.unwrap();
            }
            (Extension(Used(30.into())), "secret")
        });
        let price = till.price_upto(units(100)).await.unwrap();
        let app = Router::new().route("/work", work.layer(price));
        let meter = Service::open(app, Served::default()).await;
        let purse = metering_purse(&town.chain, town.token);
        let payment = purse.pay(&meter.offer("/work").await, &mut thread_rng()).unwrap();
        let response = exchange(with(meter.get("/work"), &payment)).await;
        assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED, "{what}");
        let told = said(&response);
        assert_eq!((told.success, told.error_reason.as_deref()), (false, Some(code)));
        assert!(!String::from_utf8_lossy(response.body()).contains("secret"));
        let balance = till.balance().unwrap();
        assert_eq!((balance.accepted, town.balance(PAYEE).await), (units(0), 0));
    }
}
