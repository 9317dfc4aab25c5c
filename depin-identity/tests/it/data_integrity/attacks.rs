//! What an attacker does with proofs that he cannot make.

use std::sync::atomic::{AtomicUsize, Ordering};

use depin_core::{
    Result,
    document::{Material, Relationships},
    resolution::{DidResolver, Resolution, Version},
};
use proptest::prelude::*;

use super::*;

fn party() -> Party {
    Party::new(Algorithm::EdDsa, 1)
}

fn is_forged(secured: &Object) {
    let error = verify(secured, &expected()).unwrap_err();
    assert!(matches!(error, ProofError::Signature(_)), "{error}: {secured}");
}

#[test]
fn a_proof_moved_to_another_document_does_not_hold() {
    let secured = party().secure(&reading(), &party().options());
    let mut other = object([("temperature", 99)]);
    other.insert("proof", proofs(&secured).remove(0));
    is_forged(&other);
    let mut more = secured.clone();
    more.insert("humidity", 40);
    is_forged(&more);
    let mut less = secured;
    less.remove("temperature");
    is_forged(&less);
}

#[test]
fn no_option_of_a_proof_can_be_changed() {
    let secured = party().with(&reading(), |options| {
        options.created = Some(NOW.minus(core::time::Duration::from_secs(60)));
        options.expires = Some(NOW.plus(core::time::Duration::from_secs(60)));
        options.challenge = Some("c".into());
        options.domain = vec!["d".into()];
        options.id = Some("urn:1".into());
    });
    assert!(verify(&secured, &expected()).is_ok());
    for (name, value) in [
        ("created", "2020-01-01T00:00:00Z"),
        ("expires", "2999-01-01T00:00:00Z"),
        ("challenge", "other"),
        ("domain", "other"),
        ("id", "urn:2"),
        ("nonce", "unknown members are covered as well"),
        ("https://example.org/term", "x"),
    ] {
        is_forged(&with_proof(&secured, |proof| drop(proof.insert(name, value))));
        let removed = with_proof(&secured, |proof| drop(proof.remove(name)));
        assert!(removed == secured || verify(&removed, &expected()).is_err(), "{name}");
    }
}

#[test]
fn a_proof_for_one_purpose_is_none_for_another() {
    let secured = party().secure(&reading(), &party().options());
    let login = Expectation::new(Purpose::Authentication, NOW);
    let refused =
        ProofError::Purpose { found: "assertionMethod".into(), expected: Purpose::Authentication };
    assert_eq!(verify(&secured, &login), Err(refused));
    let relabelled =
        with_proof(&secured, |proof| drop(proof.insert("proofPurpose", "authentication")));
    assert!(matches!(verify(&relabelled, &login), Err(ProofError::Signature(_))));
}

/// The verdict with one document at hand, whatever it says.
fn verdict_with(document: &DidDocument) -> ProofError {
    let secured = party().secure(&reading(), &party().options());
    data_integrity::verify(&secured, &expected(), |_| Some(document)).unwrap_err()
}

#[test]
fn the_document_must_allow_the_key_what_it_did() {
    let mut document = party().document;
    document.verification_method[0].relationships = Relationships::AUTHENTICATION;
    let refused = ProofError::Relationship(party().method(), Purpose::Assertion);
    assert_eq!(verdict_with(&document), refused);
}

#[test]
fn a_key_that_another_did_controls_is_refused() {
    let mut document = party().document;
    document.verification_method[0].controller = "did:example:mallory".parse().unwrap();
    assert_eq!(verdict_with(&document), ProofError::Controller(party().method()));
}

#[test]
fn another_document_does_not_stand_in_for_the_signers() {
    // A document of the attacker that lists the signer's method, under his own name.
    let mut document = Party::new(Algorithm::EdDsa, 2).document;
    document.verification_method = party().document.verification_method;
    assert_eq!(verdict_with(&document), ProofError::NoDocument(party().did().clone()));
    let mut document = party().document;
    document.verification_method.clear();
    assert_eq!(verdict_with(&document), ProofError::NoMethod(party().method()));
}

