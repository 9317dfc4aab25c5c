//! The chain as JSON-RPC over HTTP, for cast, ethers and wallets.
//!
//! Bodies, the time to send one, and the calls that run at once are limited. Web pages may call (CORS):
//! everything here is play money.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::{Devnet, error::Error, rpc::wire};

/// A running HTTP server; dropping it stops it after the calls that are on their way.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use alloy::providers::{Provider, ProviderBuilder};
/// use depin_devnet::Devnet;
///
/// let server = Devnet::start().serve("127.0.0.1:0".parse()?).await?;
/// let provider = ProviderBuilder::new().connect_http(server.url().parse()?);
/// assert_eq!(provider.get_chain_id().await?, 31_337);
/// server.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "the server stops when this is dropped"]
pub struct HttpServer {
    address: SocketAddr,
    // Dropping the sender is the signal to stop.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Where the server listens; the real port when port 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to give to clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops and waits until open calls are answered.
    pub async fn shutdown(self) {
        drop(self.stop);
        // The task can only fail by a panic, which has been reported where it happened.
        let _ = self.task.await;
    }
}

impl Devnet {
    /// Serves the chain as JSON-RPC over HTTP, on a task of the running tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when the address cannot be listened on.
    pub async fn serve(&self, address: SocketAddr) -> Result<HttpServer, Error> {
        let failed = |source| Error::io(format!("cannot listen on {address}"), source);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let service = Service { devnet: self.clone(), slots: Arc::new(Semaphore::new(MAX_CALLS)) };
        let router = Router::new().fallback(handle).with_state(service);
        let task = tokio::spawn(async move {
            let wait = async { drop(stopped.await) };
            // Accept errors are retried inside; there is nobody else to tell.
            let _ = axum::serve(listener, router).with_graceful_shutdown(wait).await;
        });
        Ok(HttpServer { address, stop, task })
    }
}

#[derive(Clone)]
struct Service {
    devnet: Devnet,
    slots: Arc<Semaphore>,
}

async fn handle(State(service): State<Service>, method: Method, body: Body) -> Response {
    match method {
        Method::OPTIONS => return with_cors(StatusCode::NO_CONTENT.into_response()),
        Method::POST => {}
        _ => return with_cors(StatusCode::METHOD_NOT_ALLOWED.into_response()),
    }
    let Ok(body) = timeout(BODY_TIME, to_bytes(body, MAX_BODY)).await else {
        return with_cors(StatusCode::REQUEST_TIMEOUT.into_response());
    };
    let Ok(body) = body else {
        return with_cors(StatusCode::PAYLOAD_TOO_LARGE.into_response());
    };
    let Ok(slot) = Arc::clone(&service.slots).acquire_owned().await else {
        return with_cors(StatusCode::SERVICE_UNAVAILABLE.into_response());
    };
    // Contracts can compute for a while: not on the threads that serve everyone.
    let work = tokio::task::spawn_blocking(move || {
        let reply = wire::reply(&service.devnet, &body);
        drop(slot);
        reply
    });
    with_cors(match work.await {
        Ok(Some(reply)) => ([(header::CONTENT_TYPE, "application/json")], reply).into_response(),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    })
}

fn with_cors(response: Response) -> Response {
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
    ];
    (allowed, response).into_response()
}

/// Largest request body; a full batch of the largest transactions is split by its sender.
const MAX_BODY: usize = 2 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Calls that run at the same time; others wait.
const MAX_CALLS: usize = 64;
