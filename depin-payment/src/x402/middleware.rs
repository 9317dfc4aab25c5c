//! Paying as a step of a client that an application has already, made of reqwest with `reqwest-middleware`.
//!
//! It does what [`PayingClient`](super::PayingClient) does, with the connections, limits and other steps of that
//! client. Let that client follow no redirects: they would carry the payment to whoever the server names.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use depin_core::{B256, Error, ErrorKind, Result};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use rand_core::CryptoRngCore;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next};

use super::{
    message::PAYMENT_SIGNATURE,
    purse::Fresh,
    wallet::{Answered, Exchange, Wallet, server},
};

/// Pays for the requests of a client from a [`Wallet`]; add it with `ClientBuilder::with`. What the server says became
/// of a payment is a [`SettleResponse`](super::SettleResponse) in the extensions of the response.
///
/// A request that has to be paid is sent twice at least, so its body must be in memory. A streamed body is sent once,
/// which is enough where nothing costs, and refused where something does, before anything is signed. Errors of this
/// step are a [`depin_core::Error`] within `reqwest_middleware::Error::Middleware`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use std::sync::Arc;
/// # use axum::{Router, routing::get};
/// # use depin_core::{Algorithm, Amount, NetworkId, Signer, SoftwareKey, SystemClock, U256};
/// # use depin_devnet::Devnet;
/// # use depin_evm::{Chain, DeployOptions, bindings::NetworkToken, deploy};
/// # use depin_payment::x402::{Till, TillOptions};
/// use depin_payment::x402::{Allowance, PayingMiddleware, Policy, Purse, SettleResponse};
/// use rand::{SeedableRng, rngs::StdRng};
///
/// # let devnet = Devnet::start();
/// # let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// # let token = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?.token;
/// # let contract = NetworkToken::new(token, chain.provider());
/// # let key = Arc::new(SoftwareKey::from_seed(Algorithm::Es256k, [1; 32]));
/// # let role = chain.read(&contract.MINTER_ROLE()).await?;
/// # chain.send(contract.grantRole(role, chain.account()).into_transaction_request()).await?;
/// # let mint = contract.mint(key.public_key().to_address().unwrap(), U256::from(1_000));
/// # chain.send(mint.into_transaction_request()).await?;
/// # let id = chain.id();
/// # let till = Till::open(chain, token, Arc::new(SystemClock), TillOptions::in_memory()).await?;
/// # let reading = get(|| async { "21.5" }).layer(till.price(Amount::from(10)));
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
/// # let url = format!("http://{}/reading", listener.local_addr().unwrap());
/// # tokio::spawn(async { axum::serve(listener, Router::new().route("/reading", reading)).await });
/// let allowance = Allowance { chain: id, asset: token, each: 100.into(), total: 500.into() };
/// let purse = Purse::new(key, Policy::default().allow(allowance), Arc::new(SystemClock))?;
/// let mine = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
/// let client = reqwest_middleware::ClientBuilder::new(mine)
///     .with(PayingMiddleware::new(purse, StdRng::from_entropy()))
///     .build();
///
/// let response = client.get(url).send().await.unwrap();
/// assert!(response.extensions().get::<SettleResponse>().unwrap().success);
/// assert_eq!(response.text().await.unwrap(), "21.5");
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
pub struct PayingMiddleware {
    wallet: Wallet,
    rng: Mutex<Box<dyn CryptoRngCore + Send>>,
}

impl PayingMiddleware {
    /// Pays from a [`Purse`](super::Purse) or a [`Wallet`], with nonces and names drawn from `rng`.
    pub fn new(wallet: impl Into<Wallet>, rng: impl CryptoRngCore + Send + 'static) -> Self {
        Self { wallet: wallet.into(), rng: Mutex::new(Box::new(rng)) }
    }

    fn draw(&self) -> Fresh {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        Fresh::draw(&mut &mut **rng)
    }
}

impl fmt::Debug for PayingMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayingMiddleware").field("wallet", &self.wallet).finish_non_exhaustive()
    }
}

#[async_trait]
impl Middleware for PayingMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let copy = request.try_clone();
        let first = next.clone().run(request, extensions).await?;
        if first.status() != StatusCode::PAYMENT_REQUIRED {
            return Ok(first);
        }
        let request = copy.ok_or_else(|| reqwest_middleware::Error::middleware(streamed()))?;
        let sending = Sending { request, extensions: tokio::sync::Mutex::new(extensions), next };
        let paid = self.wallet.pay_for(first, &sending, self.draw()).await;
        let (mut response, said) = paid.map_err(reqwest_middleware::Error::middleware)?;
        if let Some(said) = said {
            response.extensions_mut().insert(said);
        }
        Ok(response)
    }
}

/// A request that may be sent again through the steps that follow.
struct Sending<'a> {
    request: Request,
    extensions: tokio::sync::Mutex<&'a mut Extensions>,
    next: Next<'a>,
}

impl Exchange for Sending<'_> {
    type Answer = Response;

    fn server(&self) -> B256 {
        let url = self.request.url();
        server(url.host_str(), url.port())
    }

    async fn send(&self, payment: &HeaderValue) -> Result<Response> {
        let mut request = self.request.try_clone().ok_or_else(streamed)?;
        request.headers_mut().insert(PAYMENT_SIGNATURE, payment.clone());
        let mut extensions = self.extensions.lock().await;
        let sent = self.next.clone().run(request, &mut extensions).await;
        sent.map_err(|error| match error.without_url() {
            reqwest_middleware::Error::Reqwest(error) => {
                Error::unavailable("the server does not answer; try again").source(error)
            }
            error => {
                let text = "another step of the client refused the paid request";
                Error::new(ErrorKind::Rejected, text).source(error)
            }
        })
    }
}

impl Answered for Response {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }
}

fn streamed() -> Error {
    let text = "the request has to be paid and its body is a stream, which cannot be sent again; give \
                the body as bytes";
    Error::new(ErrorKind::Config, text)
}
