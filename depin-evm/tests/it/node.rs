//! A node that forgets transactions, or repeats what it said before.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use depin_devnet::{Devnet, DevnetTransport};
use depin_evm::alloy::{
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::{
        client::RpcClient,
        json_rpc::{ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload},
    },
    transports::{TransportError, TransportFut},
};
use serde_json::value::{RawValue, to_raw_value};
use tower::Service;

/// Between a chain handle and the embedded chain.
#[derive(Clone)]
pub(crate) struct Node {
    inner: DevnetTransport,
    forgets: Arc<AtomicBool>,
    /// Answers by method and parameters.
    repeats: Arc<Mutex<HashMap<String, Box<RawValue>>>>,
    troubles: Arc<Mutex<Option<Trouble>>>,
}

/// What a node cannot do now.
struct Trouble {
    method: &'static str,
    /// Which parameters it concerns.
    concerns: fn(&str) -> bool,
    told: usize,
}

impl Node {
    pub(crate) fn of(devnet: &Devnet) -> Self {
        let (forgets, repeats, troubles) = (Arc::default(), Arc::default(), Arc::default());
        Self { inner: devnet.transport(), forgets, repeats, troubles }
    }

    pub(crate) fn provider(&self) -> DynProvider {
        let client = RpcClient::new(self.clone(), true);
        ProviderBuilder::default().connect_client(client).erased()
    }

    /// Whether it tells of no transaction from now on.
    pub(crate) fn forget(&self, forgets: bool) {
        self.forgets.store(forgets, SeqCst);
    }

    /// Refuses from now on what it is asked for, in words that nobody knows.
    pub(crate) fn trouble(&self, method: &'static str, concerns: fn(&str) -> bool) {
        *self.troubles.lock().unwrap() = Some(Trouble { method, concerns, told: 0 });
    }

    /// How often it refused since.
    pub(crate) fn told(&self) -> usize {
        self.troubles.lock().unwrap().as_ref().map_or(0, |trouble| trouble.told)
    }

    pub(crate) fn recover(&self) {
        *self.troubles.lock().unwrap() = None;
    }

    fn refuses(&self, method: &str, params: &str) -> bool {
        let mut troubles = self.troubles.lock().unwrap();
        let concerned =
            |trouble: &&mut Trouble| trouble.method == method && (trouble.concerns)(params);
        troubles.as_mut().filter(concerned).map(|trouble| trouble.told += 1).is_some()
    }

    /// What it says now to a request.
    pub(crate) async fn asked(&self, method: &'static str, params: &str) -> Said {
        let params: serde_json::Value = serde_json::from_str(params).unwrap();
        let answer: serde_json::Value =
            self.provider().raw_request(method.into(), params.clone()).await.unwrap();
        Said { request: format!("{method}{params}"), answer: to_raw_value(&answer).unwrap() }
    }

    /// Says from now on what it said before.
    pub(crate) fn repeat(&self, said: &Said) {
        self.repeats.lock().unwrap().insert(said.request.clone(), said.answer.clone());
    }
}

/// A request, and what a node said to it.
pub(crate) struct Said {
    request: String,
    answer: Box<RawValue>,
}

impl Said {
    /// The same with the answer changed.
    pub(crate) fn but(mut self, change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let mut answer = serde_json::from_str(self.answer.get()).unwrap();
        change(&mut answer);
        self.answer = to_raw_value(&answer).unwrap();
        self
    }
}

impl Service<RequestPacket> for Node {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let single = packet.as_single().unwrap();
        let asks = ["eth_getTransactionReceipt", "eth_getTransactionByHash"];
        let params = single.params().map_or("", RawValue::get);
        if self.refuses(single.method(), params) {
            let (code, message) = (-32000, "the leader is away".into());
            let payload = ResponsePayload::Failure(ErrorPayload { code, message, data: None });
            let id = single.id().clone();
            return Box::pin(async move { Ok(ResponsePacket::Single(Response { id, payload })) });
        }
        let request = format!("{}{params}", single.method());
        let mut said = self.repeats.lock().unwrap().get(&request).cloned();
        if self.forgets.load(SeqCst) && asks.contains(&single.method()) {
            said = Some(RawValue::NULL.to_owned());
        }
        let Some(said) = said else { return self.inner.call(packet) };
        let (id, payload) = (single.id().clone(), ResponsePayload::Success(said));
        Box::pin(async move { Ok(ResponsePacket::Single(Response { id, payload })) })
    }
}
