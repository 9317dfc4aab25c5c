//! did:web: names, and hosts that mean no good.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use depin_core::{
    Algorithm, Did, ErrorKind, Result, Signer, SoftwareKey,
    resolution::{DidResolver, Freshness, Resolution, Version},
};
use depin_identity::{
    document::{MAX_JSON_LEN, to_json},
    methods::web::{self, WebResolver},
};
use proptest::prelude::*;

/// A host that does with each connection what it is told, and counts them.
struct Host {
    address: SocketAddr,
    visits: Arc<AtomicUsize>,
}

impl Host {
    /// `serve` gets the connection after the head of the request was read.
    fn new(
        serve: impl Fn(&mut TcpStream, SocketAddr) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let visits = Arc::new(AtomicUsize::new(0));
        let (count, serve) = (Arc::clone(&visits), Arc::new(serve));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                        head.push(byte[0]);
                    }
                    // Clients may go away at any time.
                    drop(serve(&mut stream, address));
                });
            }
        });
        Self { address, visits }
    }

    /// Answers everything with these bytes, then closes.
    fn saying(answer: impl Fn(SocketAddr) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::new(move |stream, address| stream.write_all(&answer(address)))
    }

    fn did(&self) -> Did {
        did_at(self.address)
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

fn did_at(address: SocketAddr) -> Did {
    web::did_web(&format!("localhost:{}", address.port())).unwrap()
}

/// The document of a host, as it should be.
fn document(address: SocketAddr) -> String {
    let device = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    to_json(&web::document(&did_at(address), device.public_key()).unwrap())
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n{body}"
    )
    .into()
}

async fn ask(did: &Did) -> Result<Resolution> {
    WebResolver::with_localhost().unwrap().resolve_version(did, &Version::Latest).await
}

async fn refused(host: &Host) -> ErrorKind {
    ask(&host.did()).await.unwrap_err().kind()
}

#[test]
fn a_did_web_says_where_its_document_is() {
    for (did, url) in [
        ("did:web:example.org", "https://example.org/.well-known/did.json"),
        ("did:web:example.org:devices:7", "https://example.org/devices/7/did.json"),
        ("did:web:example.org%3A8443", "https://example.org:8443/.well-known/did.json"),
        ("did:web:a.b-c.example:x%20y", "https://a.b-c.example/x%20y/did.json"),
        ("did:web:xn--nxasmq6b.example", "https://xn--nxasmq6b.example/.well-known/did.json"),
        ("did:web:localhost%3a80", "https://localhost:80/.well-known/did.json"),
    ] {
        assert_eq!(web::url(&did.parse().unwrap()).unwrap(), url);
    }
    assert_eq!(
        web::did_web("example.org/a~b/ü").unwrap().as_str(),
        "did:web:example.org:a%7Eb:%C3%BC"
    );
}

#[test]
fn names_that_are_no_hosts_or_lead_elsewhere_are_refused() {
    for id in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "127.1",
        "1.2.3.4%3A80",
        "%5B%3A%3A1%5D",
        "::1",
        "intranet",
        "Example.org",
        "example.org.",
        "example..org",
        ".org",
        "-",
        "%00.org",
        "example.org%00",
        "user%40example.org",
        "example.org%2Fpath",
        "example.org%3F",
        "example.org%23",
        "example.org%5Cx",
        "h%C3%A9.org",
        "example.org%3A",
        "example.org%3A0",
        "example.org%3A080",
        "example.org%3A65536",
        "example.org%3A%2B80",
        "example.org%3A80%3A80",
        "example.org%3A80%40evil.org",
        "example.org::x",
        "example.org:..",
        "example.org:.",
        "example.org:%2E%2E",
        "example.org:%2e",
        "example.org:a%2Fb",
        "example.org:a%5Cb",
        "example.org:a%3Fb",
        "example.org:a%23b",
        "example.org:%252e%252e",
        "example.org:%0A",
        "example.org:%FF",
        "%FF.org",
    ] {
        let did: Did = format!("did:web:{id}").parse().unwrap();
        assert_eq!(web::url(&did).unwrap_err().kind(), ErrorKind::Malformed, "{did}");
    }
    for location in
        ["", "/", "example.org/", "https://example.org", "example.org/..", "127.0.0.1:80"]
    {
        assert!(web::did_web(location).is_err(), "{location}");
    }
    let other = web::url(&"did:key:z6Mk".parse().unwrap()).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_good_host_is_believed_for_a_while() {
    let host = Host::saying(|address| answer("200 OK", "", &document(address)));
    let found = ask(&host.did()).await.unwrap();
    assert_eq!(to_json(&found.document), document(host.address));
    assert_eq!(found.freshness, Freshness::For(Duration::from_secs(300)));

    let host = Host::saying(|a| answer("200 OK", "cache-control: max-age=7\r\n", &document(a)));
    assert_eq!(ask(&host.did()).await.unwrap().freshness, Freshness::For(Duration::from_secs(7)));
    let host = Host::saying(|a| answer("200 OK", "cache-control: max-age=99999\r\n", &document(a)));
    assert_eq!(ask(&host.did()).await.unwrap().freshness, Freshness::For(Duration::from_secs(300)));
    let host = Host::saying(|a| answer("200 OK", "cache-control: no-store\r\n", &document(a)));
    assert_eq!(ask(&host.did()).await.unwrap().freshness, Freshness::Once);
}

