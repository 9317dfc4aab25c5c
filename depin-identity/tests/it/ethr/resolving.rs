//! What the resolver asks a chain, what it keeps, and what it does not believe.

use std::sync::Arc;

use depin_core::{
    Address, Did, ErrorKind, ManualClock, Timestamp,
    resolution::{DidResolver, Freshness, Resolution, Version},
};
use depin_identity::methods::ethr::{Change, EthrError, EthrResolver, Limits, Network};

use super::{
    documents::{DID, attribute, delegate},
    scripted::{Scripted, Written},
};

const LATE: u64 = 1_000_000;

fn did() -> Did {
    DID.parse().unwrap()
}

fn resolver(chain: &Arc<Scripted>) -> EthrResolver {
    limited(chain, Limits::default())
}

fn limited(chain: &Arc<Scripted>, limits: Limits) -> EthrResolver {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(LATE)));
    let network = Network::known("mainnet").unwrap();
    EthrResolver::new(clock).with_limits(limits).with_network(network, chain.clone())
}

/// Changes in blocks 10, 20 and 30, two of them in the last, with a head at 100 and five blocks of doubt.
fn three_versions() -> Arc<Scripted> {
    let chain = Scripted::new(5);
    chain.write(10, vec![delegate("veriKey", 1, u64::MAX)]);
    chain.write(20, vec![delegate("veriKey", 2, 250)]);
    chain.write(30, vec![delegate("veriKey", 3, u64::MAX), delegate("veriKey", 1, 300)]);
    chain.grow_to(100);
    Arc::new(chain)
}

async fn ask(resolver: &EthrResolver, version: Version) -> Resolution {
    resolver.resolve_version(&did(), &version).await.unwrap()
}

async fn refused(resolver: &EthrResolver, version: Version) -> (ErrorKind, EthrError) {
    let error = resolver.resolve_version(&did(), &version).await.unwrap_err();
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
    let inner = source.unwrap_or_else(|| panic!("{error} has no source"));
    (error.kind(), EthrError::clone(inner))
}

fn id(number: u64) -> Version {
    Version::Id(number.to_string())
}

fn delegates(resolution: &Resolution) -> Vec<&str> {
    let methods = resolution.document.verification_method.iter().skip(1);
    methods.map(|method| method.id.fragment().unwrap()).collect()
}

#[tokio::test]
async fn the_resolver_conforms() {
    let dead = Scripted::new(0);
    dead.write(7, vec![Change::Owner(Address::ZERO)]);
    let dead_network = Network::known("sepolia").unwrap();
    let resolver = resolver(&three_versions()).with_network(dead_network, Arc::new(dead));
    let gone = DID.replace("ethr:", "ethr:sepolia:").parse().unwrap();
    depin_testkit::resolver::conforms(&resolver, &[did()], &[gone]).await;
}

#[tokio::test]
async fn the_head_costs_one_call_when_nothing_changed() {
    let chain = three_versions();
    let resolver = resolver(&chain);
    let cold = ask(&resolver, Version::Latest).await;
    assert_eq!(delegates(&cold), ["delegate-3"]);
    assert_eq!(cold.metadata.version_id.as_deref(), Some("30"));
    chain.take_calls();
    let warm = ask(&resolver, Version::Latest).await;
    assert_eq!((warm, chain.take_calls()), (cold.clone(), 1));
    assert_eq!(cold.freshness, Freshness::Once);
}

#[tokio::test]
async fn a_new_change_costs_only_what_is_new() {
    let chain = three_versions();
    let resolver = resolver(&chain);
    ask(&resolver, Version::Latest).await;
    chain.write(110, vec![delegate("sigAuth", 4, u64::MAX)]);
    chain.take_calls();
    let now = ask(&resolver, Version::Latest).await;
    assert_eq!(delegates(&now), ["delegate-3", "delegate-5"]);
    // changed, finalised, changed there, events, their block, the final block.
    assert_eq!(chain.take_calls(), 6);
}

