//! What each path answers.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use depin_core::{
    B256, Bytes, Did, Error, ErrorKind, Sequence, SignedBatch,
    cbor::Encoder,
    log::LogEntry,
    transport::{Answer, Refusal, Standing},
};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::{CBOR, COSE, NONCE, essence, problem::Problem, query::Query};
use crate::{
    batch,
    ingest::Ingest,
    privacy::Commitment,
    receipt,
    wire::{self, Nonce},
};

/// Most batches in one answer.
const MOST: usize = 64;
/// Batches read from the log at a time, and where an answer is long enough.
const STEP: usize = 16;
const ENOUGH_BYTES: usize = 1 << 20;

/// Paths as recorders know them; what follows in a path is not told apart.
const NAMES: [&str; 13] = [
    "/v1/batches",
    "/v1/bundles",
    "/v1/consistency",
    "/v1/dead-letters",
    "/v1/forks",
    "/v1/head",
    "/v1/lags",
    "/v1/receipts",
    "/v1/replays",
    "/v1/standing",
    "/v1/stream",
    "/v1/witnesses",
    "/healthz",
];

/// What recorders call a path: anybody can ask for others, without end.
pub(super) fn name(path: &str) -> &'static str {
    let goes_on = |rest: &str| rest.is_empty() || rest.starts_with('/');
    let named = NAMES.into_iter().find(|name| path.strip_prefix(name).is_some_and(goes_on));
    named.unwrap_or("other")
}

#[derive(Clone)]
struct Gate {
    ingest: Arc<Ingest>,
    patience: Duration,
}

pub(super) fn router(ingest: Arc<Ingest>, patience: Duration) -> Router {
    Router::new()
        .route("/v1/batches", get(batches).post(accept))
        .route("/v1/standing", post(standing))
        .route("/v1/witnesses", post(witness))
        .route("/v1/head", get(head))
        .route("/v1/receipts", get(receipts))
        .route("/v1/consistency", get(consistency))
        .route("/healthz", get(health))
        .fallback(missing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Gate { ingest: Arc::clone(&ingest), patience })
        .merge(super::stream::router(ingest))
}

pub(super) async fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such path")
}

pub(super) async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the path has other methods")
}

async fn accept(State(gate): State<Gate>, request: Request) -> Result<Response, Problem> {
    let (nonce, batch) = gate.received(request).await?;
    match gate.patiently(gate.ingest.accept_batch(&batch)).await? {
        Answer::Receipt(receipt) => {
            let bytes = receipt::encode(&receipt).map_err(|error| Problem::of(&error))?;
            Ok(([(header::CONTENT_TYPE, CBOR)], bytes).into_response())
        }
        Answer::Refusal(refusal) => Err(gate.refused(refusal, &nonce)),
    }
}

/// Where the chain of the device stands that has signed the question.
async fn standing(State(gate): State<Gate>, request: Request) -> Result<Response, Problem> {
    let (nonce, question) = gate.received(request).await?;
    match gate.patiently(gate.ingest.standing(&question)).await? {
        Standing::Refusal(refusal) => Err(gate.refused(refusal, &nonce)),
        tip @ Standing::Tip(_) => {
            let signer = gate.ingest.signer();
            let signed = wire::encode_standing(&tip, question.hash(), &nonce, signer);
            let signed = signed.map_err(|error| Problem::of(&error))?;
            Ok(([(header::CONTENT_TYPE, COSE)], signed).into_response())
        }
    }
}

/// That a commitment is of a batch in the log.
async fn witness(State(gate): State<Gate>, request: Request) -> Result<Response, Problem> {
    let (_, commitment) = gate.received(request).await?;
    let commitment = Commitment::from_bytes(Bytes::copy_from_slice(commitment.as_bytes()));
    let witness = async {
        match gate.ingest.witness(&commitment).await {
            Err(error) if error.kind() == ErrorKind::Malformed => Ok(Err(error)),
            witness => witness.map(Ok),
        }
    };
    let malformed = |error: Error| Problem::new(StatusCode::BAD_REQUEST, error.message());
    let signed = gate.patiently(witness).await?.map_err(malformed)?;
    Ok(([(header::CONTENT_TYPE, COSE)], signed).into_response())
}

impl Gate {
    /// What a device has signed, and the nonce that it wants in the answer.
    async fn received(&self, request: Request) -> Result<(Nonce, SignedBatch), Problem> {
        let (head, body) = request.into_parts();
        check_media(&head.headers)?;
        let nonce = nonce(&head.headers)?;
        let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long");
        let body = timeout(self.patience, read_bounded(body)).await.map_err(slow)??;
        Ok((nonce, SignedBatch::new(body)))
    }

    /// Waits for ingest, and not for ever.
    async fn patiently<T>(
        &self,
        work: impl Future<Output = depin_core::Result<T>>,
    ) -> Result<T, Problem> {
        let busy = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ingest takes too long");
        let done = timeout(self.patience, work).await.map_err(busy)?;
        done.map_err(|error| Problem::of(&error))
    }

