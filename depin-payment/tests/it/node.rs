//! A node of the embedded chain that does not tell all, or not yet.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use depin_devnet::{Devnet, DevnetTransport};
use depin_evm::alloy::{
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::{
        client::RpcClient,
        json_rpc::{Request, RequestPacket, ResponsePacket, ResponsePayload},
    },
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use serde_json::{Value, json, value::to_raw_value};
use tower::Service;

/// What is wrong with a node.
pub(crate) trait Tricks: Send + Sync + 'static {
    /// Whether the node has no answer to a question.
    fn refusal(&self, _method: &str, _params: &Value) -> Option<TransportError> {
        None
    }
    /// Changes a question before the chain hears it.
    fn question(&self, _method: &str, _params: &mut Value) {}
    /// Changes an answer of the chain.
    fn answer(&self, _method: &str, _result: &mut Value) {}
}

/// A provider without wallet.
pub(crate) fn provider<T: Tricks>(devnet: &Devnet, tricks: &Arc<T>) -> DynProvider {
    let node = Node { inner: devnet.transport(), tricks: Arc::clone(tricks) };
    ProviderBuilder::default().connect_client(RpcClient::new(node, true)).erased()
}

struct Node<T> {
    inner: DevnetTransport,
    tricks: Arc<T>,
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), tricks: Arc::clone(&self.tricks) }
    }
}

impl<T: Tricks> Service<RequestPacket> for Node<T> {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let Self { mut inner, tricks } = self.clone();
        Box::pin(async move {
            let Some(request) = packet.as_single() else { return inner.call(packet).await };
            let params = request.params().map(|params| serde_json::from_str(params.get()));
            let mut params =
                params.transpose().map_err(TransportErrorKind::custom)?.unwrap_or(json!([]));
            let method = request.method().to_owned();
            if let Some(refusal) = tricks.refusal(&method, &params) {
                return Err(refusal);
            }
            tricks.question(&method, &mut params);
            // Who asks may end here, before the chain hears it.
            tokio::task::yield_now().await;
            let request = Request::new(method.clone(), request.id().clone(), params).serialize();
            let request = request.map_err(TransportErrorKind::custom)?;
            let mut answer = inner.call(RequestPacket::Single(request)).await?;
            if let ResponsePacket::Single(response) = &mut answer
                && let ResponsePayload::Success(raw) = &mut response.payload
            {
                let mut result =
                    serde_json::from_str(raw.get()).map_err(TransportErrorKind::custom)?;
                tricks.answer(&method, &mut result);
                *raw = to_raw_value(&result).map_err(TransportErrorKind::custom)?;
            }
            Ok(answer)
        })
    }
}
