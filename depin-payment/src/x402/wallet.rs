//! What every client that pays does: ask, sign once, and insist until the server answers.
//!
//! Whatever carries the requests says what it is by [`Exchange`], so that there is one such loop.

use std::{convert::Infallible, future, time::Duration};

use depin_core::{B256, Error, ErrorKind, Result, keccak256};
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

    /// Who is asked, as [`server`] says it.
    fn server(&self) -> B256;

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

/// What stands for a server: its host and port.
pub(super) fn server(host: Option<&str>, port: Option<u16>) -> B256 {
    keccak256(format!("{}:{}", host.unwrap_or_default(), port.unwrap_or_default()))
}

/// What pays for the requests of a client: a [`Purse`], and what helps it. A purse alone is one.
///
/// ```
/// use std::sync::Arc;
/// use depin_core::{Algorithm, SoftwareKey, SystemClock};
/// use depin_payment::x402::{PayingClient, Policy, Purse, Wallet};
///
/// let key = Arc::new(SoftwareKey::generate(Algorithm::Es256k, &mut rand::thread_rng()));
/// let purse = Purse::new(key, Policy::default(), Arc::new(SystemClock))?;
/// PayingClient::new(purse.clone())?;
/// PayingClient::new(Wallet::new(purse).attempts(3))?;
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Wallet {
    purse: Purse,
    tabs: Vec<Tab>,
    chain: Option<Chain>,
    attempts: u32,
}

/// An answer, and what the server says became of the payment if there was one.
pub(super) type Settled<A> = (A, Option<SettleResponse>);

impl From<Purse> for Wallet {
    fn from(purse: Purse) -> Self {
        Self::new(purse)
    }
}

impl Wallet {
    /// Pays from `purse`.
    pub const fn new(purse: Purse) -> Self {
        Self { purse, tabs: Vec::new(), chain: None, attempts: 10 }
    }

    /// Pays with vouchers where the server takes those of this tab, before it pays from the purse.
    #[must_use]
    pub fn with_tab(mut self, tab: Tab) -> Self {
        self.tabs.push(tab);
        self
    }

    /// Looks on this chain how much was used of what was signed for [up to so much](super::Policy::with_upto), and
    /// counts only that as spent: [`Purse::reclaim`], while a server works, and before a payment that would pass the
    /// limit. No answer waits for that. The chain's own account does not matter.
    #[must_use]
    pub fn with_chain(mut self, chain: Chain) -> Self {
        self.chain = Some(chain);
        self
    }

    /// How often a paid request is sent until it is answered; ten times unless told.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
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
            let (payload, open) = self.sign(request.server(), &required, &fresh).await?;
            let header = payload.to_header();
            let (answer, said) = self.meanwhile(self.insist(request, &header)).await?;
            let Some(open) = open else {
                if let Some(said) = &said {
                    self.purse.hear(&payload, said);
                }
                return Ok((answer, said));
            };
            let served_before = open.again && said.as_ref().is_some_and(SettleResponse::is_spent);
            if served_before {
                open.lose();
                continue;
            }
            if said.as_ref().is_some_and(|said| said.success) {
                open.close();
            }
            return Ok((answer, said));
        }
    }

    async fn sign(
        &self,
        server: B256,
        required: &PaymentRequired,
        fresh: &Fresh,
    ) -> Result<(PaymentPayload, Option<Open>)> {
        for tab in &self.tabs {
            if let Some((payload, open)) = tab.pay(required, fresh).await? {
                return Ok((payload, Some(open)));
            }
        }
        let signed = self.purse.pay_to(Some(server), required, fresh);
        let signed = match signed {
            Err(error) if error.kind() == ErrorKind::Limit && self.chain.is_some() => {
                self.reckon().await;
                self.purse.pay_to(Some(server), required, fresh)
            }
            signed => signed,
        };
        Ok((signed?, None))
    }

    /// Keeps the books for as long as an answer takes, and not longer.
    async fn meanwhile<T>(&self, answer: impl Future<Output = T>) -> T {
        let books = async {
            self.reckon().await;
            future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            never = books => match never {},
        }
    }

    /// Takes back what payments of up to so much did not use, as far as that is known.
    async fn reckon(&self) {
        let Some(chain) = &self.chain else { return };
        let reclaimed = tokio::time::timeout(LONGEST_PAUSE, self.purse.reclaim(chain)).await;
        if let Ok(Err(error)) = reclaimed {
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
