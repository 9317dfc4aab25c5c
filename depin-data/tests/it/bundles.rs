//! Bundles over HTTP: what comes is what was asked for, whole, and bounded on both sides.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
};

use depin_core::{B256, EpochId, ErrorKind};
use depin_data::{
    bundle::{Bundle, BundleFolder},
    epoch::{EpochRecord, Scored, score},
    http::{Bundles, HttpServer, serve_bundles},
};
use tempfile::TempDir;

use super::{
    bundle::balances,
    epoch::{checks, close, filled},
};

const EPOCH: EpochId = EpochId::new(0);
const MOST: u64 = 1 << 20;

/// A server with the bundle of one epoch, and what it is scored as.
async fn served() -> (TempDir, HttpServer, EpochRecord, Scored) {
    let (place, log) = (tempfile::tempdir().unwrap(), filled(4).await);
    let record = close(&log, 0, 0..11).await;
    let scored = score(&log, &record, &checks()).await.unwrap();
    let folder = BundleFolder::new(place.path());
    let path = folder.store(&log, &record, &balances()).await.unwrap();
    assert_eq!(path, folder.path(EPOCH));
    fs::write(place.path().join("notes.txt"), "of nobody's concern").unwrap();
    fs::write(place.path().join("01.bundle"), "no name of an epoch").unwrap();
    let server = serve_bundles(folder, ([127, 0, 0, 1], 0).into()).await.unwrap();
    (place, server, record, scored)
}

fn of(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[tokio::test]
async fn a_stranger_lists_downloads_and_audits_an_epoch() {
    let (place, server, record, scored) = served().await;
    let (folder, bundles) = (BundleFolder::new(place.path()), Bundles::at(&server.url()).unwrap());
    let size = of(&folder.path(EPOCH)).len() as u64;
    assert_eq!(bundles.epochs(EPOCH).await.unwrap(), [(EPOCH, size)]);
    assert!(bundles.epochs(EpochId::new(1)).await.unwrap().is_empty());
    let into = place.path().join("mine");
    bundles.download(EPOCH, &record.manifest(), &into, size).await.unwrap();
    assert_eq!(of(&into), of(&folder.path(EPOCH)));
    let file = fs::File::open(&into).unwrap();
    assert_eq!(Bundle::open(file, &record.manifest()).unwrap().audit(&checks()).unwrap(), scored);
    let none = bundles.download(EpochId::new(1), &record.manifest(), &into, size).await;
    assert_eq!(none.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let (place, server, record, _) = served().await;
    let whole = of(&BundleFolder::new(place.path()).path(EPOCH));
    let bundles = Bundles::at(&server.url()).unwrap();
    let (into, part) = (place.path().join("mine"), place.path().join("mine.part"));
    // A server that dies in the middle.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dying = Bundles::at(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    let length = whole.len();
    let dies = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&half).unwrap();
    });
    let error = dying.download(EPOCH, &record.manifest(), &into, MOST).await.unwrap_err();
    dies.join().unwrap();
    assert!(error.is_retryable() && !into.exists(), "{error:?}");
    assert_eq!(of(&part), whole[..length / 2]);
    // What is there is not fetched again: a byte that was changed meanwhile stays, for the audit to find.
    let mut changed = whole[..length / 2].to_vec();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&part, &changed).unwrap();
    bundles.download(EPOCH, &record.manifest(), &into, MOST).await.unwrap();
    assert_eq!(of(&into), [&changed[..], &whole[length / 2..]].concat());
    let file = fs::File::open(&into).unwrap();
    assert!(Bundle::open(file, &record.manifest()).unwrap().audit(&checks()).is_err());
    // Also when only the last step is missing.
    fs::write(&part, &whole).unwrap();
    bundles.download(EPOCH, &record.manifest(), &into, MOST).await.unwrap();
    assert_eq!(of(&into), whole);
    // What is longer than the bundle is none.
    fs::write(&part, [&whole[..], &[0]].concat()).unwrap();
    let error = bundles.download(EPOCH, &record.manifest(), &into, MOST).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Malformed && !part.exists(), "{error:?}");
}

