//! JSON Web Keys and did:jwk: known answers, spellings, and everything that is no key.

use base64ct::{Base64UrlUnpadded, Encoding};
use depin_core::{
    Algorithm, Did, ErrorKind, PublicKey, Signer, SoftwareKey,
    document::{Material, Relationships},
};
use depin_identity::{
    Resolver,
    jwk::{self, JwkError},
    methods::{io, jwk as did_jwk},
};
use depin_testkit::conformance::Suite;
use proptest::prelude::*;
use serde_json::{Value, json};

fn read(part: &str) -> Option<Value> {
    let path = depin_testkit::vectors::find(env!("CARGO_MANIFEST_DIR"), part)?;
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

fn did_of(text: &str) -> Did {
    format!("did:jwk:{}", Base64UrlUnpadded::encode_string(text.as_bytes())).parse().unwrap()
}

fn key(algorithm: Algorithm) -> PublicKey {
    SoftwareKey::from_seed(algorithm, [5; 32]).public_key().clone()
}

#[test]
fn the_thumbprint_of_rfc_8037_is_ours() {
    let mut suite = Suite::new("JWK thumbprint, RFC 7638 and 8037");
    for case in read("identity/jose/jws.json").iter().flat_map(|file| file.as_array().unwrap()) {
        let (Some(jwk), Some(expected)) = (case.get("jwk"), case["thumbprint_sha256"].as_str())
        else {
            continue;
        };
        assert_eq!(jwk::parse(jwk.to_string().as_bytes()), Err(JwkError::PrivateKey));
        let mut public = jwk.clone();
        public.as_object_mut().unwrap().remove("d");
        let key = jwk::parse(public.to_string().as_bytes()).unwrap();
        suite.case("RFC 8037 A.3", jwk::thumbprint_text(&key) == expected);
        assert!(jwk::thumbprint_uri(&key).ends_with(expected));
    }
    suite.finish();
}

#[test]
fn published_keys_of_ioid_devices_are_read_and_written_as_they_are() {
    for case in read("iotex/did_io_jwk.json").iter().flat_map(|file| file.as_array().unwrap()) {
        let jwk = json!({"crv": case["crv"], "kty": "EC", "x": case["x"], "y": case["y"]});
        let key = jwk::parse(jwk.to_string().as_bytes()).unwrap();
        assert_eq!(jwk::to_object(&key).to_string(), jwk.to_string());
        assert_eq!(io::did_io(&key).unwrap().as_str(), case["did"].as_str().unwrap());
    }
}

#[test]
fn what_is_no_public_key_says_why() {
    let good =
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let with = |name: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[name] = value;
        jwk::parse(jwk.to_string().as_bytes())
    };
    assert!(with("kid", json!("a")).is_ok());
    assert!(with("d", json!("")).is_ok());
    assert_eq!(with("d", json!("AA")), Err(JwkError::PrivateKey));
    assert_eq!(with("d", json!(7)), Err(JwkError::PrivateKey));
    assert_eq!(with("k", json!("AA")), Err(JwkError::PrivateKey));
    assert_eq!(with("kty", json!("EC")), Err(JwkError::Unsupported));
    assert_eq!(with("crv", json!("X25519")), Err(JwkError::Unsupported));
    assert_eq!(with("crv", json!(1)), Err(JwkError::Member("crv")));
    assert_eq!(with("kty", json!(null)), Err(JwkError::Member("kty")));
    for x in [
        "",
        "AA",
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    ] {
        assert_eq!(with("x", json!(x)), Err(JwkError::Member("x")), "{x}");
    }
    let off = json!({"kty": "EC", "crv": "P-256", "x": "A".repeat(43), "y": "A".repeat(43)});
    assert_eq!(jwk::parse(off.to_string().as_bytes()), Err(JwkError::Point));
    assert!(matches!(jwk::parse(br#"{"kty":"OKP","kty":"EC"}"#), Err(JwkError::Json(_))));
    assert_eq!(jwk::parse(b"[]"), Err(JwkError::Member("kty")));
    let long = jwk::parse(&vec![b' '; jwk::MAX_LEN + 1]).unwrap_err();
    assert_eq!(depin_core::Error::from(long).kind(), ErrorKind::Limit);
}

#[test]
fn the_example_of_the_method_text_resolves() {
    let did: Did = "did:jwk:eyJjcnYiOiJQLTI1NiIsImt0eSI6IkVDIiwieCI6ImFjYklRaXVNczNpOF91c3pFakoydHBUdFJNNEVVM3l6OTFQSDZDZEgyVjAiLCJ5IjoiX0tjeUxqOXZXTXB0bm1LdG00NkdxRHo4d2Y3NEk1TEtncmwyR3pIM25TRSJ9"
        .parse()
        .unwrap();
    let document = did_jwk::document(&did).unwrap();
    let method = &document.verification_method[0];
    assert_eq!(method.id.to_string(), format!("{did}#0"));
    assert_eq!(method.kind, "JsonWebKey2020");
    // Its members happen to be sorted, so it is the name that we give to the key too.
    assert_eq!(did_jwk::did_jwk(method.key().unwrap()), did);
}

#[test]
fn use_decides_what_a_did_jwk_is_for() {
    let key = key(Algorithm::Es256);
    let with = |extra: &str| {
        let text = jwk::to_object(&key).to_string();
        did_jwk::document(&did_of(&text.replacen('{', &format!("{{{extra}"), 1)))
    };
    let may = |extra: &str| with(extra).unwrap().verification_method[0].relationships;
    let (sign, agree) = (Relationships::AUTHENTICATION, Relationships::KEY_AGREEMENT);
    assert!(may("").contains(sign | agree | Relationships::ASSERTION));
    assert!(may(r#""use":"sig","#).contains(sign) && !may(r#""use":"sig","#).contains(agree));
    assert_eq!(may(r#""use":"enc","#), agree);
    assert_eq!(may(r#""use":"other","#), Relationships::NONE);
    assert_eq!(with(r#""use":1,"#).unwrap_err().kind(), ErrorKind::Malformed);
    let ed25519 = did_jwk::document(&did_jwk::did_jwk(&self::key(Algorithm::EdDsa))).unwrap();
    assert!(!ed25519.verification_method[0].relationships.contains(agree));
}

#[test]
fn keys_that_only_agree_have_a_document_and_no_key_of_ours() {
    let text = r#"{"kty":"OKP","crv":"X25519","use":"enc","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}"#;
    let document = did_jwk::document(&did_of(text)).unwrap();
    let method = &document.verification_method[0];
    assert!(
        matches!(&method.material, Material::Foreign { member, .. } if member == "publicKeyJwk")
    );
    assert_eq!(method.relationships, Relationships::KEY_AGREEMENT);
    let refused = did_jwk::public_key(&did_of(text)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

#[test]
fn what_is_no_did_jwk_is_refused() {
    let private = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;
    let canonical = did_jwk::did_jwk(&key(Algorithm::Es256k));
    let other_tail = format!("{}=", canonical).replace('=', "%3D");
    for did in [
        did_of(private),
        did_of("{}"),
        did_of("[]"),
        did_of(r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#),
        "did:jwk:e30.".parse().unwrap(),
        "did:jwk:1".parse().unwrap(),
        other_tail.parse().unwrap(),
        format!("{canonical}:x").parse().unwrap(),
    ] {
        assert_eq!(did_jwk::document(&did).unwrap_err().kind(), ErrorKind::Malformed, "{did}");
    }
    let foreign = did_jwk::document(&"did:key:z6Mk".parse().unwrap()).unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn did_jwk_conforms() {
    let dids = Algorithm::ALL.map(|algorithm| did_jwk::did_jwk(&key(algorithm)));
    depin_testkit::resolver::conforms(&did_jwk::JwkResolver, &dids, &[]).await;
    depin_testkit::resolver::conforms(&Resolver::new(), &dids, &[]).await;
}

proptest! {
    #[test]
    fn keys_jwks_and_did_jwks_are_each_others_inverse(seed: [u8; 32], which in 0..3_usize) {
        let key = SoftwareKey::from_seed(Algorithm::ALL[which], seed).public_key().clone();
        prop_assert_eq!(&jwk::from_object(&jwk::to_object(&key)).unwrap(), &key);
        prop_assert_eq!(&did_jwk::public_key(&did_jwk::did_jwk(&key)).unwrap(), &key);
    }

    #[test]
    fn outside_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(jwk::parse(&bytes));
    }

    #[test]
    fn mutated_keys_never_panic(at: prop::sample::Index, byte: u8) {
        let mut text = jwk::to_object(&key(Algorithm::Es256)).to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        drop(jwk::parse(&text));
    }
}
