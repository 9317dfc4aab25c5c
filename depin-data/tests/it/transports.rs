//! The ways through a broker, over real ones.

use std::sync::Arc;

#[cfg(feature = "metrics")]
use depin_core::{Did, SignedBatch, transport::Answer};
use depin_data::log::MemoryLog;

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

fn net() -> Net {
    Net::over(Arc::new(MemoryLog::new()))
}
