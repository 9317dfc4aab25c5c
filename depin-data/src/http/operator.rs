//! What only the operator of a network should see and do; the table is in the module above.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use depin_core::{
    Did, Result as CoreResult, Timestamp,
    transport::{Answer, RefusalCode},
};
use serde_json::{Value, json};

use super::{
    CBOR, HttpServer, Limits,
    problem::Problem,
    query::Query,
    routes::{missing, wrong_method},
    server::start,
};
use crate::ingest::{DeadLetter, Diagnosis, Ingest, Letters, Standing};

/// Most letters in one answer.
const MOST: usize = 256;

type Gate = State<Arc<Ingest>>;

/// Serves dead letters, replays, forks and lags of `ingest` at `addr`, which must be reachable for operators
/// only: it asks nobody who they are.
///
/// Must be called inside a tokio runtime.
///
/// # Errors
/// As [`serve`](super::serve).
pub async fn serve_operator(ingest: Arc<Ingest>, addr: SocketAddr) -> CoreResult<HttpServer> {
    let router = Router::new()
        .route("/v1/dead-letters", get(letters))
        .route("/v1/dead-letters/{position}", get(explain))
        .route("/v1/dead-letters/{position}/bytes", get(bytes))
        .route("/v1/dead-letters/{position}/replay", post(replay))
        .route("/v1/replays", post(replay_all))
        .route("/v1/forks", get(forks))
        .route("/v1/forks/{position}", get(fork))
        .route("/v1/lags", get(lags))
        .fallback(missing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(ingest);
    start(router, addr, Limits::default()).await
}

/// A position in the path.
struct At(u64);

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(Path(position)) = Path::from_request_parts(parts, state).await else {
            let why = "a position is a whole number; list them";
            return Err(Problem::new(StatusCode::BAD_REQUEST, why));
        };
        Ok(Self(position))
    }
}

fn problem(error: depin_core::Error) -> Problem {
    Problem::of(&error)
}

fn document(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Browsers send where a page came from with every `POST`.
fn from_no_page(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::ORIGIN) {
        let why = "no web page may replay dead letters";
        return Err(Problem::new(StatusCode::FORBIDDEN, why));
    }
    Ok(())
}

fn which(query: &Query) -> Result<Letters, Problem> {
    let mut which = Letters::default();
    if let Some(code) = query.optional("code", RefusalCode::parse)? {
        which = which.code(code);
    }
    if let Some(did) = query.optional("device", |text| Did::parse(text).ok())? {
        which = which.device(did);
    }
    let since = query.number("since")?.unwrap_or(0);
    let until = query.number("until")?.unwrap_or(u64::MAX);
    which = which.received(Timestamp::from_millis(since)..=Timestamp::from_millis(until));
    let open = query.optional("open", |text| text.parse().ok())?;
    Ok(if open == Some(true) { which.open() } else { which })
}

fn page(query: &Query) -> Result<(u64, usize), Problem> {
    let limit = query.number("limit")?.and_then(|limit| usize::try_from(limit).ok());
    Ok((query.number("from")?.unwrap_or(0), limit.unwrap_or(64).min(MOST)))
}

async fn letters(State(ingest): Gate, request: Request) -> Result<Response, Problem> {
    let query = Query::of(&request);
    let (from, limit) = page(&query)?;
    let page = ingest.dead_letters(&which(&query)?, from, limit).await.map_err(problem)?;
    let letters: Vec<_> = page.letters.iter().map(letter_json).collect();
    Ok(document(&json!({ "letters": letters, "next": page.next })))
}

fn letter_json(letter: &DeadLetter) -> Value {
    let refusal = &letter.refused.refusal;
    json!({
        "position": letter.position,
        "code": refusal.code.as_str(),
        "detail": refusal.detail,
        "batch": refusal.batch.to_string(),
        "device": refusal.device.as_ref().map(Did::as_str),
        "received": letter.refused.received.millis(),
        "bytes": letter.refused.bytes.len(),
        "whole": letter.is_whole(),
        "resolved": letter.resolved,
    })
}

