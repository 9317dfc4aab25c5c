//! Requests paid with vouchers of a channel: nothing goes to the chain until the payee settles.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use depin_core::{
    Address, Amount, B256, ErrorKind, ManualClock, U256,
    payment::{PaymentRail, Settlement},
};
use depin_evm::{Chain, alloy::signers::local::PrivateKeySigner, bindings::PaymentChannel};
use depin_payment::{
    channel::Terms,
    evm::{ChannelRail, ChannelRules, EvmChannel},
    rail::{ChannelPayer, RailStore},
    x402::{
        PAYMENT_RESPONSE, PAYMENT_SIGNATURE, PayingClient, PaymentPayload, PaymentRequired,
        SettleResponse, Tab, Till, TillOptions, Wallet,
    },
};
use http::{Request, StatusCode};
use rand::thread_rng;

use super::{PAYEE, Town, account_of, payer, purse, units};

struct Market {
    town: Town,
    rail: Arc<ChannelRail>,
    terms: Terms,
    channel: EvmChannel,
    url: String,
    served: Arc<AtomicU64>,
    server: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Market {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Market {
    /// A channel with 1,000 units, and a server that sells a reading for 10; the third one fails at first.
    async fn open() -> Self {
        Self::open_with(RailStore::in_memory().unwrap()).await
    }

    /// The same, where the payee's rail remembers in this store.
    async fn open_with(store: RailStore) -> Self {
        let town = Town::start().await;
        let create = PaymentChannel::deploy_builder(town.chain.provider());
        let receipt = town.chain.send(create.into_transaction_request()).await.unwrap();
        let contract = receipt.contract_address.unwrap();
        let from = account_of(&payer());
        town.devnet.set_balance(from, U256::from(10).pow(U256::from(18)));
        let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(1)).unwrap();
        let chain = Chain::from_provider(town.devnet.provider(), signer).connect().await.unwrap();
        let (token, salt) = (town.token, B256::ZERO);
        let terms =
            Terms { payer: from, payee: PAYEE, token, signer: from, challenge: 3_600, salt };
        let channel = EvmChannel::new(chain, contract);
        channel.deposit("first", &terms, 1_000.into()).await.unwrap();

        let payees = EvmChannel::new(town.chain.clone(), contract);
        let rules = ChannelRules::default();
        let rail = Arc::new(ChannelRail::new(payees, PAYEE, token, rules, store).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let options = TillOptions::kept_in(folder.path().join("till.redb"));
        let till = town.till_with(options).await;
        let served = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&served);
        let reading = get(move || async move {
            match count.fetch_add(1, Ordering::SeqCst) {
                2 => Err(StatusCode::BAD_GATEWAY),
                number => Ok(number.to_string()),
            }
        });
        let price = || till.price(units(10)).or_vouchers(rail.clone()).unwrap();
        let long = get(|| async { "x".repeat(101) }).layer(price().answer_limit(100));
        let app = Router::new()
            .route("/reading", reading.layer(price()))
            .route("/missing", get(|| async { StatusCode::NOT_FOUND }).layer(price()))
            .route("/taken", get(another_servers_conflict).layer(price()))
            .route("/busy", get(|| async { StatusCode::SERVICE_UNAVAILABLE }).layer(price()))
            .route("/long", long);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/reading", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { town, rail, terms, channel, url, served, server, _folder: folder }
    }

    fn tab(&self, each: u64) -> Tab {
        let (domain, key) = (self.channel.domain(), payer());
        let wallet = ChannelPayer::in_memory(domain, self.terms, key, 1_000.into()).unwrap();
        Tab::new(wallet, domain, each.into())
    }

    fn client(&self, tab: Tab) -> PayingClient {
        PayingClient::new(self.wallet(tab)).unwrap()
    }

    fn wallet(&self, tab: Tab) -> Wallet {
        Wallet::new(purse(&self.town.chain, self.town.token)).with_tab(tab)
    }

    fn get(&self) -> Request<Vec<u8>> {
        Request::get(&self.url).body(Vec::new()).unwrap()
    }

    fn get_from(&self, path: &str) -> Request<Vec<u8>> {
        Request::get(self.url.replace("reading", path)).body(Vec::new()).unwrap()
    }

    async fn with(&self, payment: &str) -> reqwest::Response {
        let request = reqwest::Client::new().get(&self.url).header(PAYMENT_SIGNATURE, payment);
        request.send().await.unwrap()
    }

    async fn due(&self) -> Amount {
        self.rail.balance().await.unwrap().due().unwrap()
    }
}

/// What a gateway passes on: a conflict, and what another server says of another payment.
async fn another_servers_conflict() -> http::Response<axum::body::Body> {
    let said = r#"{"success":false,"errorReason":"payment_already_spent","network":"eip155:1","transaction":""}"#;
    let said = SettleResponse::from_json(said.as_bytes()).unwrap().to_header();
    let answer = http::Response::builder().status(StatusCode::CONFLICT);
    answer.header(PAYMENT_RESPONSE, said).body(axum::body::Body::empty()).unwrap()
}

#[tokio::test]
async fn many_requests_are_settled_by_one_transaction() {
    let market = Market::open().await;
    let client = market.client(market.tab(10));
    let blocks = market.town.devnet.block_number();
    for number in ["0", "1"] {
        let paid = client.send(market.get(), &mut thread_rng()).await.unwrap();
        assert_eq!(paid.response.body(), number.as_bytes());
        let settlement = paid.settlement.unwrap();
        assert!(settlement.success && !settlement.transaction.is_empty());
        assert_eq!(settlement.amount.as_deref(), Some("10"));
    }
    assert_eq!(market.town.devnet.block_number(), blocks, "nothing went to the chain");
    assert_eq!(market.due().await, units(20));
    let settled = market.rail.settle().await.unwrap();
    assert!(matches!(settled, Settlement::Settled { amount, .. } if amount == units(20)));
    assert_eq!(market.town.devnet.block_number(), blocks + 1);
    assert_eq!(market.town.balance(PAYEE).await, 20);
}

#[tokio::test]
async fn a_voucher_buys_one_answer_however_often_it_is_shown() {
    let market = Market::open().await;
    let unpaid = reqwest::get(&market.url).await.unwrap();
    let offer = unpaid.headers()["payment-required"].to_str().unwrap().to_owned();
    let required = PaymentRequired::from_header(&offer).unwrap();
    let schemes: Vec<_> = required.accepts.iter().map(|offer| offer.scheme.as_str()).collect();
    assert_eq!(schemes, ["exact", "depin-channel"]);

    let (header, first) = record(&market).await;
    let again = market.with(&header).await;
    assert_eq!((again.status(), again.text().await.unwrap()), (StatusCode::OK, first));
    assert_eq!((market.served.load(Ordering::SeqCst), market.due().await), (1, units(10)));
    let kept = market.with(&header).await.headers()["cache-control"].clone();
    assert_eq!(kept, "private");
    // For something else, for less, or without the name of what it pays for.
    let payload: serde_json::Value =
        serde_json::from_slice(&PaymentPayload::from_header(&header).unwrap().to_json()).unwrap();
    let change = |path: &str, value: serde_json::Value| {
        let mut changed = payload.clone();
        *changed.pointer_mut(path).unwrap() = value;
        PaymentPayload::from_json(changed.to_string().as_bytes()).unwrap().to_header()
    };
    let other = Address::repeat_byte(9).to_string();
    for (path, value, status) in [
        ("/extensions", serde_json::Value::Null, 400),
        ("/extensions/payment-identifier/info/id", "another_identifier".into(), 402),
        ("/accepted/amount", "1".into(), 402),
        ("/accepted/extra/channel", other.into(), 402),
        ("/payload/voucher", "0x01".into(), 400),
    ] {
        let response = market.with(&change(path, value)).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
    let elsewhere = format!("{}?page=2", market.url);
    let elsewhere = reqwest::Client::new().get(elsewhere).header(PAYMENT_SIGNATURE, &header);
    assert_eq!(elsewhere.send().await.unwrap().status(), StatusCode::CONFLICT);
    assert_eq!((market.served.load(Ordering::SeqCst), market.due().await), (1, units(10)));
}

/// Pays once and answers with what was sent and what came.
async fn record(market: &Market) -> (String, String) {
    let seen = Arc::new(std::sync::Mutex::new(None));
    let (listener, target) =
        (tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), market.url.clone());
    let url = format!("http://{}/reading", listener.local_addr().unwrap());
    let note = Arc::clone(&seen);
    let relay = get(move |headers: http::HeaderMap| async move {
        let mut request = reqwest::Client::new().get(target);
        if let Some(payment) = headers.get(PAYMENT_SIGNATURE) {
            *note.lock().unwrap() = Some(payment.to_str().unwrap().to_owned());
            request = request.header(PAYMENT_SIGNATURE, payment);
        }
        let response = request.send().await.unwrap();
        let mut answer = http::Response::builder().status(response.status());
        answer.headers_mut().unwrap().extend(response.headers().clone());
        answer.body(axum::body::Body::from(response.bytes().await.unwrap())).unwrap()
    });
    let app = Router::new().route("/reading", relay);
    let relay = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let request = Request::get(url).body(Vec::new()).unwrap();
    let paid = market.client(market.tab(10)).send(request, &mut thread_rng()).await.unwrap();
    relay.abort();
    let header = seen.lock().unwrap().take().unwrap();
    (header, String::from_utf8(paid.response.into_body()).unwrap())
}

#[tokio::test]
async fn a_service_that_fails_is_asked_again_for_the_same_voucher() {
    let market = Market::open().await;
    market.served.store(2, Ordering::SeqCst);
    let (header, _) = record(&market).await;
    assert_eq!(market.due().await, units(0), "nothing is paid for it");
    let again = market.with(&header).await;
    assert_eq!((again.status(), again.text().await.unwrap()), (StatusCode::OK, "3".to_owned()));
    assert_eq!(market.due().await, units(10), "once");
}

#[tokio::test]
async fn a_price_over_the_limit_of_a_tab_is_not_paid_from_it() {
    let market = Market::open().await;
    let client = market.client(market.tab(9));
    let error = client.send(market.get(), &mut thread_rng()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert_eq!(market.due().await, units(0));
}

#[tokio::test]
async fn answers_that_fail_or_are_too_long_cost_no_voucher() {
    let market = Market::open().await;
    let client = PayingClient::new(market.wallet(market.tab(10)).attempts(2)).unwrap();
    for (path, status) in [("missing", 404), ("long", 500), ("missing", 404)] {
        let answer = client.send(market.get_from(path), &mut thread_rng()).await.unwrap();
        assert_eq!(answer.response.status().as_u16(), status, "{path}");
        assert!(answer.settlement.is_none());
    }
    let busy = client.send(market.get_from("busy"), &mut thread_rng()).await.unwrap_err();
    assert!(busy.is_retryable(), "{busy}");
    assert_eq!(market.due().await, units(0));
    // The next voucher pays for what is served, and for none of those.
    let paid = client.send(market.get(), &mut thread_rng()).await.unwrap();
    assert_eq!(paid.response.body(), b"0");
    assert_eq!(market.due().await, units(10));
    client.send(market.get(), &mut thread_rng()).await.unwrap();
    assert_eq!(market.due().await, units(20));
    market.rail.settle().await.unwrap();
    assert_eq!(market.town.balance(PAYEE).await, 20, "what the payer lost");
}

/// A request that the server serves and is paid for, and whose answer never arrives.
async fn lose_an_answer(market: &Market, client: &PayingClient) {
    let target = market.url.clone();
    let relay = get(move |headers: http::HeaderMap| async move {
        let mut request = reqwest::Client::new().get(target);
        let payment = headers.get(PAYMENT_SIGNATURE);
        if let Some(payment) = payment {
            request = request.header(PAYMENT_SIGNATURE, payment);
        }
        let response = request.send().await.unwrap();
        let status =
            if payment.is_some() { StatusCode::GATEWAY_TIMEOUT } else { response.status() };
        let mut answer = http::Response::builder().status(status);
        if payment.is_none() {
            answer.headers_mut().unwrap().extend(response.headers().clone());
        }
        answer.body(axum::body::Body::empty()).unwrap()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/reading", listener.local_addr().unwrap());
    let app = Router::new().route("/reading", relay);
    let relay = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let lost = Request::get(url).body(Vec::new()).unwrap();
    let lost = client.send(lost, &mut thread_rng()).await.unwrap();
    relay.abort();
    assert_eq!(lost.response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!((market.served.load(Ordering::SeqCst), market.due().await), (1, units(10)));
}

#[tokio::test]
async fn a_charge_whose_answer_was_lost_is_not_used_for_something_else() {
    let market = Market::open().await;
    let client = PayingClient::new(market.wallet(market.tab(10)).attempts(1)).unwrap();
    lose_an_answer(&market, &client).await;
    let other = market.get_from("reading?page=2");
    let other = client.send(other, &mut thread_rng()).await.unwrap();
    assert_eq!(other.response.body(), b"1", "paid for with a charge of its own");
    assert_eq!(market.due().await, units(20));
}

#[tokio::test]
async fn a_lost_charge_that_the_server_forgot_holds_up_no_request() {
    let clock = Arc::new(ManualClock::at(super::now()));
    let store = RailStore::in_memory().unwrap().keep(Duration::from_secs(60)).clock(clock.clone());
    let market = Market::open_with(store).await;
    let client = PayingClient::new(market.wallet(market.tab(10)).attempts(1)).unwrap();
    lose_an_answer(&market, &client).await;
    market.rail.settle().await.unwrap();
    clock.advance(Duration::from_secs(61));
    market.town.devnet.mine(64);
    market.rail.settle().await.unwrap();

    let other = market.get_from("reading?page=2");
    let other = client.send(other, &mut thread_rng()).await.unwrap();
    assert_eq!(other.response.body(), b"1", "paid for with a fresh charge");
    assert_eq!(market.due().await, units(10), "the one that was served since");
}

#[tokio::test]
async fn a_conflict_of_the_service_itself_costs_no_second_charge() {
    let market = Market::open().await;
    let client = market.client(market.tab(10));
    for _ in 0..3 {
        let taken = client.send(market.get_from("taken"), &mut thread_rng()).await.unwrap();
        assert_eq!(taken.response.status(), StatusCode::CONFLICT);
        assert!(taken.settlement.is_none(), "{:?}", taken.settlement);
    }
    let paid = client.send(market.get(), &mut thread_rng()).await.unwrap();
    assert_eq!(paid.response.body(), b"0");
    assert_eq!(market.due().await, units(10), "the charge that was signed for first");
}

#[tokio::test]
async fn garbage_runs_no_service() {
    let market = Market::open().await;
    let (header, _) = record(&market).await;
    let mut payload: serde_json::Value =
        serde_json::from_slice(&PaymentPayload::from_header(&header).unwrap().to_json()).unwrap();
    payload["extensions"]["payment-identifier"]["info"]["id"] = "another_identifier".into();
    let voucher = payload["payload"]["voucher"].as_str().unwrap().to_owned();
    // Another sum under the same signature.
    payload["payload"]["voucher"] = voucher.replacen("000a", "000b", 1).into();
    assert_ne!(payload["payload"]["voucher"], voucher.as_str());
    let forged = PaymentPayload::from_json(payload.to_string().as_bytes()).unwrap();
    let response = market.with(&forged.to_header()).await;
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    assert_eq!(market.served.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn vouchers_need_a_till_that_remembers_and_a_rail_of_its_own_kind() {
    let market = Market::open().await;
    let kind = |till: &Till, rail: &Arc<ChannelRail>| {
        till.price(units(10)).or_vouchers(Arc::clone(rail)).unwrap_err().kind()
    };
    assert_eq!(kind(&market.town.till().await, &market.rail), ErrorKind::Config);

    let folder = tempfile::tempdir().unwrap();
    let options = TillOptions::kept_in(folder.path().join("till.redb"));
    let till = market.town.till_with(options).await;
    let rail = |payee, token| {
        let channel =
            EvmChannel::new(market.town.chain.clone(), market.channel.domain().contract());
        let (rules, store) = (ChannelRules::default(), RailStore::in_memory().unwrap());
        Arc::new(ChannelRail::new(channel, payee, token, rules, store).unwrap())
    };
    let (other, token) = (Address::repeat_byte(0x0e), market.terms.token);
    for _ in 0..2 {
        assert!(till.price(units(10)).or_vouchers(rail(PAYEE, token)).is_ok());
    }
    for (payee, token) in [(other, token), (PAYEE, other)] {
        assert_eq!(kind(&till, &rail(payee, token)), ErrorKind::Config);
    }
    // The answers that were sold are with the market's till; also after this one was opened anew.
    assert_eq!(kind(&till, &market.rail), ErrorKind::Conflict);
    drop(till);
    let options = TillOptions::kept_in(folder.path().join("till.redb"));
    let till = market.town.till_with(options).await;
    assert_eq!(kind(&till, &market.rail), ErrorKind::Conflict);
}
