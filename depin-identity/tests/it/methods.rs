//! did:key and did:io: round trips and everything that is no such DID.

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use depin_core::{
    Address, Algorithm, B256, Did, Error, ErrorKind, PublicKey, Result, Signer, SoftwareKey,
    Timestamp,
    registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment},
};
use depin_identity::{
    DidResolver, Resolver,
    document::{document_hash, to_json},
    methods::{io, key},
};
use proptest::prelude::*;

fn public(algorithm: Algorithm, seed: u8) -> PublicKey {
    SoftwareKey::from_seed(algorithm, [seed; 32]).public_key().clone()
}

fn did_of_bytes(bytes: &[u8]) -> Did {
    format!("did:key:z{}", bs58::encode(bytes).into_string()).parse().unwrap()
}

fn kind_of(did: &Did) -> ErrorKind {
    key::public_key(did).unwrap_err().kind()
}

#[test]
fn a_did_key_is_nothing_but_a_compressed_key_of_a_known_curve() {
    let point = public(Algorithm::Es256k, 1).to_bytes();
    let xy = public(Algorithm::Es256k, 1).to_uncompressed().unwrap();
    let coded = |codec: [u8; 2], key: &[u8]| did_of_bytes(&[&codec[..], key].concat());
    assert!(key::public_key(&coded([0xe7, 0x01], &point)).is_ok());

    let bad = [
        ("multicodec of P-384", coded([0x81, 0x24], &point)),
        ("multicodec of X25519", coded([0xec, 0x01], &[9; 32])),
        (
            "a P-256 codec and a secp256k1 point",
            coded([0x80, 0x24], &public(Algorithm::Es256k, 3).to_bytes()),
        ),
        ("varint of one byte more", did_of_bytes(&[&[0xe7, 0x81, 0x00], &point[..]].concat())),
        ("uncompressed", coded([0xe7, 0x01], &[&[4][..], &xy].concat())),
        ("x only", coded([0xe7, 0x01], &point[1..])),
        ("compact", coded([0xe7, 0x01], &[&[5][..], &point[1..]].concat())),
        ("a trailing byte", coded([0xe7, 0x01], &[&point[..], &[0]].concat())),
        ("a missing byte", coded([0xe7, 0x01], &point[..32])),
        ("off the curve", coded([0xe7, 0x01], &[&[2][..], &[0xff; 32]].concat())),
        ("nothing", coded([0xe7, 0x01], &[])),
        ("no codec", did_of_bytes(&[0xe7])),
        ("base64url multibase", "did:key:u5wEC".parse().unwrap()),
        (
            "no multibase",
            "did:key:Q3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme".parse().unwrap(),
        ),
        ("not base58", "did:key:z0OIl".parse().unwrap()),
        ("long", format!("did:key:z{}", "1".repeat(400)).parse().unwrap()),
        ("a leading zero byte", did_of_bytes(&[&[0, 0xe7, 0x01], &point[..]].concat())),
    ];
    for (what, did) in bad {
        assert_eq!(kind_of(&did), ErrorKind::Malformed, "{what}: {did}");
    }
    assert_eq!(kind_of(&"did:io:0x00".parse().unwrap()), ErrorKind::Unsupported);
}

#[test]
fn compact_points_are_no_second_name_of_a_p256_key() {
    let point = public(Algorithm::Es256, 1).to_bytes();
    let did = did_of_bytes(&[&[0x80, 0x24, 5], &point[1..]].concat());
    assert_eq!(kind_of(&did), ErrorKind::Malformed);
}

#[test]
fn w3bstream_ids_without_0x_are_read_by_the_lenient_parser_only() {
    let text = "did:io:5576E95935366Ebd2637D9171E4C92e60598be10";
    assert_eq!(io::parse(text).unwrap_err().kind(), ErrorKind::Malformed);
    let did = io::parse_lenient(text).unwrap();
    assert_eq!(did.as_str(), "did:io:0x5576e95935366ebd2637d9171e4c92e60598be10");
    assert_eq!(io::parse_lenient(did.as_str()).unwrap(), did);
}

