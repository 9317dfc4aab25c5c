//! HTTP over loopback: the same answers as in process, and nothing that a client does costs much.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use depin_core::{
    Algorithm, B256, Bytes, ErrorKind, NetworkId, Sequence, SignedBatch, SoftwareKey,
    cbor::{Decoder, Encoder},
    log::TreeHead,
    transport::{Answer, Refusal, RefusalCode, Standing, Transport},
};
use depin_data::{
    batch::MAX_BYTES,
    http::{HttpServer, HttpTransport, Limits, serve, serve_operator, serve_with},
    ingest::{DeviceLimits, Rate},
    log::MemoryLog,
    receipt::{self, HeadSigner},
    wire::{self, Nonce, encode_answer, encode_standing},
};
use depin_testkit::transport::{conforms, fails_without_ingest, tells_nothing_without_ingest};
use tokio::task::spawn_blocking;

use crate::{
    collector::sends_from_a_blank_store,
    support::{Device, NOW, Net, network, reading},
};

mod impostors;
mod operators;
#[cfg(target_os = "linux")]
mod places;

const ANY: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

async fn start() -> (Net, HttpServer) {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let server = serve(net.ingest.clone(), ANY.into()).await.unwrap();
    (net, server)
}

fn transport(net: &Net, url: &str) -> HttpTransport {
    HttpTransport::new(url, net.receipts.clone(), &mut rand::thread_rng()).unwrap()
}

fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.trim_start_matches("http://")).unwrap()
}

