//! Sends batches to ingest over HTTP.

use std::time::Duration;

use async_trait::async_trait;
use depin_core::{
    Did, Error, ErrorKind, Result, SignedBatch,
    transport::{Answer, Refusal, RefusalCode, Transport},
};
use reqwest::{Client, Response, StatusCode, Url, header, redirect};
use serde_json::Value;

use super::{CBOR, COSE, PROBLEM, essence};
use crate::receipt;

const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(30);
/// Longest time that an answer may tell a device to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Most bytes of an answer; a receipt has at most 4 KiB.
const MAX_ANSWER: usize = 16 * 1024;

/// A [`Transport`] to an ingest that serves HTTP. One connection pool; cloning shares it.
///
/// Redirects and proxies are not followed, so that an answer comes from ingest. It never sends twice by
/// itself: keep what has no answer in an [`Outbox`](crate::outbox::Outbox). `https` works where the
/// application turns on a TLS feature of reqwest.
///
/// ```
/// use depin_data::http::HttpTransport;
///
/// assert!(HttpTransport::new("http://ingest.example:8080").is_ok());
/// assert!(HttpTransport::new("ingest.example").is_err());
/// ```
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: Client,
    batches: Url,
}

impl HttpTransport {
    /// Sends to the ingest at `url`, to which `/v1/batches` is appended.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `url` is no `http` or `https` URL.
    pub fn new(url: &str) -> Result<Self> {
        let unfit = || {
            Error::new(ErrorKind::Config, "ingest needs a url such as http://host:port")
                .with("url", url)
        };
        let batches = Url::parse(&format!("{}/v1/batches", url.trim_end_matches('/')))
            .map_err(|error| unfit().source(error))?;
        if !matches!(batches.scheme(), "http" | "https") {
            return Err(unfit());
        }
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| unfit().source(error))?;
        Ok(Self { client, batches })
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, batch: &SignedBatch) -> Result<Answer> {
        let request = self.client.post(self.batches.clone());
        let request = request.header(header::CONTENT_TYPE, COSE);
        let response = request.body(batch.as_bytes().to_vec()).send().await;
        let response = response.map_err(|error| no_answer("no connection").source(error))?;
        let status = response.status();
        let again = retry_after(&response);
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        let body = read_bounded(response).await?;
        match essence(&kind) {
            CBOR if status == StatusCode::OK => receipt_in(&body, batch),
            PROBLEM if status == StatusCode::TOO_MANY_REQUESTS => Err(busy(again)),
            PROBLEM if status == StatusCode::SERVICE_UNAVAILABLE => Err(busy(again)),
            PROBLEM if status.is_client_error() => refusal_in(&body, batch),
            _ => Err(no_answer("not an answer of ingest").with("status", status)),
        }
    }
}

fn no_answer(why: &'static str) -> Error {
    Error::unavailable("ingest gave no answer; keep the batch and send it again").with("cause", why)
}

fn busy(again: Option<Duration>) -> Error {
    let error = Error::unavailable("ingest has no room for the batch now; send it again later");
    match again {
        Some(delay) => error.retry_in(delay),
        None => error,
    }
}

/// The seconds of a `Retry-After` header; whoever answers cannot put a device to sleep for long.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

async fn read_bounded(mut response: Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    let broken = |error| no_answer("the answer broke off").source(error);
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(no_answer("the answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn receipt_in(body: &[u8], batch: &SignedBatch) -> Result<Answer> {
    let receipt = receipt::decode(body).map_err(|error| no_answer("no receipt").source(error))?;
    if receipt.batch != batch.hash() {
        return Err(no_answer("a receipt for another batch"));
    }
    Ok(Answer::Receipt(receipt))
}

fn refusal_in(body: &[u8], batch: &SignedBatch) -> Result<Answer> {
    let problem: Value =
        serde_json::from_slice(body).map_err(|error| no_answer("no problem").source(error))?;
    let text = |name: &str| problem.get(name).and_then(Value::as_str);
    let code = text("code").and_then(RefusalCode::parse).ok_or_else(|| {
        no_answer("a problem that is no refusal").with("detail", text("detail").unwrap_or_default())
    })?;
    // Of a batch that is too large, ingest has read and hashed the beginning only.
    let hash = batch.hash();
    if text("batch") != Some(hash.to_string().as_str()) && code != RefusalCode::TooLarge {
        return Err(no_answer("a refusal of another batch"));
    }
    Ok(Answer::Refusal(Refusal {
        code,
        detail: text("detail").unwrap_or_default().into(),
        batch: hash,
        device: text("device").and_then(|did| Did::parse(did).ok()),
    }))
}
