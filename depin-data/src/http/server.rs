//! Connections: few enough, short enough, and closed in order.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

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
use crate::ingest::Ingest;

/// Most bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// How long to wait when the system has no file handles left.
const BREATHER: Duration = Duration::from_millis(50);

/// What clients may take.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at a time; more wait in the system's queue.
    pub connections: usize,
    /// Time for the head of a request, also of the next one on the same connection.
    pub head: Duration,
    /// Time for the body of a request, and again for its answer.
    pub request: Duration,
    /// Age at which a connection is closed after its present request.
    pub age: Duration,
}

impl Default for Limits {
    /// 512 connections of at most 10 minutes, 10 s for a head, 30 s for a request.
    fn default() -> Self {
        Self {
            connections: 512,
            head: Duration::from_secs(10),
            request: Duration::from_secs(30),
            age: Duration::from_secs(600),
        }
    }
}

/// A running server. Dropping it lets requests in flight finish and takes no new ones.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// Serves `ingest` at `addr` (port 0 for any free one) with the default [`Limits`].
///
/// Must be called inside a tokio runtime.
///
/// # Errors
/// [`ErrorKind::Config`] when the address cannot be bound.
pub async fn serve(ingest: Arc<Ingest>, addr: SocketAddr) -> Result<HttpServer> {
    serve_with(ingest, addr, Limits::default()).await
}

/// As [`serve`], with other limits.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with(
    ingest: Arc<Ingest>,
    addr: SocketAddr,
    limits: Limits,
) -> Result<HttpServer> {
    let unbound = |error: std::io::Error| {
        Error::new(ErrorKind::Config, "the address cannot be bound; choose another")
            .with("address", addr)
            .source(error)
    };
    let listener = TcpListener::bind(addr).await.map_err(unbound)?;
    let address = listener.local_addr().map_err(unbound)?;
    let (stop, stopped) = watch::channel(false);
    let router = routes::router(ingest, limits.request);
    let task = tokio::spawn(listen(listener, router, limits, stopped));
    Ok(HttpServer { address, stop, task: Some(task) })
}

impl HttpServer {
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

impl Drop for HttpServer {
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
    let most = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
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
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    let _ = slots.acquire_many(all).await;
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
