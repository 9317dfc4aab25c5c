//! What each path answers.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use depin_core::{Bytes, cbor::Encoder, log::LogEntry, transport::Answer};
use http_body_util::BodyExt;

use super::{CBOR, COSE, essence, problem::Problem};
use crate::{batch, ingest::Ingest, receipt};

/// Most batches in one answer.
const MOST: usize = 64;
/// Batches read from the log at a time, and where an answer is long enough.
const STEP: usize = 16;
const ENOUGH_BYTES: usize = 1 << 20;

#[derive(Clone)]
struct Gate {
    ingest: Arc<Ingest>,
    patience: Duration,
}

pub(super) fn router(ingest: Arc<Ingest>, patience: Duration) -> Router {
    Router::new()
        .route("/v1/batches", get(batches).post(accept))
        .route("/v1/head", get(head))
        .route("/healthz", get(health))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the path has other methods")
        })
        .with_state(Gate { ingest: Arc::clone(&ingest), patience })
        .merge(super::stream::router(ingest))
}

async fn accept(State(gate): State<Gate>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    check_media(&head.headers)?;
    let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long");
    let body = tokio::time::timeout(gate.patience, read_bounded(body)).await.map_err(slow)??;
    let busy = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ingest takes too long");
    let answer = tokio::time::timeout(gate.patience, gate.ingest.accept(&body)).await;
    match answer.map_err(busy)?.map_err(|error| Problem::of(&error))? {
        Answer::Receipt(receipt) => {
            let bytes = receipt::encode(&receipt).map_err(|error| Problem::of(&error))?;
            Ok(([(header::CONTENT_TYPE, CBOR)], bytes).into_response())
        }
        Answer::Refusal(refusal) => Err(refusal.into()),
    }
}

fn check_media(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let ours = kind.is_some_and(|kind| essence(kind).eq_ignore_ascii_case(COSE));
    if !ours || headers.contains_key(header::CONTENT_ENCODING) {
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
        bytes.extend(data.iter().take(room));
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

async fn batches(State(gate): State<Gate>, request: Request) -> Result<Response, Problem> {
    let (mut from, limit) = range(request.uri().query().unwrap_or_default())?;
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

/// `from` and `limit` of a query; both may be missing.
fn range(query: &str) -> Result<(u64, usize), Problem> {
    let (mut from, mut limit) = (0, MOST as u64);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let number = match name {
            "from" => &mut from,
            "limit" => &mut limit,
            _ => continue,
        };
        *number = value.parse().map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "from and limit are whole numbers")
        })?;
    }
    Ok((from, usize::try_from(limit).unwrap_or(MOST).min(MOST)))
}

async fn health(State(gate): State<Gate>) -> Result<&'static str, Problem> {
    gate.ingest.log().head().await.map(|_| "ok").map_err(|error| Problem::of(&error))
}
