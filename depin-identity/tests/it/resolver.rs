//! What the resolver remembers, for how long, and how much of it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use depin_core::{
    Algorithm, Clock, Did, Error, ErrorKind, ManualClock, Result, Signer, SoftwareKey, Timestamp,
    resolution::{DidResolver, Freshness, Resolution, Version},
};
use depin_identity::{CacheLimits, DidDocument, Resolver, Resource, Service, methods, resolve_url};
use tokio::sync::Semaphore;

/// Answers as it is told, counts how often it is asked, and waits for permits if it has any to wait for.
#[derive(Debug)]
struct Told {
    answer: fn(&Did) -> Result<Freshness>,
    asked: AtomicUsize,
    gate: Option<Semaphore>,
}

impl Told {
    fn new(answer: fn(&Did) -> Result<Freshness>) -> Arc<Self> {
        Arc::new(Self { answer, asked: AtomicUsize::new(0), gate: None })
    }

    fn gated(answer: fn(&Did) -> Result<Freshness>) -> Arc<Self> {
        let gate = Some(Semaphore::new(0));
        Arc::new(Self { answer, asked: AtomicUsize::new(0), gate })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn open(&self) {
        self.gate.as_ref().unwrap().add_permits(1000);
    }
}

#[async_trait]
impl DidResolver for Told {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        let freshness = (self.answer)(did)?;
        let mut document = DidDocument::new(did.clone());
        document.also_known_as.push(format!("{version:?}"));
        Ok(Resolution::new(document, freshness))
    }
}

fn did(name: impl std::fmt::Display) -> Did {
    format!("did:told:{name}").parse().unwrap()
}

fn limits(entries: usize) -> CacheLimits {
    let mut limits = CacheLimits::default();
    limits.entries = entries;
    limits
}

fn resolver(told: &Arc<Told>, clock: &Arc<ManualClock>) -> Resolver {
    let clock: Arc<dyn Clock> = clock.clone();
    Resolver::new().with_method("told", told.clone()).with_cache(limits(100), clock)
}

async fn latest(resolver: &Resolver, did: &Did) -> Result<Resolution> {
    resolver.resolve_version(did, &Version::Latest).await
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_secs(1000)))
}

#[tokio::test]
async fn what_never_changes_is_asked_for_once() {
    let (told, clock) = (Told::new(|_| Ok(Freshness::Forever)), clock());
    let resolver = resolver(&told, &clock);
    let first = latest(&resolver, &did(1)).await.unwrap();
    clock.advance(Duration::from_secs(1_000_000_000));
    assert_eq!(latest(&resolver, &did(1)).await.unwrap(), first);
    assert_eq!(latest(&resolver.clone(), &did(1)).await.unwrap(), first);
    assert_eq!(told.asked(), 1);
    let old = resolver.resolve_version(&did(1), &Version::Id("7".into())).await.unwrap();
    assert_ne!(old.document, first.document, "versions are not mixed up");
    assert_eq!(told.asked(), 2);
}

#[tokio::test]
async fn what_is_fresh_for_a_while_is_asked_for_again_after_it() {
    let (told, clock) = (Told::new(|_| Ok(Freshness::For(Duration::from_secs(60)))), clock());
    let resolver = resolver(&told, &clock);
    latest(&resolver, &did(1)).await.unwrap();
    clock.advance(Duration::from_secs(59));
    let aged = latest(&resolver, &did(1)).await.unwrap();
    assert_eq!(aged.freshness, Freshness::For(Duration::from_secs(1)), "it is not fresh anew");
    assert_eq!(told.asked(), 1);
    clock.advance(Duration::from_secs(1));
    latest(&resolver, &did(1)).await.unwrap();
    assert_eq!(told.asked(), 2);
}

#[tokio::test]
async fn what_may_change_at_any_time_is_asked_for_each_time() {
    let (told, clock) = (Told::new(|_| Ok(Freshness::Once)), clock());
    let resolver = resolver(&told, &clock);
    for asked in 1..=3 {
        latest(&resolver, &did(1)).await.unwrap();
        assert_eq!(told.asked(), asked);
    }
}

#[tokio::test]
async fn absence_is_remembered_briefly_and_failures_are_not() {
    let (told, clock) = (
        Told::new(|did| {
            let kind =
                if did.id() == "gone" { ErrorKind::NotFound } else { ErrorKind::Unavailable };
            Err(Error::new(kind, "no document").with("did", did))
        }),
        clock(),
    );
    let resolver = resolver(&told, &clock);
    let first = latest(&resolver, &did("gone")).await.unwrap_err();
    let again = latest(&resolver, &did("gone")).await.unwrap_err();
    assert_eq!((again.kind(), again.to_string()), (first.kind(), first.to_string()));
    assert_eq!(told.asked(), 1);
    clock.advance(CacheLimits::default().negative);
    latest(&resolver, &did("gone")).await.unwrap_err();
    assert_eq!(told.asked(), 2);
    for asked in 3..6 {
        let error = latest(&resolver, &did("down")).await.unwrap_err();
        assert!(error.is_retryable());
        assert_eq!(told.asked(), asked);
    }
}