#[tokio::test]
async fn did_web_conforms() {
    let host = Host::saying(|address| answer("200 OK", "", &document(address)));
    let gone = Host::saying(|_| answer("404 Not Found", "", ""));
    let resolver = WebResolver::with_localhost().unwrap();
    depin_testkit::resolver::conforms(&resolver, &[host.did()], &[gone.did()]).await;
}

#[tokio::test]
async fn statuses_say_what_became_of_the_document() {
    for (status, kind) in [
        ("404 Not Found", ErrorKind::NotFound),
        ("410 Gone", ErrorKind::NotFound),
        ("401 Unauthorized", ErrorKind::Rejected),
        ("206 Partial Content", ErrorKind::Rejected),
        ("304 Not Modified", ErrorKind::Rejected),
        ("429 Too Many Requests", ErrorKind::Unavailable),
        ("503 Service Unavailable", ErrorKind::Unavailable),
    ] {
        let host = Host::saying(move |address| answer(status, "", &document(address)));
        assert_eq!(refused(&host).await, kind, "{status}");
    }
}

#[tokio::test]
async fn documents_that_are_none_or_of_others_are_refused() {
    let other = Host::saying(|_| answer("200 OK", "", r#"{"id":"did:web:example.org"}"#));
    assert_eq!(refused(&other).await, ErrorKind::Rejected);
    let page = Host::saying(|_| answer("200 OK", "", "<html>"));
    assert_eq!(refused(&page).await, ErrorKind::Malformed);
}

#[tokio::test]
async fn a_host_that_hangs_or_drips_is_given_up() {
    let silent = Host::new(|stream, _| stream.read(&mut [0]).map(drop));
    let dripping = Host::new(|stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")?;
        loop {
            stream.write_all(b" ")?;
            stream.flush()?;
            thread::sleep(Duration::from_millis(10));
        }
    });
    let looping = Host::new(|stream, address| {
        thread::sleep(Duration::from_millis(120));
        let place = format!("location: http://localhost:{}/again\r\n", address.port());
        stream.write_all(&answer("302 Found", &place, ""))
    });
    let resolver = WebResolver::with_localhost().unwrap().within(Duration::from_millis(200));
    for host in [silent, dripping, looping] {
        let error = resolver.resolve(&host.did()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("too long"), "{error}");
    }
}

#[tokio::test]
async fn nobody_sends_more_than_the_limit() {
    let honest = Host::saying(|_| answer("200 OK", "", &" ".repeat(10 << 20)));
    assert_eq!(refused(&honest).await, ErrorKind::Limit);
    let chunked = Host::new(|stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        for _ in 0..160 {
            stream.write_all(chunk.as_bytes())?;
        }
        stream.write_all(b"0\r\n\r\n")
    });
    assert_eq!(refused(&chunked).await, ErrorKind::Limit);
    let endless = Host::new(|stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
        loop {
            stream.write_all(&[b' '; 1000])?;
        }
    });
    assert_eq!(refused(&endless).await, ErrorKind::Limit);
    let head = Host::new(|stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(b"x: 1\r\n")?;
        }
    });
    assert_eq!(refused(&head).await, ErrorKind::Unavailable);
    let full = Host::saying(|address| {
        let body = document(address);
        let padding = " ".repeat(MAX_JSON_LEN - body.len());
        answer("200 OK", "", &(body + &padding))
    });
    assert!(ask(&full.did()).await.is_ok(), "the limit itself is allowed");
}

