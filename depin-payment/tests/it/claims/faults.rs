//! A connection to the devnet that loses requests, loses answers and holds transactions back.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use depin_devnet::{Devnet, DevnetTransport};
use depin_evm::alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::eip2718::Decodable2718,
    primitives::{B256, Bytes},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload},
    },
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::value::to_raw_value;
use tower::Service;

/// What the connections of all accounts did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests_lost: AtomicU64,
    pub(crate) answers_lost: AtomicU64,
    pub(crate) withheld: AtomicU64,
    pub(crate) replaced: AtomicU64,
    /// Transactions whose node said that it took them, and did not pass them on yet.
    held: Mutex<Vec<(Instant, RequestPacket)>>,
}

impl Tally {
    /// Passes on what was held back longer than `age`, when a replacement may be there already.
    pub(crate) async fn deliver(&self, devnet: &Devnet, age: Duration) {
        let late: Vec<_> = {
            let mut held = self.held.lock().unwrap();
            held.extract_if(.., |(since, _)| since.elapsed() >= age).collect()
        };
        for (_, packet) in late {
            // Taken, or too late: nobody waits for the answer.
            let _ = devnet.transport().call(packet).await;
        }
    }
}

/// The connection of one account.
#[derive(Clone)]
struct Faulty {
    inner: DevnetTransport,
    tally: Arc<Tally>,
    rng: Arc<Mutex<StdRng>>,
    /// The newest transaction of each nonce.
    sent: Arc<Mutex<HashMap<u64, B256>>>,
}

/// A provider without wallet for one account.
pub(crate) fn provider(devnet: &Devnet, tally: &Arc<Tally>, seed: u64) -> DynProvider {
    let transport = Faulty {
        inner: devnet.transport(),
        tally: Arc::clone(tally),
        rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
        sent: Arc::default(),
    };
    ProviderBuilder::default().connect_client(RpcClient::new(transport, true)).erased()
}

impl Faulty {
    /// The hash of the transaction that a request sends, if it sends one. Counts replacements.
    fn transaction(&self, packet: &RequestPacket) -> Option<B256> {
        let request = packet.as_single().filter(|r| r.method() == "eth_sendRawTransaction")?;
        let (raw,): (Bytes,) = serde_json::from_str(request.params()?.get()).ok()?;
        let envelope = TxEnvelope::decode_2718_exact(&raw).ok()?;
        let hash = *envelope.tx_hash();
        let before = self.sent.lock().unwrap().insert(envelope.nonce(), hash);
        if before.is_some_and(|before| before != hash) {
            self.tally.replaced.fetch_add(1, Relaxed);
        }
        Some(hash)
    }

    fn chance(&self, per_mille: u32) -> bool {
        self.rng.lock().unwrap().gen_ratio(per_mille, 1_000)
    }
}

impl Service<RequestPacket> for Faulty {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let mut service = self.clone();
        Box::pin(async move {
            let tally = &service.tally;
            if service.chance(LOST) {
                tally.requests_lost.fetch_add(1, Relaxed);
                return Err(TransportErrorKind::custom_str("request lost"));
            }
            if let Some(hash) = service.transaction(&packet)
                && service.chance(WITHHELD)
                && let Some(request) = packet.as_single()
            {
                tally.withheld.fetch_add(1, Relaxed);
                let result = to_raw_value(&hash).map_err(TransportErrorKind::custom)?;
                let (id, payload) = (request.id().clone(), ResponsePayload::Success(result));
                tally.held.lock().unwrap().push((Instant::now(), packet));
                return Ok(ResponsePacket::Single(Response { id, payload }));
            }
            let answer = service.inner.call(packet).await;
            if service.chance(LOST) {
                service.tally.answers_lost.fetch_add(1, Relaxed);
                return Err(TransportErrorKind::custom_str("answer lost"));
            }
            answer
        })
    }
}

/// Requests of a thousand that are lost, and as many answers.
const LOST: u32 = 5;
/// Transactions of a thousand that are held back.
const WITHHELD: u32 = 20;
