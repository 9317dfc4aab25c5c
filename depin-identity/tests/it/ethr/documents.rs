//! Documents that follow from histories, case by case.

use depin_core::{
    Address, Algorithm, Bytes, ChainId, Did, Signer, SoftwareKey, Timestamp,
    document::{DidDocument, Material, Relationships, VerificationMethod},
    resolution::DocumentMetadata,
};
use depin_identity::methods::ethr::{
    self, Block, Change, History, Identifier, Moment, bytes32, document,
};

pub(crate) const DID: &str = "did:ethr:0xf3beac30c498d9e26865f34fcaa57dbb935b0d74";

pub(crate) fn delegate(kind: &str, who: u8, valid_to: u64) -> Change {
    let (kind, delegate) = (bytes32(kind).unwrap(), Address::repeat_byte(who));
    Change::Delegate { kind, delegate, valid_to }
}

pub(crate) fn attribute(name: &str, value: &[u8], valid_to: u64) -> Change {
    let (name, value) = (bytes32(name).unwrap(), Bytes::copy_from_slice(value));
    Change::Attribute { name, value, valid_to }
}

/// One change a block, ten seconds apart, from block 1 on.
pub(crate) fn history(changes: Vec<Change>) -> History {
    let blocks = (1..).zip(changes).map(|(number, change)| {
        Block::new(number, Timestamp::from_secs(number * 10), vec![change])
    });
    History::new(blocks.collect()).unwrap()
}

fn at(did: &str, changes: Vec<Change>, moment: Moment) -> (DidDocument, DocumentMetadata) {
    let did: Did = did.parse().unwrap();
    document(&did, ChainId::new(1), &history(changes), moment).unwrap()
}

fn now(changes: Vec<Change>, seconds: u64) -> DidDocument {
    at(DID, changes, Moment::Head(Timestamp::from_secs(seconds))).0
}

fn fragments(document: &DidDocument) -> Vec<&str> {
    let methods = document.verification_method.iter().map(|method| &method.id);
    let services = document.service.iter().map(|service| &service.id);
    methods.chain(services).map(|id| id.fragment().unwrap()).collect()
}

fn newest(document: &DidDocument) -> &VerificationMethod {
    document.verification_method.last().unwrap()
}

#[test]
fn an_untouched_identity_has_its_own_account() {
    let (document, metadata) = at(DID, vec![], Moment::Head(Timestamp::EPOCH));
    assert_eq!(fragments(&document), ["controller"]);
    let address = Identifier::of(&document.id).unwrap().address();
    let account = Material::Account { chain: ChainId::new(1), address };
    assert_eq!(document.verification_method[0].material, account);
    assert_eq!(metadata, DocumentMetadata::default());
}

#[test]
fn a_key_in_the_did_is_listed_while_its_account_owns() {
    let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]).public_key().clone();
    let did = ethr::from_key("sepolia", &key).unwrap();
    let own = key.to_address().unwrap();
    let moment = Moment::Head(Timestamp::from_secs(1000));
    let owners = |owners: &[Address]| {
        let changes = owners.iter().copied().map(Change::Owner).collect();
        let document = at(did.as_str(), changes, moment).0;
        (fragments(&document).len(), document.keys(Relationships::AUTHENTICATION).count())
    };
    assert_eq!(owners(&[]), (2, 1));
    assert_eq!(owners(&[Address::repeat_byte(5)]), (1, 0));
    assert_eq!(owners(&[Address::repeat_byte(5), own]), (2, 1));
}

#[test]
fn numbers_stay_whatever_expires_or_is_revoked() {
    let changes = vec![
        attribute("did/pub/Ed25519/veriKey", &[1; 31], 10_000),
        attribute("did/pub/Ed25519/veriKey", &[2; 31], 10_000),
        delegate("veriKey", 3, 500),
        attribute("did/svc/Hub", b"https://hub.example", 10_000),
        attribute("did/pub/Ed25519/veriKey", &[1; 31], 0),
        delegate("sigAuth", 4, 10_000),
    ];
    let document = now(changes.clone(), 100);
    assert_eq!(
        fragments(&document),
        ["controller", "delegate-2", "delegate-3", "delegate-5", "service-1"]
    );
    let document = now(changes, 500);
    assert_eq!(fragments(&document), ["controller", "delegate-2", "delegate-5", "service-1"]);
}

#[test]
fn what_counts_is_numbered_even_when_it_makes_no_entry() {
    let document = now(
        vec![
            delegate("enc", 1, 10_000),
            attribute("did/pub/", b"", 10_000),
            attribute("did/pub/a/b/c/d", b"", 10_000),
            attribute("did/pub/Secp256k1/veriKey", &[2; 32], 10_000),
            attribute("did/svc/ /", b"x", 10_000),
            attribute("did/svc/Raw", &[0xff, 0xfe], 10_000),
            attribute("something/else", b"x", 10_000),
            Change::Attribute {
                name: depin_core::B256::repeat_byte(0x80),
                value: Bytes::new(),
                valid_to: 10_000,
            },
            delegate("veriKey", 2, 10_000),
            attribute("did/svc/Hub", b"x", 10_000),
        ],
        200,
    );
    assert_eq!(fragments(&document), ["controller", "delegate-5", "service-3"]);
}

