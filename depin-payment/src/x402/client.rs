//! An HTTP client that pays.
//!
//! It asks, and when the server wants money for it, signs once and asks again with the payment; what is lost on
//! the way is asked for again with the same payment, which a server counts once. It never signs a second time for
//! one request: a server that says that it did not get the money may have got it.
//!
//! Requests and responses are those of the `http` crate with bodies in memory. The connections are reqwest's and
//! stay inside; `https` works where the application turns on a TLS feature of reqwest. Who has a client already
//! uses a [`Purse`] with it.

use std::time::Duration;

use depin_core::{Error, ErrorKind, Result};
use http::{HeaderMap, Request, Response, StatusCode, header};
use rand_core::CryptoRngCore;
use reqwest::{Client, redirect};

use super::{
    batch::{Open, Tab},
    message::{
        PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, PaymentPayload, PaymentRequired,
        SettleResponse,
    },
    purse::{Fresh, Purse},
};

/// A client that pays for requests from a [`Purse`]. One connection pool; cloning shares it.
#[derive(Clone, Debug)]
pub struct PayingClient {
    client: Client,
    purse: Purse,
    tabs: Vec<Tab>,
    answer_limit: usize,
    attempts: u32,
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
    /// A client that pays from `purse`, follows no redirects and uses no proxies.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when no client can be made, for example when TLS cannot be set up.
    pub fn new(purse: Purse) -> Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Config, "the HTTP client cannot be set up").source(error)
            })?;
        Ok(Self { client, purse, tabs: Vec::new(), answer_limit: 1024 * 1024, attempts: 10 })
    }

    /// Pays with vouchers where the server takes those of this tab, before it pays from the purse.
    #[must_use]
    pub fn with_tab(mut self, tab: Tab) -> Self {
        self.tabs.push(tab);
        self
    }

    /// Most bytes of an answer's body; 1 MiB unless told.
    #[must_use]
    pub const fn answer_limit(mut self, bytes: usize) -> Self {
        self.answer_limit = bytes;
        self
    }

    /// How often a paid request is sent until it is answered; ten times unless told.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sends a request, and pays for it when the server wants that and the purse's policy allows it.
    ///
    /// Any other answer than 402 is given back as it is.
    ///
    /// # Errors
    /// As [`Purse::pay`]; [`ErrorKind::Unavailable`] when the server does not answer, or not in time whether it
    /// got the money; [`ErrorKind::Rejected`] with the server's reason when it refuses the payment;
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
        let response = self.exchange(request.clone()).await?;
        if response.status() != StatusCode::PAYMENT_REQUIRED {
            return Ok(Paid { response, settlement: None });
        }
        let offer = text(response.headers(), PAYMENT_REQUIRED).ok_or_else(|| {
            let text = "the server wants money and does not say how in x402 version 2";
            Error::new(ErrorKind::Unsupported, text)
        })?;
        let required = PaymentRequired::from_header(offer)?;
        loop {
            let (payload, open) = self.sign(&required, &fresh).await?;
            let paid = self.insist(request.clone(), &payload.to_header()).await?;
            let Some(open) = open else { return Ok(paid) };
            let served_before = open.again && paid.response.status() == StatusCode::CONFLICT;
            if served_before || paid.settlement.as_ref().is_some_and(|said| said.success) {
                open.close();
            }
            if !served_before {
                return Ok(paid);
            }
        }
    }

    async fn sign(
        &self,
        required: &PaymentRequired,
        fresh: &Fresh,
    ) -> Result<(PaymentPayload, Option<Open>)> {
        for tab in &self.tabs {
            if let Some((payload, open)) = tab.pay(required, fresh).await? {
                return Ok((payload, Some(open)));
            }
        }
        Ok((self.purse.pay_with(required, fresh)?, None))
    }

    /// Sends a paid request until there is an answer.
    async fn insist(&self, mut request: Request<Vec<u8>>, payment: &str) -> Result<Paid> {
        let value = payment.parse().map_err(|error: http::header::InvalidHeaderValue| {
            Error::new(ErrorKind::Malformed, "the payment does not fit a header").source(error)
        })?;
        request.headers_mut().insert(PAYMENT_SIGNATURE, value);
        let mut last = None;
        for attempt in 0..self.attempts.max(1) {
            if attempt > 0 {
                let delay = last.as_ref().and_then(Error::retry_after);
                tokio::time::sleep(delay.unwrap_or(FIRST_PAUSE * attempt).min(LONGEST_PAUSE)).await;
            }
            match self.exchange(request.clone()).await {
                Ok(response) => match judge(response)? {
                    Verdict::Answered(paid) => return Ok(*paid),
                    Verdict::Later(error) => last = Some(error),
                },
                Err(error) if error.is_retryable() => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        let text = "the server did not answer whether it got the payment; the signature stays \
                    valid for its time, so count the money as spent";
        let error = Error::unavailable(text).with("attempts", self.attempts);
        Err(match last {
            Some(last) => error.source(last),
            None => error,
        })
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

enum Verdict {
    Answered(Box<Paid>),
    Later(Error),
}

/// What to make of the answer to a paid request.
fn judge(response: Response<Vec<u8>>) -> Result<Verdict> {
    let settlement = text(response.headers(), PAYMENT_RESPONSE);
    let settlement = settlement.map(SettleResponse::from_header).transpose()?;
    let status = response.status();
    let pending = settlement.as_ref().is_some_and(SettleResponse::is_pending);
    let busy = status == StatusCode::SERVICE_UNAVAILABLE
        || (status == StatusCode::CONFLICT && response.headers().contains_key(header::RETRY_AFTER));
    if pending || busy {
        let error = Error::unavailable("the server does not know yet whether it got the payment");
        let seconds = text(response.headers(), header::RETRY_AFTER.as_str());
        let seconds = seconds.and_then(|seconds| seconds.parse().ok());
        return Ok(Verdict::Later(match seconds.map(Duration::from_secs) {
            Some(delay) => error.retry_in(delay),
            None => error,
        }));
    }
    if status == StatusCode::PAYMENT_REQUIRED {
        let reason = settlement.and_then(|settlement| settlement.error_reason);
        let offer = text(response.headers(), PAYMENT_REQUIRED).map(PaymentRequired::from_header);
        let offer = offer.and_then(|offer| offer.ok()?.error);
        let text = "the server refuses the payment; it may still use it until it expires, so pay \
                    again only when you can lose that much";
        let reason: String = reason.or(offer).unwrap_or_default().chars().take(256).collect();
        return Err(Error::new(ErrorKind::Rejected, text).with("reason", reason));
    }
    Ok(Verdict::Answered(Box::new(Paid { response, settlement })))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn lost(error: reqwest::Error) -> Error {
    Error::unavailable("the server does not answer; try again").source(error.without_url())
}

const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(150);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
