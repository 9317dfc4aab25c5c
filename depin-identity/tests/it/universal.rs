//! The universal-resolver interface: client against server, and either against strangers.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use async_trait::async_trait;
use depin_core::{
    Algorithm, Did, Error, ErrorKind, Result, Signer, SoftwareKey, Timestamp,
    resolution::{DidResolver, Freshness, Resolution, Version},
};
use depin_identity::{
    DidDocument, Resolver, document, methods, resolution,
    universal::{Limits, UniversalClient, UniversalServer, serve, serve_with},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::resolution::resolutions;

/// Answers `did:told:` by what is asked for.
#[derive(Debug)]
struct Told;

#[async_trait]
impl DidResolver for Told {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        let fail = |kind| Err(Error::new(kind, "no document").with("secret", "10.0.0.7"));
        let mut found = Resolution::new(DidDocument::new(did.clone()), Freshness::Once);
        found.document.also_known_as.push(format!("{version:?}"));
        match (did.id(), version) {
            ("missing", _) => return fail(ErrorKind::NotFound),
            ("malformed", _) => return fail(ErrorKind::Malformed),
            ("rejected", _) => return fail(ErrorKind::Rejected),
            ("down", _) => return fail(ErrorKind::Unavailable),
            ("corrupt", _) => return fail(ErrorKind::Corrupt),
            ("present", Version::Id(_) | Version::At(_)) => return fail(ErrorKind::Unsupported),
            ("forever", _) => found.freshness = Freshness::Forever,
            ("while", _) => found.freshness = Freshness::For(Duration::from_secs(7)),
            ("hang", _) => std::future::pending().await,
            ("gone", _) => found.metadata.deactivated = true,
            // Drivers that answer with the present document, whatever they are asked for.
            ("mute", _) => return Ok(found),
            ("deaf", _) => {
                found.metadata.version_id = Some("9".into());
                found.metadata.updated = Some(Timestamp::from_secs(900));
                found.metadata.next_update = Some(Timestamp::from_secs(1_000));
                return Ok(found);
            }
            (_, Version::Id(id)) => found.metadata.version_id = Some(id.clone()),
            _ => {}
        }
        Ok(found)
    }
}

fn resolver() -> Resolver {
    Resolver::new().with_method("told", Arc::new(Told))
}