#[test]
fn a_did_io_is_0x_and_40_digits_of_one_case_or_with_a_checksum() {
    let lower = "did:io:0x5576e95935366ebd2637d9171e4c92e60598be10";
    for good in [
        lower,
        "did:io:0x5576E95935366EBD2637D9171E4C92E60598BE10",
        "did:io:0x5576E95935366Ebd2637D9171E4C92e60598be10",
    ] {
        assert_eq!(io::parse(good).unwrap().as_str(), lower, "{good}");
    }
    for bad in [
        "did:io:0x5576e95935366Ebd2637D9171E4C92e60598be10",
        "did:io:0X5576e95935366ebd2637d9171e4c92e60598be10",
        "did:io:0x5576e95935366ebd2637d9171e4c92e60598be1",
        "did:io:0x5576e95935366ebd2637d9171e4c92e60598be100",
        "did:io:0x5576e95935366ebd2637d9171e4c92e60598be1g",
        "did:io:0x0x76e95935366ebd2637d9171e4c92e60598be10",
        "did:io:5576e95935366ebd2637d9171e4c92e60598be10",
        "did:io:io1vdtfpzkwpyngzvx7u2mauepnzja7kd5rryp0sg",
        "did:IO:0x5576e95935366ebd2637d9171e4c92e60598be10",
        "did:io:",
    ] {
        assert_eq!(io::parse(bad).unwrap_err().kind(), ErrorKind::Malformed, "{bad}");
    }
    let other = io::parse("did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme");
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Unsupported);
    let ed25519 = io::did_io(&public(Algorithm::EdDsa, 1)).unwrap_err();
    assert_eq!(ed25519.kind(), ErrorKind::Unsupported);
}

proptest! {
    #[test]
    fn keys_and_did_keys_are_each_others_inverse(seed: [u8; 32], which in 0..3_usize) {
        let device = SoftwareKey::from_seed(Algorithm::ALL[which], seed);
        let did = key::did_key(device.public_key());
        prop_assert_eq!(&key::public_key(&did).unwrap(), device.public_key());
        let document = key::document(&did).unwrap();
        prop_assert_eq!(document.verification_method[0].key(), Some(device.public_key()));
    }

    #[test]
    fn addresses_and_did_ios_are_each_others_inverse(bytes: [u8; 20]) {
        let address = Address::new(bytes);
        let did = io::from_address(address);
        prop_assert_eq!(io::address(&did).unwrap(), address);
        prop_assert_eq!(&io::parse(&format!("did:io:{address}")).unwrap(), &did);
        let upper = format!("did:io:0x{}", hex::encode_upper(bytes));
        prop_assert_eq!(&io::parse(&upper).unwrap(), &did);
    }

    #[test]
    fn what_parses_as_did_key_is_the_one_name_of_its_key(
        codec in prop_oneof![Just([0xe7_u8, 0x01]), Just([0x80, 0x24]), Just([0xed, 0x01]), any::<[u8; 2]>()],
        key in proptest::collection::vec(any::<u8>(), 0..70),
    ) {
        let did = did_of_bytes(&[&codec[..], &key].concat());
        if let Ok(key) = key::public_key(&did) {
            prop_assert_eq!(key::did_key(&key), did);
        }
    }

    #[test]
    fn parsing_a_did_io_never_panics(text in "did:io:(0x)?\\PC{0,44}") {
        let (strict, lenient) = (io::parse(&text), io::parse_lenient(&text));
        prop_assert!(strict.is_err() || lenient.is_ok());
    }
}

/// A registry that holds what the test says.
#[derive(Debug, Default)]
struct Fixed(Mutex<BTreeMap<Did, DeviceRecord>>);

#[async_trait]
impl DeviceRegistry for Fixed {
    async fn register(&self, _: &Enrolment, _: &dyn Signer) -> Result<DeviceRecord> {
        Err(Error::new(ErrorKind::Unsupported, "the test decides who is registered"))
    }

    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>> {
        Ok(self.0.lock().unwrap().get(did).cloned())
    }

    async fn set_status(&self, did: &Did, status: DeviceStatus) -> Result<()> {
        self.0.lock().unwrap().get_mut(did).unwrap().status = status;
        Ok(())
    }
}