    /// The refusal with the log's signature.
    fn refused(&self, refusal: Refusal, nonce: &Nonce) -> Problem {
        let answer = Answer::Refusal(refusal.clone());
        match wire::encode_answer(&answer, nonce, self.ingest.signer()) {
            Ok(signed) => Problem::refused(refusal, signed),
            Err(error) => Problem::of(&error),
        }
    }
}

/// What a refusal is signed for; none is the nonce of nobody's request.
fn nonce(headers: &HeaderMap) -> Result<Nonce, Problem> {
    let Some(text) = headers.get(NONCE) else { return Ok(Nonce::default()) };
    let nonce = text.to_str().ok().and_then(|text| text.parse::<Bytes>().ok());
    let nonce = nonce.and_then(|nonce| <[u8; 16]>::try_from(&nonce[..]).ok());
    let wrong = || Problem::new(StatusCode::BAD_REQUEST, "depin-nonce has 32 hex digits");
    nonce.map(Nonce::from_bytes).ok_or_else(wrong)
}

fn check_media(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let ours = kind.is_some_and(|kind| essence(kind).eq_ignore_ascii_case(COSE));
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if !ours || encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "send application/cose without content encoding";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

/// Reads at most one byte more than a batch may have: enough for ingest to refuse it.
async fn read_bounded(mut body: Body) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let broken = |_| Problem::new(StatusCode::BAD_REQUEST, "the body ends early");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        let room = (batch::MAX_BYTES + 1).saturating_sub(bytes.len());
        bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
        if bytes.len() > batch::MAX_BYTES {
            break;
        }
    }
    Ok(bytes)
}

async fn head(State(gate): State<Gate>) -> Result<Response, Problem> {
    let head: Bytes = gate.ingest.head().await.map_err(|error| Problem::of(&error))?;
    Ok(([(header::CONTENT_TYPE, COSE)], head.to_vec()).into_response())
}

/// The receipt of what holds a place: `device` and `sequence` name it, `batch` may say which hash is meant.
async fn receipts(State(gate): State<Gate>, request: Request) -> Result<Response, Problem> {
    let query = Query::of(&request);
    let device = query.required("device", |text| Did::parse(text).ok())?;
    let sequence = query.required("sequence", |text| text.parse().ok().map(Sequence::new))?;
    let batch = query.optional("batch", |text| text.parse::<B256>().ok())?;
    let receipt = gate.ingest.receipt_of(&device, sequence).await;
    let receipt = receipt.map_err(|error| Problem::of(&error))?;
    if batch.is_some_and(|batch| batch != receipt.batch) {
        let why = format!("the chain holds {} there", receipt.batch);
        return Err(Problem::new(StatusCode::NOT_FOUND, why));
    }
    let bytes = receipt::encode(&receipt).map_err(|error| Problem::of(&error))?;
    Ok(([(header::CONTENT_TYPE, CBOR)], bytes).into_response())
}

/// The path that proves that the tree of size `to` continues that of size `from`.
async fn consistency(State(gate): State<Gate>, request: Request) -> Result<Response, Problem> {
    let query = Query::of(&request);
    let old = query.required("from", |text| text.parse().ok())?;
    let size = query.required("to", |text| text.parse().ok())?;
    let path = gate.ingest.log().consistency(old, size).await;
    let path = path.map_err(|error| Problem::of(&error))?;
    let mut bytes = Vec::with_capacity(9 + 34 * path.len());
    let written = Encoder::new(&mut bytes)
        .array(path.len() as u64)
        .and_then(|e| path.iter().try_fold(e, |e, hash| e.bytes(hash.as_slice())))
        .is_ok();
    debug_assert!(written, "writing to a vector cannot fail");
    Ok(([(header::CONTENT_TYPE, CBOR)], bytes).into_response())
}

async fn batches(State(gate): State<Gate>, request: Request) -> Result<Response, Problem> {
    let query = Query::of(&request);
    let mut from = query.number("from")?.unwrap_or(0);
    let limit = query.number("limit")?.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(MOST).min(MOST);
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while entries.len() < limit && bytes < ENOUGH_BYTES {
        let step = STEP.min(limit - entries.len());
        let read = gate.ingest.log().read(from, step).await;
        let read = read.map_err(|error| Problem::of(&error))?;
        bytes += read.iter().map(|entry| entry.batch.as_bytes().len()).sum::<usize>();
        let Some(last) = read.last() else { break };
        from = last.index.saturating_add(1);
        entries.extend(read);
    }
    Ok(([(header::CONTENT_TYPE, CBOR)], encode(&entries)).into_response())
}

fn encode(entries: &[LogEntry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    let written = encoder.array(entries.len() as u64).and_then(|e| {
        entries.iter().try_fold(e, |e, entry| {
            let e = e.array(3)?.u64(entry.index)?.u64(entry.received.millis())?;
            e.bytes(entry.batch.as_bytes())
        })
    });
    debug_assert!(written.is_ok(), "writing to a vector cannot fail");
    bytes
}

async fn health(State(gate): State<Gate>) -> Result<&'static str, Problem> {
    gate.ingest.log().head().await.map(|_| "ok").map_err(|error| Problem::of(&error))
}