#[tokio::test]
async fn a_final_version_costs_nothing_the_second_time() {
    let chain = three_versions();
    let resolver = resolver(&chain);
    for (version, expected, freshness) in [
        (id(9), vec![], Freshness::Forever),
        (id(10), vec!["delegate-1"], Freshness::Forever),
        (id(24), vec!["delegate-1", "delegate-2"], Freshness::Forever),
        (id(25), vec!["delegate-1"], Freshness::Forever),
        (id(30), vec!["delegate-3"], Freshness::Once),
        (Version::At(Timestamp::from_secs(199)), vec!["delegate-1"], Freshness::Forever),
        (Version::At(Timestamp::from_secs(949)), vec!["delegate-3"], Freshness::Once),
    ] {
        let first = ask(&resolver, version.clone()).await;
        chain.take_calls();
        let again = ask(&resolver, version.clone()).await;
        assert_eq!(chain.take_calls(), 0, "{version:?}");
        assert_eq!(first, again);
        assert_eq!(delegates(&first), expected, "{version:?}");
        assert_eq!(first.freshness, freshness, "{version:?}");
    }
}

#[tokio::test]
async fn versions_after_the_first_need_no_walk() {
    let chain = three_versions();
    let resolver = resolver(&chain);
    ask(&resolver, id(30)).await;
    chain.take_calls();
    for number in [10, 20] {
        ask(&resolver, id(number)).await;
    }
    assert_eq!(chain.take_calls(), 0);
    ask(&resolver, id(15)).await;
    assert_eq!(chain.take_calls(), 1, "only the time of a block without changes");
}

#[tokio::test]
async fn a_successor_that_comes_later_is_told_though_the_version_was_kept() {
    let chain = three_versions();
    let resolver = resolver(&chain);
    assert_eq!(ask(&resolver, id(30)).await.metadata.next_version_id, None);
    chain.write(110, vec![delegate("sigAuth", 4, u64::MAX)]);
    chain.grow_to(200);
    ask(&resolver, Version::Latest).await;
    let version = ask(&resolver, id(30)).await;
    assert_eq!(version.metadata.next_version_id.as_deref(), Some("110"));
    assert_eq!(version.freshness, Freshness::Forever);
}

#[tokio::test]
async fn blocks_that_are_not_final_are_never_kept() {
    let chain = three_versions();
    chain.write(98, vec![delegate("sigAuth", 4, u64::MAX)]);
    let resolver = resolver(&chain);
    let before = ask(&resolver, Version::Latest).await;
    assert_eq!(delegates(&before), ["delegate-3", "delegate-5"]);
    assert_eq!(ask(&resolver, id(98)).await.freshness, Freshness::Once);
    // Another block of the same number takes its place.
    let other = Written { fork: 1, previous: 30, changes: vec![delegate("veriKey", 9, u64::MAX)] };
    chain.tamper(|blocks| drop(blocks.insert(98, other)));
    let after = ask(&resolver, Version::Latest).await;
    assert_eq!(after.document.verification_method.len(), 3);
    assert_ne!(after.document, before.document);
    // And then it never happened.
    chain.tamper(|blocks| drop(blocks.remove(&98)));
    assert_eq!(delegates(&ask(&resolver, Version::Latest).await), ["delegate-3"]);
}

#[tokio::test]
async fn events_that_a_node_lost_are_no_shorter_history() {
    let chain = three_versions();
    chain.tamper(|blocks| blocks.get_mut(&20).unwrap().changes.clear());
    for version in [Version::Latest, id(30), id(10), Version::At(Timestamp::from_secs(300))] {
        let refusal = refused(&resolver(&chain), version).await;
        assert_eq!(refusal, (ErrorKind::NotFound, EthrError::MissingEvents { block: 20 }));
        assert!(refusal.1.to_string().contains("archive node"));
    }
}

#[tokio::test]
async fn events_missing_in_a_block_that_is_not_final_may_come_back() {
    let chain = three_versions();
    chain.write(98, vec![]);
    let refusal = refused(&resolver(&chain), Version::Latest).await;
    assert_eq!(refusal, (ErrorKind::Unavailable, EthrError::Reorganised { block: 98 }));
}

#[tokio::test]
async fn links_that_do_not_lead_back_are_refused() {
    for (block, previous) in [(30, 30), (30, 31), (30, u64::MAX), (20, 20)] {
        let chain = three_versions();
        chain.tamper(|blocks| blocks.get_mut(&block).unwrap().previous = previous);
        let refusal = refused(&resolver(&chain), Version::Latest).await;
        assert_eq!(refusal, (ErrorKind::NotFound, EthrError::BrokenLink { block }));
    }
}

