//! COSE_Sign1 against the examples of the COSE working group.

use std::{collections::BTreeMap, fs, path::PathBuf};

use depin_core::{
    Algorithm, PublicKey,
    cose::{CoseError, Sign1},
};
use depin_testkit::conformance::Suite;
use hex::FromHex;
use serde_json::Value;

/// The key of an example, in JWK or hex members.
fn key(example: &Value) -> PublicKey {
    let key = &example["input"]["sign0"]["key"];
    let member = |name: &str| {
        let hex = key[format!("{name}_hex")].as_str();
        hex.map_or_else(
            || base64url(key[name].as_str().unwrap()),
            |hex| Vec::from_hex(hex).unwrap(),
        )
    };
    if key["crv"] == "Ed25519" {
        return PublicKey::from_bytes(Algorithm::EdDsa, &member("x")).unwrap();
    }
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

fn verdict(example: &Value) -> Result<(), CoseError> {
    let bytes = Vec::from_hex(example["output"]["cbor"].as_str().unwrap()).unwrap();
    let external = example["input"]["sign0"]["external"].as_str().unwrap_or("");
    let external = Vec::from_hex(external).unwrap();
    Sign1::parse(&bytes)?.verify_any_s(&key(example), &external, &[])
}

/// All examples of COSE_Sign1, wherever they are, once each.
fn examples() -> BTreeMap<String, Value> {
    let find = |part| depin_testkit::vectors::find(env!("CARGO_MANIFEST_DIR"), part);
    let read = |path: PathBuf| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut examples = BTreeMap::new();
    if let Some(Value::Object(collected)) = find("identity/jose/cose-sign1.json").map(read) {
        examples.extend(collected);
    }
    for entry in
        find("data/cose/sign1-tests").iter().flat_map(|folder| fs::read_dir(folder).unwrap())
    {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = format!("sign1-tests/{}", path.file_name().unwrap().display());
            examples.insert(name, read(path));
        }
    }
    examples
}

#[test]
fn the_working_groups_examples_get_the_expected_verdict() {
    let mut suite = Suite::new("COSE_Sign1, examples of the working group");
    for (name, example) in examples() {
        let verdict = verdict(&example);
        if name.ends_with("sign-pass-01.json") {
            // The standard lets a reader believe an algorithm outside of what was signed; we do not.
            assert_eq!(verdict, Err(CoseError::Algorithm));
            suite.not_applicable(
                1,
                "its algorithm is outside of what was signed: refused by design",
            );
            continue;
        }
        let expected = !example["fail"].as_bool().unwrap_or(false);
        suite.case(format!("{name}: {verdict:?}"), verdict.is_ok() == expected);
    }
    suite.finish();
}
