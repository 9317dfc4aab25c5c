//! A server in the test, which counts what it served, and a client that knows nothing of payments.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    http::{Request, Response, StatusCode},
};
use depin_payment::x402::{
    PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, PaymentPayload, PaymentRequired,
    SettleResponse,
};

/// A server that ends with the test.
pub(super) struct Service {
    url: String,
    served: Served,
    server: tokio::task::JoinHandle<()>,
}

/// How often a service was asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Served(Arc<AtomicU64>);

impl Served {
    /// Counts one more and answers how many there were before.
    pub(super) fn count(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

impl Service {
    /// Serves routes, which count in `served`.
    pub(super) async fn open(app: Router, served: Served) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, served, server }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(super) fn get(&self, path: &str) -> Request<Vec<u8>> {
        Request::get(self.url(path)).body(Vec::new()).unwrap()
    }

    pub(super) fn post(&self, path: &str, body: &str) -> Request<Vec<u8>> {
        Request::post(self.url(path)).body(body.into()).unwrap()
    }

    pub(super) fn served(&self) -> u64 {
        self.served.0.load(Ordering::SeqCst)
    }

    pub(super) async fn offer(&self, path: &str) -> PaymentRequired {
        let response = exchange(self.get(path)).await;
        assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
        let offer = response.headers()[PAYMENT_REQUIRED].to_str().unwrap().to_owned();
        PaymentRequired::from_header(&offer).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Sends a request as it is.
pub(super) async fn exchange(request: Request<Vec<u8>>) -> Response<Vec<u8>> {
    let response = reqwest::Client::new().execute(request.try_into().unwrap()).await.unwrap();
    let mut answer = Response::builder().status(response.status());
    answer.headers_mut().unwrap().extend(response.headers().clone());
    answer.body(response.bytes().await.unwrap().to_vec()).unwrap()
}

pub(super) fn with(mut request: Request<Vec<u8>>, payment: &PaymentPayload) -> Request<Vec<u8>> {
    request.headers_mut().insert(PAYMENT_SIGNATURE, payment.to_header().parse().unwrap());
    request
}

/// What a server says became of a payment.
pub(super) fn said(response: &Response<Vec<u8>>) -> SettleResponse {
    SettleResponse::from_header(response.headers()[PAYMENT_RESPONSE].to_str().unwrap()).unwrap()
}

/// Why a server refuses a payment.
pub(super) fn refusal(response: &Response<Vec<u8>>) -> String {
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    let offer = response.headers()[PAYMENT_REQUIRED].to_str().unwrap();
    PaymentRequired::from_header(offer).unwrap().error.unwrap()
}