#[test]
fn renewing_gives_a_new_number_in_the_old_place() {
    let changes = vec![
        delegate("veriKey", 1, 500),
        delegate("veriKey", 2, 10_000),
        delegate("veriKey", 1, 10_000),
    ];
    let document = now(changes.clone(), 600);
    assert_eq!(fragments(&document), ["controller", "delegate-2", "delegate-3"]);
    assert_eq!(fragments(&now(changes, 100)), ["controller", "delegate-3", "delegate-2"]);
}

#[test]
fn delegates_may_do_what_their_type_says() {
    let document = now(vec![delegate("veriKey", 1, 900), delegate("sigAuth", 1, 900)], 100);
    let may = |number: usize| document.verification_method[number].relationships;
    assert_eq!(may(1), Relationships::ASSERTION);
    assert_eq!(may(2), Relationships::AUTHENTICATION | Relationships::ASSERTION);
}

#[test]
fn what_is_valid_to_a_second_is_not_valid_in_it() {
    let changes = vec![delegate("veriKey", 1, 500)];
    assert_eq!(fragments(&now(changes.clone(), 499)).len(), 2);
    assert_eq!(fragments(&now(changes, 500)).len(), 1);
}

#[test]
fn the_version_that_revokes_no_longer_has_the_key() {
    // The contract revokes a delegate with the time of the block.
    let changes = vec![delegate("veriKey", 1, 10_000), delegate("veriKey", 1, 20)];
    let block = |number| Moment::Block { number, time: Timestamp::from_secs(number * 10) };
    assert_eq!(fragments(&at(DID, changes.clone(), block(1)).0).len(), 2);
    assert_eq!(fragments(&at(DID, changes, block(2)).0).len(), 1);
}

#[test]
fn a_clock_that_is_behind_does_not_bring_back_what_was_revoked() {
    let changes = vec![delegate("veriKey", 1, 10_000), delegate("veriKey", 1, 20)];
    assert_eq!(fragments(&now(changes, 0)), ["controller"]);
}

#[test]
fn versions_by_block_and_by_time_name_their_neighbours() {
    let changes = vec![delegate("veriKey", 1, 10_000), delegate("veriKey", 2, 10_000)];
    let (document, metadata) =
        at(DID, changes.clone(), Moment::Time(Timestamp::from_millis(19_999)));
    assert_eq!(fragments(&document), ["controller", "delegate-1"]);
    assert_eq!(metadata.version_id.as_deref(), Some("1"));
    assert_eq!(metadata.updated, Some(Timestamp::from_secs(10)));
    assert_eq!(metadata.next_version_id.as_deref(), Some("2"));
    assert_eq!(metadata.next_update, Some(Timestamp::from_secs(20)));

    let (document, metadata) = at(DID, changes, Moment::Time(Timestamp::from_secs(20)));
    assert_eq!(fragments(&document).len(), 3);
    assert_eq!((metadata.version_id.as_deref(), metadata.next_update), (Some("2"), None));
}

#[test]
fn nothing_comes_after_the_null_owner() {
    let changes = vec![
        delegate("veriKey", 1, 10_000),
        Change::Owner(Address::ZERO),
        delegate("veriKey", 2, 10_000),
        Change::Owner(Address::repeat_byte(1)),
    ];
    let (document, metadata) = at(DID, changes.clone(), Moment::Head(Timestamp::from_secs(100)));
    assert_eq!(document, DidDocument::new(DID.parse().unwrap()));
    assert!(metadata.deactivated);
    assert_eq!(metadata.version_id.as_deref(), Some("2"));
    assert_eq!(metadata.next_version_id, None);
    let (document, metadata) = at(DID, changes, Moment::Time(Timestamp::from_secs(10)));
    assert_eq!(fragments(&document).len(), 2);
    assert!(!metadata.deactivated);
    assert_eq!(metadata.next_version_id.as_deref(), Some("2"));
}

#[test]
fn a_multikey_of_a_known_curve_is_a_key_and_others_are_kept_as_text() {
    let key = SoftwareKey::from_seed(Algorithm::Es256, [7; 32]).public_key().clone();
    let value = [&[0x80, 0x24][..], &key.to_bytes()].concat();
    let document = now(vec![attribute("did/pub/Multikey/sigAuth", &value, 900)], 100);
    assert_eq!(newest(&document).key(), Some(&key));
    assert_eq!(newest(&document).kind, "Multikey");
    let document = now(vec![attribute("did/pub/Multikey", &[], 900)], 100);
    let nothing = Material::Foreign { member: "publicKeyMultibase".into(), value: "z".into() };
    assert_eq!(newest(&document).material, nothing);
}

