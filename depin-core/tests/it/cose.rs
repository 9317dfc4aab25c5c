//! COSE_Sign1 against the examples of the COSE working group.

use std::fs;

use depin_core::{
    Algorithm, PublicKey,
    cose::{CoseError, Sign1},
};
use hex::FromHex;
use serde_json::Value;

/// The P-256 key of an example, in JWK or hex members.
fn key(example: &Value) -> PublicKey {
    let key = &example["input"]["sign0"]["key"];
    let member = |name: &str| {
        let hex = key[format!("{name}_hex")].as_str();
        hex.map_or_else(
            || base64url(key[name].as_str().unwrap()),
            |hex| Vec::from_hex(hex).unwrap(),
        )
    };
    let point = [vec![4], member("x"), member("y")].concat();
    PublicKey::from_bytes(Algorithm::Es256, &point).unwrap()
}

fn base64url(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = |byte: u8| ALPHABET.iter().position(|known| *known == byte).unwrap() as u32;
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for byte in text.bytes() {
        bits = bits << 6 | digit(byte);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

#[test]
fn a_stray_break_is_no_header_value() {
    // 18([<<{1: break}>>, {}, '', ''])
    let bytes = Vec::from_hex("d28443a101ffa04040").unwrap();
    assert_eq!(Sign1::parse(&bytes).unwrap_err(), CoseError::Structure);
}

#[test]
fn the_working_groups_examples_get_the_expected_verdict() {
    let Some(folder) =
        depin_testkit::vectors::find(env!("CARGO_MANIFEST_DIR"), "data/cose/sign1-tests")
    else {
        return;
    };
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let example: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let bytes = Vec::from_hex(example["output"]["cbor"].as_str().unwrap()).unwrap();
        let external = example["input"]["sign0"]["external"].as_str().unwrap_or("");
        let external = Vec::from_hex(external).unwrap();
        let verdict = Sign1::parse(&bytes)
            .and_then(|sign1| sign1.verify_any_s(&key(&example), &external, &[]));
        // Where the algorithm is outside of what was signed, the standard lets a reader believe it; we do not.
        let unsigned_algorithm = example["input"]["sign0"]["protected"]["alg"].is_null();
        let expected = !example["fail"].as_bool().unwrap_or(false) && !unsigned_algorithm;
        assert_eq!(verdict.is_ok(), expected, "{}: {verdict:?}", path.display());
        seen += 1;
    }
    assert!(seen >= 9, "only {seen} examples");
}
