//! Credentials that must not be accepted, each with the word for it.

use std::time::Duration;

use async_trait::async_trait;
use depin_core::{
    Algorithm, Did, DidUrl, Error, ErrorKind, Result, Signer, Timestamp,
    document::{DidDocument, Relationships, VerificationMethod},
    resolution::{DidResolver, Freshness, Resolution, Version},
};
use depin_identity::{
    Resolver,
    credentials::{CONTEXT, Credential, CredentialError, CredentialVerifier},
    data_integrity::{Options, ProofError, Purpose, secure},
    json::{self, JsonError, Object, Value},
    methods::key,
};
use proptest::prelude::*;

use super::{NOW, Party, issued, maker, statement, station, verifier};

async fn verify(secured: &Object) -> Result<Credential, CredentialError> {
    let resolver = Resolver::new();
    let text = secured.to_string();
    verifier(&resolver).verify(text.as_bytes()).await.map(|credential| credential.into_inner())
}

/// The statement with another member, issued.
fn with(name: &str, value: impl Into<Value>) -> Object {
    let mut object = statement().as_object().clone();
    object.insert(name, value);
    issued(&Credential::read(object).unwrap())
}

/// Any object with a proof of the maker, whether it is a credential or not.
fn signed(object: &Object) -> Object {
    let mut options = Options::new(maker().method, Purpose::Assertion);
    options.created = Some(NOW);
    secure(object, &options, &maker().key).unwrap()
}

