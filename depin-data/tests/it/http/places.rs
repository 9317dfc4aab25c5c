//! Nobody takes the places of others: not one address, not those who want witnesses.

use std::sync::atomic::Ordering;

use depin_core::Unverified;
use depin_data::{
    batch::{BatchVerifier, SaltSeed, seal_salted},
    privacy::Commitment,
};

use super::*;
use crate::stuck::Stuck;

/// Asks from an address of this machine; nothing when the server closes unheard.
async fn asked_from(server: &HttpServer, from: [u8; 4]) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let to = server.url().trim_start_matches("http://").parse().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(to).await.ok()?;
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

#[tokio::test]
async fn no_address_takes_the_places_of_others() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut limits = Limits::default();
    (limits.connections, limits.per_address) = (4, 3);
    let server = serve_with(net.ingest.clone(), ANY.into(), limits).await.unwrap();
    let holders: Vec<_> = (0..3).map(|_| connect(&server.url())).collect();
    for _ in 0..10 {
        assert_eq!(asked_from(&server, [127, 0, 0, 1]).await, None, "it has all it may have");
        let other = asked_from(&server, [127, 0, 0, 2]).await.unwrap();
        assert_eq!(status(&other), "200");
    }
    drop(holders);
    // As soon as the server has seen that they are gone.
    while asked_from(&server, [127, 0, 0, 1]).await.is_none() {}
}

/// Half a head from an address of this machine: as long as it is held, so is what it got.
async fn hold_from(server: &HttpServer, from: [u8; 4]) -> tokio::net::TcpStream {
    let to = server.url().trim_start_matches("http://").parse().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let stream = socket.connect(to).await.unwrap();
    stream.writable().await.unwrap();
    stream.try_write(b"GET /healthz HTTP/1.1\r\nhost").unwrap();
    stream
}

/// Of places that are held for longer than the test takes.
fn few(connections: usize) -> Limits {
    let mut limits = Limits::default();
    (limits.connections, limits.turn) = (connections, Duration::from_millis(50));
    (limits.head, limits.request) = (Duration::from_secs(600), Duration::from_secs(600));
    limits
}

#[tokio::test]
async fn one_address_that_opens_all_it_can_is_served_a_quarter_of_the_places() {
    const GREEDY: [u8; 4] = [127, 0, 0, 66];
    let net = Net::over(Arc::new(MemoryLog::new()));
    let server = serve_with(net.ingest.clone(), ANY.into(), few(8)).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(hold_from(&server, GREEDY).await);
    }
    let told = asked_from(&server, GREEDY).await.unwrap();
    assert_eq!(status(&told), "503", "it has its share");
    for n in 1..=20 {
        let other = asked_from(&server, [127, 0, 0, n]).await.unwrap();
        assert_eq!(status(&other), "200");
    }
    // Three more like it have the rest, so one alone had no more than a quarter.
    for other in [67, 68, 69] {
        for _ in 0..2 {
            held.push(hold_from(&server, [127, 0, 0, other]).await);
        }
    }
    loop {
        let told = asked_from(&server, [127, 0, 0, 1]).await.unwrap();
        if status(&told) == "503" {
            break;
        }
    }
}

#[tokio::test]
async fn an_address_whose_connections_wait_makes_no_other_close_its_own() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut limits = few(8);
    limits.turn = Duration::from_secs(600);
    let server = serve_with(net.ingest.clone(), ANY.into(), limits).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(hold_from(&server, [127, 0, 0, 66]).await);
    }
    let url = server.url();
    let talk = move || {
        let mut stream = connect(&url);
        for _ in 0..20 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            let mut answer = [0; 1024];
            let read = stream.read(&mut answer).unwrap();
            let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
            assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("close"), "{answer}");
        }
    };
    spawn_blocking(talk).await.unwrap();
}

#[tokio::test]
async fn behind_a_proxy_one_address_may_be_served_in_all_places() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut limits = few(4);
    limits.shares = 1;
    let server = serve_with(net.ingest.clone(), ANY.into(), limits).await.unwrap();
    let proxy = [127, 0, 0, 66];
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(hold_from(&server, proxy).await);
    }
    assert_eq!(status(&asked_from(&server, proxy).await.unwrap()), "200");
    held.push(hold_from(&server, proxy).await);
    while status(&asked_from(&server, [127, 0, 0, 1]).await.unwrap()) == "200" {}
}

#[tokio::test]
async fn those_who_want_witnesses_have_places_of_their_own_and_no_more() {
    let log = Arc::new(Stuck::unread());
    let net = Net::with(log.clone(), |ingest| ingest.concurrency(8));
    let server = serve(net.ingest.clone(), ANY.into()).await.unwrap();
    let (shown, mut other) = (net.enrol("a"), net.enrol("b"));
    let (first, seed) = (Sequence::new(0), SaltSeed::from_bytes([3; 16]));
    let readings = [reading("1", NOW)];
    let sealed =
        seal_salted(&*shown.key, &shown.did, &network(), first, B256::ZERO, &readings, &seed);
    let sealed = sealed.unwrap();
    net.taken(&sealed).await;
    let verifier = BatchVerifier::new(&network(), &shown.key());
    let opened = Unverified::new(sealed).verify(&verifier).unwrap();
    let commitment = Commitment::sign(&*shown.key, &network(), &opened).unwrap();
    let request = Arc::new(post_to("/v1/witnesses", commitment.as_bytes(), COSE));
    let server = Arc::new(server);
    let ask = || {
        let (server, request) = (Arc::clone(&server), Arc::clone(&request));
        tokio::spawn(async move { raw(&server, &request).await })
    };
    let held = [ask(), ask()];
    while log.read.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..20 {
        let told = ask().await.unwrap();
        assert!(status(&told) == "503" && told.contains("retry-after: 1\r\n"), "{told}");
        net.taken(&other.measure()).await;
    }
    log.reads.add_permits(2);
    for held in held {
        assert_eq!(status(&held.await.unwrap()), "200");
    }
}