#[test]
fn a_key_of_another_algorithm_or_kind_is_refused() {
    let mut document = party().document;
    let other = Party::new(Algorithm::Es256, 1);
    document.verification_method[0].material = Material::Key(other.key.public_key().clone());
    assert_eq!(verdict_with(&document), ProofError::Algorithm(party().method()));
    document.verification_method[0].material =
        Material::Foreign { member: "publicKeyMultibase".into(), value: "z82P384".into() };
    assert_eq!(verdict_with(&document), ProofError::Algorithm(party().method()));
    let other_key = Party::new(Algorithm::EdDsa, 2).key.public_key().clone();
    document.verification_method[0].material = Material::Key(other_key);
    assert!(matches!(verdict_with(&document), ProofError::Signature(_)));
}

#[test]
fn proofs_end_when_they_say_and_do_not_come_from_the_future() {
    let second = core::time::Duration::from_secs(1);
    let expiring =
        |at| verify(&party().with(&reading(), |options| options.expires = Some(at)), &expected());
    assert_eq!(expiring(NOW), Err(ProofError::Expired(NOW)));
    assert!(expiring(NOW.plus(second)).is_ok());
    let created =
        |at| verify(&party().with(&reading(), |options| options.created = Some(at)), &expected());
    assert!(created(NOW.plus(second * 60)).is_ok());
    assert_eq!(created(NOW.plus(second * 61)), Err(ProofError::Early(NOW.plus(second * 61))));
    for name in ["created", "expires"] {
        for bad in ["", "yesterday", "2023-02-30T00:00:00Z", "2023-01-01"] {
            let secured = party().secure(&reading(), &party().options());
            let changed = with_proof(&secured, |proof| drop(proof.insert(name, bad)));
            assert_eq!(verify(&changed, &expected()), Err(ProofError::Member(name)), "{bad}");
        }
    }
}

#[test]
fn a_proof_answers_one_challenge_in_one_domain() {
    let secured = party().with(&reading(), |options| {
        options.challenge = Some("8f1".into());
        options.domain = vec!["a.example".into(), "b.example".into()];
    });
    let with = |challenge: &str, domain: &[&str]| {
        let mut expected = expected();
        expected.challenge = Some(challenge.into());
        expected.domain = domain.iter().copied().map(Into::into).collect();
        verify(&secured, &expected).map(|verified| verified.proofs.len())
    };
    assert_eq!(with("8f1", &["b.example", "a.example"]), Ok(1));
    assert_eq!(with("8f2", &["a.example", "b.example"]), Err(ProofError::Challenge));
    assert_eq!(with("8f1", &["a.example"]), Err(ProofError::Domain));
    assert_eq!(with("8f1", &["a.example", "c.example"]), Err(ProofError::Domain));
    // One without either is no answer.
    let bare = party().secure(&reading(), &party().options());
    let mut expected = expected();
    expected.challenge = Some("8f1".into());
    assert_eq!(verify(&bare, &expected), Err(ProofError::Challenge));
    expected.challenge = None;
    expected.domain = vec!["a.example".into()];
    assert_eq!(verify(&bare, &expected), Err(ProofError::Domain));
}

#[test]
fn other_types_suites_and_encodings_are_refused() {
    let secured = party().secure(&reading(), &party().options());
    for (name, value, refused) in [
        ("type", "Ed25519Signature2020", None),
        ("cryptosuite", "eddsa-rdfc-2022", None),
        ("cryptosuite", "EDDSA-JCS-2022", None),
        ("verificationMethod", "https://example.org/key", Some("verificationMethod")),
        ("proofValue", "", Some("proofValue")),
        ("proofValue", "z", Some("proofValue")),
        ("proofValue", "uAAAA", Some("proofValue")),
        ("proofValue", "z0OIl", Some("proofValue")),
    ] {
        let changed = with_proof(&secured, |proof| drop(proof.insert(name, value)));
        let refused = refused.map_or_else(
            || ProofError::Unsupported { member: name, found: value.into() },
            ProofError::Member,
        );
        assert_eq!(verify(&changed, &expected()), Err(refused), "{name}: {value}");
    }
    // The name of the other suite over this key: the key decides.
    let renamed = with_proof(&secured, |proof| drop(proof.insert("cryptosuite", "ecdsa-jcs-2019")));
    assert_eq!(verify(&renamed, &expected()), Err(ProofError::Algorithm(party().method())));
    let long = with_proof(&secured, |proof| {
        drop(proof.insert("proofValue", format!("z{}", "1".repeat(89))))
    });
    assert_eq!(verify(&long, &expected()), Err(ProofError::Member("proofValue")));
    for name in ["type", "cryptosuite", "verificationMethod", "proofPurpose", "proofValue"] {
        let changed = with_proof(&secured, |proof| drop(proof.remove(name)));
        assert_eq!(verify(&changed, &expected()), Err(ProofError::Member(name)));
        let changed = with_proof(&secured, |proof| drop(proof.insert(name, 7)));
        assert_eq!(verify(&changed, &expected()), Err(ProofError::Member(name)));
    }
}