#[tokio::test]
async fn lies_about_the_length_are_no_document() {
    let cut = |length: &'static str| {
        Host::saying(move |address| {
            let body = document(address);
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .into()
        })
    };
    assert_eq!(refused(&cut("100000")).await, ErrorKind::Unavailable);
    assert_eq!(refused(&cut("20")).await, ErrorKind::Malformed);
    assert_eq!(refused(&cut("99999999999")).await, ErrorKind::Limit);
    assert_eq!(refused(&cut("-1")).await, ErrorKind::Unavailable);
    let closing = Host::saying(|_| Vec::new());
    assert_eq!(refused(&closing).await, ErrorKind::Unavailable);
}

#[tokio::test]
async fn nothing_is_decompressed() {
    for coding in ["gzip", "br", "deflate", "zstd", "gzip, gzip"] {
        let headers = format!("content-encoding: {coding}\r\n");
        let host = Host::saying(move |address| answer("200 OK", &headers, &document(address)));
        assert_eq!(refused(&host).await, ErrorKind::Rejected, "{coding}");
    }
}

#[tokio::test]
async fn redirects_lead_to_no_place_that_could_not_be_asked_first() {
    let inside = Host::saying(|address| answer("200 OK", "", &document(address)));
    for place in [
        format!("http://127.0.0.1:{}/did.json", inside.address.port()),
        format!("https://127.0.0.1:{}/did.json", inside.address.port()),
        format!("http://[::ffff:127.0.0.1]:{}/did.json", inside.address.port()),
        "http://169.254.169.254/latest/meta-data".into(),
        "https://169.254.169.254/latest/meta-data".into(),
        "https://[fd00:ec2::254]/".into(),
        "http://example.org/did.json".into(),
        "file:///etc/passwd".into(),
        "//10.0.0.1/".into(),
        "gopher://localhost/".into(),
        "https://user:secret@example.org/".into(),
        "http://".into(),
    ] {
        let headers = format!("location: {place}\r\n");
        let host = Host::saying(move |_| answer("301 Moved Permanently", &headers, ""));
        assert_eq!(refused(&host).await, ErrorKind::Rejected, "{place}");
        assert_eq!(host.visits(), 1);
    }
    assert_eq!(inside.visits(), 0, "nobody came in");
    let nowhere = Host::saying(|_| answer("302 Found", "", ""));
    assert_eq!(refused(&nowhere).await, ErrorKind::Rejected);
}

#[tokio::test]
async fn three_redirects_are_followed_and_no_more() {
    let endless = Host::saying(|_| answer("302 Found", "location: /again\r\n", ""));
    assert_eq!(refused(&endless).await, ErrorKind::Rejected);
    assert_eq!(endless.visits(), 4);
    let good = Host::saying(|address| answer("200 OK", "", &document(address)));
    let to = format!("location: http://localhost:{}/elsewhere\r\n", good.address.port());
    let first = Host::saying(move |_| answer("307 Temporary Redirect", &to, ""));
    // What it leads to is the document of the host that it led to.
    assert_eq!(refused(&first).await, ErrorKind::Rejected);
    assert_eq!(good.visits(), 1);
}

#[tokio::test]
async fn this_machine_is_asked_only_when_it_was_allowed() {
    let host = Host::saying(|address| answer("200 OK", "", &document(address)));
    let error = WebResolver::new().unwrap().resolve(&host.did()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(host.visits(), 0);
}

proptest! {
    #[test]
    fn what_is_made_can_be_asked_for(
        host in "[a-z][a-z0-9-]{0,10}\\.[a-z]{2,5}",
        port in proptest::option::of(1..=u16::MAX),
        path in proptest::collection::vec("[^/?#%\\\\\\pC]{1,12}", 0..4),
    ) {
        prop_assume!(path.iter().all(|part| part != "." && part != ".."));
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let location = [vec![format!("{host}{port}")], path.clone()].concat().join("/");
        let did = web::did_web(&location).unwrap();
        let url = web::url(&did).unwrap();
        let start = format!("https://{host}{port}/");
        prop_assert!(url.starts_with(&start), "{url}");
        prop_assert_eq!(url.matches('/').count(), 3 + path.len().max(1));
    }

    #[test]
    fn naming_a_place_never_panics(text in "\\PC{0,60}", id in "[a-zA-Z0-9:.%_-]{0,60}") {
        drop(web::did_web(&text));
        if let Ok(did) = Did::parse(&format!("did:web:{id}"))
            && let Ok(url) = web::url(&did)
        {
            // Another reader of URLs finds the same host in it.
            let host = id.split(':').next().unwrap();
            let host = host.split("%3").next().unwrap();
            let url = reqwest::Url::parse(&url).unwrap();
            prop_assert_eq!(url.host_str(), Some(host));
        }
    }
}
