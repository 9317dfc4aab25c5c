//! A flood of the largest messages that a server lets through, while ingest cannot answer.

use depin_core::{
    Algorithm,
    transport::{Answer, Transport},
};
use depin_data::{
    nats::{self, NatsServing, NatsTransport},
    wire::{self, Nonce},
};

use super::net;
use crate::{
    broker::{Broker, jetstream},
    support::Device,
};

/// Of the 1 MiB that a server takes unless told otherwise.
const LARGE: usize = 1_000_000;
const MESSAGES: usize = 500;

/// Fills every place with batches that wait for the registry, then sends what is far too large.
async fn flood(url: String) {
    let client = async_nats::connect(url).await.unwrap();
    let subject = |name: &str| {
        let tag = wire::device_tag(&format!("did:example:{name}").parse().unwrap());
        format!("depin.v1.climate.{tag}.up")
    };
    for n in 0..400 {
        let name = format!("flood-{n}");
        let batch = Device::new(&name, Algorithm::EdDsa).measure();
        let request = wire::encode_request(&Nonce::from_bytes([1; 16]), &batch).unwrap();
        client.publish(subject(&name), request.into()).await.unwrap();
    }
    client.flush().await.unwrap();
    for n in 0..MESSAGES {
        let noise = vec![n as u8; LARGE];
        client.publish(subject(&format!("flood-{n}")), noise.into()).await.unwrap();
    }
    client.flush().await.unwrap();
}

/// Everything but the flood runs on the thread whose memory is measured.
#[test]
fn a_flood_of_large_messages_is_held_in_bounded_memory_and_ends() {
    let Some(server) = Broker::nats(jetstream) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let story = async {
        let net = net();
        *net.registry.down.lock().unwrap() = true;
        let serving = NatsServing::default();
        let _server = nats::serve(net.ingest.clone(), &server.options(), serving).await.unwrap();
        let mut device = net.enrol("honest");
        let (receipts, rng) = (net.receipts.clone(), &mut rand::thread_rng());
        let transport =
            NatsTransport::connect(&server.options(), &device.did, receipts, rng).await.unwrap();
        let url = server.url();
        let flooding = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(flood(url));
        });
        while !flooding.is_finished() {
            tokio::task::yield_now().await;
        }
        flooding.join().unwrap();
        *net.registry.down.lock().unwrap() = false;
        let batch = device.measure();
        let answer = loop {
            match transport.send(&batch).await {
                Ok(answer) => break answer,
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        };
        assert!(matches!(answer, Answer::Receipt(_)), "{answer:?}");
    };
    let cost = allocation_counter::measure(|| runtime.block_on(story));
    println!("{} bytes at most, of {}", cost.bytes_max, MESSAGES * LARGE);
    assert!(cost.bytes_max < 128 << 20, "{} bytes", cost.bytes_max);
}