fn record(key: &PublicKey) -> DeviceRecord {
    DeviceRecord {
        did: io::did_io(key).unwrap(),
        key: key.clone(),
        next_key: None,
        nullifier: None,
        owner: Address::repeat_byte(1),
        account: None,
        status: DeviceStatus::Active,
        document_hash: document_hash(&io::document(key).unwrap()),
        document_uri: String::new(),
        appraisal: B256::ZERO,
        registered: Timestamp::EPOCH,
    }
}

fn over(records: &[DeviceRecord]) -> Resolver {
    let records = records.iter().map(|record| (record.did.clone(), record.clone())).collect();
    Resolver::new().with_registry(std::sync::Arc::new(Fixed(Mutex::new(records))))
}

#[tokio::test]
async fn the_resolver_of_keys_and_registry_conforms() {
    let known = record(&public(Algorithm::Es256k, 1));
    let revoked =
        DeviceRecord { status: DeviceStatus::Revoked, ..record(&public(Algorithm::Es256, 2)) };
    let suspended =
        DeviceRecord { status: DeviceStatus::Suspended, ..record(&public(Algorithm::Es256, 3)) };
    let resolver = over(&[known.clone(), revoked.clone(), suspended.clone()]);
    assert!(resolver.methods().eq(["io", "jwk", "key"]));
    let known = [known.did, suspended.did, key::did_key(&public(Algorithm::EdDsa, 1))];
    let gone = [revoked.did, io::from_address(Address::repeat_byte(9))];
    depin_testkit::resolver::conforms(&resolver, &known, &gone).await;
}

#[tokio::test]
async fn a_did_io_in_another_spelling_is_told_how_to_become_canonical() {
    let record = record(&public(Algorithm::Es256k, 1));
    let upper: Did = format!("did:io:{}", io::address(&record.did).unwrap()).parse().unwrap();
    let error = over(&[record]).resolve(&upper).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.to_string().contains("methods::io::parse"), "{error}");
}

#[tokio::test]
async fn a_document_that_the_record_does_not_commit_to_is_not_made_up() {
    let key = public(Algorithm::Es256k, 1);
    let lost = DeviceRecord { document_hash: B256::repeat_byte(1), ..record(&key) };
    let error = over(std::slice::from_ref(&lost)).resolve(&lost.did).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);

    let elsewhere = DeviceRecord { document_uri: "ipfs://x".into(), ..lost };
    let error = over(std::slice::from_ref(&elsewhere)).resolve(&elsewhere.did).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("ipfs://x"), "{error}");
}

#[tokio::test]
async fn the_document_of_a_record_has_its_did_and_the_key_of_now() {
    let (old, new) = (public(Algorithm::Es256k, 1), public(Algorithm::Es256, 2));
    let fresh = DeviceRecord { document_hash: B256::ZERO, ..record(&old) };
    assert_eq!(io::document_of(&fresh).unwrap(), io::document(&old).unwrap());

    let rotated = DeviceRecord { key: new.clone(), ..fresh };
    let resolver = over(std::slice::from_ref(&rotated));
    let document = resolver.resolve(&rotated.did).await.unwrap();
    assert_eq!(document.id, rotated.did);
    assert_eq!(document.verification_method[0].id.did(), &rotated.did);
    assert_ne!(document, io::document(&new).unwrap());
    // The hash of the document before the rotation does not pass for that of the one after.
    let stale = document_hash(&io::document(&old).unwrap());
    let stale = DeviceRecord { document_hash: stale, ..rotated };
    assert_eq!(io::document_of(&stale).unwrap_err().kind(), ErrorKind::Rejected);
}

#[test]
fn a_fetched_document_counts_only_with_the_recorded_hash_and_did() {
    let key = public(Algorithm::Es256k, 1);
    let document = io::document(&key).unwrap();
    let json = to_json(&document);
    let record = record(&key);
    assert_eq!(io::verify_document(&record, json.as_bytes()).unwrap(), document);
    let spaced = json.replacen(':', ": ", 1);
    assert_eq!(
        io::verify_document(&record, spaced.as_bytes()).unwrap_err().kind(),
        ErrorKind::Rejected
    );
    let other = DeviceRecord { did: io::from_address(Address::ZERO), ..record };
    assert_eq!(
        io::verify_document(&other, json.as_bytes()).unwrap_err().kind(),
        ErrorKind::Rejected
    );
}