#[tokio::test]
async fn links_that_pass_by_what_is_recorded_are_refused() {
    let chain = three_versions();
    let resolver = resolver(&chain);
    ask(&resolver, Version::Latest).await;
    chain.write(110, vec![delegate("sigAuth", 4, u64::MAX)]);
    chain.tamper(|blocks| blocks.get_mut(&110).unwrap().previous = 20);
    let refusal = refused(&resolver, Version::Latest).await;
    assert_eq!(refusal, (ErrorKind::NotFound, EthrError::BrokenLink { block: 110 }));
}

#[tokio::test]
async fn a_node_that_lags_behind_is_told_and_the_next_try_starts_anew() {
    let chain = three_versions();
    let resolver = resolver(&chain);
    ask(&resolver, Version::Latest).await;
    chain.tamper(|blocks| drop(blocks.remove(&30)));
    let error = resolver.resolve(&did()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(delegates(&ask(&resolver, Version::Latest).await), ["delegate-1"]);
}

#[tokio::test]
async fn versions_that_are_none_are_refused() {
    let chain = three_versions();
    let resolver = resolver(&chain);
    for text in ["", "latest", "-1", "+1", "0x10", "1.0", " 1", "99999999999999999999"] {
        let refusal = refused(&resolver, Version::Id(text.into())).await;
        assert_eq!(refusal, (ErrorKind::Malformed, EthrError::Version), "{text}");
    }
    let late = Version::At(Timestamp::from_millis(LATE * 1000 + 1));
    for version in [id(101), id(u64::MAX), late] {
        let refusal = refused(&resolver, version).await;
        assert_eq!(refusal, (ErrorKind::NotFound, EthrError::Future));
    }
}

#[tokio::test]
async fn networks_are_found_by_name_and_by_chain() {
    let resolver = resolver(&three_versions());
    for network in ["mainnet:", "0x1:", "0X1:"] {
        let did = DID.replace("ethr:", &format!("ethr:{network}")).parse().unwrap();
        assert_eq!(resolver.resolve(&did).await.unwrap().id, did);
    }
    let elsewhere = DID.replace("ethr:", "ethr:sepolia:").parse().unwrap();
    let error = resolver.resolve(&elsewhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("sepolia"), "{error}");
    let nameless = DID.replace("ethr:", "ethr::").parse().unwrap();
    assert_eq!(resolver.resolve(&nameless).await.unwrap_err().kind(), ErrorKind::Malformed);
}

#[tokio::test]
async fn the_null_owner_is_final_when_its_block_is() {
    let chain = three_versions();
    chain.write(90, vec![Change::Owner(Address::ZERO), attribute("did/svc/Hub", b"x", u64::MAX)]);
    let resolver = resolver(&chain);
    let latest = ask(&resolver, Version::Latest).await;
    assert!(latest.metadata.deactivated && latest.document.verification_method.is_empty());
    assert_eq!(resolver.resolve(&did()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(ask(&resolver, id(90)).await.freshness, Freshness::Forever);
    assert_eq!(ask(&resolver, id(30)).await.metadata.next_version_id.as_deref(), Some("90"));
}

#[tokio::test]
async fn asking_for_the_same_at_once_gives_the_same() {
    let resolver = resolver(&three_versions());
    let tasks = (0..16).map(|turn| {
        let (resolver, version) =
            (resolver.clone(), if turn % 2 == 0 { Version::Latest } else { id(30) });
        tokio::spawn(async move { ask(&resolver, version).await.document })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap().verification_method.len(), 2);
    }
}

#[tokio::test]
async fn what_was_evicted_is_read_again() {
    let chain = three_versions();
    let mut limits = Limits::default();
    limits.identities = 1;
    let resolver = limited(&chain, limits);
    let other: Did = DID.replace("b0d74", "b0d75").parse().unwrap();
    let first = ask(&resolver, id(20)).await;
    resolver.resolve(&other).await.unwrap();
    chain.take_calls();
    assert_eq!(ask(&resolver, id(20)).await, first);
    assert!(chain.take_calls() > 0);
}
