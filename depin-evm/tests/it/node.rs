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
        json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload},
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
}

impl Node {
    pub(crate) fn of(devnet: &Devnet) -> Self {
        Self { inner: devnet.transport(), forgets: Arc::default(), repeats: Arc::default() }
    }

    pub(crate) fn provider(&self) -> DynProvider {
        let client = RpcClient::new(self.clone(), true);
        ProviderBuilder::default().connect_client(client).erased()
    }

    /// Whether it tells of no transaction from now on.
    pub(crate) fn forget(&self, forgets: bool) {
        self.forgets.store(forgets, SeqCst);
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
        let request = format!("{}{}", single.method(), single.params().map_or("", RawValue::get));
        let mut said = self.repeats.lock().unwrap().get(&request).cloned();
        if self.forgets.load(SeqCst) && asks.contains(&single.method()) {
            said = Some(RawValue::NULL.to_owned());
        }
        let Some(said) = said else { return self.inner.call(packet) };
        let (id, payload) = (single.id().clone(), ResponsePayload::Success(said));
        Box::pin(async move { Ok(ResponsePacket::Single(Response { id, payload })) })
    }
}
