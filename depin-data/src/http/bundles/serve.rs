//! The server's side.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use depin_core::{EpochId, Error, Result, cbor::Encoder};
use futures_util::stream;
use tokio::task::spawn_blocking;

use super::{
    super::{
        CBOR, HttpServer, Limits,
        problem::Problem,
        query::Query,
        routes::{missing, wrong_method},
        server::start,
    },
    BUNDLE, MOST,
};
use crate::bundle::BundleFolder;

/// Bytes of a file in memory at a time, for each download.
const PIECE: usize = 64 * 1024;
/// Longest time of one download; then the client asks for the rest.
const AGE: Duration = Duration::from_secs(3600);

/// Serves the bundles in a folder at `addr`, for auditors and archives: on connections of its own, so that no
/// download takes the place of a device.
///
/// Must be called inside a tokio runtime.
///
/// # Errors
/// As [`serve`](crate::http::serve).
pub async fn serve_bundles(folder: BundleFolder, addr: SocketAddr) -> Result<HttpServer> {
    let router = Router::new()
        .route("/v1/bundles", get(list))
        .route("/v1/bundles/{epoch}", get(download))
        .fallback(missing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::new(folder));
    let limits = Limits { age: AGE, ..Limits::default() };
    start(router, addr, limits).await
}

fn no_number() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "an epoch is a whole number, as in /v1/bundles/7")
}

fn problem(error: Error) -> Problem {
    Problem::of(&error)
}

/// Reading a disk must hold up no connection.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let ended = |_| Error::unavailable("the bundles cannot be read now");
    spawn_blocking(work).await.map_err(ended).and_then(|done| done).map_err(problem)
}

async fn list(
    State(folder): State<Arc<BundleFolder>>,
    request: Request,
) -> Result<Response, Problem> {
    let query = Query::of(&request);
    let from = query.number("from")?.unwrap_or(0);
    let limit = query.number("limit")?.and_then(|limit| usize::try_from(limit).ok());
    let epochs = blocking(move || folder.epochs()).await?;
    let epochs = epochs.into_iter().filter(|(epoch, _)| epoch.value() >= from);
    let epochs: Vec<_> = epochs.take(limit.unwrap_or(MOST).min(MOST)).collect();
    let mut bytes = Vec::with_capacity(9 + 19 * epochs.len());
    let mut encoder = Encoder::new(&mut bytes);
    let written = encoder.array(epochs.len() as u64).and_then(|e| {
        epochs.iter().try_fold(e, |e, (epoch, size)| e.array(2)?.u64(epoch.value())?.u64(*size))
    });
    debug_assert!(written.is_ok(), "writing to a vector cannot fail");
    Ok(([(header::CONTENT_TYPE, CBOR)], bytes).into_response())
}

async fn download(
    State(folder): State<Arc<BundleFolder>>,
    epoch: Result<Path<u64>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path(epoch) = epoch.map_err(|_| no_number())?;
    let opened = blocking(move || {
        let Some(file) = folder.open(EpochId::new(epoch))? else { return Ok(None) };
        let size = file.metadata().map_err(unread)?.len();
        Ok(Some((file, size)))
    });
    let none = || Problem::new(StatusCode::NOT_FOUND, "the epoch has no bundle here; list them");
    let (mut file, size) = opened.await?.ok_or_else(none)?;
    let from = first(request.headers(), size);
    let Some(from) = from.filter(|from| *from < size || *from == 0) else {
        let detail = format!("the bundle has {size} bytes");
        let mut response = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, detail).into_response();
        insert(&mut response, header::CONTENT_RANGE, format!("bytes */{size}"));
        return Ok(response);
    };
    let file = blocking(move || {
        file.seek(SeekFrom::Start(from)).map_err(unread)?;
        Ok(file)
    });
    let rest = Rest { file: Some(file.await?), left: size - from };
    let mut response = Body::from_stream(stream::unfold(rest, Rest::piece)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(BUNDLE));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size - from));
    if request.headers().contains_key(header::RANGE) && from > 0 {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {from}-{}/{size}", size - 1);
        insert(&mut response, header::CONTENT_RANGE, range);
    }
    Ok(response)
}

fn insert(response: &mut Response, name: header::HeaderName, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().insert(name, value);
    }
}

/// The first byte that is asked for: 0 unless there is one range that goes on to the end (RFC 9110 section 14.2
/// lets a server pass over others). `None` when there is no such byte.
fn first(headers: &HeaderMap, size: u64) -> Option<u64> {
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    let Some(from) = from.filter(|from| from.bytes().all(|byte| byte.is_ascii_digit())) else {
        return Some(0);
    };
    from.parse().ok().filter(|from| *from < size)
}

/// What of a file is still to be sent.
struct Rest {
    /// Nothing after an error.
    file: Option<File>,
    left: u64,
}

impl Rest {
    async fn piece(mut self) -> Option<(std::io::Result<Vec<u8>>, Self)> {
        let mut file = self.file.take().filter(|_| self.left > 0)?;
        let length = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let read = spawn_blocking(move || {
            let mut piece = vec![0; length];
            file.read_exact(&mut piece).map(|()| (piece, file))
        });
        match read.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok((piece, file)) => {
                let left = self.left.saturating_sub(piece.len() as u64);
                Some((Ok(piece), Self { file: Some(file), left }))
            }
            // The connection breaks off, so that nobody takes a part for the whole.
            Err(error) => Some((Err(error), self)),
        }
    }
}

fn unread(error: std::io::Error) -> Error {
    Error::unavailable("the bundle cannot be read now").source(error)
}
