//! An HTTP client that pays.
//!
//! It asks, and when the server wants money for it, signs once and asks again with the payment; what is lost on
//! the way is asked for again with the same payment, which a server counts once. It never signs a second time for
//! one request: a server that says that it did not get the money may have got it.
//!
//! Requests and responses are those of the `http` crate with bodies in memory. The connections are reqwest's and
//! stay inside; `https` works where the application turns on a TLS feature of reqwest. Who has a client of reqwest
//! already adds `PayingMiddleware` to it (feature `reqwest-middleware`), others use a [`Purse`](super::Purse) with
//! theirs.

use std::time::Duration;

use depin_core::{B256, Error, ErrorKind, Result};
use http::{HeaderValue, Request, Response};
use rand_core::CryptoRngCore;
use reqwest::{Client, redirect};

use super::{
    message::{PAYMENT_SIGNATURE, SettleResponse},
    purse::Fresh,
    wallet::{Exchange, Wallet, server},
};

/// A client that pays for requests from a [`Wallet`]. One connection pool; cloning shares it.
#[derive(Clone, Debug)]
pub struct PayingClient {
    client: Client,
    wallet: Wallet,
    answer_limit: usize,
}

/// What came of a request.
#[derive(Debug)]
#[non_exhaustive]
pub struct Paid {
    /// What the server answered.
    pub response: Response<Vec<u8>>,
    /// What the server says became of the payment, if the request was paid for.
    pub settlement: Option<SettleResponse>,
}

impl PayingClient {
    /// A client that pays from a [`Purse`](super::Purse) or a [`Wallet`], follows no redirects and uses no proxies.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when no client can be made, for example when TLS cannot be set up.
    pub fn new(wallet: impl Into<Wallet>) -> Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Config, "the HTTP client cannot be set up").source(error)
            })?;
        Ok(Self { client, wallet: wallet.into(), answer_limit: 1024 * 1024 })
    }

    /// Most bytes of an answer's body; 1 MiB unless told.
    #[must_use]
    pub const fn answer_limit(mut self, bytes: usize) -> Self {
        self.answer_limit = bytes;
        self
    }

    /// Sends a request, and pays for it when the server wants that and the purse's policy allows it.
    ///
    /// Any other answer than 402 is given back as it is.
    ///
    /// # Errors
    /// As [`Purse::pay`](super::Purse::pay); [`ErrorKind::Unavailable`] when the server does not answer, or not in
    /// time whether it got the money; [`ErrorKind::Rejected`] with the server's reason when it refuses the payment;
    /// [`ErrorKind::Limit`] when the answer is too long.
    pub fn send<'a, R: CryptoRngCore>(
        &'a self,
        request: Request<Vec<u8>>,
        rng: &mut R,
    ) -> impl Future<Output = Result<Paid>> + Send + use<'a, R> {
        // Drawn now, so that generators which stay in their thread will do.
        let fresh = Fresh::draw(rng);
        self.pay_for(request, fresh)
    }

    async fn pay_for(&self, request: Request<Vec<u8>>, fresh: Fresh) -> Result<Paid> {
        let sending = Sending { client: self, request };
        let first = self.exchange(sending.request.clone()).await?;
        let (response, settlement) = self.wallet.pay_for(first, &sending, fresh).await?;
        Ok(Paid { response, settlement })
    }

    async fn exchange(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>> {
        let request = reqwest::Request::try_from(request).map_err(|error| {
            let text = "the request has no absolute http or https URL";
            Error::new(ErrorKind::Config, text).source(error.without_url())
        })?;
        let mut response = self.client.execute(request).await.map_err(lost)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len().saturating_add(chunk.len()) > self.answer_limit {
                let text = "the answer is longer than the client takes; raise its limit";
                return Err(Error::new(ErrorKind::Limit, text).with("limit", self.answer_limit));
            }
            body.extend_from_slice(&chunk);
        }
        let mut answer = Response::new(body);
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        Ok(answer)
    }
}

/// A request that may be sent again.
struct Sending<'a> {
    client: &'a PayingClient,
    request: Request<Vec<u8>>,
}

impl Exchange for Sending<'_> {
    type Answer = Response<Vec<u8>>;

    fn server(&self) -> B256 {
        let uri = self.request.uri();
        server(uri.host(), uri.port_u16())
    }

    async fn send(&self, payment: &HeaderValue) -> Result<Response<Vec<u8>>> {
        let mut request = self.request.clone();
        request.headers_mut().insert(PAYMENT_SIGNATURE, payment.clone());
        self.client.exchange(request).await
    }
}

fn lost(error: reqwest::Error) -> Error {
    Error::unavailable("the server does not answer; try again").source(error.without_url())
}

const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(150);
