//! Many signatures at once get the verdicts that each would get alone.

use depin_core::{
    Algorithm, PublicKey, Signature, Signer, SoftwareKey,
    key::{Check, verify_all},
};
use depin_testkit::conformance::Suite;
use proptest::prelude::*;
use serde_json::Value;

#[derive(Clone, Debug)]
struct Item {
    key: PublicKey,
    message: Vec<u8>,
    signature: Signature,
}

fn same_together_as_alone(items: &[Item]) -> Vec<bool> {
    let checks: Vec<_> = items
        .iter()
        .map(|i| Check { key: &i.key, message: &i.message, signature: &i.signature })
        .collect();
    let together = verify_all(&checks);
    let alone: Vec<_> = items.iter().map(|i| i.key.verify(&i.message, &i.signature)).collect();
    assert_eq!(together, alone);
    together.iter().map(Result::is_ok).collect()
}

/// Orders of the groups of secp256k1 and P-256 (SEC 2, FIPS 186).
fn order(algorithm: Algorithm) -> Option<[u8; 32]> {
    let hex = match algorithm {
        Algorithm::Es256k => "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        Algorithm::Es256 => "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        _ => return None,
    };
    Some(hex::decode(hex).unwrap().try_into().unwrap())
}

/// `order - s`, or the signature as it is for Ed25519.
fn with_high_s(algorithm: Algorithm, signature: &Signature) -> Signature {
    let Some(order) = order(algorithm) else { return *signature };
    let mut bytes = *signature.as_bytes();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(order[at]) - i16::from(bytes[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        bytes[32 + at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    Signature::from_bytes(bytes)
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    None,
    HighS,
    ZeroR,
    ZeroS,
    Ones,
    Bit(usize),
    Message,
    OtherKey,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        6 => Just(Harm::None),
        1 => Just(Harm::HighS),
        1 => Just(Harm::ZeroR),
        1 => Just(Harm::ZeroS),
        1 => Just(Harm::Ones),
        1 => (0..512_usize).prop_map(Harm::Bit),
        1 => Just(Harm::Message),
        1 => Just(Harm::OtherKey),
    ]
}

fn item(algorithm: Algorithm, seed: u8, message: u8, harm: Harm) -> Item {
    let key = SoftwareKey::from_seed(algorithm, [seed; 32]);
    let mut message = vec![message; usize::from(message)];
    let signature = key.sign(&message).unwrap();
    let mut bytes = *signature.as_bytes();
    let mut public = key.public_key().clone();
    match harm {
        Harm::None => {}
        Harm::HighS => bytes = *with_high_s(algorithm, &signature).as_bytes(),
        Harm::ZeroR => bytes[..32].fill(0),
        Harm::ZeroS => bytes[32..].fill(0),
        Harm::Ones => bytes[32..].fill(0xff),
        Harm::Bit(bit) => bytes[bit / 8] ^= 1 << (bit % 8),
        Harm::Message => message.push(0),
        Harm::OtherKey => {
            public = SoftwareKey::from_seed(algorithm, [seed ^ 0xff; 32]).public_key().clone();
        }
    }
    Item { key: public, message, signature: Signature::from_bytes(bytes) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn verdicts_do_not_depend_on_the_company(
        parts in prop::collection::vec((0..6_usize, 1..5_u8, 0..3_u8, harm()), 0..40),
        repeated in prop::collection::vec(0..40_usize, 0..10),
    ) {
        // Mostly Ed25519, which is what is summed.
        let algorithm = |at: usize| Algorithm::ALL.get(at).copied().unwrap_or(Algorithm::EdDsa);
        let mut items: Vec<Item> =
            parts.iter().map(|(a, seed, message, harm)| item(algorithm(*a), *seed, *message, *harm)).collect();
        let again: Vec<Item> = repeated.iter().filter_map(|at| items.get(*at).cloned()).collect();
        items.extend(again);
        same_together_as_alone(&items);
    }
}

#[test]
fn more_than_one_piece_with_a_bad_member_in_each_is_told_apart() {
    let good = |n: usize| {
        let seed = u8::try_from(n % 200).unwrap() + 1;
        item(Algorithm::EdDsa, seed, 1, if n % 97 == 5 { Harm::Message } else { Harm::None })
    };
    let items: Vec<_> = (0..300).map(good).collect();
    let held = same_together_as_alone(&items);
    assert!(held.iter().enumerate().all(|(n, held)| *held == (n % 97 != 5)));
}

/// The cases of a Wycheproof file whose key and signature have the right length, with its verdict.
fn wycheproof(file: &str, algorithm: Algorithm) -> Vec<(Option<Item>, bool, u64)> {
    let path = format!("identity/wycheproof/{file}");
    let Some(path) = depin_testkit::vectors::find(env!("CARGO_MANIFEST_DIR"), &path) else {
        return Vec::new();
    };
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let bytes = |case: &Value, at: usize| hex::decode(case[at].as_str().unwrap()).unwrap();
    let read = |case: &Value| {
        let key = PublicKey::from_bytes(algorithm, &bytes(case, 0)).ok();
        let signature = Signature::try_from(bytes(case, 2).as_slice()).ok();
        let item = key.zip(signature).map(|(key, signature)| {
            let message = bytes(case, 1);
            Item { key, message, signature }
        });
        (item, case[3] == "valid", case[4].as_u64().unwrap())
    };
    file["tests"].as_array().unwrap().iter().map(read).collect()
}

#[test]
fn wycheproof_ed25519_is_answered_alike_alone_and_together() {
    let cases = wycheproof("ed25519_test.json", Algorithm::EdDsa);
    let mut suite = Suite::new("Wycheproof, Ed25519");
    for (item, valid, id) in &cases {
        let held = item.as_ref().is_some_and(|i| i.key.verify(&i.message, &i.signature).is_ok());
        suite.case(id.to_string(), held == *valid);
    }
    suite.finish();
    let items: Vec<_> = cases.into_iter().filter_map(|(item, ..)| item).collect();
    same_together_as_alone(&items);
}

#[test]
fn wycheproof_ecdsa_is_answered_alike_but_for_high_s() {
    for (name, file, algorithm) in [
        (
            "Wycheproof, ECDSA secp256k1 (either s)",
            "ecdsa_secp256k1_sha256_p1363_test.json",
            Algorithm::Es256k,
        ),
        (
            "Wycheproof, ECDSA P-256 (either s)",
            "ecdsa_secp256r1_sha256_p1363_test.json",
            Algorithm::Es256,
        ),
    ] {
        let cases = wycheproof(file, algorithm);
        let mut suite = Suite::new(name);
        for (item, valid, id) in &cases {
            let held =
                item.as_ref().is_some_and(|i| i.key.verify_any_s(&i.message, &i.signature).is_ok());
            suite.case(id.to_string(), held == *valid);
            // The strict form adds nothing but the rule on s.
            let Some(item) = item else { continue };
            let other = with_high_s(algorithm, &item.signature);
            let low = item.key.verify(&item.message, &item.signature).is_ok();
            let twin = item.key.verify(&item.message, &other).is_ok();
            assert_eq!(low || twin, *valid, "{file} case {id}");
            assert!(!(low && twin), "{file} case {id}");
        }
        suite.finish();
        let items: Vec<_> = cases.into_iter().filter_map(|(item, ..)| item).collect();
        same_together_as_alone(&items);
    }
}
