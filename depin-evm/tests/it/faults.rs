//! A connection that fails: requests are lost before or after they reach the chain, and a crash cuts
//! everything off at once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use depin_devnet::{Devnet, DevnetTransport};
use depin_evm::alloy::{
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, ResponsePacket},
    },
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tower::Service;

/// What goes wrong, shared by all clones of a connection.
#[derive(Debug)]
pub(crate) struct Faults {
    rng: Mutex<StdRng>,
    /// Of each kind of loss, in percent.
    percent: u32,
    /// Requests until the crash; below zero there is none.
    left: AtomicI64,
    crashed: AtomicBool,
    /// Transactions are never let through.
    pub(crate) mute: AtomicBool,
    /// Transactions not let through so far.
    pub(crate) muted: AtomicU32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    None,
    Request,
    Answer,
}

impl Faults {
    pub(crate) fn new(seed: u64, percent: u32) -> Arc<Self> {
        Arc::new(Self {
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            percent,
            left: AtomicI64::new(-1),
            crashed: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            muted: AtomicU32::new(0),
        })
    }

    /// Crashes at the request after so many.
    pub(crate) fn crash_after(self: &Arc<Self>, requests: u32) -> Arc<Self> {
        self.left.store(requests.into(), Ordering::SeqCst);
        Arc::clone(self)
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::SeqCst)
    }

    fn next(&self) -> Loss {
        if self.has_crashed() {
            return Loss::Request;
        }
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.crashed.store(true, Ordering::SeqCst);
            // The last request may still reach the chain.
            return if self.rng.lock().unwrap().r#gen() { Loss::Request } else { Loss::Answer };
        }
        match self.rng.lock().unwrap().gen_range(0..100) {
            n if n < self.percent => Loss::Request,
            n if n < 2 * self.percent => Loss::Answer,
            _ => Loss::None,
        }
    }
}

/// A devnet's transport with faults.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    inner: DevnetTransport,
    faults: Arc<Faults>,
}

/// A provider without wallet over a connection with faults.
pub(crate) fn provider(devnet: &Devnet, faults: &Arc<Faults>) -> DynProvider {
    let transport = Faulty { inner: devnet.transport(), faults: Arc::clone(faults) };
    ProviderBuilder::default().connect_client(RpcClient::new(transport, true)).erased()
}

impl Service<RequestPacket> for Faulty {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let sends =
            packet.as_single().is_some_and(|request| request.method() == "eth_sendRawTransaction");
        let muted = sends && self.faults.mute.load(Ordering::SeqCst);
        let loss = if muted {
            self.faults.muted.fetch_add(1, Ordering::SeqCst);
            Loss::Request
        } else {
            self.faults.next()
        };
        let mut inner = self.inner.clone();
        Box::pin(async move {
            if loss == Loss::Request {
                return Err(TransportErrorKind::custom_str("request lost"));
            }
            let answer = inner.call(packet).await;
            if loss == Loss::Answer {
                return Err(TransportErrorKind::custom_str("answer lost"));
            }
            answer
        })
    }
}
