//! Published known answers: W3C CCG did:key, IoTeX did:io.

use depin_core::{Algorithm, Did, PublicKey, Signer, SoftwareKey, document::Relationships};
use depin_identity::{
    document::from_json,
    methods::{io, key},
};
use depin_testkit::conformance::Suite;
use serde_json::{Map, Value, json};

pub(crate) fn read(part: &str) -> Option<Value> {
    let path = depin_testkit::vectors::find(env!("CARGO_MANIFEST_DIR"), part)?;
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

fn cases(part: &str) -> Map<String, Value> {
    read(part).and_then(|value| value.as_object().cloned()).unwrap_or_default()
}

fn seed_of(case: &Value) -> Option<[u8; 32]> {
    Some(hex::decode(case["seed"].as_str()?).unwrap().try_into().unwrap())
}

/// The key that a document with a JWK says, read by our own parser.
pub(crate) fn key_of_jwk(did: &str, jwk: &Value) -> PublicKey {
    let method =
        json!({"id": "#k", "type": "JsonWebKey2020", "controller": did, "publicKeyJwk": jwk});
    let document = json!({"id": did, "authentication": [method]});
    let document = from_json(document.to_string().as_bytes()).unwrap();
    document.keys(Relationships::AUTHENTICATION).next().expect("a key of a known curve").clone()
}

fn is_its_own_did_key(text: &str, expected: &PublicKey) {
    let did: Did = text.parse().unwrap();
    assert_eq!(key::public_key(&did).unwrap(), *expected, "{text}");
    assert_eq!(key::did_key(expected), did, "{text}");
    let document = key::document(&did).unwrap();
    assert_eq!(document.verification_method[0].id.to_string(), format!("{did}#{}", did.id()));
}

#[test]
fn did_keys_of_secp256k1_are_the_published_ones() {
    let mut suite = Suite::new("did:key, secp256k1");
    for (did, case) in cases("identity/did-key/secp256k1.json") {
        let pair = &case["verificationKeyPair"];
        let key = match (seed_of(&case), pair["publicKeyBase58"].as_str()) {
            (Some(seed), _) => {
                SoftwareKey::from_bytes(Algorithm::Es256k, &seed).unwrap().public_key().clone()
            }
            (None, Some(_)) => unreachable!("every case has a seed or a jwk"),
            (None, None) => key_of_jwk(&did, &pair["publicKeyJwk"]),
        };
        is_its_own_did_key(&did, &key);
        suite.case(did, true);
    }
    suite.finish();
}

#[test]
fn did_keys_of_ed25519_are_the_published_ones() {
    let mut suite = Suite::new("did:key, Ed25519");
    for (did, case) in cases("identity/did-key/ed25519-x25519.json") {
        let seed = seed_of(&case).unwrap();
        let device = SoftwareKey::from_bytes(Algorithm::EdDsa, &seed).unwrap();
        is_its_own_did_key(&did, device.public_key());
        let pair = &case["verificationKeyPair"];
        match pair["publicKeyBase58"].as_str() {
            Some(base58) => {
                assert_eq!(bs58::decode(base58).into_vec().unwrap(), device.public_key().to_bytes())
            }
            None => assert_eq!(key_of_jwk(&did, &pair["publicKeyJwk"]), *device.public_key()),
        }
        suite.case(did, true);
    }
    suite.finish();
}

#[test]
fn did_keys_of_p256_are_the_published_ones_and_larger_curves_are_refused() {
    let mut suite = Suite::new("did:key, NIST curves");
    let (mut known, mut larger) = (0, 0);
    for (did, case) in cases("identity/did-key/nist-curves.json") {
        let published = case["didDocument"].to_string();
        let read = from_json(published.as_bytes()).unwrap();
        if did.starts_with("did:key:zDn") {
            // One case has no JWK but the base58 of an older document shape, which we leave out.
            let base58 = case["didDocument"]["verificationMethod"][0]["publicKeyBase58"].as_str();
            let key = match base58 {
                Some(text) => {
                    let point = bs58::decode(text).into_vec().unwrap();
                    PublicKey::from_bytes(Algorithm::Es256, &point).unwrap()
                }
                None => {
                    read.keys(Relationships::AUTHENTICATION).next().expect("a key of P-256").clone()
                }
            };
            is_its_own_did_key(&did, &key);
            suite.case(did, true);
            known += 1;
        } else {
            assert_eq!(read.keys(Relationships::AUTHENTICATION).count(), 0, "{did}");
            assert!(key::public_key(&did.parse().unwrap()).is_err(), "{did}");
            larger += 1;
        }
    }
    assert!([(0, 0), (3, 4)].contains(&(known, larger)), "{known} {larger}");
    if larger > 0 {
        suite.not_applicable(larger, "P-384 and P-521 are no keys of the SDK: refused");
    }
    suite.finish();
}

#[test]
fn did_ios_of_published_keys_are_the_published_ones() {
    let ioid = read("identity/did-io/did-io.json").map(|file| file["derivation"].clone());
    let device = read("iotex/did_io_jwk.json");
    let with_jwk = |case: &Value| {
        let mut jwk = case.get("publicKeyJwk").unwrap_or(case).clone();
        jwk["kty"] = "EC".into();
        (case["did"].as_str().unwrap().to_owned(), jwk)
    };
    let files = [ioid, device];
    let cases = files.iter().flatten().flat_map(|file| file.as_array().unwrap()).map(with_jwk);
    let mut suite = Suite::new("did:io, ioID");
    for (did, jwk) in cases {
        let key = key_of_jwk(&did, &jwk);
        assert_eq!(io::did_io(&key).unwrap(), io::parse(&did).unwrap());
        assert_eq!(io::document(&key).unwrap().id.as_str(), did);
        suite.case(did, true);
    }
    suite.finish();
}

#[test]
fn the_published_example_in_mixed_case_is_read() {
    let Some(file) = read("identity/did-io/did-io.json") else { return };
    for example in file["spec_examples"].as_array().unwrap() {
        let text = example["example"].as_str().unwrap();
        assert_eq!(io::parse(text).unwrap().as_str(), text.to_lowercase());
    }
}

/// As an ioID device writes its document: two keys, of which one only agrees on secrets and has a DID of
/// its own.
#[test]
fn documents_of_ioid_devices_are_read() {
    let jwk = |crv: &str, x: &str, y: &str, kid: &str| json!({"crv": crv, "x": x, "y": y, "d": "", "kty": "EC", "kid": kid});
    let did = "did:io:0xba80b710f0c27c8b3b72df63861e2ecea9c5aa73";
    let agree = "did:io:0xfab99326ce27d0d30b8609e6d4d748629242b077";
    let (sign_id, agree_id) = (format!("{did}#Key-secp256k1-1"), format!("{agree}#Key-p256-2"));
    let document = json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security#keyAgreementMethod"],
        "id": did,
        "authentication": [sign_id],
        "keyAgreement": [agree_id],
        "verificationMethod": [
            {"id": agree_id, "type": "JsonWebKey2020", "controller": did, "publicKeyJwk": jwk("P-256",
                "WIbBzvEz-6beOyvZtVmtN9J1EvPlgKUPDTPZy3kJJnk", "OvsnblaTwctIM2tP3pu8kh2RxpXxIwwtNceM4Z9iKcI", "Key-p256-2")},
            {"id": sign_id, "type": "JsonWebKey2020", "controller": did, "publicKeyJwk": jwk("secp256k1",
                "KAkqUSARxKvyrfkykUH9fl5Ef6AbcaoEWQgi8IwFdIo", "dmlXLytvKgIVH4hgPP2Tzlp6dJbq5KWtluiX1U1v9o0", "Key-secp256k1-1")},
        ],
    });
    let document = from_json(document.to_string().as_bytes()).unwrap();
    let keys: Vec<_> = document.keys(Relationships::AUTHENTICATION).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(io::did_io(keys[0]).unwrap(), document.id);
}
