//! Sends batches to ingest over HTTP.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use depin_core::{
    B256, Bytes, Did, Error, ErrorKind, Result, SignedBatch, Signer,
    cbor::{self, Decoder},
    transport::{Answer, Refusal, Standing, Transport},
};
use rand_core::CryptoRngCore;
use reqwest::{Client, Response, StatusCode, header};
use serde_json::Value;

use super::{
    CBOR, COSE, NONCE, PROBLEM,
    connect::{Patience, connect},
    essence,
};
use crate::{
    batch, merkle,
    privacy::{self, Commitment},
    receipt::{self, ReceiptError, ReceiptVerifier, SignedHead},
    wire::{self, Nonce, Nonces, Reply},
};

const REQUEST: Duration = Duration::from_secs(30);
/// Longest time that an answer may tell a device to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Most bytes of an answer; a receipt has at most 4 KiB.
const MAX_ANSWER: usize = 16 * 1024;

/// A [`Transport`] to an ingest that serves HTTP. One connection pool; cloning shares it.
///
/// Redirects and proxies are not followed, and what the log has not signed is no answer: a receipt for another
/// batch, a refusal that somebody on the way made up or kept from before. It never sends twice by itself: keep
/// what has no answer in an [`Outbox`](crate::outbox::Outbox). `https` works where the application turns on a
/// TLS feature of reqwest.
///
/// ```
/// use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey};
/// use depin_data::{http::HttpTransport, receipt::ReceiptVerifier};
///
/// let (network, log) = (NetworkId::parse("climate")?, SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]));
/// let receipts = ReceiptVerifier::new(&network, log.public_key());
/// let rng = &mut rand::thread_rng();
/// assert!(HttpTransport::new("http://ingest.example:8080", receipts.clone(), rng).is_ok());
/// assert!(HttpTransport::new("ingest.example", receipts, rng).is_err());
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: Client,
    /// Of ingest, without a slash at its end.
    url: String,
    receipts: ReceiptVerifier,
    nonces: Arc<Nonces>,
}

impl HttpTransport {
    /// Sends to the ingest at `url`, to which `/v1/batches` and other paths are appended. `receipts` verifies what it says.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](depin_core::ErrorKind::Config) when `url` is no `http` or `https` URL.
    pub fn new(url: &str, receipts: ReceiptVerifier, rng: &mut impl CryptoRngCore) -> Result<Self> {
        let needed = "ingest needs a url such as http://host:port";
        let (client, _) = connect(url, "/v1/batches", Patience::Whole(REQUEST), needed)?;
        let base = url.trim_end_matches('/');
        let nonces = Arc::new(Nonces::new(rng));
        Ok(Self { client, url: base.into(), receipts, nonces })
    }

    /// The latest tree head, signed by the log: what an auditor keeps, to hold the log to it later. A device has
    /// one in each receipt.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when ingest does not answer, [`ErrorKind::Rejected`](depin_core::ErrorKind::Rejected) or
    /// [`ErrorKind::Malformed`](depin_core::ErrorKind::Malformed) when the head is not signed by the log.
    pub async fn head(&self) -> Result<SignedHead> {
        Ok(self.receipts.head(&self.fetch("/v1/head", COSE).await?)?)
    }

    /// The latest tree head, proven to continue the one in `kept`, which may come from a receipt: nothing that was
    /// in the log then was changed or taken out.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](depin_core::ErrorKind::Rejected) when the log has taken something back; keep both heads as evidence, see
    /// [`ReceiptVerifier::continued`]. [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) for no answer, one of old, or a smaller tree that
    /// is not shown to be another: where several processes serve one log, some lag behind, so ask again. A log
    /// that took batches back shows it at the latest when it is as large again.
    pub async fn follow(&self, kept: &SignedHead) -> Result<SignedHead> {
        let bytes = self.fetch("/v1/head", COSE).await?;
        let shown = self.receipts.head(&bytes)?;
        let (old, new) = (kept.tree, shown.tree);
        if new.size < old.size && shown.log == kept.log {
            if shown.at >= kept.at && new.size > 0 {
                // Whoever lags behind knows no path; whoever gives one must give that of one history.
                if let Ok(path) = self.consistency(new.size, old.size).await {
                    merkle::verify_consistency(new.size, &new.root, old.size, &old.root, &path)
                        .map_err(ReceiptError::from)?;
                }
            }
            return Err(no_answer("a head of fewer batches than the one that is kept")
                .with("batches", new.size)
                .with("kept", old.size));
        }
        if shown.at < kept.at && new == old {
            return Err(no_answer("a head older than the one that is kept"));
        }
        let path = match old.size < new.size {
            true => self.consistency(old.size, new.size).await?,
            false => Vec::new(),
        };
        Ok(self.receipts.continued(kept, &bytes, &path)?)
    }

