//! Consumers of a log over HTTP, who believe nothing that is not proven.

use std::sync::Arc;

use depin_core::{ErrorKind, log::BatchLog, transport::Receipt};
use depin_data::{
    http::{self, HttpServer, StreamClient},
    log::MemoryLog,
    receipt,
    subscribe::{Cursor, Filter},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{Net, network};

fn all() -> Filter {
    Filter::new(&network())
}

async fn served(net: &Net) -> HttpServer {
    http::serve(net.ingest.clone(), ([127, 0, 0, 1], 0).into()).await.unwrap()
}

fn client(net: &Net, url: &str, from: u64, filter: Filter) -> StreamClient {
    StreamClient::new(url, net.receipts.clone(), Cursor::batch(from), filter).unwrap()
}

#[tokio::test]
async fn a_consumer_follows_the_log_and_goes_on_at_another_server() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let (mut a, mut b) = (net.enrol("a"), net.enrol("b"));
    let server = served(&net).await;
    for _ in 0..40 {
        net.taken(&a.measure()).await;
    }
    let mut stream = client(&net, &server.url(), 0, all());
    for index in 0..40 {
        assert_eq!(stream.next().await.unwrap().entry.index, index);
    }
    // The next one comes while the response is open.
    let ((), delivery) = tokio::join!(
        async {
            net.taken(&b.measure()).await;
        },
        stream.next()
    );
    let delivery = delivery.unwrap();
    assert_eq!((delivery.entry.index, stream.lag()), (40, 0));
    drop((stream, server));
    let again = served(&net).await;
    let mut stream =
        client(&net, &again.url(), 39, all().device(b.did.clone()).quantity("temperature"));
    let of_b = stream.next().await.unwrap();
    assert_eq!((of_b.entry.index, of_b.matches.clone()), (40, Some(vec![0, 1])));
    assert_eq!(of_b.readings(&network()).unwrap().len(), 2);
}

#[tokio::test]
async fn what_a_stream_cannot_give_is_told() {
    let log = Arc::new(MemoryLog::new());
    let net = Net::over(log.clone());
    let mut device = net.enrol("a");
    for _ in 0..9 {
        net.taken(&device.measure()).await;
    }
    log.forget(5).await.unwrap();
    let server = served(&net).await;
    let error = client(&net, &server.url(), 2, all()).next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.context().any(|pair| pair == ("oldest", "5")), "{error}");
    let get = async |query: &str| {
        reqwest::get(format!("{}/v1/stream?{query}", server.url())).await.unwrap()
    };
    for query in ["from=x", "device=x", "colour=red", "wait=-1", "receipts=maybe"] {
        assert_eq!(get(query).await.status(), 400, "{query}");
    }
    let many = "quantity=t&".repeat(100);
    assert_eq!(get(&many).await.status(), 400);
    // Whatever is there, and at once the last item: where to go on, and how long the log is.
    let rest = get("from=9&wait=0").await.bytes().await.unwrap();
    assert_eq!(rest.as_ref(), [0x82, 9, 9]);
    let now = get("from=now&wait=0").await.bytes().await.unwrap();
    assert_eq!(now, rest);
    let searched = get("from=5&wait=0&quantity=pressure").await.bytes().await.unwrap();
    assert_eq!(searched, rest, "what is not wanted is passed over, not waited for");
    let there = get("from=5&wait=0").await.bytes().await.unwrap();
    assert!(there.len() > rest.len() && there.ends_with(&rest), "what is there comes first");
}

/// Answers every request with these bytes.
async fn liar(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/cbor-seq\r\nconnection: close\r\n\r\n";
            let _ = connection.write_all(head).await;
            let _ = connection.write_all(&body).await;
        }
    });
    url
}

fn item(index: u64, bytes: &[u8], receipt: &Receipt) -> Vec<u8> {
    let mut item = Vec::new();
    depin_core::cbor::Encoder::new(&mut item)
        .array(4)
        .and_then(|e| e.u64(index)?.u64(7)?.bytes(bytes)?.bytes(&receipt::encode(receipt).unwrap()))
        .unwrap();
    item
}

#[tokio::test]
async fn a_server_that_lies_is_found_out() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let (mut a, mut batches) = (net.enrol("a"), Vec::new());
    for _ in 0..3 {
        let batch = a.measure();
        let receipt = net.taken(&batch).await;
        batches.push((batch.as_bytes().to_vec(), receipt));
    }
    let (bytes, receipt) = batches[0].clone();
    let kind = async |body: Vec<u8>| {
        let url = liar(body).await;
        let mut stream = client(&net, &url, 0, all());
        match stream.next().await {
            Ok(delivery) => Ok(delivery.entry.index),
            Err(error) => Err((error.kind(), stream.cursor())),
        }
    };
    let distrust = Err((ErrorKind::Rejected, Cursor::START));
    assert_eq!(kind(item(0, &bytes, &receipt)).await, Ok(0), "the honest item passes");
    let mut other = bytes.clone();
    other[60] ^= 1;
    assert_eq!(kind(item(0, &other, &receipt)).await, distrust, "other bytes");
    assert_eq!(kind(item(0, &bytes, &batches[1].1)).await, distrust, "another's receipt");
    assert_eq!(kind(item(1, &batches[1].0, &batches[1].1)).await, distrust, "a batch left out");
    let mut unsigned = receipt.clone();
    unsigned.root = depin_core::B256::ZERO;
    assert_eq!(kind(item(0, &bytes, &unsigned)).await, distrust, "another root");
    assert_eq!(kind(b"\xa0".to_vec()).await, distrust, "no item");
    assert_eq!(kind(b"\x9f".to_vec()).await, distrust, "no end");
    assert_eq!(
        kind(vec![0x5a, 0xff, 0xff, 0xff, 0xff]).await,
        Err((ErrorKind::Unavailable, Cursor::START))
    );
    let endless = [&[0x5a, 0x7f, 0xff, 0xff, 0xff][..], &vec![0; 1 << 20]].concat();
    assert_eq!(kind(endless).await, distrust, "an item without end is not waited for");
    let cut = item(0, &bytes, &receipt)[..40].to_vec();
    assert_eq!(kind(cut).await, Err((ErrorKind::Unavailable, Cursor::START)), "broken off");
}
