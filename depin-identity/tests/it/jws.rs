//! Attacks on compact JWS, and known answers.

use base64ct::{Base64UrlUnpadded as Base64Url, Encoding};
use depin_core::{Algorithm, ErrorKind, PublicKey, Signer, SoftwareKey, key::KeyError};
use depin_identity::{
    json::{self, Object, Value, object},
    jws::{self, Jws, JwsError, MAX_HEADER_LEN, MAX_LEN},
};
use depin_testkit::conformance::Suite;
use proptest::prelude::*;

use crate::vectors::{key_of_jwk, read};

fn key(algorithm: Algorithm) -> SoftwareKey {
    SoftwareKey::from_seed(algorithm, [7; 32])
}

fn encoded(text: &str) -> String {
    Base64Url::encode_string(text.as_bytes())
}

/// A JWS with this very header, whose signature holds.
fn with_header(key: &SoftwareKey, header: &str) -> String {
    let signed = format!("{}.{}", encoded(header), encoded("payload"));
    let signature = key.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", Base64Url::encode_string(signature.as_bytes()))
}

fn verdict(text: &str, key: &PublicKey) -> Result<Vec<u8>, JwsError> {
    Jws::parse(text)?.verify(key)
}

#[test]
fn published_signatures_hold_and_others_do_not() {
    let published = read("identity/jose/jws.json");
    let sprout = read("iotex/sprout_jwt.json");
    let cases = published.iter().flat_map(|cases| cases.as_array().unwrap()).chain(&sprout);
    let mut suite = Suite::new("JWS, RFC 8037, did-jwt and ioID");
    for case in cases {
        let mut jwk = case["jwk"].clone();
        jwk["kty"] = if jwk["crv"] == "Ed25519" { "OKP".into() } else { "EC".into() };
        jwk.as_object_mut().unwrap().remove("d");
        let key = key_of_jwk("did:example:1", &jwk);
        let text = case["jws"].as_str().or_else(|| case["jwt"].as_str()).unwrap();
        let valid =
            case["valid"].as_bool().or_else(|| case["signature_verified_here"].as_bool()).unwrap();
        let jws = Jws::parse(text).unwrap();
        let right = jws.algorithm().as_str() == case["alg"] && jws.verify(&key).is_ok() == valid;
        suite.case(text, right);
        let other = SoftwareKey::from_seed(jws.algorithm(), [9; 32]);
        assert_eq!(jws.verify(other.public_key()), Err(KeyError::Signature.into()));
    }
    suite.finish();
}