/// A clock that somebody sets back.
#[derive(Debug)]
struct Unruly(Mutex<Timestamp>);

impl Clock for Unruly {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_last_longer() {
    let told = Told::new(|_| Ok(Freshness::For(Duration::from_secs(60))));
    let clock = Arc::new(Unruly(Mutex::new(Timestamp::from_secs(1_000_000))));
    let resolver =
        Resolver::new().with_method("told", told.clone()).with_cache(limits(9), clock.clone());
    latest(&resolver, &did(1)).await.unwrap();
    *clock.0.lock().unwrap() = Timestamp::from_secs(10);
    latest(&resolver, &did(1)).await.unwrap();
    assert_eq!(told.asked(), 2);
}

#[tokio::test]
async fn what_was_used_longest_ago_makes_room() {
    let (told, clock) = (Told::new(|_| Ok(Freshness::Forever)), clock());
    let resolver =
        Resolver::new().with_method("told", told.clone()).with_cache(limits(3), clock.clone());
    for name in [1, 2, 3, 1, 4] {
        latest(&resolver, &did(name)).await.unwrap();
    }
    assert_eq!(told.asked(), 4);
    for name in [1, 3, 4] {
        latest(&resolver, &did(name)).await.unwrap();
    }
    assert_eq!(told.asked(), 4, "these are still there");
    latest(&resolver, &did(2)).await.unwrap();
    assert_eq!(told.asked(), 5, "and this one is not");
}

#[tokio::test]
async fn memory_is_bounded_by_bytes_too() {
    let (told, clock) = (Told::new(|_| Ok(Freshness::Forever)), clock());
    let mut limits = limits(usize::MAX);
    limits.bytes = 20_000;
    let clock: Arc<dyn Clock> = clock;
    let resolver = Resolver::new().with_method("told", told.clone()).with_cache(limits, clock);
    for name in 0..1000 {
        latest(&resolver, &did(name)).await.unwrap();
    }
    latest(&resolver, &did(999)).await.unwrap();
    assert_eq!(told.asked(), 1000);
    latest(&resolver, &did(0)).await.unwrap();
    assert_eq!(told.asked(), 1001, "the first made room long ago");
    // The name of a version is chosen by whoever asks.
    let long = Version::Id("9".repeat(100_000));
    for asked in [1002, 1003] {
        resolver.resolve_version(&did(1), &long).await.unwrap();
        assert_eq!(told.asked(), asked, "what is larger than everything is not kept");
    }
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_call() {
    for answer in [
        (|_: &Did| Ok(Freshness::Forever)) as fn(&Did) -> _,
        |_| Err(Error::unavailable("down")),
        |_| Err(Error::new(ErrorKind::NotFound, "gone")),
    ] {
        let (told, clock) = (Told::gated(answer), clock());
        let resolver = resolver(&told, &clock);
        let calls: Vec<_> = (0..50).map(|_| spawn(&resolver, 1)).collect();
        settle().await;
        assert_eq!(told.asked(), 1);
        told.open();
        for call in calls {
            let answer = call.await.unwrap();
            assert_eq!(
                answer.map(|_| ()).map_err(|e| e.kind()),
                (told.answer)(&did(1)).map(|_| ()).map_err(|e| e.kind())
            );
        }
        assert_eq!(told.asked(), 1);
    }
}

#[tokio::test]
async fn an_answer_for_once_is_not_shared() {
    let (told, clock) = (Told::gated(|_| Ok(Freshness::Once)), clock());
    let resolver = resolver(&told, &clock);
    let calls: Vec<_> = (0..5).map(|_| spawn(&resolver, 1)).collect();
    settle().await;
    told.open();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(told.asked(), 5);
}

#[tokio::test]
async fn whoever_waits_takes_over_from_a_caller_who_went_away() {
    let (told, clock) = (Told::gated(|_| Ok(Freshness::Forever)), clock());
    let resolver = resolver(&told, &clock);
    let first = spawn(&resolver, 1);
    settle().await;
    let second = spawn(&resolver, 1);
    settle().await;
    assert_eq!(told.asked(), 1);
    first.abort();
    settle().await;
    assert_eq!(told.asked(), 2);
    told.open();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_asked_before_it_was_forgotten_is_not_stored() {
    let (told, clock) = (Told::gated(|_| Ok(Freshness::Forever)), clock());
    let resolver = resolver(&told, &clock);
    let call = spawn(&resolver, 1);
    settle().await;
    resolver.forget(&did(1));
    told.open();
    call.await.unwrap().unwrap();
    latest(&resolver, &did(1)).await.unwrap();
    assert_eq!(told.asked(), 2);
    latest(&resolver, &did(1)).await.unwrap();
    assert_eq!(told.asked(), 2);
    resolver.forget(&did(1));
    latest(&resolver, &did(1)).await.unwrap();
    assert_eq!(told.asked(), 3);
}

#[tokio::test]
async fn another_method_does_not_inherit_answers_and_computed_ones_are_not_kept() {
    let (told, clock) = (Told::new(|_| Ok(Freshness::Forever)), clock());
    let with_told = resolver(&told, &clock);
    latest(&with_told, &did(1)).await.unwrap();
    let absent = Told::new(|_| Err(Error::new(ErrorKind::NotFound, "gone")));
    let with_absent = with_told.clone().with_method("told", absent);
    latest(&with_absent, &did(1)).await.unwrap_err();
    latest(&with_told, &did(1)).await.unwrap();
    assert_eq!(told.asked(), 1);
    let computed = with_told.with_computed("told", told.clone());
    latest(&computed, &did(1)).await.unwrap();
    latest(&computed, &did(1)).await.unwrap();
    assert_eq!(told.asked(), 3);
}

fn spawn(resolver: &Resolver, name: u8) -> tokio::task::JoinHandle<Result<Resolution>> {
    let resolver = resolver.clone();
    tokio::spawn(async move { latest(&resolver, &did(name)).await })
}

/// Lets every task that can go on go on: the runtime of a test has one thread and takes turns.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_resolver_with_a_memory_conforms() {
    let key = |algorithm| SoftwareKey::from_seed(algorithm, [1; 32]).public_key().clone();
    let dids = [
        methods::key::did_key(&key(Algorithm::EdDsa)),
        methods::jwk::did_jwk(&key(Algorithm::Es256)),
    ];
    let resolver = Resolver::new().with_cache(limits(9), clock());
    depin_testkit::resolver::conforms(&resolver, &dids, &[]).await;
}

/// One document with a key and a service; speaks versions.
#[derive(Debug)]
struct Example;

#[async_trait]
impl DidResolver for Example {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        let mut document = methods::web::document(
            did,
            &methods::key::public_key(
                &"did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse()?,
            )?,
        )?;
        document.service.push(Service {
            id: format!("{did}#files").parse()?,
            kind: format!("{version:?}"),
            endpoint: "https://example.org".into(),
        });
        Ok(Resolution::new(document, Freshness::Once))
    }
}

async fn points_at(tail: &str) -> Result<Resource> {
    resolve_url(&Example, &format!("did:web:example.org{tail}").parse().unwrap()).await
}

#[tokio::test]
async fn did_urls_point_at_documents_keys_services_and_versions() {
    assert!(matches!(points_at("").await.unwrap(), Resource::Document(_)));
    let Resource::Method(method) = points_at("#key-1").await.unwrap() else { panic!("no method") };
    assert_eq!(method.id.fragment(), Some("key-1"));
    let kind = async |tail: &str| match points_at(tail).await.unwrap() {
        Resource::Service(service) => service.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind("#files").await, "Latest");
    assert_eq!(kind("?versionId=a%2Fb#files").await, "Id(\"a/b\")");
    let at = format!("{:?}", Version::At(Timestamp::from_secs(1_700_000_000)));
    assert_eq!(kind("?versionTime=2023-11-14T22:13:20Z#files").await, at);
    assert_eq!(kind("?versionTime=2023-11-14T23:13:20%2B01:00#files").await, at);
}

/// Answers as [`Example`] does, about a DID that was given up.
#[derive(Debug)]
struct GivenUp;

#[async_trait]
impl DidResolver for GivenUp {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        let mut found = Example.resolve_version(did, version).await?;
        found.metadata.deactivated = true;
        Ok(found)
    }
}

#[tokio::test]
async fn urls_of_a_did_that_was_given_up_point_at_nothing() {
    for tail in ["", "#key-1", "#files", "?versionId=1#key-1"] {
        let url = format!("did:web:example.org{tail}").parse().unwrap();
        let error = resolve_url(&GivenUp, &url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{tail}");
    }
}

#[tokio::test]
async fn did_urls_that_mean_nothing_here_say_why() {
    for (tail, kind) in [
        ("/path", ErrorKind::Unsupported),
        ("?service=files", ErrorKind::Unsupported),
        ("?versionid=1", ErrorKind::Unsupported),
        ("?versionId", ErrorKind::Malformed),
        ("?versionId=", ErrorKind::Malformed),
        ("?versionId=%FF", ErrorKind::Malformed),
        ("?versionId=1&versionId=1", ErrorKind::Malformed),
        ("?versionId=1&versionTime=2023-11-14T22:13:20Z", ErrorKind::Malformed),
        ("?versionTime=yesterday", ErrorKind::Malformed),
        ("#nothing", ErrorKind::NotFound),
        ("#", ErrorKind::NotFound),
    ] {
        assert_eq!(points_at(tail).await.unwrap_err().kind(), kind, "{tail}");
    }
}
