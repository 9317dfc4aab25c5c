//! What every client that pays does: ask, sign once, and insist until the server answers.
//!
//! Whatever carries the requests says what it is by [`Exchange`], so that there is one such loop.

use std::time::Duration;

use depin_core::{Error, ErrorKind, Result};
use depin_evm::Chain;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    batch::{Open, Tab},
    message::{
        PAYMENT_REQUIRED, PAYMENT_RESPONSE, PaymentPayload, PaymentRequired, SettleResponse,
    },
    purse::{Fresh, Purse},
};

/// Sends one and the same request with a payment.
pub(super) trait Exchange: Sync {
    type Answer: Answered + Send;

    fn send(&self, payment: &HeaderValue) -> impl Future<Output = Result<Self::Answer>> + Send;
}

pub(super) trait Answered {
    fn status(&self) -> StatusCode;
    fn headers(&self) -> &HeaderMap;
}

impl<B> Answered for http::Response<B> {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }
}

/// What pays for the requests of a client.
#[derive(Clone, Debug)]
pub(super) struct Wallet {
    pub(super) purse: Purse,
    pub(super) tabs: Vec<Tab>,
    pub(super) chain: Option<Chain>,
    pub(super) attempts: u32,
}

/// An answer, and what the server says became of the payment if there was one.
pub(super) type Settled<A> = (A, Option<SettleResponse>);

impl Wallet {
    pub(super) const fn new(purse: Purse) -> Self {
        Self { purse, tabs: Vec::new(), chain: None, attempts: 10 }
    }

    /// Pays for a request, once, when its first answer wants that.
    pub(super) async fn pay_for<E: Exchange>(
        &self,
        first: E::Answer,
        request: &E,
        fresh: Fresh,
    ) -> Result<Settled<E::Answer>> {
        if first.status() != StatusCode::PAYMENT_REQUIRED {
            return Ok((first, None));
        }
        let offer = text(first.headers(), PAYMENT_REQUIRED).ok_or_else(|| {
            let text = "the server wants money and does not say how in x402 version 2";
            Error::new(ErrorKind::Unsupported, text)
        })?;
        let required = PaymentRequired::from_header(offer)?;
        drop(first);
        loop {
            let (payload, open) = self.sign(&required, &fresh).await?;
            let (answer, said) = self.insist(request, &payload.to_header()).await?;
            let Some(open) = open else {
                self.reckon(&payload, said.as_ref()).await;
                return Ok((answer, said));
            };
            let served_before = open.again && answer.status() == StatusCode::CONFLICT;
            if served_before || said.as_ref().is_some_and(|said| said.success) {
                open.close();
            }
            if !served_before {
                return Ok((answer, said));
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

    /// Takes back what a payment of up to so much did not use.
    async fn reckon(&self, payload: &PaymentPayload, said: Option<&SettleResponse>) {
        if let Some(said) = said {
            self.purse.hear(payload, said);
        }
        if let Some(chain) = &self.chain
            && let Err(error) = self.purse.reclaim(chain).await
        {
            tracing::info!(%error, "what was not used is not known yet and counts as spent");
        }
    }

    /// Sends a paid request until there is an answer.
    async fn insist<E: Exchange>(&self, request: &E, payment: &str) -> Result<Settled<E::Answer>> {
        let value = payment.parse().map_err(|error: http::header::InvalidHeaderValue| {
            Error::new(ErrorKind::Malformed, "the payment does not fit a header").source(error)
        })?;
        let mut last = None;
        for attempt in 0..self.attempts.max(1) {
            if attempt > 0 {
                let delay = last.as_ref().and_then(Error::retry_after);
                tokio::time::sleep(delay.unwrap_or(FIRST_PAUSE * attempt).min(LONGEST_PAUSE)).await;
            }
            match request.send(&value).await {
                Ok(answer) => match judge(&answer)? {
                    Verdict::Answered(said) => return Ok((answer, said.map(|said| *said))),
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
}

enum Verdict {
    Answered(Option<Box<SettleResponse>>),
    Later(Error),
}

/// What to make of the answer to a paid request.
fn judge(answer: &impl Answered) -> Result<Verdict> {
    let settlement = text(answer.headers(), PAYMENT_RESPONSE);
    let settlement = settlement.map(SettleResponse::from_header).transpose()?;
    let status = answer.status();
    let pending = settlement.as_ref().is_some_and(SettleResponse::is_pending);
    let busy = status == StatusCode::SERVICE_UNAVAILABLE
        || (status == StatusCode::CONFLICT && answer.headers().contains_key(header::RETRY_AFTER));
    if pending || busy {
        let error = Error::unavailable("the server does not know yet whether it got the payment");
        let seconds = text(answer.headers(), header::RETRY_AFTER.as_str());
        let seconds = seconds.and_then(|seconds| seconds.parse().ok());
        return Ok(Verdict::Later(match seconds.map(Duration::from_secs) {
            Some(delay) => error.retry_in(delay),
            None => error,
        }));
    }
    if status == StatusCode::PAYMENT_REQUIRED {
        let reason = settlement.and_then(|settlement| settlement.error_reason);
        let offer = text(answer.headers(), PAYMENT_REQUIRED).map(PaymentRequired::from_header);
        let offer = offer.and_then(|offer| offer.ok()?.error);
        let text = "the server refuses the payment; it may still use it until it expires, so pay \
                    again only when you can lose that much";
        let reason: String = reason.or(offer).unwrap_or_default().chars().take(256).collect();
        return Err(Error::new(ErrorKind::Rejected, text).with("reason", reason));
    }
    Ok(Verdict::Answered(settlement.map(Box::new)))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
