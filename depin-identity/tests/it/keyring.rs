//! Which keys a verifier takes for whose.

use depin_core::{Algorithm, Did, ErrorKind, PublicKey, Signer, document::Relationships};
use depin_identity::{
    DidDocument, DidUrl, KeyRing, VerificationMethod,
    methods::{ethr, io::did_io, jwk::did_jwk, key::did_key},
};

use crate::chip::key;

const ALL: Relationships = Relationships::AUTHENTICATION;

fn public(seed: u8) -> PublicKey {
    key(Algorithm::Es256k, seed).public_key().clone()
}

#[test]
fn a_key_may_do_what_its_document_says_and_no_more() {
    let did = did_io(&public(1)).unwrap();
    let method = |name: &str, seed, relationships| {
        let id = DidUrl::parse(&format!("{did}#{name}")).unwrap();
        let method = VerificationMethod::new(id, did.clone(), public(seed));
        VerificationMethod { relationships, ..method }
    };
    let mut document = DidDocument::new(did.clone());
    document.verification_method = vec![
        method("a", 1, Relationships::AUTHENTICATION),
        method("d", 2, Relationships::DELEGATION | Relationships::ASSERTION),
    ];
    let mut ring = KeyRing::new();
    ring.insert_document(&document);
    assert_eq!(ring.keys(&did, Relationships::AUTHENTICATION), [public(1)]);
    assert_eq!(ring.keys(&did, Relationships::DELEGATION), [public(2)]);
    assert!(ring.keys(&did, Relationships::KEY_AGREEMENT).is_empty());
    assert!(ring.keys(&did_io(&public(2)).unwrap(), Relationships::DELEGATION).is_empty());
}

#[test]
fn a_did_key_is_its_own_key_and_takes_no_other() {
    let mut ring = KeyRing::new();
    let did = did_key(&public(1));
    let error = ring.insert(&did, public(2), ALL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    // A document that claims otherwise changes nothing.
    let id = DidUrl::parse(&format!("{did}#x")).unwrap();
    let mut document = DidDocument::new(did.clone());
    document.verification_method = vec![VerificationMethod::new(id, did.clone(), public(2))];
    ring.insert_document(&document);
    assert_eq!(ring.keys(&did, ALL), [public(1)]);
}

#[test]
fn an_account_takes_the_key_its_address_is_made_of() {
    let account = |text: String| Did::parse(&text).unwrap();
    let address = public(1).to_address().unwrap();
    let mut ring = KeyRing::new();
    for did in [
        account(format!("did:pkh:eip155:4689:{address:#x}")),
        account(format!("did:pkh:eip155:1:{address}")),
    ] {
        ring.insert(&did, public(1), ALL).unwrap();
        assert_eq!(ring.keys(&did, ALL), [public(1)]);
        assert!(ring.insert(&did, public(2), ALL).is_err());
        let ed25519 = key(Algorithm::EdDsa, 1).public_key().clone();
        assert!(ring.insert(&did, ed25519, ALL).is_err());
    }
    for other in ["did:pkh:eip155:1:0x12", "did:pkh:solana:1:0x12", "did:pkh:eip155:x", "did:pkh:x"]
    {
        assert!(ring.insert(&account(other.into()), public(1), ALL).is_err(), "{other}");
    }
}

#[test]
fn a_did_jwk_and_a_did_ethr_take_no_other_key() {
    let mut ring = KeyRing::new();
    for did in [
        did_jwk(&public(1)),
        ethr::from_key("mainnet", &public(1)).unwrap(),
        ethr::from_address("sepolia", public(1).to_address().unwrap()).unwrap(),
    ] {
        let ed25519 = key(Algorithm::EdDsa, 1).public_key().clone();
        for other in [public(2), ed25519] {
            let error = ring.insert(&did, other, ALL).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rejected, "{did}");
        }
        ring.insert(&did, public(1), ALL).unwrap();
        assert_eq!(ring.keys(&did, ALL), [public(1)]);
    }
}

#[test]
fn ring_and_document_agree_on_what_a_did_key_may() {
    let did = did_key(&public(1));
    let document = depin_identity::methods::key::document(&did).unwrap();
    for (purpose, may) in [
        (Relationships::AUTHENTICATION, true),
        (Relationships::ASSERTION, true),
        (Relationships::INVOCATION, true),
        (Relationships::DELEGATION, true),
        (Relationships::KEY_AGREEMENT, false),
    ] {
        assert_eq!(document.keys(purpose).count() == 1, may, "{purpose:?}");
        assert_eq!(!KeyRing::new().keys(&did, purpose).is_empty(), may, "{purpose:?}");
    }
}

#[test]
fn no_did_is_tried_with_more_keys_than_the_bound() {
    let did: Did = "did:web:many.example".parse().unwrap();
    let mut ring = KeyRing::new();
    for seed in 0..40 {
        ring.insert(&did, public(seed), ALL).unwrap();
    }
    assert_eq!(ring.keys(&did, ALL).len(), KeyRing::MAX_KEYS);
}