#[tokio::test]
async fn what_is_too_large_or_something_else_is_not_kept() {
    let (place, server, record, _) = served().await;
    let size = of(&BundleFolder::new(place.path()).path(EPOCH)).len() as u64;
    let bundles = Bundles::at(&server.url()).unwrap();
    let (into, part) = (place.path().join("mine"), place.path().join("mine.part"));
    for (manifest, most, kind) in [
        (record.manifest(), size - 1, ErrorKind::Limit),
        (B256::repeat_byte(1), size, ErrorKind::Corrupt),
    ] {
        let error = bundles.download(EPOCH, &manifest, &into, most).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(!into.exists() && !part.exists());
    }
    fs::write(place.path().join("0.bundle"), b"nothing of the kind").unwrap();
    let error = bundles.download(EPOCH, &record.manifest(), &into, size).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error:?}");
    assert!(!into.exists() && !part.exists());
}

#[tokio::test]
async fn ranges_are_those_of_the_file() {
    let (place, server, ..) = served().await;
    let whole = of(&BundleFolder::new(place.path()).path(EPOCH));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/bundles/0", server.url());
    let size = whole.len();
    for (range, status, from) in [
        ("bytes=5-", 206, 5),
        ("bytes=0-", 200, 0),
        // These may be passed over.
        ("bytes=0-1,4-5", 200, 0),
        ("bytes=-5", 200, 0),
        ("bytes=+5-", 200, 0),
        ("lines=5-", 200, 0),
    ] {
        let response = client.get(&url).header("range", range).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{range}");
        let told =
            response.headers().get("content-range").map(|told| told.to_str().unwrap().to_owned());
        let expected = (status == 206).then(|| format!("bytes {from}-{}/{size}", size - 1));
        assert_eq!(told, expected);
        assert_eq!(response.bytes().await.unwrap(), whole[from..]);
    }
    for range in [
        format!("bytes={size}-"),
        format!("bytes={}-", u64::MAX),
        "bytes=99999999999999999999-".into(),
    ] {
        let response = client.get(&url).header("range", &range).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 416, "{range}");
        assert_eq!(response.headers()["content-range"], format!("bytes */{size}"));
    }
    for path in ["/v1/bundles/../notes.txt", "/v1/bundles/notes.txt", "/v1/bundles/7"] {
        let response = client.get(format!("{}{path}", server.url())).send().await.unwrap();
        assert!([400, 404].contains(&response.status().as_u16()), "{path}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_bundle_takes_nothing_of_what_came_before() {
    let (place, server, record, _) = served().await;
    let whole = of(&BundleFolder::new(place.path()).path(EPOCH));
    let (into, part) = (place.path().join("mine"), place.path().join("mine.part"));
    let half = &whole[..whole.len() / 2];
    fs::write(&part, half).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let portal = Bundles::at(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let lies = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let page =
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 7\r\n\r\nsign in";
        stream.write_all(page).unwrap();
    });
    let error = portal.download(EPOCH, &record.manifest(), &into, MOST).await.unwrap_err();
    lies.join().unwrap();
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(of(&part), half);
    let bundles = Bundles::at(&server.url()).unwrap();
    bundles.download(EPOCH, &record.manifest(), &into, MOST).await.unwrap();
    assert_eq!(of(&into), whole);
}

#[tokio::test]
async fn an_epoch_that_is_no_number_is_answered_by_a_problem_document() {
    let (_place, server, ..) = served().await;
    for epoch in ["abc", "-1", "18446744073709551616", "%ff"] {
        let address = server.url().trim_start_matches("http://").to_owned();
        let request =
            format!("GET /v1/bundles/{epoch} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let ask = move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let answer = tokio::task::spawn_blocking(ask).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
}