#[test]
fn secp256k1_attributes_are_points_in_33_64_or_65_bytes_and_never_private_keys() {
    let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]).public_key().clone();
    let point = key.to_uncompressed().unwrap();
    let compressed = key.to_bytes();
    for value in [&compressed[..], &point, &[&[4], &point[..]].concat()] {
        let document = now(vec![attribute("did/pub/Secp256k1/veriKey/hex", value, 900)], 100);
        assert_eq!(newest(&document).key(), Some(&key));
        assert_eq!(newest(&document).kind, "EcdsaSecp256k1VerificationKey2019");
    }
    let wrong = [&[7; 32][..], &[], &[2], &point[..63], &[0; 33], &[5; 33], &[4; 65], &[0; 96]];
    for value in wrong {
        let document = now(vec![attribute("did/pub/Secp256k1/veriKey", value, 900)], 100);
        assert_eq!(fragments(&document), ["controller"], "{value:?}");
    }
}

#[test]
fn keys_of_unknown_kinds_follow_the_hint_of_their_encoding() {
    for (hint, member, value) in [
        ("did/pub/New/veriKey", "publicKeyHex", "0102ff"),
        ("did/pub/New/veriKey/hex", "publicKeyHex", "0102ff"),
        ("did/pub/New/veriKey/base64", "publicKeyBase64", "AQL/"),
        ("did/pub/New/veriKey/base58", "publicKeyBase58", "LfN"),
        ("did/pub/New/veriKey/pem", "value", "0102ff"),
    ] {
        let document = now(vec![attribute(hint, &[1, 2, 255], 900)], 100);
        let Material::Foreign { member: found, value: text } = &newest(&document).material else {
            panic!("{hint}")
        };
        assert_eq!(found, member, "{hint}");
        let decoded = bs58::decode(text).into_vec();
        let fine = text == value || (member == "publicKeyBase58" && decoded == Ok(vec![1, 2, 255]));
        assert!(fine, "{hint}: {text}");
    }
}

#[test]
fn endpoints_are_text_or_the_maps_and_lists_of_json() {
    for (value, endpoint) in [
        ("https://a.example", "https://a.example"),
        ("\"https://a.example\"", "https://a.example"),
        ("{ \"uri\": \"https://a.example\" }", "{\"uri\":\"https://a.example\"}"),
        ("[ \"a\", \"b\" ]", "[\"a\",\"b\"]"),
        ("7", "7"),
        ("{", "{"),
    ] {
        let document = now(vec![attribute("did/svc/Hub", value.as_bytes(), 900)], 100);
        assert_eq!(document.service[0].endpoint, endpoint);
    }
}

#[test]
fn identifiers_are_read_in_every_spelling_and_written_in_one() {
    let lower = "f3beac30c498d9e26865f34fcaa57dbb935b0d74";
    let mixed = Identifier::of(&DID.parse().unwrap()).unwrap().address().to_string();
    for text in [
        format!("did:ethr:0x{lower}"),
        format!("did:ethr:0x{}", lower.to_uppercase()),
        format!("did:ethr:{mixed}"),
        format!("did:ethr:mainnet:0x{lower}"),
    ] {
        assert_eq!(ethr::parse(&text).unwrap().as_str(), DID, "{text}");
    }
    let testnet = ethr::parse(&format!("did:ethr:rsk:testnet:0x{lower}")).unwrap();
    assert_eq!(Identifier::of(&testnet).unwrap().network(), "rsk:testnet");
    let swapped = mixed.replacen('F', "f", 1);
    assert_ne!(swapped, mixed);
    for bad in [
        format!("did:ethr:{swapped}"),
        format!("did:ethr:{lower}"),
        format!("did:ethr::0x{lower}"),
        format!("did:ethr:0x{lower}0"),
        format!("did:ethr:0x04{}", "11".repeat(32)),
        format!("did:ethr:0x02{}", "ff".repeat(32)),
        format!("did:ethr:0x{}", "zz".repeat(20)),
        "did:ethr:mainnet".into(),
    ] {
        assert!(ethr::parse(&bad).is_err(), "{bad}");
    }
    let ed25519 = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    assert!(ethr::from_key("mainnet", ed25519.public_key()).is_err());
}

#[test]
fn keys_longer_than_any_in_use_are_left_out() {
    for (name, longest) in [
        ("did/pub/Ed25519/veriKey/base58", 64),
        ("did/pub/X25519/enc/base64", 64),
        ("did/pub/Multikey/veriKey", 512),
        ("did/pub/New/veriKey/base58", 512),
        ("did/pub/New/veriKey/hex", 2600),
        ("did/pub/New/veriKey/base64", 2600),
    ] {
        let fits = now(vec![attribute(name, &vec![7; longest], 900)], 100);
        assert_eq!(fragments(&fits), ["controller", "delegate-1"], "{name}");
        let longer = now(vec![attribute(name, &vec![7; longest + 1], 900)], 100);
        assert_eq!(fragments(&longer), ["controller"], "{name}");
    }
}
