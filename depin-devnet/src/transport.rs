//! The chain as an alloy transport: a tower service from JSON-RPC requests to responses.

use std::task::{Context, Poll};

use alloy::{
    rpc::json_rpc::{
        ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest,
    },
    transports::{TransportError, TransportFut},
};
use serde_json::value::{RawValue, to_raw_value};
use tower::Service;

use crate::{Devnet, error::Error, rpc};

/// A tower service that answers JSON-RPC from a chain in this process.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use alloy::{providers::{Provider, ProviderBuilder}, rpc::client::RpcClient};
/// use depin_devnet::Devnet;
///
/// let client = RpcClient::new(Devnet::start().transport(), true);
/// let provider = ProviderBuilder::new().connect_client(client);
/// assert_eq!(provider.get_chain_id().await?, 31_337);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct DevnetTransport(Devnet);

impl DevnetTransport {
    pub(crate) const fn new(devnet: Devnet) -> Self {
        Self(devnet)
    }

    fn answer(&self, request: &SerializedRequest) -> Response {
        let payload = match rpc::answer(&self.0, request.method(), request.params()) {
            Ok(result) => ResponsePayload::Success(result),
            Err(error) => ResponsePayload::Failure(payload(&error)),
        };
        Response { id: request.id().clone(), payload }
    }
}

impl Service<RequestPacket> for DevnetTransport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            Ok(match packet {
                RequestPacket::Single(request) => ResponsePacket::Single(service.answer(&request)),
                RequestPacket::Batch(requests) => ResponsePacket::Batch(
                    requests.iter().map(|request| service.answer(request)).collect(),
                ),
            })
        })
    }
}

/// The JSON-RPC form of an error.
pub(crate) fn payload(error: &Error) -> ErrorPayload<Box<RawValue>> {
    ErrorPayload {
        code: error.code(),
        message: error.to_string().into(),
        data: error.revert_data().and_then(|data| to_raw_value(data).ok()),
    }
}
