//! Paying as a step of a client of reqwest that the application made.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{body::Bytes, http::Extensions};
use depin_core::ErrorKind;
use depin_payment::x402::{PAYMENT_SIGNATURE, PayingMiddleware, Purse, SettleResponse, Wallet};
use http_body_util::Full;
use rand::{SeedableRng, rngs::StdRng};
use reqwest::{Request, Response, redirect};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};

use super::{
    PAYEE, Town,
    http::shop,
    meter::{meter, metering_purse},
    purse,
    service::Service,
    units,
};

pub(super) fn client(step: PayingMiddleware) -> ClientBuilder {
    let client = reqwest::Client::builder().redirect(redirect::Policy::none()).no_proxy();
    ClientBuilder::new(client.build().unwrap()).with(step)
}

pub(super) fn step(wallet: impl Into<Wallet>) -> PayingMiddleware {
    PayingMiddleware::new(wallet, StdRng::from_entropy())
}

/// Counts what goes through it, and how much of that brings a payment.
#[derive(Clone, Default)]
struct Counter {
    all: Arc<AtomicU64>,
    paid: Arc<AtomicU64>,
}

#[async_trait::async_trait]
impl Middleware for Counter {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        self.all.fetch_add(1, Ordering::SeqCst);
        let paid = u64::from(request.headers().contains_key(PAYMENT_SIGNATURE));
        self.paid.fetch_add(paid, Ordering::SeqCst);
        if request.url().path() == "/forbidden" {
            return Err(reqwest_middleware::Error::middleware(std::fmt::Error));
        }
        next.run(request, extensions).await
    }
}

fn kind(error: &reqwest_middleware::Error) -> ErrorKind {
    let reqwest_middleware::Error::Middleware(error) = error else { panic!("{error}") };
    error.downcast_ref::<depin_core::Error>().unwrap().kind()
}

async fn town() -> (Town, Service, Purse) {
    let town = Town::start().await;
    let shop = shop(&town.till().await).await;
    let purse = purse(&town.chain, town.token);
    (town, shop, purse)
}

#[tokio::test]
async fn a_client_of_the_application_pays_and_its_other_steps_see_it() {
    let (town, shop, purse) = town().await;
    let counter = Counter::default();
    let client: ClientWithMiddleware = client(step(purse.clone())).with(counter.clone()).build();
    let response = client.get(shop.url("/reading")).send().await.unwrap();
    assert!(response.extensions().get::<SettleResponse>().unwrap().success);
    assert_eq!(response.text().await.unwrap(), "0");
    let response = client.post(shop.url("/echo")).body("hello").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "hello");
    let free = client.get(shop.url("/free")).send().await.unwrap();
    assert!(free.extensions().get::<SettleResponse>().is_none());
    let count = |of: &AtomicU64| of.load(Ordering::SeqCst);
    assert_eq!((count(&counter.all), count(&counter.paid)), (5, 2));
    assert_eq!((town.balance(PAYEE).await, shop.served()), (20, 2));
    assert_eq!(purse.spent(town.chain.id(), town.token), units(20));
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_not_signed() {
    let (town, shop, purse) = town().await;
    let client = client(step(purse.clone())).build();
    let refused = client.get(shop.url("/dear")).send().await.unwrap_err();
    assert_eq!(kind(&refused), ErrorKind::Limit);
    assert_eq!(purse.spent(town.chain.id(), town.token), units(0));
}

#[tokio::test]
async fn a_streamed_body_is_refused_by_name_before_anything_is_signed() {
    let (town, shop, purse) = town().await;
    let client = client(step(purse.clone())).build();
    let streamed = || reqwest::Body::wrap(Full::new(Bytes::from_static(b"hello")));
    let priced = client.post(shop.url("/echo")).body(streamed()).send().await;
    let refused = priced.unwrap_err();
    assert_eq!(kind(&refused), ErrorKind::Config);
    assert!(refused.to_string().contains("give the body as bytes"), "{refused}");
    assert_eq!((purse.spent(town.chain.id(), town.token), shop.served()), (units(0), 0));
    // Where nothing costs it does no harm.
    let free = client.get(shop.url("/free")).body(streamed()).send().await.unwrap();
    assert_eq!(free.status(), 200);
}

#[tokio::test]
async fn errors_of_other_steps_pass_as_they_are() {
    let (_, shop, purse) = town().await;
    let client = client(step(purse.clone())).with(Counter::default()).build();
    let failed = client.get(shop.url("/forbidden")).send().await.unwrap_err();
    let reqwest_middleware::Error::Middleware(error) = failed else { panic!("{failed}") };
    assert!(error.downcast_ref::<std::fmt::Error>().is_some());
    let lost = client.get("http://127.0.0.1:1/").send().await.unwrap_err();
    assert!(lost.is_connect(), "{lost}");
}

#[tokio::test]
async fn up_to_so_much_is_paid_as_well() {
    let Some(town) = Town::with_permit2().await else { return };
    let meter = meter(&town.till().await).await;
    let purse = metering_purse(&town.chain, town.token);
    let client = client(step(Wallet::new(purse.clone()).with_chain(town.chain.clone()))).build();
    let response = client.get(meter.url("/use/30")).send().await.unwrap();
    let settlement = response.extensions().get::<SettleResponse>().unwrap();
    assert_eq!(settlement.amount.as_deref(), Some("30"));
    assert_eq!(town.balance(PAYEE).await, 30);
    town.devnet.mine(3);
    purse.reclaim(&town.chain).await.unwrap();
    assert_eq!(purse.spent(town.chain.id(), town.token), units(30));
}
