//! The server's side: one subscription per response, read only as fast as the client does.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use depin_core::{Did, Result, cbor::Encoder};
use futures_util::stream;
use reqwest::Url;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Duration, timeout},
};

use super::{super::problem::Problem, OLDEST, SEQUENCE, WAIT};
use crate::{
    ingest::Ingest,
    observe::Held,
    receipt,
    subscribe::{Cursor, Delivery, Filter, Subscription},
};

/// Most streams at a time: they hold connections that devices may need.
const STREAMS: usize = 256;
/// Scans without a find after which a response ends and tells how far it came: some hundred thousand batches.
const SCANS: usize = 16_384;
/// Most devices, quantities and cells together that a filter may name.
const NAMED: usize = 64;

#[derive(Clone)]
struct Source {
    ingest: Arc<Ingest>,
    slots: Arc<Semaphore>,
}

pub(in crate::http) fn router(ingest: Arc<Ingest>) -> Router {
    let slots = Arc::new(Semaphore::new(STREAMS));
    Router::new().route("/v1/stream", get(start)).with_state(Source { ingest, slots })
}

/// What a client asks for.
struct Wish {
    from: Option<Cursor>,
    filter: Filter,
    receipts: bool,
    wait: Duration,
}

async fn start(State(source): State<Source>, request: Request) -> Result<Response, Response> {
    let wish = wish(&source.ingest, &request).map_err(IntoResponse::into_response)?;
    let slot = Arc::clone(&source.slots).try_acquire_owned().map_err(|_| {
        let detail = "too many streams; come again later";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
    })?;
    let failed = |error| Problem::of(&error).into_response();
    let log = Arc::clone(source.ingest.log());
    let subscription = match wish.from {
        Some(from) => {
            let oldest = log.oldest().await.map_err(failed)?;
            if from.index() < oldest {
                return Err(forgotten(oldest));
            }
            Subscription::new(log, from, wish.filter)
        }
        None => Subscription::from_now(log, wish.filter).await.map_err(failed)?,
    };
    let feed = Feed {
        ingest: source.ingest,
        subscription,
        receipts: wish.receipts,
        wait: wish.wait,
        ended: false,
        _slot: slot,
        _held: Held::new("depin_http_streams"),
    };
    let body = Body::from_stream(stream::unfold(feed, Feed::step));
    Ok(([(header::CONTENT_TYPE, SEQUENCE), (header::CACHE_CONTROL, "no-store")], body)
        .into_response())
}

fn forgotten(oldest: u64) -> Response {
    let detail = format!("the log begins at {oldest}; go on there, or read the epoch's bundle");
    let mut response = Problem::new(StatusCode::GONE, detail).into_response();
    response.headers_mut().insert(OLDEST, HeaderValue::from(oldest));
    response
}

/// Reads `from` (a cursor or `now`), `device`, `quantity` and `cell` (each any number of times),
/// `receipts` and `wait` in seconds. A cursor may also come as `Last-Event-ID`.
fn wish(ingest: &Ingest, request: &Request) -> Result<Wish, Problem> {
    let last = request.headers().get("last-event-id").and_then(|last| last.to_str().ok());
    let mut wish = Wish {
        from: Some(last.map_or(Ok(Cursor::START), |last| value("last-event-id", last))?),
        filter: Filter::new(ingest.network()),
        receipts: true,
        wait: WAIT,
    };
    let query = request.uri().query().unwrap_or_default();
    let url = Url::parse(&format!("http://_/?{query}"));
    let mut named = 0;
    for (name, text) in url.iter().flat_map(Url::query_pairs) {
        named += 1;
        if named > NAMED {
            let detail = "the query names more than 64 things; filter on your side";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        match &*name {
            "from" if text == "now" => wish.from = None,
            "from" => wish.from = Some(value("from", &text)?),
            "device" => wish.filter = wish.filter.device(value::<Did>("device", &text)?),
            "quantity" => wish.filter = wish.filter.quantity(text),
            #[cfg(feature = "geo")]
            "cell" => wish.filter = wish.filter.cell(value("cell", &text)?),
            "receipts" => wish.receipts = value("receipts", &text)?,
            "wait" => wish.wait = Duration::from_secs(value("wait", &text)?).min(WAIT),
            // Less would come than was meant if a filter were passed over.
            _ => {
                let detail = format!("\"{name}\" is no parameter of a stream here");
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
            }
        }
    }
    Ok(wish)
}

fn value<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, format!("\"{name}\" does not make sense"))
    })
}

/// A response in progress.
struct Feed {
    ingest: Arc<Ingest>,
    subscription: Subscription,
    receipts: bool,
    wait: Duration,
    ended: bool,
    _slot: OwnedSemaphorePermit,
    _held: Held,
}

impl Feed {
    /// The next item. An error breaks the response off, and the client sees that it has no last item.
    async fn step(mut self) -> Option<(Result<Vec<u8>>, Self)> {
        if self.ended {
            return None;
        }
        let item = match self.next().await {
            Ok(Some(delivery)) => self.item(&delivery).await,
            Ok(None) => {
                self.ended = true;
                self.last().await
            }
            Err(error) => Err(error),
        };
        self.ended |= item.is_err();
        Some((item, self))
    }

    /// The next batch; none when the log does not grow in time, or so much was passed over that the client
    /// should know.
    async fn next(&mut self) -> Result<Option<Delivery>> {
        for _ in 0..SCANS {
            let delivery = self.subscription.scan().await?;
            if delivery.is_some() {
                return Ok(delivery);
            }
            match timeout(self.wait, self.subscription.grown()).await {
                Ok(grown) => grown?,
                Err(_) => break,
            }
        }
        Ok(None)
    }

    async fn item(&self, delivery: &Delivery) -> Result<Vec<u8>> {
        let entry = &delivery.entry;
        let receipt = if self.receipts {
            let receipt = self.ingest.receipt(entry.batch.hash(), entry.index).await?;
            Some(receipt::encode(&receipt)?)
        } else {
            None
        };
        let mut bytes = Vec::with_capacity(entry.batch.as_bytes().len() + 2048);
        let mut e = Encoder::new(&mut bytes);
        let written = e
            .array(4)
            .and_then(|e| {
                e.u64(entry.index)?.u64(entry.received.millis())?.bytes(entry.batch.as_bytes())
            })
            .and_then(|e| match &receipt {
                Some(receipt) => e.bytes(receipt),
                None => e.null(),
            });
        debug_assert!(written.is_ok(), "writing to a vector cannot fail");
        Ok(bytes)
    }

    async fn last(&self) -> Result<Vec<u8>> {
        let (next, size) =
            (self.subscription.cursor().index(), self.ingest.log().head().await?.size);
        let mut bytes = Vec::with_capacity(24);
        let mut e = Encoder::new(&mut bytes);
        let written = e.array(2).and_then(|e| e.u64(next)?.u64(size));
        debug_assert!(written.is_ok(), "writing to a vector cannot fail");
        Ok(bytes)
    }
}