#[test]
fn the_es256_signature_of_rfc_7515_holds() {
    // RFC 7515 appendix A.3.
    let key = json::object([
        ("kty", "EC"),
        ("crv", "P-256"),
        ("x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
        ("y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
    ]);
    let key = key_of_jwk("did:example:1", &key.canonical().parse().unwrap());
    let text = "eyJhbGciOiJFUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert!(verdict(text, &key).unwrap().starts_with(b"{\"iss\":\"joe\""));
}

#[test]
fn every_algorithm_signs_what_its_key_verifies() {
    for algorithm in Algorithm::ALL {
        let key = key(algorithm);
        let text = jws::sign(&key, object([("typ", "JWT")]), b"\0\xff").unwrap();
        let jws = Jws::parse(&text).unwrap();
        assert_eq!(jws.header().text("alg"), Some(algorithm.as_str()));
        assert_eq!(jws.verify(key.public_key()).unwrap(), b"\0\xff");
        // Low s is written: the strict check holds as well.
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let signature = Base64Url::decode_vec(signature).unwrap().as_slice().try_into().unwrap();
        key.public_key().verify(signed.as_bytes(), &signature).unwrap();
    }
}

#[test]
fn a_key_of_another_algorithm_is_never_used() {
    for said in Algorithm::ALL {
        for other in Algorithm::ALL.into_iter().filter(|other| *other != said) {
            let text = jws::sign(&key(said), Object::new(), b"payload").unwrap();
            let error = verdict(&text, key(other).public_key()).unwrap_err();
            assert_eq!(error, JwsError::Confusion { said, key: other });
            // The attacker writes the name of the key's algorithm over a signature of his own.
            let relabelled = with_header(&key(said), &format!(r#"{{"alg":"{other}"}}"#));
            let error = verdict(&relabelled, key(other).public_key()).unwrap_err();
            assert_eq!(error, KeyError::Signature.into());
        }
    }
}

#[test]
fn algorithms_without_a_public_key_are_unknown() {
    let key = key(Algorithm::EdDsa);
    for name in
        ["none", "None", "HS256", "HS512", "RS256", "ES384", "Es256K", "eddsa", "Ed25519", ""]
    {
        let text = with_header(&key, &format!(r#"{{"alg":"{name}"}}"#));
        assert_eq!(verdict(&text, key.public_key()), Err(JwsError::Algorithm), "{name}");
    }
    let unsigned = format!("{}.{}.", encoded(r#"{"alg":"none"}"#), encoded("payload"));
    assert_eq!(Jws::parse(&unsigned).unwrap_err(), JwsError::Algorithm);
}

#[test]
fn extensions_that_change_what_is_signed_are_refused() {
    let key = key(Algorithm::EdDsa);
    for (member, name) in [
        (r#""crit":["exp"],"exp":1"#, "crit"),
        (r#""crit":[]"#, "crit"),
        (r#""b64":false"#, "b64"),
        (r#""b64":true"#, "b64"),
        (r#""b64":false,"crit":["b64"]"#, "crit"),
    ] {
        let text = with_header(&key, &format!(r#"{{"alg":"EdDSA",{member}}}"#));
        assert_eq!(verdict(&text, key.public_key()), Err(JwsError::Critical(name)), "{member}");
    }
}

#[test]
fn headers_are_strict_json_objects() {
    let key = key(Algorithm::EdDsa);
    let error = |header: &str| Jws::parse(&with_header(&key, header)).unwrap_err();
    assert!(matches!(error(r#"{"alg":"EdDSA","alg":"ES256"}"#), JwsError::Header(_)));
    assert!(matches!(error(r#"{"alg":"EdDSA"} "x""#), JwsError::Header(_)));
    assert!(matches!(error("{"), JwsError::Header(_)));
    assert_eq!(error(r#"["EdDSA"]"#), JwsError::Member("object"));
    assert_eq!(error("{}"), JwsError::Member("alg"));
    assert_eq!(error(r#"{"alg":null}"#), JwsError::Member("alg"));
    assert_eq!(error(r#"{"alg":"EdDSA","kid":7}"#), JwsError::Member("kid"));
}

#[test]
fn a_signature_has_one_spelling() {
    let key = key(Algorithm::EdDsa);
    let text = jws::sign(&key, Object::new(), b"payload").unwrap();
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let last = signature.chars().next_back().unwrap();
    let digits = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']);
    for digit in digits.filter(|digit| *digit != last) {
        let respelled = format!("{signed}.{}{digit}", &signature[..85]);
        assert!(verdict(&respelled, key.public_key()).is_err(), "{digit}");
    }
    for more in ["=", "==", "A", "\n", " "] {
        assert!(Jws::parse(&format!("{text}{more}")).is_err(), "{more:?}");
        assert!(Jws::parse(&format!("{more}{text}")).is_err(), "{more:?}");
    }
    let standard = text.replace('-', "+").replace('_', "/");
    assert!(standard == text || Jws::parse(&standard).is_err());
}

#[test]
fn payloads_have_one_spelling_too() {
    // "QQ" and "QR" decode to the same byte in a lax decoder, but only one of them is an encoding.
    let key = key(Algorithm::EdDsa);
    for (payload, fine) in [("QQ", true), ("QR", false), ("QQ==", false), ("Q", false), ("", true)]
    {
        let signed = format!("{}.{payload}", encoded(r#"{"alg":"EdDSA"}"#));
        let signature = key.sign(signed.as_bytes()).unwrap();
        let text = format!("{signed}.{}", Base64Url::encode_string(signature.as_bytes()));
        assert_eq!(verdict(&text, key.public_key()).is_ok(), fine, "{payload}");
    }
}

#[test]
fn any_change_of_a_text_is_noticed() {
    let key = key(Algorithm::EdDsa);
    let text = jws::sign(&key, object([("kid", "k")]), b"payload").unwrap();
    for at in 0..text.len() {
        assert!(verdict(&text[..at], key.public_key()).is_err());
        for byte in [b'A', b'b', b'.', b'_', b'='] {
            let mut changed = text.clone().into_bytes();
            if std::mem::replace(&mut changed[at], byte) != byte {
                let changed = String::from_utf8(changed).unwrap();
                assert!(verdict(&changed, key.public_key()).is_err(), "{changed}");
            }
        }
    }
}

#[test]
fn size_is_bounded() {
    assert_eq!(Jws::parse(&".".repeat(MAX_LEN + 1)).unwrap_err(), JwsError::TooLong);
    let header = "A".repeat(MAX_HEADER_LEN + 1);
    assert_eq!(Jws::parse(&format!("{header}.A.A")).unwrap_err(), JwsError::TooLong);
    let key = key(Algorithm::EdDsa);
    let error = jws::sign(&key, Object::new(), &vec![0; MAX_LEN]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    let long = object([("kid", "k".repeat(MAX_HEADER_LEN))]);
    assert_eq!(jws::sign(&key, long, b"").unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn nothing_is_signed_that_would_not_be_read() {
    let key = key(Algorithm::EdDsa);
    for (name, value) in [
        ("alg", Value::from("ES256")),
        ("alg", Value::Null),
        ("crit", Value::List(vec!["exp".into()])),
        ("b64", Value::Bool(false)),
        ("kid", Value::Null),
    ] {
        let error = jws::sign(&key, object([(name, value)]), b"").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{name}");
    }
    assert!(jws::sign(&key, object([("alg", "EdDSA")]), b"").is_ok());
}

#[test]
fn checking_an_ed25519_signature_allocates_nothing() {
    let key = key(Algorithm::EdDsa);
    let text = jws::sign(&key, Object::new(), &[7; 500]).unwrap();
    let jws = Jws::parse(&text).unwrap();
    let counted = allocation_counter::measure(|| jws.check(key.public_key()).unwrap());
    assert_eq!(counted.count_total, 0, "{counted:?}");
    // To show that the counter counts: handing out the payload does allocate.
    let counted = allocation_counter::measure(|| drop(jws.verify(key.public_key())));
    assert!(counted.count_total > 0);
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "[A-Za-z0-9_.=-]{0,40}|eyJhbGciOiJFZERTQSJ9\\.[A-Za-z0-9_-]{0,9}\\.[A-Za-z0-9_-]{86}") {
        let _verdict = verdict(&text, key(Algorithm::EdDsa).public_key());
    }
}
