//! Deltas: a device that was offline learns what was revoked, in order and from its issuer alone.

use std::time::Duration;

use depin_core::{
    Algorithm, Did, DidUrl, ErrorKind, NetworkId, Signer, SoftwareKey, Timestamp,
    document::{DidDocument, Relationships, VerificationMethod},
    envelope::Envelope,
};
use depin_identity::credentials::status::{
    PublishedList, Purpose, StatusList,
    delta::{DeltaError, PURPOSE},
};
use proptest::prelude::*;

use super::NOW;

const DAY: Duration = Duration::from_secs(86_400);

fn issuer() -> (SoftwareKey, DidDocument) {
    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [9; 32]);
    let did: Did = "did:web:maker.example".parse().unwrap();
    let mut document = DidDocument::new(did.clone());
    let id: DidUrl = "did:web:maker.example#key-1".parse().unwrap();
    document.verification_method.push(VerificationMethod::new(id, did, key.public_key().clone()));
    (key, document)
}

fn network() -> NetworkId {
    NetworkId::parse("climate").unwrap()
}

fn list(id: &str) -> PublishedList {
    let bits = StatusList::new(1 << 20).unwrap();
    PublishedList::new(id, issuer().1.id, Purpose::Revocation, bits, NOW, DAY)
}

fn at(days: u32) -> Timestamp {
    NOW.plus(DAY * days)
}

fn changed(list: &PublishedList, index: usize, days: u32) -> PublishedList {
    list.update([(index, true)], at(days), DAY).unwrap()
}

fn sign(older: &PublishedList, newer: &PublishedList) -> Vec<u8> {
    older.delta(newer, &issuer().0, &network()).unwrap()
}

#[test]
fn five_revocations_among_a_million_take_less_than_200_bytes() {
    let old = list("https://maker.example/status/3");
    let changes = [3, 94_567, 400_000, 777_777, (1 << 20) - 1].map(|index| (index, true));
    let new = old.update(changes, at(30), DAY).unwrap();
    let delta = sign(&old, &new);
    assert!(delta.len() < 200, "{} bytes", delta.len());
    let mut held = old;
    held.apply(&delta, &network(), &issuer().1).unwrap();
    assert_eq!(held, new);
}

#[test]
fn one_delta_covers_several_versions() {
    let first = list("a");
    let last = changed(&changed(&changed(&first, 1, 1), 2, 2), 3, 3);
    let mut held = first.clone();
    held.apply(&sign(&first, &last), &network(), &issuer().1).unwrap();
    assert_eq!(held, last);
}

#[test]
fn deltas_apply_once_and_in_order() {
    let first = list("a");
    let (second, third) = (changed(&first, 1, 1), changed(&changed(&first, 1, 1), 2, 2));
    let (one, two) = (sign(&first, &second), sign(&second, &third));
    let mut held = first;
    let early = held.apply(&two, &network(), &issuer().1);
    assert_eq!(early, Err(DeltaError::Order { from: at(1), held: NOW }));
    held.apply(&one, &network(), &issuer().1).unwrap();
    let again = held.apply(&one, &network(), &issuer().1);
    assert_eq!(again, Err(DeltaError::Order { from: NOW, held: at(1) }));
    held.apply(&two, &network(), &issuer().1).unwrap();
    assert_eq!(held, third);
}

#[test]
fn the_delta_of_another_list_or_network_is_refused() {
    let (ours, others) = (list("ours"), list("others"));
    let delta = sign(&others, &changed(&others, 1, 1));
    let mut held = ours.clone();
    assert_eq!(held.apply(&delta, &network(), &issuer().1), Err(DeltaError::Result));
    let elsewhere = NetworkId::parse("drive").unwrap();
    let delta = sign(&ours, &changed(&ours, 1, 1));
    assert!(matches!(held.apply(&delta, &elsewhere, &issuer().1), Err(DeltaError::Envelope(_))));
    assert_eq!(held, ours);
}