async fn explain(State(ingest): Gate, At(position): At) -> Result<Response, Problem> {
    let told = ingest.explain(position).await.map_err(problem)?;
    Ok(document(&diagnosis_json(&told)))
}

fn diagnosis_json(told: &Diagnosis) -> Value {
    let claim = told.claim.as_ref().map(|claim| {
        json!({
            "network": claim.network.as_str(),
            "device": claim.device.as_str(),
            "sequence": claim.sequence.value(),
            "previous": claim.previous.to_string(),
            "readings": claim.readings,
            "earliest": claim.earliest.map(Timestamp::millis),
            "latest": claim.latest.map(Timestamp::millis),
        })
    });
    let standing = told.standing.map(|standing| match standing {
        Standing::NotRegistered => "not-registered".to_owned(),
        Standing::Registered(status) => format!("{status:?}").to_ascii_lowercase(),
    });
    json!({
        "letter": letter_json(&told.letter),
        "meaning": told.explanation.meaning,
        "remedy": told.explanation.remedy,
        "may_change": told.explanation.may_change,
        "fault": told.fault.map(|f| json!({ "offset": f.offset, "rule": f.rule.to_string() })),
        "claim": claim,
        "standing": standing,
        "tip": told.tip.map(|tip| json!({
            "sequence": tip.sequence.value(), "hash": tip.hash.to_string(),
        })),
        "held": told.held.map(|hash| hash.to_string()),
    })
}

async fn bytes(State(ingest): Gate, At(position): At) -> Result<Response, Problem> {
    let letter = ingest.dead_letter(position).await.map_err(problem)?;
    let bytes = letter.refused.bytes.to_vec();
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

async fn replay(
    State(ingest): Gate,
    At(position): At,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    from_no_page(&headers)?;
    let answer = ingest.replay(position).await.map_err(problem)?;
    Ok(document(&answer_json(&answer)))
}

async fn replay_all(State(ingest): Gate, request: Request) -> Result<Response, Problem> {
    from_no_page(request.headers())?;
    let query = Query::of(&request);
    let (from, limit) = page(&query)?;
    let replays = ingest.replay_all(&which(&query)?, from, limit).await.map_err(problem)?;
    let answers = replays
        .answers
        .iter()
        .map(|(position, answer)| json!({ "position": position, "answer": answer_json(answer) }));
    let answers: Vec<_> = answers.collect();
    Ok(document(&json!({ "answers": answers, "next": replays.next })))
}

fn answer_json(answer: &Answer) -> Value {
    match answer {
        Answer::Receipt(receipt) => {
            json!({ "batch": receipt.batch.to_string(), "index": receipt.index })
        }
        Answer::Refusal(refusal) => json!({
            "batch": refusal.batch.to_string(),
            "code": refusal.code.as_str(),
            "detail": refusal.detail,
        }),
    }
}

async fn forks(State(ingest): Gate, request: Request) -> Result<Response, Problem> {
    let query = Query::of(&request);
    let (from, limit) = page(&query)?;
    let which = which(&query)?.code(RefusalCode::Fork);
    let page = ingest.dead_letters(&which, from, limit).await.map_err(problem)?;
    let mut forks = Vec::new();
    for letter in &page.letters {
        let id = ingest.fork(letter.position).await.ok().map(|fork| fork.id().to_string());
        forks.push(json!({ "letter": letter_json(letter), "evidence": id }));
    }
    Ok(document(&json!({ "forks": forks, "next": page.next })))
}

async fn fork(State(ingest): Gate, At(position): At) -> Result<Response, Problem> {
    let evidence = ingest.fork(position).await.map_err(problem)?;
    Ok(([(header::CONTENT_TYPE, CBOR)], evidence.encode()).into_response())
}

async fn lags(State(ingest): Gate, request: Request) -> Result<Response, Problem> {
    let (_, limit) = page(&Query::of(&request))?;
    let lags = ingest.lags(limit).into_iter().map(|lag| {
        json!({
            "device": lag.device.as_str(),
            "latest": lag.latest.millis(),
            "behind": u64::try_from(lag.behind.as_millis()).unwrap_or(u64::MAX),
        })
    });
    Ok(document(&lags.collect()))
}
