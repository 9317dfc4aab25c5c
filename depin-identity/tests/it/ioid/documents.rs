//! Documents as ioID devices write them, and keys when the node keeps no log.

use std::collections::BTreeMap;

use super::*;

#[derive(Debug, Default)]
struct Shelf(BTreeMap<String, Vec<u8>>);

#[async_trait::async_trait]
impl DocumentSource for Shelf {
    async fn fetch(&self, _: &Did, uri: &str) -> depin_core::Result<Vec<u8>> {
        let missing = || depin_core::Error::new(ErrorKind::NotFound, "no such document");
        self.0.get(uri).cloned().ok_or_else(missing)
    }
}

/// What IoTeX's SDK and its servers write: JSON web keys with an empty private half, and a second key to
/// agree on secrets that is named by a DID of its own.
fn as_ioid_writes_it(key: &SoftwareKey, spelled: &str) -> Vec<u8> {
    let agreement = SoftwareKey::from_seed(Algorithm::Es256, [9; 32]);
    let jwk = |key: &SoftwareKey, crv: &str, kid: &str| {
        let xy = key.public_key().to_uncompressed().unwrap();
        serde_json::json!({
            "crv": crv, "kty": "EC", "kid": kid, "d": "",
            "x": base64url(&xy[..32]), "y": base64url(&xy[32..]),
        })
    };
    let main = format!("{spelled}#Key-secp256k1-1");
    let second = format!("{}#Key-p256-2", io::did_io(agreement.public_key()).unwrap());
    let document = serde_json::json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security#keyAgreementMethod"],
        "id": spelled,
        "authentication": [main],
        "keyAgreement": [second],
        "verificationMethod": [
            {"id": main, "type": "JsonWebKey2020", "controller": spelled,
             "publicKeyJwk": jwk(key, "secp256k1", "Key-secp256k1-1")},
            {"id": second, "type": "JsonWebKey2020", "controller": spelled,
             "publicKeyJwk": jwk(&agreement, "P-256", "Key-p256-2")},
        ],
    });
    serde_json::to_vec_pretty(&document).unwrap()
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |six: &[u8]| {
        let value = (0..6).fold(0, |sum, at| sum << 1 | six.get(at).copied().unwrap_or(0));
        char::from(DIGITS[usize::from(value)])
    };
    bits.chunks(6).map(digit).collect()
}

#[test]
fn either_hash_is_accepted_and_named() {
    let (key, did) = device(1);
    let mixed = format!("did:io:{}", io::address(&did).unwrap());
    assert_ne!(mixed, did.as_str());
    for spelled in [did.as_str(), &mixed] {
        let json = as_ioid_writes_it(&key, spelled);
        let keccak = depin_core::keccak256(&json);
        let (document, with) = verify_document(&did, keccak, &json).unwrap();
        assert_eq!(with, HashedWith::Keccak256);
        let key_of_device = document.verification_method.iter().find_map(|method| method.key());
        assert_eq!(key_of_device, Some(key.public_key()));
    }
    let document = io::document(key.public_key()).unwrap();
    let (json, hash) = (to_json(&document), document_hash(&document));
    let (_, with) = verify_document(&did, hash, json.as_bytes()).unwrap();
    assert_eq!(with, HashedWith::Sha256);
}

#[test]
fn other_bytes_other_dids_and_too_many_bytes_are_refused() {
    let (key, did) = device(1);
    let json = as_ioid_writes_it(&key, did.as_str());
    let hash = depin_core::keccak256(&json);
    for at in [0, json.len() / 2, json.len() - 1] {
        let mut changed = json.clone();
        changed[at] ^= 1;
        let error = verify_document(&did, hash, &changed).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
    }
    for end in 0..json.len() {
        let cut = &json[..end];
        assert!(verify_document(&did, hash, cut).is_err());
        // Nor is a prefix read when the chain holds its hash.
        assert!(verify_document(&did, depin_core::keccak256(cut), cut).is_err());
    }
    let error = verify_document(&device(2).1, hash, &json).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let huge = vec![b' '; 10 << 20];
    assert_eq!(verify_document(&did, hash, &huge).unwrap_err().kind(), ErrorKind::Limit);
}

#[tokio::test]
async fn without_a_log_the_document_tells_the_key() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let (key, did) = device(1);
    let json = as_ioid_writes_it(&key, did.as_str());
    let wish = wish(&key, world.account(1)).document(depin_core::keccak256(&json), PLACE);
    let record = registry.register(&wish, &key).await.unwrap();

    // A fresh handle that looks into a log where the registration is not.
    let blind = world.registry(0).await.since(1_000_000);
    let error = blind.device(&did).await.unwrap_err();
    assert!(error.is_retryable());
    let error = blind.document(&did).await.unwrap_err();
    assert!(error.to_string().contains("with_documents"), "{error}");

    let shelf = Shelf(BTreeMap::from([(wish.document_uri.clone(), json)]));
    let reading = blind.clone().with_documents(Arc::new(shelf));
    let found = reading.device(&did).await.unwrap().unwrap();
    assert_eq!(found.key, *key.public_key());
    assert_eq!(found.registered, depin_core::Timestamp::EPOCH, "nobody knows when");
    assert_eq!(DeviceRecord { registered: record.registered, ..found }, record);
    assert_eq!(reading.resolve(&did).await.unwrap().id, did);

    let liar = Shelf(BTreeMap::from([(wish.document_uri, b"{}".to_vec())]));
    let error = blind.with_documents(Arc::new(liar)).device(&did).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn a_document_without_the_devices_key_is_refused() {
    let world = World::new().await;
    let registry = world.registry(0).await;
    let (key, did) = device(1);
    let json = as_ioid_writes_it(&device(2).0, did.as_str());
    let wish = wish(&key, world.account(1)).document(depin_core::keccak256(&json), PLACE);
    registry.register(&wish, &key).await.unwrap();
    let shelf = Shelf(BTreeMap::from([(wish.document_uri, json)]));
    let blind = world.registry(0).await.since(1_000_000).with_documents(Arc::new(shelf));
    let error = blind.device(&did).await.unwrap_err();
    assert!(error.to_string().contains("lacks the key"), "{error}");
}

#[tokio::test]
async fn the_key_follows_from_the_chain_alone() {
    let world = World::new().await;
    let (key, did) = device(1);
    let record =
        world.registry(0).await.register(&wish(&key, world.account(1)), &key).await.unwrap();
    // Another account, another handle, no document.
    let elsewhere = world.ioid(3).await.registry_of(U256::ONE).await.unwrap();
    assert_eq!(elsewhere.device(&did).await.unwrap(), Some(record));
}
