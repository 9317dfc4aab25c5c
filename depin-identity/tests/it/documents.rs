//! Documents as JSON: one spelling out, strict and bounded in.

use depin_core::{Algorithm, Did, DidUrl, ErrorKind, PublicKey, Signer, SoftwareKey};
use depin_identity::{
    DidDocument, Service, VerificationMethod,
    document::{DocumentError, MAX_ENTRIES, MAX_JSON_LEN, document_hash, from_json, to_json},
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
fn keys_that_may_not_authenticate_do_not_become_keys_of_the_subject() {
    let document = read(&json!({
        "id": "did:a:b",
        "verificationMethod": [method("#sign"), method("#agree"), method("#assert")],
        "authentication": ["did:a:b#sign", "#unknown"],
        "assertionMethod": ["#assert"],
        "keyAgreement": ["#agree"],
    }))
    .unwrap();
    let ids: Vec<_> = document.verification_method.iter().map(|m| m.id.to_string()).collect();
    assert_eq!(ids, ["did:a:b#sign"]);
}

#[test]
fn methods_embedded_in_authentication_are_read() {
    let document = read(&json!({"id": "did:a:b", "authentication": [method("#owner")]})).unwrap();
    assert_eq!(document.verification_method[0].id.to_string(), "did:a:b#owner");
}

#[test]
fn unknown_members_kinds_and_curves_are_left_out() {
    let p384 = "z82Lm1MpAkeJcix9K8TMiLd5NMAhnwkjjCBeWHXyu3U4oT2MVJJKXkcVBgjGhnLBn2Kaau9";
    let document = read(&json!({
        "id": "did:a:b",
        "created": [1, 2.5, null, {"deep": true}],
        "verificationMethod": [
            {"id": "#p384", "type": "Multikey", "controller": "did:a:b", "publicKeyMultibase": p384},
            {"id": "#p521", "type": "JsonWebKey2020", "controller": "did:a:b",
             "publicKeyJwk": {"kty": "EC", "crv": "P-521", "x": "", "y": ""}},
            {"id": "#rsa", "type": "JsonWebKey2020", "controller": "did:a:b", "publicKeyJwk": {"kty": "RSA"}},
            {"id": "#other", "type": "Bls12381G2Key2020", "controller": "did:a:b"},
        ],
        "authentication": ["#p384", "#p521", "#rsa", "#other"],
        "service": [{"id": "#s", "type": "X", "serviceEndpoint": {"uri": "https://example.org"}},
                    {"id": "#t", "type": "Y", "serviceEndpoint": "https://example.org"}],
    }))
    .unwrap();
    assert!(document.verification_method.is_empty());
    assert_eq!(document.service.len(), 1);
    assert_eq!(document.service[0].kind, "Y");
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
fn duplicate_names_are_refused_at_every_depth() {
    for text in [
        r#"{"id":"did:a:b","id":"did:a:c"}"#,
        r#"{"id":"did:a:b","x":1,"x":1}"#,
        r#"{"id":"did:a:b","x":[{"y":{"z":1,"z":2}}]}"#,
        r#"{"id":"did:a:b","\u0069d":"did:a:c"}"#,
    ] {
        let error = from_json(text.as_bytes()).unwrap_err();
        assert!(matches!(&error, DocumentError::Json(why) if why.contains("twice")), "{error}");
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

fn documents() -> impl Strategy<Value = DidDocument> {
    let did = "did:[a-z]{1,4}:[A-Za-z0-9._-]{1,20}".prop_map(|text| Did::parse(&text).unwrap());
    let keys =
        proptest::collection::btree_map("[a-z0-9-]{1,8}", (any::<[u8; 32]>(), 0..3_usize), 0..5);
    let services = proptest::collection::btree_map("[A-Z]{1,4}", (".{0,20}", ".{0,20}"), 0..4);
    let names = proptest::collection::vec(".{0,30}", 0..4);
    let controllers = proptest::collection::vec(did.clone(), 0..3);
    (did, keys, services, names, controllers).prop_map(|(id, keys, services, names, controller)| {
        let url = |part: &str| DidUrl::parse(&format!("{id}#{part}")).unwrap();
        let verification_method = keys.iter().map(|(name, (seed, which))| {
            let key = SoftwareKey::from_seed(Algorithm::ALL[*which], *seed).public_key().clone();
            VerificationMethod::new(url(name), id.clone(), key)
        });
        let service = services.iter().map(|(name, (kind, endpoint))| Service {
            id: url(name),
            kind: kind.clone(),
            endpoint: endpoint.clone(),
        });
        let (verification_method, service) = (verification_method.collect(), service.collect());
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