#[test]
fn a_list_that_differs_already_is_not_led_astray() {
    let first = list("a");
    let second = changed(&first, 1, 1);
    // The same moment, another content: somebody's storage is damaged.
    let bits = {
        let mut bits = StatusList::new(1 << 20).unwrap();
        bits.set(99, true).unwrap();
        bits
    };
    let mut held = PublishedList::new("a", issuer().1.id, Purpose::Revocation, bits, NOW, DAY);
    let before = held.clone();
    let delta = sign(&first, &second);
    assert_eq!(held.apply(&delta, &network(), &issuer().1), Err(DeltaError::Result));
    assert_eq!(held, before);
}

#[test]
fn only_keys_with_which_the_issuer_may_assert_sign_deltas() {
    let first = list("a");
    let delta = sign(&first, &changed(&first, 1, 1));
    let (_, mut document) = issuer();
    document.verification_method[0].relationships = Relationships::AUTHENTICATION;
    let mut held = first.clone();
    assert_eq!(held.apply(&delta, &network(), &document), Err(DeltaError::Signer));

    let thief = SoftwareKey::from_seed(Algorithm::EdDsa, [66; 32]);
    let forged = first.delta(&changed(&first, 1, 1), &thief, &network()).unwrap();
    assert_eq!(held.apply(&forged, &network(), &issuer().1), Err(DeltaError::Signer));

    let (_, mut other) = issuer();
    other.id = "did:web:thief.example".parse().unwrap();
    assert_eq!(held.apply(&delta, &network(), &other), Err(DeltaError::Signer));
    assert_eq!(held, first);
}

#[test]
fn a_delta_leads_forward_only() {
    let first = list("a");
    let second = changed(&first, 1, 1);
    for older in [&first, &second] {
        let error = second.delta(older, &issuer().0, &network()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
}

#[test]
fn too_many_changes_call_for_a_list() {
    let first = list("a");
    let every_other = (0..1 << 18).map(|index| (index * 2, true));
    let second = first.update(every_other, at(1), DAY).unwrap();
    let error = first.delta(&second, &issuer().0, &network()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    let mut held = first;
    let long = vec![0; 64 * 1024 + 1];
    assert_eq!(held.apply(&long, &network(), &issuer().1), Err(DeltaError::TooLong));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_changed_is_changed(
        before in prop::collection::btree_set(0..1_usize << 20, 0..50),
        after in prop::collection::btree_set(0..1_usize << 20, 0..50),
    ) {
        let set = |indices: &std::collections::BTreeSet<usize>| {
            let mut bits = StatusList::new(1 << 20).unwrap();
            indices.iter().for_each(|index| drop(bits.set(*index, true)));
            bits
        };
        let published = |bits, at| PublishedList::new("a", issuer().1.id, Purpose::Revocation, bits, at, DAY);
        let (old, new) = (published(set(&before), NOW), published(set(&after), at(1)));
        let mut held = old.clone();
        held.apply(&sign(&old, &new), &network(), &issuer().1).unwrap();
        prop_assert_eq!(held, new);
    }

    #[test]
    fn signed_nonsense_changes_nothing_and_never_panics(payload: Vec<u8>, tail: Vec<u8>) {
        let (key, document) = issuer();
        // The second is well formed up to its changes.
        let framed = [
            &[0x85, 0x1b], NOW.millis().to_be_bytes().as_slice(), &[0x01, 0x01, 0x50], &[0; 16],
            &[0x58, tail.len() as u8], &tail,
        ].concat();
        for payload in [payload, framed] {
            let bytes = Envelope::seal(&key, &document.id, &network(), PURPOSE, &payload).unwrap();
            let mut held = list("a");
            prop_assert!(held.apply(&bytes, &network(), &document).is_err());
            prop_assert_eq!(held, list("a"));
        }
    }

    #[test]
    fn cut_or_flipped_deltas_are_refused(at_byte: prop::sample::Index, bit in 0..8_u8) {
        let first = list("a");
        let delta = sign(&first, &changed(&first, 1, 1));
        let place = at_byte.index(delta.len());
        let mut held = first.clone();
        prop_assert!(held.apply(&delta[..place], &network(), &issuer().1).is_err());
        let mut flipped = delta;
        flipped[place] ^= 1 << bit;
        prop_assert!(held.apply(&flipped, &network(), &issuer().1).is_err());
        prop_assert_eq!(held, first);
    }
}
