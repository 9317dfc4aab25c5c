//! Documents as JSON: one spelling out, strict and bounded in.

use depin_core::{
    Address, Algorithm, ChainId, Did, DidUrl, ErrorKind, PublicKey, Signer, SoftwareKey,
    document::{Material, Relationships},
};
use depin_identity::{
    DidDocument, Service, VerificationMethod,
    document::{DocumentError, MAX_ENTRIES, MAX_JSON_LEN, document_hash, from_json, to_json},
    json::JsonError,
    jwk,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn key(seed: u8) -> PublicKey {
    SoftwareKey::from_seed(Algorithm::Es256k, [seed; 32]).public_key().clone()
}

fn method(id: &str) -> Value {
    json!({"id": id, "type": "Multikey", "controller": "did:a:b", "publicKeyMultibase": key(1).to_multikey()})
}

fn read(document: &Value) -> Result<DidDocument, DocumentError> {
    from_json(document.to_string().as_bytes())
}

#[test]
fn the_text_of_a_document_is_known_to_the_byte() {
    let mut document = DidDocument::new("did:example:7".parse().unwrap());
    document.verification_method.push(VerificationMethod::new(
        "did:example:7#k".parse().unwrap(),
        document.id.clone(),
        PublicKey::from_multikey("z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp").unwrap(),
    ));
    let expected = concat!(
        r#"{"@context":["https://www.w3.org/ns/did/v1","https://w3id.org/security/multikey/v1"],"#,
        r#""assertionMethod":["did:example:7#k"],"authentication":["did:example:7#k"],"id":"did:example:7","#,
        r#""verificationMethod":[{"controller":"did:example:7","id":"did:example:7#k","#,
        r#""publicKeyMultibase":"z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp","type":"Multikey"}]}"#,
    );
    assert_eq!(to_json(&document), expected);
    // SHA-256 of the text above, computed with another program.
    assert_eq!(
        document_hash(&document).to_string(),
        "0x1e3ac59ff53c4b5da3762764d77906e34bb7b04e50a80f7618c20ed27558fe8f"
    );
}

#[test]
fn keys_may_do_what_the_document_says_and_nothing_else() {
    let document = read(&json!({
        "id": "did:a:b",
        "verificationMethod": [method("#sign"), method("#agree"), method("#both"), method("#idle")],
        "authentication": ["did:a:b#sign", "#unknown", "did:other:c#k"],
        "assertionMethod": ["#both"],
        "keyAgreement": ["#agree"],
        "capabilityInvocation": ["#both", method("#embedded")],
        "capabilityDelegation": [],
    }))
    .unwrap();
    let found: Vec<_> = document
        .verification_method
        .iter()
        .map(|method| (method.id.fragment().unwrap(), method.relationships))
        .collect();
    let expected = [
        ("sign", Relationships::AUTHENTICATION),
        ("agree", Relationships::KEY_AGREEMENT),
        ("both", Relationships::ASSERTION | Relationships::INVOCATION),
        ("idle", Relationships::NONE),
        ("embedded", Relationships::INVOCATION),
    ];
    assert_eq!(found, expected);
    assert_eq!(document.keys(Relationships::AUTHENTICATION).count(), 1);
}

#[test]
fn methods_embedded_in_authentication_are_read() {
    let document = read(&json!({"id": "did:a:b", "authentication": [method("#owner")]})).unwrap();
    assert_eq!(document.verification_method[0].id.to_string(), "did:a:b#owner");
}

#[test]
fn keys_of_other_kinds_survive_and_unknown_members_do_not() {
    let p384 = "z82Lm1MpAkeJcix9K8TMiLd5NMAhnwkjjCBeWHXyu3U4oT2MVJJKXkcVBgjGhnLBn2Kaau9";
    let entry = |id: &str, kind: &str, member: &str, value: Value| json!({"id": id, "type": kind, "controller": "did:a:b", member: value});
    let document = read(&json!({
        "id": "did:a:b",
        "created": [1, 2.5, null, {"deep": true}],
        "verificationMethod": [
            entry("#p384", "Multikey", "publicKeyMultibase", json!(p384)),
            entry("#rsa", "JsonWebKey2020", "publicKeyJwk", json!({"n": "AQAB", "kty": "RSA", "e": "AQAB"})),
            entry("#pem", "RsaVerificationKey2018", "publicKeyPem", json!("-----BEGIN")),
            entry("#base", "P256Key2021", "publicKeyBase58", json!("2x")),
            entry("#tezos", "Ed25519PublicKeyBLAKE2BDigestSize20Base58CheckEncoded2021",
                "blockchainAccountId", json!("tezos:NetXdQprcVkpaWU:tz1abc")),
            entry("#new", "NewKey2030", "publicKeyMultibase", json!("u123")),
            entry("#none", "Bls12381G2Key2020", "x", json!(1)),
        ],
        "service": [{"id": "#s", "type": "X", "serviceEndpoint": {"uri": "https://example.org"}},
                    {"id": "#t", "type": "Y", "serviceEndpoint": "https://example.org"}],
    }))
    .unwrap();
    let held: Vec<_> = document
        .verification_method
        .iter()
        .map(|method| match &method.material {
            Material::Foreign { member, value } => (member.as_str(), value.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        ("publicKeyMultibase", p384),
        ("publicKeyJwk", r#"{"e":"AQAB","kty":"RSA","n":"AQAB"}"#),
        ("publicKeyPem", "-----BEGIN"),
        ("publicKeyBase58", "2x"),
        ("blockchainAccountId", "tezos:NetXdQprcVkpaWU:tz1abc"),
        ("publicKeyMultibase", "u123"),
    ];
    assert_eq!(held, expected);
    let text = to_json(&document);
    assert!(text.contains(r#""publicKeyJwk":{"e":"AQAB","kty":"RSA","n":"AQAB"}"#), "{text}");
    assert_eq!(from_json(text.as_bytes()).unwrap(), document);
    assert_eq!(document.service.len(), 1);
    assert_eq!(document.service[0].kind, "Y");
}

/// One key in every way that a document may hold it.
#[test]
fn keys_are_read_from_every_encoding_that_names_their_curve() {
    let secp = key(1);
    let ed = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]).public_key().clone();
    let base58 = |key: &PublicKey| json!(bs58::encode(key.to_bytes()).into_string());
    let uncompressed = hex::encode([&[4][..], &secp.to_uncompressed().unwrap()].concat());
    let jwk: Value = serde_json::from_str(&jwk::to_object(&secp).to_string()).unwrap();
    let secp2019 = "EcdsaSecp256k1VerificationKey2019";
    let cases = [
        (secp2019, "publicKeyHex", json!(hex::encode(secp.to_bytes())), &secp),
        (secp2019, "publicKeyHex", json!(uncompressed), &secp),
        (secp2019, "publicKeyBase58", base58(&secp), &secp),
        (secp2019, "publicKeyMultibase", json!(secp.to_multikey()), &secp),
        (secp2019, "publicKeyJwk", jwk.clone(), &secp),
        (
            "EcdsaSecp256k1RecoveryMethod2020",
            "publicKeyHex",
            json!(hex::encode(secp.to_bytes())),
            &secp,
        ),
        ("JsonWebKey", "publicKeyJwk", jwk.clone(), &secp),
        ("JsonWebKey2020", "publicKeyJwk", jwk, &secp),
        ("Ed25519VerificationKey2018", "publicKeyBase58", base58(&ed), &ed),
        ("Ed25519VerificationKey2020", "publicKeyMultibase", json!(ed.to_multikey()), &ed),
        ("SomethingElse2040", "publicKeyMultibase", json!(ed.to_multikey()), &ed),
    ];
    for (kind, member, value, key) in cases {
        let method = json!({"id": "#k", "type": kind, "controller": "did:a:b", member: value});
        let document = read(&json!({"id": "did:a:b", "authentication": [method]})).unwrap();
        assert_eq!(document.verification_method[0].key(), Some(key), "{kind} {member}");
        assert_eq!(from_json(to_json(&document).as_bytes()).unwrap(), document, "{kind} {member}");
    }
}

#[test]
fn keys_that_contradict_their_kind_or_stand_twice_are_refused() {
    let ed = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]).public_key().clone();
    let off_curve = format!("02{}", "ff".repeat(32));
    let cases = [
        ("Ed25519VerificationKey2020", "publicKeyMultibase", json!(key(1).to_multikey())),
        ("EcdsaSecp256k1VerificationKey2019", "publicKeyMultibase", json!(ed.to_multikey())),
        (
            "Ed25519VerificationKey2018",
            "publicKeyBase58",
            json!(bs58::encode([9; 31]).into_string()),
        ),
        ("Ed25519VerificationKey2018", "publicKeyBase58", json!("0OIl")),
        ("EcdsaSecp256k1VerificationKey2019", "publicKeyHex", json!(off_curve)),
        ("EcdsaSecp256k1VerificationKey2019", "publicKeyHex", json!("xyz")),
        ("EcdsaSecp256k1VerificationKey2019", "publicKeyHex", json!({})),
        ("SomethingElse2040", "publicKeyMultibase", json!(off_curve_multikey())),
        ("SomethingElse2040", "publicKeyPem", json!("x".repeat(5000))),
    ];
    for (kind, member, value) in cases {
        let method = json!({"id": "#k", "type": kind, "controller": "did:a:b", member: value});
        let refused = read(&json!({"id": "did:a:b", "verificationMethod": [method]}));
        assert_eq!(refused, Err(DocumentError::Member(member)), "{kind} {value}");
    }
    let mut two = method("#k");
    two["publicKeyHex"] = json!("02");
    let refused = read(&json!({"id": "did:a:b", "verificationMethod": [two]}));
    assert_eq!(refused, Err(DocumentError::Member("verificationMethod")));
    for private in [json!({"kty": "RSA", "d": "AQ"}), json!({"kty": "oct", "k": "AQ"})] {
        let method =
            json!({"id": "#k", "type": "New", "controller": "did:a:b", "publicKeyJwk": private});
        let refused = read(&json!({"id": "did:a:b", "verificationMethod": [method]}));
        assert_eq!(refused, Err(DocumentError::PrivateKey));
    }
}

fn off_curve_multikey() -> String {
    let bytes = [&[0xe7, 0x01, 2][..], &[0xff; 32]].concat();
    format!("z{}", bs58::encode(bytes).into_string())
}

#[test]
fn accounts_are_read_in_one_case_and_written_with_their_checksum() {
    let account = |text: &str| {
        let method = json!({"id": "#k", "type": "EcdsaSecp256k1RecoveryMethod2020",
            "controller": "did:a:b", "blockchainAccountId": text});
        read(&json!({"id": "did:a:b", "authentication": [method]}))
    };
    let checksummed = "eip155:4689:0x5576E95935366Ebd2637D9171E4C92e60598be10";
    for text in [checksummed, &checksummed.to_lowercase()] {
        let document = account(text).unwrap();
        let Material::Account { chain, address } = &document.verification_method[0].material else {
            panic!("no account")
        };
        assert_eq!((chain.value(), address.to_string().as_str()), (4689, &checksummed[12..]));
        assert!(to_json(&document).contains(checksummed));
        assert_eq!(from_json(to_json(&document).as_bytes()).unwrap(), document);
    }
    for bad in [
        "eip155:4689:0x5576E95935366ebd2637D9171E4C92e60598be10",
        "eip155:04689:0x5576e95935366ebd2637d9171e4c92e60598be10",
        "eip155::0x5576e95935366ebd2637d9171e4c92e60598be10",
        "eip155:99999999999999999999:0x5576e95935366ebd2637d9171e4c92e60598be10",
        "eip155:1:5576e95935366ebd2637d9171e4c92e60598be10",
        "eip155:1:0x5576e95935366ebd2637d9171e4c92e60598be1",
        "eip155:1:0x5576e95935366ebd2637d9171e4c92e60598be10:1",
        "eip155:",
    ] {
        assert_eq!(account(bad), Err(DocumentError::Member("blockchainAccountId")), "{bad}");
    }
}

#[test]
fn the_context_names_every_kind_that_is_used_and_no_other() {
    let mut document = DidDocument::new("did:example:7".parse().unwrap());
    assert!(to_json(&document).starts_with(r#"{"@context":["https://www.w3.org/ns/did/v1"],"#));
    for (name, kind) in
        [("a", "JsonWebKey"), ("b", "Multikey"), ("c", "New2040"), ("d", "Multikey")]
    {
        let id = format!("did:example:7#{name}").parse().unwrap();
        let mut method = VerificationMethod::new(id, document.id.clone(), key(1));
        method.kind = kind.into();
        document.verification_method.push(method);
    }
    let context = concat!(
        r#"{"@context":["https://www.w3.org/ns/did/v1","https://w3id.org/security/jwk/v1","#,
        r#""https://w3id.org/security/multikey/v1"],"#,
    );
    assert!(to_json(&document).starts_with(context), "{}", to_json(&document));
}

#[test]
fn a_document_of_the_wrong_shape_names_the_member() {
    let with = |name: &str, value: Value| {
        let mut method = method("#k");
        method[name] = value;
        json!({"id": "did:a:b", "verificationMethod": [method], "authentication": ["#k"]})
    };
    let jwk = |name: &str, value: Value| {
        let mut jwk = json!({"kty": "EC", "crv": "secp256k1",
            "x": "KAkqUSARxKvyrfkykUH9fl5Ef6AbcaoEWQgi8IwFdIo", "y": "dmlXLytvKgIVH4hgPP2Tzlp6dJbq5KWtluiX1U1v9o0"});
        jwk[name] = value;
        json!({"id": "did:a:b", "authentication": [
            {"id": "#k", "type": "JsonWebKey2020", "controller": "did:a:b", "publicKeyJwk": jwk}]})
    };
    let cases = [
        ("id", json!({})),
        ("id", json!({"id": 7})),
        ("id", json!({"id": ["did:a:b"]})),
        ("id", json!({"id": "did:a"})),
        ("controller", json!({"id": "did:a:b", "controller": 1})),
        ("controller", json!({"id": "did:a:b", "controller": ["x"]})),
        ("alsoKnownAs", json!({"id": "did:a:b", "alsoKnownAs": [1]})),
        ("verificationMethod", json!({"id": "did:a:b", "verificationMethod": {}})),
        ("verificationMethod", json!({"id": "did:a:b", "verificationMethod": ["#x"]})),
        ("authentication", json!({"id": "did:a:b", "authentication": [1]})),
        ("authentication", json!({"id": "did:a:b", "authentication": ["k"]})),
        ("service", json!({"id": "did:a:b", "service": ["x"]})),
        ("id", json!({"id": "did:a:b", "service": [{}]})),
        ("id", with("id", json!(1))),
        ("controller", with("controller", json!("b"))),
        ("type", with("type", json!(["Multikey"]))),
        ("publicKeyMultibase", with("publicKeyMultibase", json!("uAQ"))),
        ("publicKeyMultibase", with("publicKeyMultibase", json!("z0"))),
        ("publicKeyMultibase", with("publicKeyMultibase", json!(null))),
        ("publicKeyJwk", with("type", json!("JsonWebKey2020"))),
        ("publicKeyJwk", jwk("crv", json!("P-256"))),
        ("x", jwk("x", json!("KAkqUSARxKvyrfkykUH9fl5Ef6AbcaoEWQgi8IwFdIo="))),
        ("y", jwk("y", json!(null))),
        ("kty", jwk("kty", json!(1))),
        ("crv", jwk("crv", json!(1))),
    ];
    for (member, document) in cases {
        assert_eq!(read(&document), Err(DocumentError::Member(member)), "{document}");
    }
    assert_eq!(read(&jwk("d", json!("AA"))), Err(DocumentError::PrivateKey));
    assert_eq!(read(&jwk("d", json!({}))), Err(DocumentError::PrivateKey));
    assert!(read(&jwk("d", json!(""))).is_ok());
}

#[test]
fn size_is_bounded_before_anything_is_parsed() {
    let long = " ".repeat(10_000_000);
    assert_eq!(from_json(long.as_bytes()), Err(DocumentError::TooLong));
    let full = format!("{}{}", r#"{"id":"did:a:b"}"#, " ".repeat(MAX_JSON_LEN - 16));
    assert!(from_json(full.as_bytes()).is_ok());
    let error = depin_core::Error::from(DocumentError::TooLong);
    assert_eq!(error.kind(), ErrorKind::Limit);
}

#[test]
fn ten_thousand_keys_are_refused() {
    for member in ["verificationMethod", "authentication", "service", "controller", "alsoKnownAs"] {
        let many = |n: usize| json!({"id": "did:a:b", member: vec![json!({}); n]});
        assert_eq!(read(&many(10_000)), Err(DocumentError::TooMany(member)));
        assert_eq!(read(&many(MAX_ENTRIES + 1)), Err(DocumentError::TooMany(member)));
    }
    let methods = vec![method("#k"); 10_000];
    let document = json!({"id": "did:a:b", "verificationMethod": methods});
    assert_eq!(read(&document), Err(DocumentError::TooLong));
}

#[test]
fn embedded_methods_count_too() {
    let embedded: Vec<_> = (0..MAX_ENTRIES).map(|i| method(&format!("#{i}"))).collect();
    let mut document = json!({"id": "did:a:b", "assertionMethod": embedded});
    assert_eq!(read(&document).unwrap().verification_method.len(), MAX_ENTRIES);
    document["verificationMethod"] = json!([method("#one-more")]);
    assert_eq!(read(&document), Err(DocumentError::TooMany("verificationMethod")));
}

#[test]
fn duplicate_names_are_refused_at_every_depth() {
    for text in [
        r#"{"id":"did:a:b","id":"did:a:c"}"#,
        r#"{"id":"did:a:b","x":1,"x":1}"#,
        r#"{"id":"did:a:b","x":[{"y":{"z":1,"z":2}}]}"#,
        r#"{"id":"did:a:b","\u0069d":"did:a:c"}"#,
    ] {
        let error = from_json(text.as_bytes()).unwrap_err();
        assert!(matches!(&error, DocumentError::Json(JsonError::Twice(_))), "{error}");
    }
}

#[test]
fn two_methods_of_one_id_are_refused() {
    let twice = json!({"id": "did:a:b", "verificationMethod": [method("#k"), method("did:a:b#k")]});
    assert!(matches!(read(&twice), Err(DocumentError::Twice(_))));
    let embedded = json!({"id": "did:a:b", "verificationMethod": [method("#k")], "authentication": [method("#k")]});
    assert!(matches!(read(&embedded), Err(DocumentError::Twice(_))));
}

#[test]
fn deep_nesting_is_refused_without_recursing() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = 30_000;
        let text =
            format!(r#"{{"id":"did:a:b","x":{}1{}}}"#, open.repeat(deep), close.repeat(deep));
        assert!(matches!(from_json(text.as_bytes()), Err(DocumentError::Json(_))));
    }
}

#[test]
fn truncated_and_trailing_bytes_are_refused() {
    let text = read(&json!({"id": "did:a:b", "authentication": [method("#k")]}))
        .map(|document| to_json(&document))
        .unwrap();
    for end in 0..text.len() {
        assert!(from_json(&text.as_bytes()[..end]).is_err(), "{end}");
    }
    for tail in ["}", " {}", "\0", ","] {
        assert!(from_json(format!("{text}{tail}").as_bytes()).is_err(), "{tail:?}");
    }
    assert!(from_json(b"\xff").is_err());
    assert!(from_json(b"[]").is_err());
}

/// A kind with what a method of it may hold, so that it survives.
pub(crate) fn materials() -> impl Strategy<Value = (String, Material)> {
    let key = |algorithm: Algorithm, seed| {
        Material::Key(SoftwareKey::from_seed(algorithm, seed).public_key().clone())
    };
    let any_key =
        (0..3_usize, any::<[u8; 32]>(), 0..4_usize).prop_map(move |(which, seed, kind)| {
            let kind = ["Multikey", "JsonWebKey", "JsonWebKey2020", "NewKey2040"][kind];
            (kind.into(), key(Algorithm::ALL[which], seed))
        });
    let own_key = (any::<[u8; 32]>(), 0..4_usize).prop_map(move |(seed, which)| {
        let (kind, algorithm) = [
            ("Ed25519VerificationKey2018", Algorithm::EdDsa),
            ("Ed25519VerificationKey2020", Algorithm::EdDsa),
            ("EcdsaSecp256k1VerificationKey2019", Algorithm::Es256k),
            ("EcdsaSecp256k1RecoveryMethod2020", Algorithm::Es256k),
        ][which];
        (kind.into(), key(algorithm, seed))
    });
    let account = (any::<u64>(), any::<[u8; 20]>()).prop_map(|(chain, address)| {
        let material =
            Material::Account { chain: ChainId::new(chain), address: Address::new(address) };
        ("EcdsaSecp256k1RecoveryMethod2020".into(), material)
    });
    let pem = ".{0,40}".prop_map(|value| {
        ("NewKey2040".into(), Material::Foreign { member: "publicKeyPem".into(), value })
    });
    let rsa = "[A-Za-z0-9]{1,40}".prop_map(|n| {
        let value = format!(r#"{{"e":"AQAB","kty":"RSA","n":"{n}"}}"#);
        ("JsonWebKey2020".into(), Material::Foreign { member: "publicKeyJwk".into(), value })
    });
    prop_oneof![any_key, own_key, account, pem, rsa]
}

fn relationships() -> impl Strategy<Value = Relationships> {
    use Relationships as R;
    let all = [R::AUTHENTICATION, R::ASSERTION, R::KEY_AGREEMENT, R::INVOCATION, R::DELEGATION];
    proptest::sample::subsequence(all.to_vec(), 0..=5)
        .prop_map(|some| some.into_iter().fold(R::NONE, |all, one| all | one))
}

pub(crate) fn documents() -> impl Strategy<Value = DidDocument> {
    let did = "did:[a-z]{1,4}:[A-Za-z0-9._-]{1,20}".prop_map(|text| Did::parse(&text).unwrap());
    let keys = proptest::collection::btree_map(
        "[a-z0-9-]{1,8}",
        (materials(), relationships(), did.clone()),
        0..5,
    );
    let services = proptest::collection::btree_map("[A-Z]{1,4}", (".{0,20}", ".{0,20}"), 0..4);
    let names = proptest::collection::vec(".{0,30}", 0..4);
    let controllers = proptest::collection::vec(did.clone(), 0..3);
    (did, keys, services, names, controllers).prop_map(|(id, keys, services, names, controller)| {
        let url = |part: &str| DidUrl::parse(&format!("{id}#{part}")).unwrap();
        let method = |(name, ((kind, material), relationships, controller)): (
            &String,
            &((String, Material), _, Did),
        )| {
            let (kind, material) = (kind.clone(), material.clone());
            let controller = controller.clone();
            VerificationMethod {
                id: url(name),
                controller,
                kind,
                material,
                relationships: *relationships,
            }
        };
        let service = services.iter().map(|(name, (kind, endpoint))| Service {
            id: url(name),
            kind: kind.clone(),
            endpoint: endpoint.clone(),
        });
        let (verification_method, service) = (keys.iter().map(method).collect(), service.collect());
        DidDocument { id, controller, verification_method, also_known_as: names, service }
    })
}

proptest! {
    #[test]
    fn documents_survive_json_and_another_writer_agrees(document in documents()) {
        let text = to_json(&document);
        prop_assert_eq!(&from_json(text.as_bytes()).unwrap(), &document);
        // serde_json's map sorts as RFC 8785 does for these names, and escapes strings as it does.
        let value: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::to_string(&value).unwrap(), text);
    }

    #[test]
    fn outside_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(from_json(&bytes));
    }

    #[test]
    fn mutated_documents_never_panic(document in documents(), at: prop::sample::Index, byte: u8) {
        let mut text = to_json(&document).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        drop(from_json(&text));
    }
}
