//! Chains without a base fee, and nodes that cannot name a tip.

use std::task::{Context, Poll};

use depin_devnet::{Devnet, DevnetTransport};
use depin_evm::{
    Chain,
    alloy::{
        consensus::Transaction,
        providers::{Provider, ProviderBuilder},
        rpc::{
            client::RpcClient,
            json_rpc::{ErrorPayload, RequestPacket, ResponsePacket, ResponsePayload},
        },
        transports::{TransportError, TransportFut},
    },
};
use serde_json::{Value, value::to_raw_value};
use tower::Service;

use crate::sending::{gift, recipient};

/// A devnet that hides what came with EIP-1559.
#[derive(Clone)]
struct Old {
    inner: DevnetTransport,
    hides_base_fee: bool,
}

impl Service<RequestPacket> for Old {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let mut inner = self.inner.clone();
        let hides = self.hides_base_fee;
        let method = packet.as_single().unwrap().method().to_owned();
        Box::pin(async move {
            let mut answer = inner.call(packet).await?;
            let ResponsePacket::Single(response) = &mut answer else { return Ok(answer) };
            if method == "eth_maxPriorityFeePerGas" {
                let missing =
                    ErrorPayload { code: -32601, message: "no such method".into(), data: None };
                response.payload = ResponsePayload::Failure(missing);
            } else if let ResponsePayload::Success(json) = &mut response.payload
                && method == "eth_getBlockByNumber"
                && hides
            {
                let mut block: Value = serde_json::from_str(json.get()).unwrap();
                block.as_object_mut().unwrap().remove("baseFeePerGas");
                *json = to_raw_value(&block).unwrap();
            }
            Ok(answer)
        })
    }
}

async fn transaction_type(hides_base_fee: bool) -> u8 {
    let devnet = Devnet::start();
    let transport = Old { inner: devnet.transport(), hides_base_fee };
    let provider =
        ProviderBuilder::default().connect_client(RpcClient::new(transport, true)).erased();
    let chain = Chain::from_provider(provider, devnet.account(0)).connect().await.unwrap();
    let receipt = chain.send(gift(recipient(1))).await.unwrap();
    let mined = devnet.provider().get_transaction_by_hash(receipt.transaction_hash).await;
    let mined = mined.unwrap().unwrap();
    assert!(mined.max_fee_per_gas() > 0);
    receipt.transaction_type().into()
}

#[tokio::test]
async fn without_a_base_fee_there_is_one_gas_price() {
    assert_eq!(transaction_type(true).await, 0);
}

#[tokio::test]
async fn without_the_tip_method_the_gas_price_tells_the_tip() {
    assert_eq!(transaction_type(false).await, 2);
}
