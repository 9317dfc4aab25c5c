//! Connections: few enough, short enough, and closed in order.

use core::{net::SocketAddr, pin::pin, time::Duration};
use std::sync::Arc;

use axum::Router;
use depin_core::{Error, ErrorKind, Result};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::routes;
use crate::Resolver;

/// Most bytes of a request's head. Nothing reads a body.
const HEAD_BYTES: usize = 16 * 1024;
/// How long to wait when the system has no file handles left.
const BREATHER: Duration = Duration::from_millis(50);

/// What clients may take.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at a time, each with one request at a time; more wait in the system's queue.
    pub connections: usize,
    /// Time for the head of a request, also of the next one on the same connection.
    pub head: Duration,
    /// Time for an answer.
    pub request: Duration,
    /// Age at which a connection is closed after its present request.
    pub age: Duration,
}

impl Default for Limits {
    /// 256 connections of at most 10 minutes, 10 s for a head, 30 s for an answer.
    fn default() -> Self {
        Self {
            connections: 256,
            head: Duration::from_secs(10),
            request: Duration::from_secs(30),
            age: Duration::from_secs(600),
        }
    }
}

/// A running server. Dropping it lets requests in flight finish and takes no new ones.
#[derive(Debug)]
#[must_use = "the server stops when this is dropped"]
pub struct UniversalServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// Serves `resolver` at `address` (port 0 for any free one) with the default [`Limits`].
///
/// Must be called inside a tokio runtime. Give the resolver a [cache](Resolver::with_cache), and no methods that
/// strangers should not make this machine ask for.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_identity::{DidResolver, Resolver, universal};
///
/// let server = universal::serve(Resolver::new(), "127.0.0.1:0".parse().unwrap()).await?;
/// let client = universal::UniversalClient::new(&server.url())?;
/// let did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse()?;
/// assert_eq!(client.resolve(&did).await?, Resolver::new().resolve(&did).await?);
/// server.shutdown().await;
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`ErrorKind::Config`] when the address cannot be bound.
pub async fn serve(resolver: Resolver, address: SocketAddr) -> Result<UniversalServer> {
    serve_with(resolver, address, Limits::default()).await
}

/// As [`serve`], with other limits.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with(
    resolver: Resolver,
    address: SocketAddr,
    limits: Limits,
) -> Result<UniversalServer> {
    let unbound = |error: std::io::Error| {
        Error::new(ErrorKind::Config, "the address cannot be bound; choose another")
            .with("address", address)
            .source(error)
    };
    let listener = TcpListener::bind(address).await.map_err(unbound)?;
    let address = listener.local_addr().map_err(unbound)?;
    let (stop, stopped) = watch::channel(false);
    let router = routes::router(resolver, limits.request);
    let task = tokio::spawn(listen(listener, router, limits, stopped));
    Ok(UniversalServer { address, stop, task: Some(task) })
}

impl UniversalServer {
    /// Where it listens: `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no new requests and waits for those in flight.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for UniversalServer {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

async fn listen(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let most = limits.connections.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let slots = Arc::new(Semaphore::new(most));
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok((stream, _)) => Some((stream, slot)),
                Err(_) => {
                    sleep(BREATHER).await;
                    None
                }
            }
        };
        let next = tokio::select! {
            next = next => next,
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        if let Some((stream, slot)) = next {
            tokio::spawn(converse(stream, router.clone(), limits, stopped.clone(), slot));
        }
    }
    drop(listener);
    let _ = slots.acquire_many(u32::try_from(most).unwrap_or(u32::MAX)).await;
}

/// One connection, until it ends, is too old, or the server stops.
async fn converse(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
    _slot: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD_BYTES);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stop| *stop) => {}
        () = sleep(limits.age) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.request.saturating_mul(2), connection).await;
}