#[test]
fn keys_without_a_suite_sign_nothing() {
    let party = Party::new(Algorithm::Es256k, 1);
    let error = data_integrity::secure(&reading(), &party.options(), &party.key).unwrap_err();
    assert_eq!(error.kind(), depin_core::ErrorKind::Unsupported);
}

#[test]
fn what_was_added_to_a_context_is_not_taken_for_signed() {
    let mut document = reading();
    document.insert("@context", vec!["https://a.example"]);
    let secured = party().secure(&document, &party().options());
    let with_context = |entries: Vec<&str>| {
        let mut changed = secured.clone();
        changed.insert("@context", entries);
        verify(&changed, &expected()).map(|verified| verified.into_inner().document)
    };
    // The standard lets a context grow at its end; what is handed out is what was signed.
    assert_eq!(with_context(vec!["https://a.example", "https://evil.example"]), Ok(document));
    assert_eq!(
        with_context(vec!["https://evil.example", "https://a.example"]),
        Err(ProofError::Context)
    );
    assert_eq!(with_context(vec![]), Err(ProofError::Context));
    let mut without = secured.clone();
    without.remove("@context");
    assert_eq!(verify(&without, &expected()), Err(ProofError::Context));
    is_forged(&with_proof(&secured, |proof| drop(proof.remove("@context"))));
}

#[derive(Debug)]
struct Counting(AtomicUsize);

#[async_trait::async_trait]
impl DidResolver for Counting {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        self.0.fetch_add(1, Ordering::Relaxed);
        key::KeyResolver.resolve_version(did, version).await
    }
}

#[tokio::test]
async fn documents_of_signers_are_resolved_once_each() {
    let (one, two) = (party(), Party::new(Algorithm::Es256, 2));
    let secured = [&one, &two, &one, &one]
        .iter()
        .fold(reading(), |document, party| party.secure(&document, &party.options()));
    let resolver = Counting(AtomicUsize::new(0));
    let documents = data_integrity::documents(&secured, &resolver).await.unwrap();
    assert_eq!(resolver.0.load(Ordering::Relaxed), 2);
    data_integrity::verify(&secured, &expected(), |did| documents.get(did)).unwrap();
    // Whoever is malformed costs no call.
    let bad = with_proof(&secured, |proof| drop(proof.remove("type")));
    assert!(data_integrity::documents(&bad, &resolver).await.is_err());
    assert_eq!(resolver.0.load(Ordering::Relaxed), 2);
}

proptest! {
    #[test]
    fn any_change_of_one_byte_is_refused_or_changes_nothing(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let secured = Party::new(Algorithm::EdDsa, 1).with(&reading(), |options| options.id = Some("urn:1".into()));
        let mut text = secured.canonical().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(Value::Object(changed)) = json::parse(&text) {
            prop_assert_eq!(verify(&changed, &expected()).is_ok(), changed == secured);
        }
    }

    #[test]
    fn any_proof_is_answered(members in prop::collection::btree_map("type|cryptosuite|id|previousProof|proofValue|created|domain|proofPurpose|verificationMethod|@context", "DataIntegrityProof|eddsa-jcs-2022|did:key:z6Mk#a|z[1-9]{86,89}|.{0,9}", 0..10)) {
        let mut document = reading();
        document.insert("proof", object(members));
        prop_assert!(verify(&document, &expected()).is_err());
    }
}
