//! ioConnect's messages: one that it wrote, changed in every way.

use base64ct::{Base64UrlUnpadded as Base64Url, Encoding};
use depin_core::{Error, ErrorKind};
use depin_identity::{
    ioconnect::{AgreementKey, JweError, MAX_LEN, MAX_RECIPIENTS, Opened, open},
    jws::{Jws, JwsError},
    methods::io,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::vectors::read;

/// A message and key published with the tests of IoTeX's ioconnect-go.
const MESSAGE: &str = r#"{"ciphertext":"bEEYX8RtzQ","protected":"eyJ0eXAiOiJhcHBsaWNhdGlvbi9kaWRjb21tLWVuY3J5cHRlZCtqc29uIiwiYWxnIjoiRUNESC0xUFUrQTI1NktXIiwiZW5jIjoiQTI1NkNCQy1IUzUxMiIsInNraWQiOiJkaWQ6aW86MHg3Nzg3NWExM2IxNzViMzdlMzJkYWM3NmI5YjY4NzNkNmJlYWRkMTM0IiwiYXB1IjoiWkdsa09tbHZPakI0TnpjNE56VmhNVE5pTVRjMVlqTTNaVE15WkdGak56WmlPV0kyT0RjelpEWmlaV0ZrWkRFek5BIiwiYXB2IjoieFg3RWdpME16d2FDak8wNUJKX1ExTnFkMWVXcXUxeW1JS05oZEVvSjlGayIsImVwayI6eyJjcnYiOiJQLTI1NiIsIngiOiJRTHVWUE1ZdG9qSHlXODVpRzAtRVlsRUs0OENXQWFoWTJucER5azZCblBrIiwieSI6IjBjT3plY0JUeWRGZFgtZ2lRR2tRSzl2cDRib0J1aW9zSlZoVExOVnY3c3MiLCJrdHkiOiJFQyIsImtpZCI6IktleS1wMjU2LTIxNDc0ODM2MjEifX0","recipients":[{"header":{"kid":"did:io:0x83b6d8fb81cb74f3169c79d97ecdffefc94ef98a#Key-p256-2147483617"},"encrypted_key":"kbQgbMXKi7Sy-kTzp0HSU2mM3zhhoKTQUphm3uAXlMkFnvroadvF4_RJPq2Iv7dB"}],"tag":"WpfSapPskCpE-KUrSPDOwg","iv":"TmfJpljLYpB04iZwQw"}"#;

const KID: &str = "did:io:0x83b6d8fb81cb74f3169c79d97ecdffefc94ef98a#Key-p256-2147483617";

/// The second half of the published secret.
const SECRET: [u8; 32] = [
    0x58, 0x59, 0x57, 0x77, 0x01, 0x2d, 0x4c, 0x43, 0x72, 0x66, 0x37, 0x75, 0x29, 0x24, 0x7f, 0x3b,
    0x27, 0x7d, 0x2f, 0x6c, 0x32, 0x41, 0x0c, 0x1a, 0x5a, 0x5d, 0x71, 0x26, 0x12, 0x36, 0x3a, 0x6b,
];

fn key() -> AgreementKey {
    AgreementKey::from_bytes(&SECRET).unwrap()
}

fn opened(message: &Value) -> Result<Opened, JweError> {
    open(message.to_string().as_bytes(), KID, &key())
}

fn message() -> Value {
    serde_json::from_str(MESSAGE).unwrap()
}

/// The message with its header changed.
fn with_header(change: impl FnOnce(&mut Value)) -> Value {
    let mut message = message();
    let header = Base64Url::decode_vec(message["protected"].as_str().unwrap()).unwrap();
    let mut header: Value = serde_json::from_slice(&header).unwrap();
    change(&mut header);
    message["protected"] = Base64Url::encode_string(header.to_string().as_bytes()).into();
    message
}

#[test]
fn a_message_that_ioconnect_wrote_opens() {
    let opened = open(MESSAGE.as_bytes(), KID, &key()).unwrap();
    assert_eq!(opened.plaintext, b"payload");
    let sender = "did:io:0x77875a13b175b37e32dac76b9b6873d6beadd134".parse().unwrap();
    assert_eq!(opened.sender_claimed, Some(sender));
    assert!(KID.starts_with(io::did_io(key().public_key()).unwrap().as_str()));

    let Some(published) = read("iotex/ioconnect_jwe.json") else { return };
    let mut suite = depin_testkit::conformance::Suite::new("JWE, ioConnect (read only)");
    suite.case("message", published["jwe"] == message() && published["plaintext"] == "payload");
    suite.finish();
}

#[test]
fn nothing_secret_is_printed() {
    let printed = format!("{:?} {:?}", key(), opened(&message()).unwrap());
    for secret in ["payload", "112, 97", &hex::encode(SECRET), "88, 89, 87"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn every_changed_character_of_the_message_is_noticed() {
    let parts = ["ciphertext", "protected", "tag", "iv"];
    for part in parts {
        let whole = message()[part].as_str().unwrap().to_owned();
        for at in 0..whole.len() {
            let mut changed = message();
            changed[part] = flipped(&whole, at).into();
            assert!(opened(&changed).is_err(), "{part} at {at}");
        }
    }
    let whole = message()["recipients"][0]["encrypted_key"].as_str().unwrap().to_owned();
    for at in 0..whole.len() {
        let mut changed = message();
        changed["recipients"][0]["encrypted_key"] = flipped(&whole, at).into();
        assert_eq!(opened(&changed), Err(JweError::Decryption), "encrypted_key at {at}");
    }
}

fn flipped(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_wrong_key_and_the_wrong_name_open_nothing() {
    let other = AgreementKey::from_bytes(&[7; 32]).unwrap();
    assert_eq!(open(MESSAGE.as_bytes(), KID, &other), Err(JweError::Decryption));
    let named = open(MESSAGE.as_bytes(), "did:io:0x00#Key-p256-1", &key());
    assert_eq!(named, Err(JweError::Recipient));
    assert_eq!(Error::from(JweError::Recipient).kind(), ErrorKind::NotFound);
    for scalar in [[0; 32], [0xff; 32]] {
        let error = AgreementKey::from_bytes(&scalar).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
    }
}

#[test]
fn headers_that_contradict_the_message_are_refused() {
    // Whoever can open a message could put another sender in; then `apu` has to follow, and the tag.
    let renamed = with_header(|header| header["skid"] = "did:io:0x00".into());
    assert_eq!(opened(&renamed), Err(JweError::Contradiction("the sender")));
    let unnamed = with_header(|header| drop(header.as_object_mut().unwrap().remove("skid")));
    assert_eq!(opened(&unnamed), Err(JweError::Contradiction("the sender")));
    let mut joined = message();
    let second = json!({"header": {"kid": "did:io:0x01#k"}, "encrypted_key": "A".repeat(64)});
    joined["recipients"].as_array_mut().unwrap().push(second);
    assert_eq!(opened(&joined), Err(JweError::Contradiction("the recipients")));
}

#[test]
fn true_jwe_other_algorithms_and_extensions_are_refused() {
    let changes: [fn(&mut Value); 4] = [
        |header| header["enc"] = "A256GCM".into(),
        |header| header["alg"] = "ECDH-ES+A256KW".into(),
        |header| drop(header.as_object_mut().unwrap().remove("alg")),
        |header| header["crit"] = json!(["exp"]),
    ];
    for change in changes {
        assert_eq!(opened(&with_header(change)), Err(JweError::Algorithm));
    }
}

#[test]
fn ephemeral_keys_off_the_curve_are_refused() {
    let off = with_header(|header| header["epk"]["y"] = "A".repeat(43).into());
    assert_eq!(opened(&off), Err(JweError::Key));
    let zero = with_header(|header| {
        header["epk"]["x"] = "A".repeat(43).into();
        header["epk"]["y"] = "A".repeat(43).into();
    });
    assert_eq!(opened(&zero), Err(JweError::Key));
    let curve = with_header(|header| header["epk"]["crv"] = "secp256k1".into());
    assert_eq!(opened(&curve), Err(JweError::Member("epk")));
}

#[test]
fn recipients_are_one_to_four_each_once() {
    let mut many = message();
    let one = many["recipients"][0].clone();
    for count in [0, 2, MAX_RECIPIENTS + 1] {
        many["recipients"] = vec![one.clone(); count].into();
        assert_eq!(opened(&many), Err(JweError::Recipients), "{count}");
    }
}

#[test]
fn missing_and_mistyped_members_are_named() {
    for member in ["ciphertext", "protected", "recipients", "tag", "iv"] {
        for value in [None, Some(json!(7)), Some(json!(null)), Some(json!("="))] {
            let mut changed = message();
            match value {
                Some(value) => changed[member] = value,
                None => drop(changed.as_object_mut().unwrap().remove(member)),
            }
            assert_eq!(opened(&changed), Err(JweError::Member(member)), "{changed}");
        }
    }
    let twice = MESSAGE.replacen('{', r#"{"iv":"TmfJpljLYpB04iZwQw","#, 1);
    let error = open(twice.as_bytes(), KID, &key()).unwrap_err();
    assert!(matches!(error, JweError::Json(_)), "{error}");
}

#[test]
fn no_prefix_opens_and_no_size_hurts() {
    for end in 0..MESSAGE.len() {
        assert!(open(&MESSAGE.as_bytes()[..end], KID, &key()).is_err(), "{end}");
    }
    let huge = MESSAGE.to_owned() + &" ".repeat(10 << 20);
    let error = open(huge.as_bytes(), KID, &key()).unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::Limit);
    let mut long = message();
    long["ciphertext"] = "A".repeat(65_536 * 4 / 3 + 2).into();
    assert!(long.to_string().len() < MAX_LEN);
    assert_eq!(opened(&long), Err(JweError::Member("ciphertext")));
    long["ciphertext"] = "A".repeat(65_535 * 4 / 3).into();
    assert_eq!(opened(&long), Err(JweError::Decryption));
}

proptest! {
    #[test]
    fn random_bytes_never_open(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(open(&bytes, KID, &key()).is_err());
    }

    #[test]
    fn a_changed_byte_never_opens_otherwise(at in 0..MESSAGE.len(), to in any::<u8>()) {
        let mut bytes = MESSAGE.as_bytes().to_vec();
        bytes[at] = to;
        if let Ok(opened) = open(&bytes, KID, &key()) {
            prop_assert_eq!(opened.plaintext, b"payload");
        }
    }
}

#[test]
fn sprouts_credential_holds_for_its_issuer_and_never_ends() {
    let Some(published) = read("iotex/sprout_jwt.json") else { return };
    let key = crate::vectors::key_of_jwk("did:example:1", &{
        let mut jwk = published["jwk"].clone();
        jwk["kty"] = "EC".into();
        jwk
    });
    let payload = Jws::parse(published["jwt"].as_str().unwrap()).unwrap().verify(&key).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(payload, published["payload"]);
    assert_eq!(payload["iss"], io::did_io(&key).unwrap().as_str());
    // What would bind it to a time, a place and one use is not there.
    for missing in ["exp", "nbf", "aud", "nonce", "jti"] {
        assert!(payload.get(missing).is_none());
    }
}

#[test]
fn the_sdks_spelling_of_es256k_is_unknown() {
    let Some(published) = read("iotex/didcomm_signed.json") else { return };
    let part = |name: &str| published[name].as_str().unwrap().trim_end_matches('=').to_owned();
    let text = [part("protected_b64"), part("payload_b64"), part("signature_b64")].join(".");
    assert!(matches!(Jws::parse(&text), Err(JwsError::Algorithm)));
}