#[tokio::test]
async fn what_was_issued_is_accepted_with_members_that_nobody_knows() {
    let secured = with("batch", json::object([("line", 4)]));
    let credential = verify(&secured).await.unwrap();
    assert_eq!(credential.as_object().get("batch").unwrap().to_string(), r#"{"line":4}"#);
    assert!(!credential.as_object().contains("proof"));
    assert_eq!(credential.valid_from(), Some(NOW));
}

#[tokio::test]
async fn every_changed_byte_is_noticed() {
    let text = issued(&statement()).to_string();
    let resolver = Resolver::new();
    for place in (0..text.len()).step_by(7) {
        let mut bytes = text.clone().into_bytes();
        bytes[place] ^= 1;
        assert!(verifier(&resolver).verify(&bytes).await.is_err(), "byte {place}");
        assert!(verifier(&resolver).verify(&text.as_bytes()[..place]).await.is_err());
    }
}

#[tokio::test]
async fn a_proof_moved_from_another_credential_is_refused() {
    let donor = issued(&statement());
    let subject = json::object([("id", maker().did.as_str()), ("model", "Pebble 3")]);
    let mut thief = statement().as_object().clone();
    thief.insert("credentialSubject", subject);
    thief.insert("proof", donor.get("proof").unwrap().clone());
    assert!(matches!(verify(&thief).await, Err(CredentialError::Proof(ProofError::Signature(_)))));
    thief.remove("proof");
    assert!(matches!(verify(&thief).await, Err(CredentialError::Proof(ProofError::Missing))));
}

#[tokio::test]
async fn only_trusted_issuers_count_and_only_their_own_keys() {
    let resolver = Resolver::new();
    let text = issued(&statement()).to_string();
    let nobody = CredentialVerifier::new(&resolver, NOW);
    let refused = nobody.verify(text.as_bytes()).await.unwrap_err();
    assert!(matches!(&refused, CredentialError::Issuer(did) if *did == maker().did));
    assert!(!refused.could_not_check());
    let makers = |did: &Did| *did == maker().did;
    nobody.trust_if(&makers).verify(text.as_bytes()).await.unwrap();

    // Another signs in the name of the maker.
    let thief = station();
    let options = Options::new(thief.method.clone(), Purpose::Assertion);
    let forged = secure(statement().as_object(), &options, &thief.key).unwrap();
    assert!(matches!(
        verify(&forged).await,
        Err(CredentialError::Proof(ProofError::NoDocument(_)))
    ));
    let error = statement().issue(&thief.key, &thief.method, NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    // With the maker's name on the key, too.
    let lying = Options::new(maker().method, Purpose::Assertion);
    let other = Party::new(Algorithm::EdDsa, 66);
    let forged = secure(statement().as_object(), &lying, &other.key).unwrap();
    assert!(matches!(verify(&forged).await, Err(CredentialError::Proof(ProofError::Signature(_)))));
}

#[tokio::test]
async fn a_proof_for_another_purpose_states_nothing() {
    let options = Options::new(maker().method, Purpose::Authentication);
    let login = secure(statement().as_object(), &options, &maker().key).unwrap();
    assert!(matches!(
        verify(&login).await,
        Err(CredentialError::Proof(ProofError::Purpose { .. }))
    ));
}

#[tokio::test]
async fn dates_are_kept() {
    let resolver = Resolver::new();
    let text = issued(&statement()).to_string();
    let at = async |now: Timestamp, leeway| {
        let verifier = CredentialVerifier::new(&resolver, now).trust(maker().did);
        verifier.leeway(Duration::from_secs(leeway)).verify(text.as_bytes()).await.map(drop)
    };
    let (before, after) =
        (Timestamp::from_secs(1_699_999_999), Timestamp::from_secs(1_700_086_401));
    assert!(matches!(at(before, 0).await, Err(CredentialError::NotYetValid(from)) if from == NOW));
    at(before, 1).await.unwrap();
    at(Timestamp::from_secs(1_700_086_400), 0).await.unwrap();
    assert!(matches!(at(after, 0).await, Err(CredentialError::Expired(_))));
    at(after, 1).await.unwrap();
}

#[tokio::test]
async fn expected_types_and_listed_contexts_are_demanded() {
    let resolver = Resolver::new();
    let text = issued(&statement()).to_string();
    let expecting = |kind: &str| verifier(&resolver).expect_type(kind);
    expecting("StationCredential").verify(text.as_bytes()).await.unwrap();
    let other = expecting("OwnerCredential").verify(text.as_bytes()).await;
    assert!(matches!(other, Err(CredentialError::Type(kind)) if kind == "OwnerCredential"));

    const WORDS: &str = "https://maker.example/words/v1";
    let foreign = issued(
        &Credential::builder(&maker().did)
            .context(WORDS)
            .subject(json::object([("model", "Pebble 2")]))
            .build()
            .unwrap(),
    );
    assert!(matches!(verify(&foreign).await, Err(CredentialError::Context(url)) if url == WORDS));
    verifier(&resolver).context(WORDS).verify_object(&foreign).await.unwrap();
}

#[tokio::test]
async fn what_restricts_use_and_is_not_understood_is_refused() {
    let resolver = Resolver::new();
    for name in ["termsOfUse", "credentialSchema", "expirationDate", "issuanceDate"] {
        let secured = with(name, json::object([("type", "Unheard")]));
        let refused = verify(&secured).await.unwrap_err();
        assert!(matches!(&refused, CredentialError::NotUnderstood(what) if what == name));
        verifier(&resolver).leave_unchecked(name).verify_object(&secured).await.unwrap();
    }
    let status = with("credentialStatus", json::object([("type", "Unheard")]));
    let refused = verify(&status).await.unwrap_err();
    assert!(matches!(&refused, CredentialError::NotUnderstood(what) if what == "Unheard"));
    verifier(&resolver).leave_unchecked("Unheard").verify_object(&status).await.unwrap();
}

#[tokio::test]
async fn unknown_proofs_are_refused() {
    for (name, value) in [("type", "Ed25519Signature2018"), ("cryptosuite", "ecdsa-rdfc-2019")] {
        let mut secured = issued(&statement());
        let mut proof = secured.get("proof").unwrap().as_object().unwrap().clone();
        proof.insert(name, value);
        secured.insert("proof", proof.clone());
        assert!(matches!(
            verify(&secured).await,
            Err(CredentialError::Proof(ProofError::Unsupported { .. }))
        ));
        // Also beside one that holds.
        let good = issued(&statement()).get("proof").unwrap().as_object().unwrap().clone();
        secured.insert("proof", vec![good, proof]);
        assert!(verify(&secured).await.is_err());
    }
}

#[tokio::test]
async fn what_has_not_the_form_of_a_credential_is_refused() {
    let object = || statement().as_object().clone();
    for (name, value) in [
        ("@context", Value::from(CONTEXT)),
        ("@context", vec!["https://www.w3.org/2018/credentials/v1"].into()),
        ("@context", vec!["https://maker.example/words/v1", CONTEXT].into()),
        ("@context", Value::List(vec![CONTEXT.into(), Object::new().into()])),
        ("@context", vec![CONTEXT; 65].into()),
        ("type", "StationCredential".into()),
        ("type", Value::Null),
        ("id", 7.into()),
        ("id", "".into()),
        ("issuer", "https://maker.example".into()),
        ("issuer", json::object([("name", "maker")]).into()),
        ("validFrom", "yesterday".into()),
        ("validFrom", "2023-11-14T22:13:20".into()),
        ("validFrom", 1_700_000_000.into()),
        ("validUntil", "2020-01-01T00:00:00Z".into()),
        ("credentialSubject", Object::new().into()),
        ("credentialSubject", Vec::<Object>::new().into()),
        ("credentialSubject", "somebody".into()),
        ("credentialSubject", json::object([("id", 7)]).into()),
        ("credentialStatus", "fine".into()),
    ] {
        let mut object = object();
        let text = value.to_string();
        object.insert(name, value);
        let refused = verify(&signed(&object)).await.unwrap_err();
        assert!(
            matches!(&refused, CredentialError::Member(what) if *what == name),
            "{name} {text}"
        );
    }
    for name in ["@context", "type", "issuer", "credentialSubject"] {
        let mut object = object();
        object.remove(name);
        assert!(matches!(
            verify(&signed(&object)).await,
            Err(CredentialError::Member(what)) if what == name
        ));
    }
    let named = with("issuer", json::object([("id", maker().did.as_str()), ("name", "Maker")]));
    assert_eq!(verify(&named).await.unwrap().issuer(), &maker().did);
}

#[tokio::test]
async fn json_that_readers_disagree_about_is_refused() {
    let resolver = Resolver::new();
    let text = issued(&statement()).to_string();
    let twice = text.replacen("\"model\":", "\"model\":\"Pebble 3\",\"model\":", 1);
    assert!(matches!(
        verifier(&resolver).verify(twice.as_bytes()).await,
        Err(CredentialError::Json(JsonError::Twice(_)))
    ));
    let long = text.replacen("Pebble 2", &"2".repeat(10 << 20), 1);
    assert!(matches!(
        verifier(&resolver).verify(long.as_bytes()).await,
        Err(CredentialError::Json(JsonError::TooLong(_)))
    ));
    assert!(matches!(
        verifier(&resolver).verify("[".repeat(100_000).as_bytes()).await,
        Err(CredentialError::Json(JsonError::TooDeep(_)))
    ));
    assert!(verifier(&resolver).verify(b"[]").await.is_err());
}

/// Answers with a document, an error, or fails the test.
#[derive(Debug)]
enum Fake {
    Document(Box<DidDocument>),
    Error(ErrorKind),
    MustNotBeAsked,
}

#[async_trait]
impl DidResolver for Fake {
    async fn resolve_version(&self, did: &Did, _: &Version) -> Result<Resolution> {
        match self {
            Self::Document(document) => {
                Ok(Resolution::new(document.as_ref().clone(), Freshness::Once))
            }
            Self::Error(kind) => Err(Error::new(*kind, "no answer")),
            Self::MustNotBeAsked => panic!("asked for {did}"),
        }
    }
}

#[tokio::test]
async fn silence_is_not_a_no_and_not_a_yes() {
    let secured = issued(&statement());
    for (kind, unknown, again) in [
        (ErrorKind::Unavailable, true, true),
        (ErrorKind::Unsupported, true, false),
        (ErrorKind::NotFound, false, false),
    ] {
        let resolver = Fake::Error(kind);
        let verifier = CredentialVerifier::new(&resolver, NOW).trust(maker().did);
        let refused = verifier.verify_object(&secured).await.unwrap_err();
        assert_eq!((refused.could_not_check(), refused.is_retryable()), (unknown, again), "{kind}");
        assert_eq!(Error::from(refused).is_retryable(), again);
    }
}

#[tokio::test]
async fn the_dids_of_strangers_are_not_resolved() {
    let resolver = Fake::MustNotBeAsked;
    let nobody = CredentialVerifier::new(&resolver, NOW);
    assert!(nobody.verify_object(&issued(&statement())).await.is_err());
    // The name of the issuer is trusted, but the proof names another's key.
    let mut stranger = issued(&statement());
    let mut proof = stranger.get("proof").unwrap().as_object().unwrap().clone();
    proof.insert("verificationMethod", "did:web:internal.example#key");
    stranger.insert("proof", proof);
    let resolver = Fake::Document(Box::new(key::document(&maker().did).unwrap()));
    let verifier = CredentialVerifier::new(&resolver, NOW).trust(maker().did);
    assert!(matches!(
        verifier.verify_object(&stranger).await,
        Err(CredentialError::Proof(ProofError::NoDocument(_)))
    ));
}

#[tokio::test]
async fn a_key_must_be_listed_for_assertions() {
    let maker = maker();
    let mut document = DidDocument::new(maker.did.clone());
    let id: DidUrl = maker.method.clone();
    document.verification_method.push(VerificationMethod::new(
        id,
        maker.did.clone(),
        maker.key.public_key().clone(),
    ));
    for (relationships, fine) in [
        (Relationships::ASSERTION, true),
        (Relationships::AUTHENTICATION, false),
        (Relationships::NONE, false),
    ] {
        document.verification_method[0].relationships = relationships;
        let resolver = Fake::Document(Box::new(document.clone()));
        let verifier = CredentialVerifier::new(&resolver, NOW).trust(maker.did.clone());
        assert_eq!(verifier.verify_object(&issued(&statement())).await.is_ok(), fine);
    }
    document.verification_method.clear();
    let resolver = Fake::Document(Box::new(document));
    let verifier = CredentialVerifier::new(&resolver, NOW).trust(maker.did);
    assert!(verifier.verify_object(&issued(&statement())).await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_json_never_panics(text in r#"[\[\]{}":,a-z0-9@ ]{0,200}"#, bytes: Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let resolver = Resolver::new();
        for text in [text.as_bytes(), &bytes] {
            prop_assert!(runtime.block_on(verifier(&resolver).verify(text)).is_err());
        }
    }

    #[test]
    fn what_is_built_is_read(id in "[a-z:]{1,20}", kinds in prop::collection::vec("[A-Z][a-z]{1,9}", 0..9), from: u32, life: u32) {
        let from = Timestamp::from_secs(from.into());
        let mut builder = Credential::builder(&station().did)
            .id(id)
            .valid_from(from)
            .valid_until(from.plus(Duration::from_secs(life.into())))
            .subject(json::object([("a", 1)]));
        for kind in &kinds {
            builder = builder.kind(kind);
        }
        let built = builder.build().unwrap();
        let text = built.as_object().to_string();
        let Value::Object(read) = json::parse(text.as_bytes()).unwrap() else { panic!("no object") };
        prop_assert_eq!(Credential::read(read).unwrap(), built);
    }
}