/// Sends raw bytes and reads until the server closes. A server that closes early may reset.
async fn raw(server: &HttpServer, request: &[u8]) -> String {
    let (url, request) = (server.url(), request.to_vec());
    let talk = move || {
        let mut stream = connect(&url);
        let _ = stream.write_all(&request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    spawn_blocking(talk).await.unwrap()
}

fn post(body: &[u8], headers: &str) -> Vec<u8> {
    post_to("/v1/batches", body, headers)
}

fn post_to(path: &str, body: &[u8], headers: &str) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

const COSE: &str = "content-type: application/cose; cose-type=\"cose-sign1\"\r\n";

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("closed")
}

#[tokio::test]
async fn the_http_transport_conforms() {
    let (net, server) = start().await;
    let mut device = net.enrol("a");
    let transport = transport(&net, &server.url());
    let (did, key) = (device.did.clone(), device.key.clone());
    conforms(&transport, &did, &*key, || device.measure()).await;
    server.shutdown().await;
    fails_without_ingest(&transport, &device.measure()).await;
    tells_nothing_without_ingest(&transport, &did, &*key).await;
}

#[tokio::test]
async fn receipts_and_refusals_are_those_of_ingest() {
    let (net, server) = start().await;
    let mut device = net.enrol("a");
    let transport = transport(&net, &server.url());
    let batch = device.measure();
    let Answer::Receipt(receipt) = transport.send(&batch).await.unwrap() else {
        panic!("a good batch is taken")
    };
    net.receipts.verify(&receipt, &batch).unwrap();
    assert_eq!(receipt, net.taken(&batch).await);

    let fork = device.seal_at(0, B256::ZERO, &[reading("1", NOW)]);
    let large = SignedBatch::new(vec![0; MAX_BYTES + 10]);
    let stranger = Device::new("stranger", Algorithm::Es256).measure();
    for (batch, code) in [
        (fork, RefusalCode::Fork),
        (large, RefusalCode::TooLarge),
        (stranger, RefusalCode::NotRegistered),
    ] {
        let Answer::Refusal(refusal) = transport.send(&batch).await.unwrap() else {
            panic!("{code} is refused")
        };
        assert_eq!((refusal.code, refusal.batch), (code, batch.hash()));
        let direct = net.refused(batch.as_bytes()).await;
        assert_eq!((refusal.detail, refusal.device), (direct.detail, direct.device));
    }
}

#[tokio::test]
async fn every_refusal_has_a_status_and_a_problem_document() {
    let (net, server) = start().await;
    let mut device = net.enrol("a");
    let first = device.measure();
    net.taken(&first).await;
    let mut flipped = first.as_bytes().to_vec();
    flipped.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    let late = NOW.plus(Duration::from_secs(86_400));
    for (body, expected, code) in [
        (b"noise".to_vec(), "422", "malformed"),
        (Vec::new(), "422", "malformed"),
        (vec![0; MAX_BYTES + 1], "413", "too-large"),
        (flipped, "401", "bad-signature"),
        (Device::new("b", Algorithm::EdDsa).measure().as_bytes().to_vec(), "403", "not-registered"),
        (device.seal_at(0, B256::ZERO, &[reading("1", NOW)]).as_bytes().to_vec(), "409", "fork"),
        (
            device.seal_at(9, B256::ZERO, &[reading("1", NOW)]).as_bytes().to_vec(),
            "409",
            "sequence-gap",
        ),
        (
            device.seal_at(1, first.hash(), &[reading("1", late)]).as_bytes().to_vec(),
            "422",
            "clock-ahead",
        ),
    ] {
        let answer = raw(&server, &post(&body, COSE)).await;
        assert_eq!(status(&answer), expected, "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        let (_, document) = answer.split_once("\r\n\r\n").unwrap();
        let problem: serde_json::Value = serde_json::from_str(document).unwrap();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["status"].to_string(), expected);
        assert_eq!(problem["type"], format!("urn:depin:refusal:{code}"));
        assert!(problem["title"].is_string() && problem["detail"].is_string());
    }
}

#[tokio::test]
async fn other_requests_are_told_what_is_wrong() {
    let (_net, server) = start().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let gzip = format!("{COSE}content-encoding: gzip\r\n");
    for (request, expected) in [
        (post(b"x", ""), "415"),
        (post(b"x", "content-type: application/json\r\n"), "415"),
        (post(b"x", &gzip), "415"),
        (
            post(b"x", &format!("{COSE}content-encoding: identity\r\ncontent-encoding: br\r\n")),
            "415",
        ),
        (post(b"x", &format!("{COSE}content-encoding: identity\r\n")), "422"),
        (get("/").into_bytes(), "404"),
        (get("/v1/batches?from=x").into_bytes(), "400"),
        (get("/v1/batches?limit=-1").into_bytes(), "400"),
        (get("/healthz").into_bytes(), "200"),
        (b"DELETE /v1/batches HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(), "405"),
        (b"nonsense\r\n\r\n".to_vec(), "400"),
        (get(&format!("/{}", "x".repeat(40_000))).into_bytes(), "431"),
    ] {
        let answer = raw(&server, &request).await;
        let found = status(&answer);
        // Hyper may answer an endless line with 414.
        assert!(found == expected || expected == "431" && found == "414", "{expected}: {answer}");
        let ours = ["404", "405", "415"].contains(&expected);
        assert!(!ours || answer.contains("application/problem+json"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_of_a_hundred_megabytes_is_not_read() {
    let (_net, server) = start().await;
    let head = "POST /v1/batches HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n";
    let (url, head) = (server.url(), format!("{head}{COSE}\r\n"));
    let flood = move || {
        let mut stream = connect(&url);
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = vec![0; 1 << 20];
        (0..100).take_while(|_| stream.write_all(&chunk).is_ok()).count()
    };
    let sent = spawn_blocking(flood).await.unwrap();
    assert!(sent < 100, "the server closes before the end");
}

#[tokio::test]
async fn auditors_can_read_the_log_and_its_head() {
    let (net, server) = start().await;
    let mut device = net.enrol("a");
    let batches: Vec<_> = (0..70).map(|_| device.measure()).collect();
    for batch in &batches {
        net.taken(batch).await;
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let fetch = async |path: &str| {
        let response = client.get(format!("{}{path}", server.url())).send().await.unwrap();
        response.error_for_status().unwrap().bytes().await.unwrap()
    };
    let head = net.receipts.head(&fetch("/v1/head").await).unwrap();
    assert_eq!(head.tree, net.ingest.log().head().await.unwrap());

    for (query, expected) in
        [("", 0..64), ("?from=60", 60..70), ("?from=3&limit=2", 3..5), ("?from=99", 0..0)]
    {
        let bytes = fetch(&format!("/v1/batches{query}")).await;
        depin_core::cbor::check(&bytes).unwrap();
        let mut d = Decoder::new(&bytes);
        assert_eq!(d.array().unwrap(), Some(expected.clone().count() as u64), "{query}");
        for index in expected {
            assert_eq!(d.array().unwrap(), Some(3));
            assert_eq!((d.u64().unwrap(), d.u64().unwrap()), (index as u64, NOW.millis()));
            assert_eq!(d.bytes().unwrap(), batches[index].as_bytes());
        }
    }
}

fn hasty() -> Limits {
    let mut limits = Limits::default();
    (limits.head, limits.request) = (Duration::from_secs(1), Duration::from_secs(1));
    limits.connections = 1;
    limits
}

#[tokio::test]
async fn a_client_that_dawdles_is_let_go_and_others_get_their_turn() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let server = serve_with(net.ingest.clone(), ANY.into(), hasty()).await.unwrap();
    // Half a head holds the only connection, until the server closes it.
    let mut slow = connect(&server.url());
    slow.write_all(b"POST /v1/batches HTTP/1.1\r\nhost").unwrap();
    let mut device = net.enrol("a");
    let answer = raw(&server, &post(device.measure().as_bytes(), COSE)).await;
    assert_eq!(status(&answer), "200");
    let mut rest = Vec::new();
    spawn_blocking(move || slow.read_to_end(&mut rest)).await.unwrap().unwrap();

    let answer = raw(&server, &post(b"", &format!("{COSE}x: y\r\n"))).await;
    assert_eq!(status(&answer), "422");
    let half = b"POST /v1/batches HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n";
    let answer = raw(&server, &[half, COSE.as_bytes(), b"\r\nfive!"].concat()).await;
    assert_eq!(status(&answer), "408");
    server.shutdown().await;
}

#[tokio::test]
async fn a_device_that_lost_its_store_goes_on_where_the_log_stands() {
    let (net, server) = start().await;
    let device = net.enrol("a");
    let transport = transport(&net, &server.url());
    for _ in 0..3 {
        sends_from_a_blank_store(&net, &device, &transport).await;
    }
    let tip = net.ingest.log().tip(&device.did).await.unwrap().unwrap();
    assert_eq!(tip.sequence, Sequence::new(2));
    assert_eq!(net.ingest.log().refusal_range().await.unwrap(), 0..0);
}

#[tokio::test]
async fn a_device_over_its_rate_is_told_when_to_come_again() {
    let mut limits = DeviceLimits::default();
    limits.batches = Rate::new(1, 1);
    let net = Net::with(Arc::new(MemoryLog::new()), |builder| builder.device_limits(limits));
    let server = serve(net.ingest.clone(), ANY.into()).await.unwrap();
    let mut device = net.enrol("a");
    let transport = transport(&net, &server.url());
    assert!(matches!(transport.send(&device.measure()).await, Ok(Answer::Receipt(_))));
    let batch = device.measure();
    let error = transport.send(&batch).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    let answer = raw(&server, &post(batch.as_bytes(), COSE)).await;
    assert_eq!(status(&answer), "429");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    net.clock.advance(Duration::from_secs(1));
    assert!(matches!(transport.send(&batch).await, Ok(Answer::Receipt(_))));
}

#[tokio::test]
async fn whoever_lost_a_receipt_and_whoever_watches_the_log_can_ask() {
    let (net, server) = start().await;
    let mut device = net.enrol("a");
    let batches: Vec<_> = (0..9).map(|_| device.measure()).collect();
    for batch in &batches {
        net.taken(batch).await;
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let fetch = async |path: &str| {
        let response = client.get(format!("{}{path}", server.url())).send().await.unwrap();
        (response.status().as_u16(), response.bytes().await.unwrap())
    };
    let (code, bytes) = fetch("/v1/receipts?device=did%3Aexample%3Aa&sequence=3").await;
    assert_eq!(code, 200);
    let receipt = depin_data::receipt::decode(&bytes).unwrap();
    net.receipts.verify(&receipt, &batches[3]).unwrap();
    let of = |batch: &SignedBatch| {
        format!("/v1/receipts?device=did:example:a&sequence=3&batch={}", batch.hash())
    };
    assert_eq!(fetch(&of(&batches[3])).await.0, 200);
    assert_eq!(fetch(&of(&batches[4])).await.0, 404);
    for (path, expected) in [
        ("/v1/receipts?device=did:example:a&sequence=9", 404),
        ("/v1/receipts?device=did:example:b&sequence=0", 404),
        ("/v1/receipts?device=nobody&sequence=0", 400),
        ("/v1/receipts?sequence=0", 400),
        ("/v1/consistency?from=5&to=99", 404),
        ("/v1/consistency?from=5", 400),
        ("/v1/batches?from=x", 400),
    ] {
        assert_eq!(fetch(path).await.0, expected, "{path}");
    }
    let (code, bytes) = fetch("/v1/consistency?from=5&to=9").await;
    assert_eq!(code, 200);
    let mut d = Decoder::new(&bytes);
    let path: Vec<_> =
        (0..d.array().unwrap().unwrap()).map(|_| B256::from_slice(d.bytes().unwrap())).collect();
    assert_eq!(path, net.ingest.log().consistency(5, 9).await.unwrap());
}

#[tokio::test]
async fn whoever_waits_too_long_for_a_place_is_told_so() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut limits = Limits::default();
    (limits.connections, limits.turn) = (1, Duration::from_millis(20));
    let server = serve_with(net.ingest.clone(), ANY.into(), limits).await.unwrap();
    // Half a head holds the only place.
    let mut holder = connect(&server.url());
    holder.write_all(b"GET /v1/head HTTP/1.1\r\nhost").unwrap();
    let mut device = net.enrol("a");
    let answer = raw(&server, &post(device.measure().as_bytes(), COSE)).await;
    assert_eq!(status(&answer), "503");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("retry-after: 1") && head.contains("connection: close"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    serde_json::from_str::<serde_json::Value>(body).unwrap();
    drop(holder);
}
