//! Our server and our client, over real connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{self, Request, StatusCode},
    routing::{get, post},
};
use depin_core::ErrorKind;
use depin_payment::x402::{
    ExactTerms, PAYMENT_REQUIRED, PAYMENT_SIGNATURE, PayingClient, PaymentPayload, PaymentRequired,
    Purse, SettleResponse, Till, TillOptions,
};
use rand::thread_rng;

use super::{
    PAYEE, Town, purse,
    service::{Served, Service, exchange, with},
    units,
};

/// A server that sells what it counts.
pub(super) async fn shop(till: &Till) -> Service {
    let served = Served::default();
    let (echoed, read) = (served.clone(), served.clone());
    let echo = post(move |body: Bytes| async move {
        echoed.count();
        body
    });
    let reading = get(move || async move { read.count().to_string() });
    let long = get(|| async { "x".repeat(101) });
    let app = Router::new()
        .route("/reading", reading.layer(till.price(units(10))))
        .route("/echo", echo.layer(till.price(units(10)).request_limit(100)))
        .route("/dear", get(|| async { "gold" }).layer(till.price(units(101))))
        .route("/broken", get(broken).layer(till.price(units(10))))
        .route("/long", long.layer(till.price(units(10)).answer_limit(100)))
        .route("/free", get(|| async { "air" }));
    Service::open(app, served).await
}

async fn broken() -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn town() -> (Town, Till, Service, Purse) {
    let town = Town::start().await;
    let till = town.till().await;
    let shop = shop(&till).await;
    let purse = purse(&town.chain, town.token);
    (town, till, shop, purse)
}

#[tokio::test]
async fn a_client_pays_and_gets_what_it_paid_for() {
    let (town, _, shop, purse) = town().await;
    let client = PayingClient::new(purse.clone()).unwrap();
    let paid = client.send(shop.get("/reading"), &mut thread_rng()).await.unwrap();
    assert_eq!(
        (paid.response.status(), paid.response.body().as_slice()),
        (StatusCode::OK, &b"0"[..])
    );
    let settlement = paid.settlement.unwrap();
    assert!(settlement.success && settlement.transaction.len() == 66);
    assert_eq!(town.balance(PAYEE).await, 10);
    assert_eq!(purse.spent(town.chain.id(), town.token), units(10));

    let free = client.send(shop.get("/free"), &mut thread_rng()).await.unwrap();
    assert_eq!(free.response.body(), b"air");
    assert!(free.settlement.is_none());
    let echo = client.send(shop.post("/echo", "hello"), &mut thread_rng()).await.unwrap();
    assert_eq!(echo.response.body(), b"hello");
    assert_eq!(town.balance(PAYEE).await, 20);
}

#[tokio::test]
async fn a_price_over_the_limit_is_refused_by_name() {
    let (town, _, shop, purse) = town().await;
    let client = PayingClient::new(purse.clone()).unwrap();
    let error = client.send(shop.get("/dear"), &mut thread_rng()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("asked: 101, limit: 100"), "{error}");
    assert_eq!(purse.spent(town.chain.id(), town.token), units(0));
}