async fn server() -> UniversalServer {
    serve(resolver(), "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

fn client(server: &UniversalServer) -> UniversalClient {
    UniversalClient::new(&server.url()).unwrap()
}

fn told(id: &str) -> Did {
    format!("did:told:{id}").parse().unwrap()
}

/// Status, headers and body of a request written by hand.
async fn request(
    server: &UniversalServer,
    target: &str,
    accept: Option<&str>,
) -> (u16, String, String) {
    let accept = accept.map(|accept| format!("accept: {accept}\r\n")).unwrap_or_default();
    raw(server, &format!("GET {target} HTTP/1.1\r\nhost: x\r\n{accept}connection: close\r\n\r\n"))
        .await
}

async fn raw(server: &UniversalServer, text: &str) -> (u16, String, String) {
    let (mut stream, text) = (connect(server), text.to_owned());
    // The server has the thread of the test.
    let exchange = tokio::task::spawn_blocking(move || {
        stream.write_all(text.as_bytes()).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        all
    });
    let all = exchange.await.unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head.to_ascii_lowercase(), body.into())
}

fn connect(server: &UniversalServer) -> TcpStream {
    TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap()
}

#[tokio::test]
async fn a_resolver_behind_http_conforms() {
    let server = server().await;
    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    let known = [methods::key::did_key(key.public_key()), methods::jwk::did_jwk(key.public_key())];
    depin_testkit::resolver::conforms(&client(&server), &known, &[told("missing")]).await;
}

#[tokio::test]
async fn errors_arrive_as_what_they_were() {
    let server = server().await;
    for (id, kind) in [
        ("missing", ErrorKind::NotFound),
        ("malformed", ErrorKind::Malformed),
        ("rejected", ErrorKind::Rejected),
        ("down", ErrorKind::Unavailable),
        ("corrupt", ErrorKind::Unavailable),
    ] {
        let error = client(&server).resolve(&told(id)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let unknown = client(&server).resolve(&"did:other:1".parse().unwrap()).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Unsupported);
    let gone = client(&server).resolve_version(&told("gone"), &Version::Latest).await.unwrap();
    assert!(gone.metadata.deactivated);
    assert_eq!(
        client(&server).resolve(&told("gone")).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn versions_are_passed_on() {
    let server = server().await;
    for version in
        [Version::Id("a&b=c d%20é+".into()), Version::At(Timestamp::from_millis(1_700_000_000_123))]
    {
        let found = client(&server).resolve_version(&told("x"), &version).await.unwrap();
        assert_eq!(found.document.also_known_as, [format!("{version:?}")]);
        let error = client(&server).resolve_version(&told("present"), &version).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

#[tokio::test]
async fn another_version_than_the_one_asked_for_is_refused() {
    let server = server().await;
    let ask = async |id: &str, version: Version| {
        let answer = client(&server).resolve_version(&told(id), &version).await;
        answer.map(drop).map_err(|error| error.kind())
    };
    let at = |secs| Version::At(Timestamp::from_secs(secs));
    assert_eq!(ask("deaf", Version::Id("8".into())).await, Err(ErrorKind::Rejected));
    assert_eq!(ask("mute", Version::Id("8".into())).await, Err(ErrorKind::Unsupported));
    assert_eq!(ask("deaf", at(899)).await, Err(ErrorKind::Rejected));
    assert_eq!(ask("deaf", at(1_000)).await, Err(ErrorKind::Rejected));
    for version in [Version::Latest, Version::Id("9".into()), at(900), at(999)] {
        assert_eq!(ask("deaf", version).await, Ok(()));
    }
}

#[tokio::test]
async fn how_long_an_answer_is_fresh_arrives_within_bounds() {
    let server = server().await;
    let client = client(&server);
    let fresh = async |id: &str| {
        client.resolve_version(&told(id), &Version::Latest).await.unwrap().freshness
    };
    assert_eq!(fresh("forever").await, Freshness::For(Duration::from_secs(60)));
    assert_eq!(fresh("while").await, Freshness::For(Duration::from_secs(7)));
    assert_eq!(fresh("once").await, Freshness::Once);
}

#[tokio::test]
async fn bad_requests_are_the_callers_fault() {
    let server = server().await;
    for (target, status) in [
        ("/1.0/identifiers/did:told:1", 200),
        ("/1.0/identifiers/did%3Atold%3A1", 200),
        ("/1.0/identifiers/did:told:1?", 200),
        ("/1.0/identifiers/did:told:1?versionId=1", 200),
        ("/1.0/identifiers/did:told:gone", 410),
        ("/1.0/identifiers/did:told:missing", 404),
        ("/1.0/identifiers/did:other:1", 501),
        ("/1.0/identifiers/did:key:1", 400),
        ("/1.0/identifiers/did:told:malformed", 400),
        ("/1.0/identifiers/did:jwk:e30", 400),
        ("/1.0/identifiers/did", 400),
        ("/1.0/identifiers/did:told:", 400),
        ("/1.0/identifiers/did:told:1/path", 400),
        ("/1.0/identifiers/did%3Atold%3A1%23key", 400),
        ("/1.0/identifiers/did:told:%zz", 400),
        ("/1.0/identifiers/%FF", 400),
        ("/1.0/identifiers/did%", 400),
        ("/1.0/identifiers/..%2f..%2fetc", 400),
        ("/1.0/identifiers/did:told:1?versionId=", 400),
        ("/1.0/identifiers/did:told:1?versionId=%FF", 400),
        ("/1.0/identifiers/did:told:1?versionTime=now", 400),
        ("/1.0/identifiers/did:told:1?versionId=1&versionId=2", 400),
        ("/1.0/identifiers/did:told:1?service=files", 501),
        ("/1.0/identifiers/did:told:present?versionId=1", 501),
        ("/1.0/identifiers/did:told:down", 500),
        ("/1.0/identifiers/", 404),
        ("/1.0/other", 404),
        ("/", 404),
    ] {
        let (got, head, body) = request(&server, target, None).await;
        assert_eq!(got, status, "{target}: {head} {body}");
        if head.contains("application/did-resolution") {
            let result: Value = serde_json::from_str(&body).unwrap();
            let error = result["didResolutionMetadata"].get("error");
            assert_eq!(error.is_none(), status == 200 || status == 410, "{target}: {body}");
        }
        assert!(!body.contains("10.0.0.7"), "context of errors stays here: {body}");
    }
    let long = format!("/1.0/identifiers/did:told:{}", "x".repeat(1000));
    assert_eq!(request(&server, &long, None).await.0, 400);
    let huge = format!("/1.0/identifiers/did:told:{}", "x".repeat(20_000));
    assert!([400, 414, 431].contains(&request(&server, &huge, None).await.0));
    let post = "POST /1.0/identifiers/did:told:1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(raw(&server, post).await.0, 405);
    assert_eq!(raw(&server, "nonsense\r\n\r\n").await.0, 400);
}

#[tokio::test]
async fn escapes_inside_a_did_are_kept_however_it_is_escaped() {
    let server = server().await;
    for target in ["did%3Atold%3Aa%253A80", "did:told:a%253A80", "did:told:a%3A80"] {
        let (status, _, body) = request(&server, &format!("/1.0/identifiers/{target}"), None).await;
        assert_eq!(status, 200, "{target}");
        let result: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(result["didDocument"]["id"], "did:told:a%3A80", "{target}");
    }
}

#[tokio::test]
async fn the_answer_has_the_form_that_was_asked_for() {
    let server = server().await;
    let full = "application/did-resolution";
    for (accept, kind) in [
        (None, Some(full)),
        (Some("*/*"), Some(full)),
        (Some("text/html, application/*;q=0.1"), Some(full)),
        (Some("application/did-resolution"), Some(full)),
        (Some("application/did-resolution+json"), Some("application/did-resolution+json")),
        (Some("application/did+json"), Some("application/did+json")),
        (Some("Application/DID+LD+JSON"), Some("application/did+ld+json")),
        (Some("application/did;q=0.5, application/did+json;q=0.9"), Some("application/did+json")),
        (Some("application/did+json;q=0, application/did"), Some("application/did")),
        (
            Some(r#"application/ld+json;profile="https://w3id.org/did-resolution""#),
            Some("application/ld+json"),
        ),
        (Some("application/json"), Some("application/json")),
        (Some("text/html"), None),
        (Some("application/did+cbor"), None),
        (Some("application/did;q=0"), None),
        (Some("application/did;q=7"), None),
        (Some(""), None),
    ] {
        let (status, head, body) = request(&server, "/1.0/identifiers/did:told:1", accept).await;
        let Some(kind) = kind else {
            assert_eq!(status, 406, "{accept:?}");
            continue;
        };
        assert_eq!(status, 200, "{accept:?}");
        assert!(head.contains(&format!("content-type: {kind}")), "{accept:?}: {head}");
        let value: Value = serde_json::from_str(&body).unwrap();
        let bare = kind.starts_with("application/did") && !kind.contains("resolution");
        assert_eq!(value.get("id").is_some(), bare, "{accept:?}: {body}");
    }
}

#[tokio::test]
async fn the_server_says_what_it_speaks() {
    let server = server().await;
    let (_, _, methods) = request(&server, "/1.0/methods", None).await;
    assert_eq!(serde_json::from_str::<Value>(&methods).unwrap(), json!(["jwk", "key", "told"]));
    let (_, _, properties) = request(&server, "/1.0/properties", None).await;
    let properties: Value = serde_json::from_str(&properties).unwrap();
    assert_eq!(properties, json!({"jwk": {}, "key": {}, "told": {}}));
}

#[tokio::test]
async fn a_method_that_hangs_and_a_client_that_is_silent_are_given_up() {
    let mut limits = Limits::default();
    limits.connections = 1;
    limits.head = Duration::from_millis(50);
    limits.request = Duration::from_millis(50);
    let server = serve_with(resolver(), "127.0.0.1:0".parse().unwrap(), limits).await.unwrap();
    assert_eq!(request(&server, "/1.0/identifiers/did:told:hang", None).await.0, 500);
    // It takes the only place, and has to give it back.
    let mut silent = connect(&server);
    silent.write_all(b"GET /1.0/").unwrap();
    assert_eq!(request(&server, "/1.0/identifiers/did:told:1", None).await.0, 200);
    server.shutdown().await;
}

/// A server that says the same to everybody.
fn saying(status: &str, body: impl AsRef<str>) -> UniversalClient {
    let body = body.as_ref();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Heads of requests are short and come at once; clients may go away at any time.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    UniversalClient::new(&url).unwrap().within(Duration::from_secs(5))
}

#[tokio::test]
async fn answers_of_strangers_are_not_trusted_further_than_they_go() {
    let good = r#"{"didDocument":{"id":"did:told:1"},"didResolutionMetadata":{},"didDocumentMetadata":{}}"#;
    let kind = async |status: &str, body: &str| {
        saying(status, body).resolve(&told("1")).await.map_err(|error| error.kind())
    };
    assert!(kind("200 OK", good).await.is_ok());
    assert!(kind("200 OK", r#"{"id":"did:told:1"}"#).await.is_ok());
    let cases = [
        ("200 OK", good.replace("told:1", "told:2"), ErrorKind::Rejected),
        ("200 OK", "<html>".into(), ErrorKind::Malformed),
        ("200 OK", " ".repeat(10 << 20), ErrorKind::Limit),
        ("302 Found", good.into(), ErrorKind::Rejected),
        ("410 Gone", good.into(), ErrorKind::Unavailable),
        ("404 Not Found", "<html>".into(), ErrorKind::NotFound),
        ("500 Internal Server Error", good.into(), ErrorKind::Unavailable),
        ("502 Bad Gateway", "<html>".into(), ErrorKind::Unavailable),
        (
            "404 Not Found",
            resolution::error_to_json(resolution::Code::NotFound, ""),
            ErrorKind::NotFound,
        ),
        ("500 Oh", r#"{"didResolutionMetadata":{"error":"notFound"}}"#.into(), ErrorKind::NotFound),
        (
            "200 OK",
            r#"{"didResolutionMetadata":{"error":"invalidDid"}}"#.into(),
            ErrorKind::Malformed,
        ),
    ];
    for (status, body, expected) in cases {
        assert_eq!(kind(status, &body).await.unwrap_err(), expected, "{status} {:.80}", body);
    }
    for base in ["", "resolver.example", "ftp://x", "http://", "https://x?y", "http://x#y"] {
        assert_eq!(UniversalClient::new(base).unwrap_err().kind(), ErrorKind::Config, "{base}");
    }
}

/// Gives the answers that it was made with.
#[derive(Debug)]
struct Prepared(Vec<Resolution>);

#[async_trait]
impl DidResolver for Prepared {
    async fn resolve_version(&self, did: &Did, _: &Version) -> Result<Resolution> {
        let found = self.0.iter().find(|found| found.document.id == *did);
        found.cloned().ok_or_else(|| Error::new(ErrorKind::NotFound, "nothing prepared"))
    }
}

#[tokio::test]
async fn what_the_client_reads_is_what_the_resolver_answered() {
    let mut runner = TestRunner::deterministic();
    let prepared: Vec<Resolution> = (0..100)
        .map(|_| resolutions().new_tree(&mut runner).unwrap().current())
        .enumerate()
        .map(|(number, mut found)| {
            // One method that is served, and each DID once.
            found.document.id = told(&format!("{number}%3A{}", found.document.id.id()));
            found
        })
        .collect();
    let resolver = Resolver::new().with_method("told", Arc::new(Prepared(prepared.clone())));
    let server = serve(resolver, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    for expected in prepared {
        let did = expected.document.id.clone();
        let read = client(&server).resolve_version(&did, &Version::Latest).await.unwrap();
        assert_eq!(document::to_json(&read.document), document::to_json(&expected.document));
        assert_eq!(read, expected);
    }
}
