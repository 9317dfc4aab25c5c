//! The rule for Ed25519 at its edges: torsion, second encodings, errors made to cancel each other.

use curve25519_dalek::{
    EdwardsPoint, Scalar,
    constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION},
};
use depin_core::{
    Algorithm, PublicKey, Signature, Signer, SoftwareKey,
    key::{Check, KeyError, verify_all},
};
use sha2::{Digest, Sha512};

const B: EdwardsPoint = ED25519_BASEPOINT_POINT;

/// Signs with any key point and any additions to `R` and `s`.
fn craft(
    message: &[u8],
    a: Scalar,
    key: EdwardsPoint,
    to_r: EdwardsPoint,
    to_s: Scalar,
) -> Signature {
    let nonce = Scalar::from(0x1234_5678_u64);
    let r = (nonce * B + to_r).compress();
    let hash = Sha512::new_with_prefix(r.as_bytes()).chain_update(key.compress().as_bytes());
    let k = Scalar::from_bytes_mod_order_wide(&hash.chain_update(message).finalize().into());
    join(r.as_bytes(), (nonce + k * a + to_s).as_bytes())
}

fn join(r: &[u8; 32], s: &[u8; 32]) -> Signature {
    Signature::from_bytes([r.as_slice(), s].concat().try_into().unwrap())
}

fn public(point: EdwardsPoint) -> PublicKey {
    PublicKey::from_bytes(Algorithm::EdDsa, point.compress().as_bytes()).unwrap()
}

/// Verdicts of the batch, after checking that each is the verdict alone.
fn verdicts(items: &[(PublicKey, &[u8], Signature)]) -> Vec<bool> {
    let checks: Vec<_> =
        items.iter().map(|(key, message, signature)| Check { key, message, signature }).collect();
    let together = verify_all(&checks);
    let alone: Vec<_> =
        items.iter().map(|(key, message, signature)| key.verify(message, signature)).collect();
    assert_eq!(together, alone);
    together.iter().map(Result::is_ok).collect()
}

#[test]
fn keys_of_small_order_and_second_encodings_are_no_keys() {
    for torsion in EIGHT_TORSION {
        let bytes = torsion.compress().to_bytes();
        assert_eq!(PublicKey::from_bytes(Algorithm::EdDsa, &bytes), Err(KeyError::Key));
    }
    // y between the prime 2^255 - 19 and 2^255, with either sign.
    for (low, high) in (0xed..=0xff).flat_map(|low| [(low, 0x7f), (low, 0xff)]) {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (low, high);
        assert_eq!(PublicKey::from_bytes(Algorithm::EdDsa, &bytes), Err(KeyError::Key));
    }
}

#[test]
fn torsion_in_key_or_commitment_changes_no_verdict_in_any_company() {
    let a = Scalar::from(77_u64);
    let mut items = Vec::new();
    for in_key in EIGHT_TORSION {
        for in_r in EIGHT_TORSION {
            let key = a * B + in_key;
            items.push((public(key), &b"m"[..], craft(b"m", a, key, in_r, Scalar::ZERO)));
        }
    }
    assert!(verdicts(&items).iter().all(|held| *held));
    // Verifiers without the factor 8 refuse most of these.
    let strict = |(key, message, signature): &(PublicKey, &[u8], Signature)| {
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(&key.to_bytes().try_into().unwrap()).unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
        key.verify_strict(message, &signature).is_ok()
    };
    assert!(items.iter().filter(|item| strict(item)).count() < 20);
    for pair in items.chunks(2).chain(items.chunks(3)) {
        verdicts(pair);
    }
    // The same commitments with a response that is wrong.
    for (at, item) in items.iter_mut().enumerate().filter(|(at, _)| at % 5 == 0) {
        let torsion = EIGHT_TORSION[at % 8];
        let key = a * B + EIGHT_TORSION[at / 8];
        item.2 = craft(b"m", a, key, torsion, Scalar::ONE);
    }
    let held = verdicts(&items);
    assert!(held.iter().enumerate().all(|(at, held)| *held == (at % 5 != 0)));
}

#[test]
fn errors_that_cancel_in_a_plain_sum_are_both_named() {
    let a = Scalar::from(99_u64);
    let key = a * B;
    let error = Scalar::from(5_u64);
    for torsion in EIGHT_TORSION {
        let with = |to_s, torsion: EdwardsPoint, message| {
            (public(key), message, craft(message, a, key, torsion, to_s))
        };
        let items = [
            with(error, torsion, &b"one"[..]),
            with(Scalar::ZERO, torsion, b"good"),
            with(-error, -torsion, b"two"),
        ];
        assert_eq!(verdicts(&items), [false, true, false]);
        // The same signature twice, wrong by half of the group's order and by its rest.
        let twice = [items[0].clone(), items[0].clone(), items[2].clone(), items[2].clone()];
        assert_eq!(verdicts(&twice), [false; 4]);
    }
}

#[test]
fn a_commitment_of_small_order_or_a_second_form_is_refused() {
    let a = Scalar::from(3_u64);
    let key = a * B;
    let mut items = Vec::new();
    for torsion in EIGHT_TORSION {
        let r = torsion.compress();
        let hash = Sha512::new_with_prefix(r.as_bytes()).chain_update(key.compress().as_bytes());
        let k = Scalar::from_bytes_mod_order_wide(&hash.chain_update(b"m").finalize().into());
        // The equation holds for these.
        items.push((public(key), &b"m"[..], join(r.as_bytes(), (k * a).as_bytes())));
    }
    let honest = craft(b"m", a, key, EIGHT_TORSION[0], Scalar::ZERO);
    let (r, s) = honest.as_bytes().split_at(32);
    let order = (-Scalar::ONE).to_bytes();
    // s + L: add L - 1 and 1 to s.
    let mut carry = 1;
    let above: Vec<u8> = s
        .iter()
        .zip(order)
        .map(|(a, b)| {
            let sum = u16::from(*a) + u16::from(b) + carry;
            carry = sum >> 8;
            u8::try_from(sum & 0xff).unwrap()
        })
        .collect();
    items.push((public(key), b"m", join(r.try_into().unwrap(), &above.try_into().unwrap())));
    assert!(verdicts(&items).iter().all(|held| !held));
    items.push((public(key), b"m", honest));
    assert_eq!(verdicts(&items).iter().filter(|held| **held).count(), 1);
}

#[test]
fn signatures_are_those_of_rfc_8032() {
    // Section 7.1, tests 2 and 3.
    for (seed, public, message, signature) in [
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        let seed = hex::decode(seed).unwrap().try_into().unwrap();
        let key = SoftwareKey::from_seed(Algorithm::EdDsa, seed);
        assert_eq!(hex::encode(key.public_key().to_bytes()), public);
        let signed = key.sign(&hex::decode(message).unwrap()).unwrap();
        assert_eq!(hex::encode(signed.as_bytes()), signature);
    }
}
