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
        "DeviceRegistered(address,(uint8,bytes32,bytes32,bytes32,bytes32,bytes32,bytes32,string))",
    ));
    let empty = seen_through(&devnet, &registry, &selector, &"33".repeat(32)).await;
    let error = empty.device(&did).await.unwrap_err();
    assert!(error.is_retryable());
    assert!(error.to_string().contains("archive"), "{error}");
}

#[tokio::test]
async fn details_with_another_nullifier_are_not_believed() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (key, did) = device(1);
    let nullifier = B256::repeat_byte(0x77);
    registry.register(&wish(&key).nullifier(nullifier), &key).await.unwrap();
    // The liar points to where nothing, or another device's commitment, is stored.
    let (other, _) = device(2);
    let others = B256::repeat_byte(0x66);
    registry.register(&wish(&other).nullifier(others), &other).await.unwrap();
    for lie in [B256::ZERO, others, B256::repeat_byte(0x55)] {
        let (truth, lie) = (hex::encode(nullifier), hex::encode(lie));
        let seen = seen_through(&devnet, &registry, &truth, &lie).await;
        assert_eq!(seen.device(&did).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn former_keys_that_do_not_follow_from_each_other_are_not_believed() {
    let devnet = Devnet::start();
    let registry = registry(&devnet).await;
    let (first, did) = device(1);
    let (second, third) = (device(2).0, device(3).0);
    let wish = wish(&first).next_key(second.public_key());
    registry.register(&wish, &first).await.unwrap();
    registry.rotate(&did, &second, Some(third.public_key())).await.unwrap();
    registry.rotate(&did, &third, None).await.unwrap();

    let point = |key: &SoftwareKey| hex::encode(key.public_key().to_uncompressed().unwrap());
    for former in [&first, &second] {
        let seen = seen_through(&devnet, &registry, &point(former), &point(&device(9).0)).await;
        assert!(seen.device(&did).await.is_ok());
        assert_eq!(seen.keys(&did).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