#[tokio::test]
async fn nothing_is_served_unpaid() {
    let (town, till, shop, purse) = town().await;
    let dear = shop.offer("/dear").await;
    let mut offer = shop.offer("/reading").await;
    let good = purse.pay(&offer, &mut thread_rng()).unwrap();
    // For another price, which is more than this one.
    assert_eq!(dear.accepts[0].amount, "101");
    let other = with(shop.get("/dear"), &good);
    assert_eq!(exchange(other).await.status(), StatusCode::PAYMENT_REQUIRED);
    // Cheaper than asked for.
    offer.accepts[0].amount = "1".into();
    let cheap = purse.pay(&offer, &mut thread_rng()).unwrap();
    let response = exchange(with(shop.get("/reading"), &cheap)).await;
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    // Says the right price and pays another.
    let mut lie = cheap.clone();
    lie.accepted.amount = "10".into();
    let response = exchange(with(shop.get("/reading"), &lie)).await;
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    let error = &response.headers()[PAYMENT_REQUIRED];
    let error = PaymentRequired::from_header(error.to_str().unwrap()).unwrap().error.unwrap();
    assert_eq!(
        error,
        "invalid_exact_evm_payload_signature"
            .to_owned()
            .replace("signature", "authorization_value_mismatch")
    );
    // No payment at all, or two.
    for bad in ["", "!", "e30=", "bnVsbA=="] {
        let mut request = shop.get("/reading");
        request.headers_mut().insert(PAYMENT_SIGNATURE, bad.parse().unwrap());
        assert_eq!(exchange(request).await.status(), StatusCode::BAD_REQUEST, "{bad:?}");
    }
    let mut twice = with(shop.get("/reading"), &good);
    twice.headers_mut().append(PAYMENT_SIGNATURE, good.to_header().parse().unwrap());
    assert_eq!(exchange(twice).await.status(), StatusCode::BAD_REQUEST);

    assert_eq!((shop.served(), town.balance(PAYEE).await), (0, 0));
    assert_eq!(till.balance().unwrap().accepted, units(0));
    assert_eq!(exchange(with(shop.get("/reading"), &good)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_payment_buys_one_answer_however_often_it_is_shown() {
    let (town, _, shop, purse) = town().await;
    let payment = purse.pay(&shop.offer("/reading").await, &mut thread_rng()).unwrap();
    let first = exchange(with(shop.get("/reading"), &payment)).await;
    let again = exchange(with(shop.get("/reading"), &payment)).await;
    assert_eq!((first.body(), again.body()), (&b"0".to_vec(), &b"0".to_vec()));
    assert_eq!(first.headers()["payment-response"], again.headers()["payment-response"]);
    assert_eq!((shop.served(), town.balance(PAYEE).await), (1, 10));

    for other in [shop.get("/reading?page=2"), shop.post("/echo", "mine")] {
        assert_eq!(exchange(with(other, &payment)).await.status(), StatusCode::CONFLICT);
    }
    assert_eq!((shop.served(), town.balance(PAYEE).await), (1, 10));
}

#[tokio::test]
async fn who_copies_a_payment_off_the_chain_does_not_get_its_answer() {
    let (_, _, shop, purse) = town().await;
    let payment = purse.pay(&shop.offer("/reading").await, &mut thread_rng()).unwrap();
    exchange(with(shop.get("/reading"), &payment)).await;
    // All but the identifier, which never was on chain.
    let mut copy: serde_json::Value = serde_json::from_slice(&payment.to_json()).unwrap();
    copy.as_object_mut().unwrap().remove("extensions");
    let copy = PaymentPayload::from_json(copy.to_string().as_bytes()).unwrap();
    let response = exchange(with(shop.get("/reading"), &copy)).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn another_payment_under_the_same_identifier_is_a_conflict() {
    let (town, _, shop, purse) = town().await;
    let offer = shop.offer("/reading").await;
    let first = purse.pay(&offer, &mut thread_rng()).unwrap();
    let second = purse.pay(&offer, &mut thread_rng()).unwrap();
    let json = |payment: &PaymentPayload| -> serde_json::Value {
        serde_json::from_slice(&payment.to_json()).unwrap()
    };
    let mut renamed = json(&second);
    renamed["extensions"] = json(&first)["extensions"].clone();
    let renamed = PaymentPayload::from_json(renamed.to_string().as_bytes()).unwrap();
    assert_eq!(exchange(with(shop.get("/reading"), &first)).await.status(), StatusCode::OK);
    let response = exchange(with(shop.get("/reading"), &renamed)).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert_eq!(town.balance(PAYEE).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_with_one_payment_is_won_once() {
    let (town, _, shop, purse) = town().await;
    let payment = purse.pay(&shop.offer("/reading").await, &mut thread_rng()).unwrap();
    let before = town.devnet.block_number();
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..24 {
        racers.spawn(exchange(with(shop.get("/reading"), &payment)));
    }
    let answers = racers.join_all().await;
    assert!(answers.iter().any(|answer| answer.status() == StatusCode::OK));
    for answer in answers {
        match answer.status() {
            StatusCode::OK => assert_eq!(answer.body(), b"0"),
            status => assert_eq!(status, StatusCode::CONFLICT),
        }
    }
    assert_eq!((shop.served(), town.balance(PAYEE).await), (1, 10));
    assert_eq!(town.devnet.block_number(), before + 1, "one transaction");
}

#[tokio::test]
async fn answers_that_fail_cost_nothing() {
    let (town, _, shop, purse) = town().await;
    for (path, status) in [("/broken", 500), ("/long", 500)] {
        let payment = purse.pay(&shop.offer(path).await, &mut thread_rng()).unwrap();
        assert_eq!(exchange(with(shop.get(path), &payment)).await.status().as_u16(), status);
        // The payment is still good for something that works.
        assert_eq!(exchange(with(shop.get("/reading"), &payment)).await.status(), StatusCode::OK);
    }
    let payment = purse.pay(&shop.offer("/reading").await, &mut thread_rng()).unwrap();
    let long = with(shop.post("/echo", &"x".repeat(101)), &payment);
    assert_eq!(exchange(long).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(town.balance(PAYEE).await, 20);
}

#[tokio::test]
async fn what_is_not_mined_yet_is_told_and_served_later_for_the_same_payment() {
    let town = Town::start().await;
    let impatient = depin_evm::Chain::from_provider(town.devnet.provider(), town.devnet.account(3))
        .poll_interval(Duration::from_millis(5))
        .timeout(Duration::from_millis(100));
    let chain = impatient.connect().await.unwrap();
    let clock = Arc::new(depin_core::SystemClock);
    let options = TillOptions::in_memory().pay_to(PAYEE);
    let till = Till::open(chain, town.token, clock, options).await.unwrap();
    let (shop, purse) = (shop(&till).await, purse(&town.chain, town.token));
    let payment = purse.pay(&shop.offer("/reading").await, &mut thread_rng()).unwrap();

    town.devnet.set_automine(false);
    let response = exchange(with(shop.get("/reading"), &payment)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let said = response.headers()["payment-response"].to_str().unwrap();
    assert!(SettleResponse::from_header(said).unwrap().is_pending());
    assert!(response.headers().contains_key("retry-after"));
    town.devnet.mine(1);
    let response = exchange(with(shop.get("/reading"), &payment)).await;
    assert_eq!((response.status(), response.body().as_slice()), (StatusCode::OK, &b"0"[..]));
    assert_eq!((shop.served(), town.balance(PAYEE).await), (1, 10));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_payment() {
    let (town, _, shop, purse) = town().await;
    let (lost, target) = (Arc::new(AtomicU64::new(0)), shop.url("/reading"));
    let count = Arc::clone(&lost);
    // The first paid answer never arrives.
    let relay = get(move |headers: http::HeaderMap| async move {
        let mut request = Request::get(target).body(Vec::new()).unwrap();
        request.headers_mut().extend(headers.get(PAYMENT_SIGNATURE).cloned().map(|payment| {
            let name = http::HeaderName::from_static(PAYMENT_SIGNATURE);
            (name, payment)
        }));
        let response = exchange(request).await;
        if response.status() == StatusCode::OK && count.fetch_add(1, Ordering::SeqCst) == 0 {
            let lost = http::Response::builder().status(503).header("retry-after", "0");
            return lost.body(axum::body::Body::empty()).unwrap();
        }
        response.map(axum::body::Body::from)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/relay", listener.local_addr().unwrap());
    let app = Router::new().route("/relay", relay);
    let relay = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let client = PayingClient::new(purse.clone()).unwrap();
    let request = Request::get(url).body(Vec::new()).unwrap();
    let paid = client.send(request, &mut thread_rng()).await.unwrap();
    relay.abort();
    assert_eq!(paid.response.body(), b"0");
    assert_eq!((lost.load(Ordering::SeqCst), shop.served()), (2, 1));
    assert_eq!(town.balance(PAYEE).await, 10);
    assert_eq!(purse.spent(town.chain.id(), town.token), units(10), "signed once");
}

#[tokio::test]
async fn offers_name_what_is_sold_and_how_it_is_paid() {
    let (town, till, shop, _) = town().await;
    let offer = shop.offer("/reading?page=1").await;
    assert_eq!(offer.resource.url, "/reading?page=1");
    assert_eq!(ExactTerms::parse(&offer.accepts[0]).unwrap(), till.terms(units(10)));
    assert_eq!(offer.accepts[0].network, format!("eip155:{}", town.chain.id().value()));
}

#[tokio::test]
async fn a_payment_without_a_name_gets_its_answer_once() {
    let (town, _, shop, purse) = town().await;
    let payment = purse.pay(&shop.offer("/reading").await, &mut thread_rng()).unwrap();
    let mut nameless: serde_json::Value = serde_json::from_slice(&payment.to_json()).unwrap();
    nameless.as_object_mut().unwrap().remove("extensions");
    let payment = PaymentPayload::from_json(nameless.to_string().as_bytes()).unwrap();
    let first = exchange(with(shop.get("/reading"), &payment)).await;
    assert_eq!((first.status(), first.body().as_slice()), (StatusCode::OK, &b"0"[..]));
    // Now it is on chain, and anybody can copy it.
    let copy = exchange(with(shop.get("/reading"), &payment)).await;
    assert_eq!(copy.status(), StatusCode::CONFLICT);
    assert!(!copy.headers().contains_key("retry-after"));
    assert_eq!((shop.served(), town.balance(PAYEE).await), (1, 10));
}
