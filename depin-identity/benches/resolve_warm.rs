//! How long a did:ethr takes to resolve at a version that is final and was resolved before: no request,
//! beside a copy of the bare answer.
//!
//! The history has an owner, delegates, an Ed25519 and a secp256k1 key and a service, as a device in use
//! has, and the identifier is a public key.

use std::{
    future::Future,
    hint::black_box,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use depin_core::{
    Address, Algorithm, B256, Bytes, Did, Result, Signer, SoftwareKey, SystemClock, Timestamp,
    resolution::{DidResolver, Freshness, Resolution, Version},
};
use depin_identity::methods::ethr::{
    BlockHead, Change, EthrResolver, Event, Ledger, Network, bytes32, from_key,
};
use depin_testkit::bench::{Row, best_of};

const ROUNDS: u32 = 20_000;
const LIMIT_NANOS: f64 = 5_000.0;

/// One change in each of the first blocks, all of them final.
#[derive(Debug)]
struct Chain(Vec<Change>);

#[async_trait]
impl Ledger for Chain {
    async fn changed(&self, _: Address, _: Option<u64>) -> Result<u64> {
        Ok(self.0.len() as u64)
    }

    async fn events(&self, _: Address, block: u64) -> Result<Vec<Event>> {
        let change = self.0[block as usize - 1].clone();
        Ok(vec![Event::new(B256::ZERO, 0, block - 1, change)])
    }

    async fn block(&self, number: u64) -> Result<Option<BlockHead>> {
        Ok(Some(BlockHead::new(B256::ZERO, Timestamp::from_secs(number))))
    }

    async fn finalised(&self) -> Result<u64> {
        Ok(1_000)
    }
}

fn attribute(name: &str, value: &[u8]) -> Change {
    let name = bytes32(name).expect("a short name");
    Change::Attribute { name, value: Bytes::copy_from_slice(value), valid_to: u64::MAX }
}

fn delegate(kind: &str, who: u8) -> Change {
    let kind = bytes32(kind).expect("a short name");
    Change::Delegate { kind, delegate: Address::repeat_byte(who), valid_to: u64::MAX }
}

/// The first poll has the answer: nothing here waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a question to memory waits"),
    }
}

fn nanos(mut work: impl FnMut()) -> f64 {
    let run = || (0..ROUNDS).for_each(|_| work());
    best_of(9, run).as_secs_f64() * 1e9 / f64::from(ROUNDS)
}

fn main() {
    let key = |algorithm, seed| SoftwareKey::from_seed(algorithm, [seed; 32]).public_key().clone();
    let own = key(Algorithm::Es256k, 1);
    let chain = Chain(vec![
        delegate("veriKey", 1),
        delegate("sigAuth", 2),
        attribute("did/pub/Ed25519/sigAuth", &key(Algorithm::EdDsa, 2).to_bytes()),
        attribute("did/pub/Secp256k1/veriKey", &key(Algorithm::Es256k, 3).to_bytes()),
        attribute("did/svc/Hub", b"https://hub.example"),
        delegate("veriKey", 3),
    ]);
    let did: Did = from_key("mainnet", &own).expect("a secp256k1 key");
    let network = Network::known("mainnet").expect("a known network");
    let resolver = EthrResolver::new(Arc::new(SystemClock)).with_network(network, Arc::new(chain));
    let version = Version::Id("5".into());
    let resolve = || now(resolver.resolve_version(black_box(&did), black_box(&version)));
    let answer: Resolution = resolve().expect("the version exists");
    assert_eq!(answer.document.verification_method.len(), 6);
    assert_eq!(answer.freshness, Freshness::Forever);

    let copy = nanos(|| drop(black_box(black_box(&answer).clone())));
    let warm = nanos(|| drop(black_box(resolve())));
    let against = format!("limit {LIMIT_NANOS:.0} ns; a copy of the answer {copy:.0} ns");
    Row::new("resolve_warm", warm, "ns", against, warm / LIMIT_NANOS).report();
}
