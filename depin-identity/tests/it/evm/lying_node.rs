//! A node that serves other events than the chain has is not believed.

use std::task::{Context, Poll};

use depin_devnet::DevnetTransport;
use depin_evm::alloy::{
    primitives::hex,
    providers::{Provider, ProviderBuilder},
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, ResponsePacket, ResponsePayload},
    },
    transports::{TransportError, TransportFut},
};
use serde_json::value::RawValue;
use tower::Service;

use super::*;

/// Replaces a text wherever it appears in an answer about logs.
#[derive(Clone)]
pub(crate) struct Doctored {
    pub(crate) honest: DevnetTransport,
    pub(crate) find: String,
    pub(crate) replace: String,
}

impl Service<RequestPacket> for Doctored {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.honest.poll_ready(context)
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let about_logs = packet.method_names().any(|method| method == "eth_getLogs");
        let (find, replace) = (self.find.clone(), self.replace.clone());
        let answer = self.honest.call(packet);
        Box::pin(async move {
            let mut answer = answer.await?;
            if let (true, ResponsePacket::Single(response)) = (about_logs, &mut answer)
                && let ResponsePayload::Success(value) = &mut response.payload
            {
                let text = value.get().replace(&find, &replace);
                *value = RawValue::from_string(text).unwrap();
            }
            Ok(answer)
        })
    }
}

async fn seen_through(
    devnet: &Devnet,
    registry: &EvmRegistry,
    find: &str,
    replace: &str,
) -> EvmRegistry {
    let (find, replace) = (find.to_owned(), replace.to_owned());
    let doctored = Doctored { honest: devnet.transport(), find, replace };
    let provider = ProviderBuilder::new().connect_client(RpcClient::new(doctored, true)).erased();
    let chain = Chain::from_provider(provider, devnet.account(0)).connect().await.unwrap();
    EvmRegistry::new(chain, registry.address())
}

#[tokio::test]
async fn details_that_do_not_hash_to_the_record_are_not_believed() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (key, did) = device(1);
    let record = registry.register(&wish(&key), &key).await.unwrap();

    let same = seen_through(&devnet, &registry, "nothing", "nothing").await;
    assert_eq!(same.device(&did).await.unwrap(), Some(record.clone()));

    let hash = hex::encode(record.document_hash);
    let changed = seen_through(&devnet, &registry, &hash, &"11".repeat(32)).await;
    let error = changed.device(&did).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("commits to"), "{error}");
}

#[tokio::test]
async fn a_node_that_dropped_its_log_is_named() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (key, did) = device(1);
    registry.register(&wish(&key), &key).await.unwrap();
    let topic = hex::encode(io::address(&did).unwrap().into_word());
    let forgetful = seen_through(&devnet, &registry, &topic, &"22".repeat(32)).await;
    // The event is still there with its details, so they are believed: the topic proves nothing.
    assert!(forgetful.device(&did).await.unwrap().is_some());
    let selector = hex::encode(depin_core::keccak256(
        "DeviceRegistered(address,address,(uint8,bytes32,bytes32,bytes32,string,bytes32))",
    ));
    let empty = seen_through(&devnet, &registry, &selector, &"33".repeat(32)).await;
    let error = empty.device(&did).await.unwrap_err();
    assert!(error.is_retryable());
    assert!(error.to_string().contains("archive"), "{error}");
}