    /// Has the log say, signed, that a commitment is of a batch that it holds: what goes with a disclosure of that
    /// batch, see [`witnessed`](crate::privacy::witnessed).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](depin_core::ErrorKind::NotFound) when the log does not hold the batch any more, or
    /// never did; [`ErrorKind::Rejected`](depin_core::ErrorKind::Rejected) when it holds another in its place;
    /// [`ErrorKind::Malformed`](depin_core::ErrorKind::Malformed) for no commitment of this network. All three are
    /// only what the server says. [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when it does not
    /// answer, or answers what the log has not signed about this commitment.
    pub async fn witness(&self, commitment: &Commitment) -> Result<Vec<u8>> {
        let request = self.client.post(format!("{}/v1/witnesses", self.url));
        let request = request.header(header::CONTENT_TYPE, COSE);
        let response = request.body(commitment.as_bytes().to_vec()).send().await;
        let response = response.map_err(|error| no_answer("no connection").source(error))?;
        let status = response.status();
        let again = retry_after(&response);
        let body = read_bounded(response).await?;
        let said = |kind, why| Error::new(kind, why).with("status", status);
        match status {
            StatusCode::OK => {
                let unsigned = |error| no_answer("nothing that the log has signed").source(error);
                privacy::witness_of(&self.receipts, commitment, &body).map_err(unsigned)?;
                Ok(body)
            }
            StatusCode::NOT_FOUND => {
                Err(said(ErrorKind::NotFound, "the log does not hold the batch of this commitment"))
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(busy(again)),
            StatusCode::BAD_REQUEST => {
                Err(said(ErrorKind::Malformed, "the server takes it for no commitment"))
            }
            status if status.is_client_error() => Err(said(
                ErrorKind::Rejected,
                "the commitment is not of the batch that the log holds",
            )),
            _ => Err(no_answer("not an answer of ingest").with("status", status)),
        }
    }

    async fn consistency(&self, from: u64, to: u64) -> Result<Vec<B256>> {
        path_in(&self.fetch(&format!("/v1/consistency?from={from}&to={to}"), CBOR).await?)
    }

    async fn fetch(&self, path: &str, kind: &str) -> Result<Vec<u8>> {
        let response = self.client.get(format!("{}{path}", self.url)).send().await;
        let response = response.map_err(|error| no_answer("no connection").source(error))?;
        let found = response.headers().get(header::CONTENT_TYPE).and_then(|k| k.to_str().ok());
        if response.status() != StatusCode::OK || found.map(essence) != Some(kind) {
            let status = response.status();
            return Err(no_answer("not an answer of ingest").with("status", status));
        }
        read_bounded(response).await
    }

    /// The refusal in a problem document, if the log has signed it for this request.
    fn refusal_in(&self, body: &[u8], sent: &SignedBatch, nonce: &Nonce) -> Result<Refusal> {
        let problem: Value =
            serde_json::from_slice(body).map_err(|error| no_answer("no problem").source(error))?;
        let text = |name: &str| problem.get(name).and_then(Value::as_str);
        let signed = text("signed").and_then(|hex| hex.parse::<Bytes>().ok()).ok_or_else(|| {
            let detail = text("detail").unwrap_or_default();
            no_answer("a problem that is no refusal of the log").with("detail", detail)
        })?;
        // Of a batch that is too large, ingest reads and hashes the beginning only.
        let read = sent.as_bytes().get(..=batch::MAX_BYTES).map_or_else(
            || sent.clone(),
            |beginning| SignedBatch::new(Bytes::copy_from_slice(beginning)),
        );
        let reply = Reply::parse(&signed, self.receipts.network());
        match reply.and_then(|reply| reply.open(&self.receipts, &read, nonce)) {
            Ok(Answer::Refusal(refusal)) => Ok(Refusal { batch: sent.hash(), ..refusal }),
            Ok(_) => Err(no_answer("a receipt in place of a refusal")),
            Err(error) => Err(no_answer("a refusal that the log has not signed").source(error)),
        }
    }

    /// Where the log says that the chain stands, if it has signed that for this question.
    fn standing_in(&self, body: &[u8], question: &SignedBatch, nonce: &Nonce) -> Result<Standing> {
        let reply = Reply::parse(body, self.receipts.network());
        let standing = reply.and_then(|r| r.open_standing(&self.receipts, question, nonce));
        standing.map_err(|error| no_answer("a standing that the log has not signed").source(error))
    }

    /// Posts what a device has signed.
    async fn post(&self, path: &str, sent: &SignedBatch, nonce: &Nonce) -> Result<Reaction> {
        let request = self.client.post(format!("{}{path}", self.url));
        let request = request.header(header::CONTENT_TYPE, COSE);
        let request = request.header(NONCE, Bytes::copy_from_slice(nonce.as_bytes()).to_string());
        let response = request.body(sent.as_bytes().to_vec()).send().await;
        let response = response.map_err(|error| no_answer("no connection").source(error))?;
        let status = response.status();
        let again = retry_after(&response);
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        let body = read_bounded(response).await?;
        match essence(&kind) {
            PROBLEM if status == StatusCode::TOO_MANY_REQUESTS => Err(busy(again)),
            PROBLEM if status == StatusCode::SERVICE_UNAVAILABLE => Err(busy(again)),
            PROBLEM if status.is_client_error() => {
                self.refusal_in(&body, sent, nonce).map(Reaction::Refused)
            }
            kind if status == StatusCode::OK => Ok(Reaction::Said(kind.to_owned(), body)),
            _ => Err(no_answer("not an answer of ingest").with("status", status)),
        }
    }
}

/// What came back.
enum Reaction {
    /// A refusal, verified.
    Refused(Refusal),
    /// A media type and a body.
    Said(String, Vec<u8>),
}

impl HttpTransport {
    /// What proves that the log has the batch.
    fn receipt_in(&self, body: &[u8], batch: &SignedBatch) -> Result<Answer> {
        let receipt =
            receipt::decode(body).map_err(|error| no_answer("no receipt").source(error))?;
        let verified = self.receipts.verify(&receipt, batch);
        verified
            .map_err(|error| no_answer("a receipt that the log has not signed").source(error))?;
        Ok(Answer::Receipt(receipt))
    }
}

/// A consistency path.
fn path_in(body: &[u8]) -> Result<Vec<B256>> {
    let unread = || no_answer("no consistency path");
    cbor::check(body).map_err(|error| unread().source(error))?;
    let mut d = Decoder::new(body);
    let count = d.array().ok().flatten().ok_or_else(unread)?;
    // Bounded by the bytes: it ends with them.
    (0..count)
        .map(|_| d.bytes().ok().and_then(|hash| B256::try_from(hash).ok()).ok_or_else(unread))
        .collect()
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, batch: &SignedBatch) -> Result<Answer> {
        match self.post("/v1/batches", batch, &self.nonces.next()).await? {
            Reaction::Refused(refusal) => Ok(Answer::Refusal(refusal)),
            Reaction::Said(kind, body) if kind == CBOR => self.receipt_in(&body, batch),
            Reaction::Said(..) => Err(no_answer("not an answer of ingest")),
        }
    }

    async fn standing(&self, device: &Did, signer: &dyn Signer) -> Result<Standing> {
        let nonce = self.nonces.next();
        let question = wire::question(signer, device, self.receipts.network(), &nonce)?;
        match self.post("/v1/standing", &question, &nonce).await? {
            Reaction::Refused(refusal) => Ok(Standing::Refusal(refusal)),
            Reaction::Said(kind, body) if kind == COSE => {
                self.standing_in(&body, &question, &nonce)
            }
            Reaction::Said(..) => Err(no_answer("not an answer of ingest")),
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
