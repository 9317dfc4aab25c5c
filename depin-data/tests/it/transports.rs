//! The ways through a broker, over real ones.

use std::sync::Arc;

#[cfg(feature = "metrics")]
use depin_core::{Did, SignedBatch, transport::Answer};
use depin_data::log::MemoryLog;
#[cfg(feature = "metrics")]
use depin_data::wire::{Nonce, encode_request};

#[cfg(feature = "metrics")]
use crate::support::Device;
use crate::support::Net;

/// Each test over each broker and protocol.
macro_rules! over_every_broker {
    ($($test:ident)*) => { over_every_broker!(@ v3 V3 $($test)*); over_every_broker!(@ v5 V5 $($test)*); over_every_broker!(@ core_nats Nats $($test)*); };
    (@ $module:ident $kind:ident $($test:ident)*) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(wire) = super::Wire::start(crate::transports::wire::Kind::$kind) {
                    super::$test(wire).await;
                }
            })*
        }
    };
}

mod brokers;
mod flood;
mod hanging;
#[cfg(unix)]
mod ingest_kill;
mod logins;
#[cfg(feature = "tls")]
mod tls;
mod wire;

/// Sends a batch through each broker that is there; returns what they are called.
#[cfg(feature = "metrics")]
pub(crate) async fn each_way(net: &Net, device: &Did, batch: &SignedBatch) -> Vec<&'static str> {
    let mut ways = Vec::new();
    for (kind, way) in [(wire::Kind::V5, "mqtt"), (wire::Kind::Nats, "nats")] {
        let Some(wire) = wire::Wire::start(kind) else { continue };
        let server = wire.serve(&net.ingest, None).await;
        let answer = wire.connect(net, device).await.send(batch).await.unwrap();
        assert!(matches!(answer, Answer::Receipt(_)));
        server.shutdown().await;
        ways.push(way);
    }
    ways
}

/// Has each broker pass over a request that comes again while it waits, and mosquitto a message that is never read,
/// before a device that ingest knows is answered.
#[cfg(feature = "metrics")]
pub(crate) async fn passed_over(net: &Net, known: &mut Device) {
    let mut stranger = Device::new("stranger", depin_core::Algorithm::EdDsa);
    let request = encode_request(&Nonce::from_bytes([1; 16]), &stranger.measure()).unwrap();
    for kind in [wire::Kind::V3, wire::Kind::Nats] {
        let Some(wire) = wire::Wire::start(kind) else { continue };
        let _server = wire.serve(&net.ingest, Some("ingest-1")).await;
        *net.registry.down.lock().unwrap() = true;
        let mut line = wire.stranger().await;
        for _ in 0..3 {
            line.publish(&stranger.did, &request).await;
        }
        if kind == wire::Kind::V3 {
            line.publish(&stranger.did, &vec![0x55; 3 << 20]).await;
        }
        let answer = wire.connect(net, &known.did).await.send(&known.measure()).await.unwrap();
        assert!(matches!(answer, Answer::Receipt(_)));
        *net.registry.down.lock().unwrap() = false;
    }
}

fn net() -> Net {
    Net::over(Arc::new(MemoryLog::new()))
}
