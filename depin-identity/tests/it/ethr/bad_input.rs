//! Histories that somebody wrote to do harm: long, garbled, endless.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use depin_core::{
    Address, B256, Bytes, ChainId, Did, ErrorKind, ManualClock, Result, Timestamp,
    resolution::{DidResolver, Version},
};
use depin_identity::methods::ethr::{
    Block, BlockHead, Change, Edit, EthrError, EthrResolver, Event, History, Identifier, Ledger,
    Limits, Moment, Network, bytes32, document,
};
use proptest::prelude::*;

use super::{
    documents::{DID, attribute, delegate},
    scripted::Scripted,
};

fn resolver(ledger: Arc<dyn Ledger>, limits: Limits) -> EthrResolver {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_000_000)));
    let network = Network::known("mainnet").unwrap();
    EthrResolver::new(clock).with_limits(limits).with_network(network, ledger)
}

#[tokio::test]
async fn ten_thousand_delegates_and_attributes_are_read() {
    let chain = Scripted::new(0);
    for block in 0..100_u64 {
        let changes = (0..100_u64).map(|index| match index % 2 {
            0 => Change::Delegate {
                kind: bytes32("veriKey").unwrap(),
                delegate: Address::left_padding_from(&(block * 100 + index).to_be_bytes()),
                valid_to: u64::MAX,
            },
            _ => attribute("did/pub/New/veriKey", &(block * 100 + index).to_be_bytes(), u64::MAX),
        });
        chain.write(block + 1, changes.collect());
    }
    let resolver = resolver(Arc::new(chain), Limits::default());
    let document = resolver.resolve(&DID.parse().unwrap()).await.unwrap();
    assert_eq!(document.verification_method.len(), 10_001);
    assert_eq!(document.verification_method[10_000].id.fragment(), Some("delegate-10000"));
}

#[tokio::test]
async fn histories_beyond_the_limits_are_a_typed_error() {
    let chain = Arc::new(Scripted::new(0));
    for block in 1..=20 {
        chain.write(block, vec![attribute("did/svc/Hub", &[b'x'; 100], u64::MAX); 2]);
    }
    let cases: [(fn(&mut Limits), _); 3] = [
        (|limits| limits.blocks = 19, ("blocks with changes", 19)),
        (|limits| limits.changes = 39, ("changes", 39)),
        (|limits| limits.bytes = 3999, ("bytes of attributes", 3999)),
    ];
    for (set, (what, limit)) in cases {
        let mut limits = Limits::default();
        set(&mut limits);
        let resolver = resolver(chain.clone(), limits);
        let error = resolver.resolve(&DID.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        let source = std::error::Error::source(&error).unwrap().downcast_ref();
        assert_eq!(source, Some(&EthrError::TooLong { what, limit }));
    }
}

/// Says that every block has a change.
#[derive(Debug, Default)]
struct Endless(AtomicUsize);

#[async_trait]
impl Ledger for Endless {
    async fn changed(&self, _: Address, _: Option<u64>) -> Result<u64> {
        Ok(u64::MAX)
    }

    async fn events(&self, _: Address, block: u64) -> Result<Vec<Event>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(vec![Event::new(B256::ZERO, 0, block - 1, delegate("veriKey", 1, u64::MAX))])
    }

    async fn block(&self, _: u64) -> Result<Option<BlockHead>> {
        Ok(Some(BlockHead::new(B256::ZERO, Timestamp::EPOCH)))
    }

    async fn finalised(&self) -> Result<u64> {
        Ok(u64::MAX)
    }
}

#[tokio::test]
async fn a_node_that_never_ends_is_left() {
    let endless = Arc::new(Endless::default());
    let resolver = resolver(endless.clone(), Limits::default());
    let did: Did = DID.parse().unwrap();
    for version in [Version::Latest, Version::Id("7".into()), Version::At(Timestamp::EPOCH)] {
        let error = resolver.resolve_version(&did, &version).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert_eq!(endless.0.swap(0, Ordering::SeqCst), Limits::default().blocks + 1);
    }
}

#[test]
fn names_longer_than_the_contract_takes_are_refused() {
    assert!(bytes32(&"x".repeat(32)).is_ok());
    assert_eq!(bytes32(&"x".repeat(33)), Err(EthrError::Name));
    assert!(Edit::set_attribute(&"x".repeat(33), b"", Duration::ZERO).is_err());
}

fn any_change() -> impl Strategy<Value = Change> {
    let word = prop_oneof![
        any::<[u8; 32]>().prop_map(B256::from),
        "did/(pub|svc)/[ -~]{0,24}".prop_map(|name| bytes32(&name).unwrap()),
        "(veriKey|sigAuth|enc)".prop_map(|name| bytes32(&name).unwrap()),
        "did/pub/(Secp256k1|Ed25519|X25519|Multikey)(/hex)?"
            .prop_map(|name| bytes32(&name).unwrap()),
    ];
    let value = prop::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from);
    (word, value, any::<u64>(), 0..3_u8, any::<u8>()).prop_map(
        |(name, value, valid_to, sort, who)| match sort {
            0 => Change::Owner(Address::repeat_byte(who)),
            1 => Change::Delegate { kind: name, delegate: Address::repeat_byte(who), valid_to },
            _ => Change::Attribute { name, value, valid_to },
        },
    )
}

proptest! {
    #[test]
    fn any_events_make_a_document_of_the_did(
        changes in prop::collection::vec(any_change(), 0..40),
        now in any::<u64>(),
    ) {
        let did: Did = DID.parse().unwrap();
        let blocks = changes.chunks(3).zip(1..);
        let blocks = blocks.map(|(part, number)| {
            Block::new(number, Timestamp::from_secs(number), part.to_vec())
        });
        let history = History::new(blocks.collect()).unwrap();
        let head = Moment::Head(Timestamp::from_millis(now));
        let (found, metadata) = document(&did, ChainId::new(1), &history, head).unwrap();
        prop_assert_eq!(&found.id, &did);
        prop_assert!(found.verification_method.len() <= changes.len() + 1);
        prop_assert_eq!(metadata.deactivated, found.verification_method.is_empty());
        let mut names: Vec<_> = found.verification_method.iter().map(|method| &method.id).collect();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), found.verification_method.len());
    }

    #[test]
    fn identifiers_never_panic(text in "did:ethr:([a-z0-9]{0,8}:)?(0x)?[0-9a-fA-FxX]{0,70}") {
        if let Ok(did) = text.parse::<Did>()
            && let Ok(identifier) = Identifier::of(&did)
        {
            prop_assert!(identifier.key().is_none_or(|key| key.to_address() == Some(identifier.address())));
        }
    }
}
