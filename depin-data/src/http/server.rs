//! Connections: few enough, short enough, and closed in order.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, header},
    middleware::{Next, from_fn},
    response::Response,
};
use depin_core::{Error, ErrorKind, Result};
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::AsyncWrite,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, SemaphorePermit, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::Instrument;

use super::{
    addresses::{Addresses, Visitor},
    queue::{self, Queue},
    routes,
};
use crate::{
    ingest::Ingest,
    observe::{self, Held, Timer},
};

/// Most bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// Connections that the system may keep until they are taken.
const BACKLOG: u32 = 4096;
/// How long to wait when the system has no file handles left.
const BREATHER: Duration = Duration::from_millis(50);

/// How often a connection that holds a place looks whether others wait for one.
const GLANCE: Duration = Duration::from_secs(1);
/// How long one that is turned away may take to hear it.
const FAREWELL: Duration = Duration::from_secs(1);
/// What it hears.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
retry-after: 1\r\nconnection: close\r\ncontent-length: 115\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many connections; come again later\"}";

/// What clients may take.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections that are served at a time. While others wait, each is closed after its present request.
    pub connections: usize,
    /// Connections that may wait for that; more wait in the system's queue. One that waits costs a socket
    /// and no buffer.
    pub waiting: usize,
    /// Connections of one address, served or waiting (of IPv6, of one /64): more are closed unheard. Where a proxy or
    /// the gateway of a fleet stands in front, all come from few addresses; then this is to be larger.
    pub per_address: usize,
    /// Equal parts of `connections`, of which one address is served in one at a time; the rest of what it sends waits
    /// for its own. 1 lifts this bound: behind a proxy, which then has to bound what one of its clients takes, all
    /// come from one address.
    pub shares: usize,
    /// How long one may wait before it is told 503.
    pub turn: Duration,
    /// Time for the head of a request, also of the next one on the same connection.
    pub head: Duration,
    /// Time for the body of a request, and again for its answer.
    pub request: Duration,
    /// Age at which a connection is closed after its present request.
    pub age: Duration,
}

impl Default for Limits {
    /// 512 connections of at most 10 minutes, 16,384 more that wait up to 10 s; of all these at most a quarter, 4,224,
    /// from one address, 128 of them served; 10 s for a head, 30 s for a request.
    fn default() -> Self {
        Self {
            connections: 512,
            waiting: 16_384,
            per_address: 4224,
            shares: 4,
            turn: Duration::from_secs(10),
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
    start(routes::router(ingest, limits.request), addr, limits).await
}

pub(super) async fn start(router: Router, addr: SocketAddr, limits: Limits) -> Result<HttpServer> {
    let unbound = |error: std::io::Error| {
        Error::new(ErrorKind::Config, "the address cannot be bound; choose another")
            .with("address", addr)
            .source(error)
    };
    let listener = bind(addr).map_err(unbound)?;
    let address = listener.local_addr().map_err(unbound)?;
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(listen(listener, router, limits, stopped));
    Ok(HttpServer { address, stop, task: Some(task) })
}

/// With a queue long enough for a fleet that comes back all at once, if the system allows it.
fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a server that starts again finds its address free.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
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

/// Places for connections.
struct Places {
    limits: Limits,
    queue: Queue,
}

/// A place, of all and of those that its address may have.
struct Seat<'a> {
    places: &'a Places,
    visitor: &'a Visitor,
    _held: [SemaphorePermit<'a>; 2],
}

async fn listen(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let served = limits.connections.clamp(1, queue::MOST);
    let all = served.saturating_add(limits.waiting).min(queue::MOST);
    let rooms = Arc::new(Semaphore::new(all));
    let addresses = Addresses::new(limits.per_address, served.div_ceil(limits.shares.max(1)));
    let places = Arc::new(Places { limits, queue: Queue::new(served) });
    let router = router.layer(from_fn(observed));
    loop {
        let next = async {
            let room = Arc::clone(&rooms).acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok((stream, from)) => match addresses.enter(from.ip()) {
                    Some(visitor) => Some((stream, (visitor, room))),
                    // To say so would cost what it is to save.
                    None => {
                        observe::turned_away();
                        None
                    }
                },
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
        if let Some((stream, (visitor, room))) = next {
            let (places, router, stopped) = (Arc::clone(&places), router.clone(), stopped.clone());
            tokio::spawn(async move {
                converse(stream, &visitor, router, &places, stopped).await;
                drop((visitor, room));
            });
        }
    }
    drop(listener);
    let all = u32::try_from(all).unwrap_or(u32::MAX);
    let _ = rooms.acquire_many(all).await;
}

/// One connection, from its turn until it ends, is too old, others wait, or the server stops.
async fn converse(
    stream: TcpStream,
    visitor: &Visitor,
    router: Router,
    places: &Places,
    mut stopped: watch::Receiver<bool>,
) {
    let limits = places.limits;
    let Some(seat) = places.turn(visitor, &mut stopped).await else {
        return turn_away(stream).await;
    };
    let _held = Held::new("depin_http_connections");
    let _ = stream.set_nodelay(true);
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD_BYTES);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| {
        let answer = router.call(request);
        async { answer.await.map(|response| seat.hurry(response)) }
    });
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stop| *stop) => {}
        () = sleep(limits.age) => {}
        () = seat.wanted() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.request.saturating_mul(2), connection).await;
}

impl Places {
    /// A place to be served in, if one becomes free in time. Who waits for one of its address's waits for no other, so
    /// that one address is not all who wait.
    async fn turn<'a>(
        &'a self,
        visitor: &'a Visitor,
        stopped: &mut watch::Receiver<bool>,
    ) -> Option<Seat<'a>> {
        let seat = async {
            let held = [visitor.share().enter().await?, self.queue.enter().await?];
            Some(Seat { places: self, visitor, _held: held })
        };
        tokio::select! {
            seat = timeout(self.limits.turn, seat) => seat.ok().flatten(),
            _ = stopped.wait_for(|stop| *stop) => None,
        }
    }
}

impl Seat<'_> {
    /// Whether somebody waits for whom this place would do.
    fn is_wanted(&self) -> bool {
        self.places.queue.is_wanted() || self.visitor.share().is_wanted()
    }

    /// Closes the connection after this answer when somebody else wants the place.
    fn hurry(&self, mut response: Response) -> Response {
        if self.is_wanted() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Returns when somebody else wants the place.
    async fn wanted(&self) {
        loop {
            sleep(GLANCE).await;
            if self.is_wanted() {
                return;
            }
        }
    }
}

/// Lets a request be seen from outside.
async fn observed(request: Request, next: Next) -> Response {
    let (route, timer) = (routes::name(request.uri().path()), Timer::start());
    let span = tracing::debug_span!("http", route, method = %request.method());
    let response = next.run(request).instrument(span).await;
    observe::http_answered(route, response.status().as_u16(), timer);
    response
}

/// Says that there is no room, and listens a little, so that the answer is not lost to a reset.
async fn turn_away(mut stream: TcpStream) {
    observe::turned_away();
    let farewell = async {
        stream.writable().await?;
        stream.try_write(BUSY)?;
        poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context)).await?;
        let mut unheard = [0; 1024];
        loop {
            stream.readable().await?;
            match stream.try_read(&mut unheard) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    };
    let _: Result<io::Result<()>, _> = timeout(FAREWELL, farewell).await;
}
