//! Presentations: only the holder shows a credential, to one verifier, once.

use std::time::Duration;

use depin_core::{Algorithm, ErrorKind, Timestamp};
use depin_identity::{
    Resolver,
    credentials::{
        Challenge, Credential, CredentialError, CredentialVerifier, MAX_CREDENTIALS, Presentation,
        Presented,
    },
    data_integrity::{Options, ProofError, Purpose, secure},
    json::{self, Object},
};

use super::{NOW, Party, issued, maker, statement, station, verifier};

fn challenge() -> Challenge {
    Challenge::new("n-42", "service.example")
}

fn shown(credentials: &[Object]) -> Object {
    let presentation = Presentation::new(station().did);
    let all = credentials.iter().cloned();
    let presentation = all.fold(presentation, Presentation::credential);
    presentation.sign(&station().key, &station().method, &challenge(), NOW).unwrap()
}

async fn verify_at(
    presentation: &Object,
    challenge: &Challenge,
    now: Timestamp,
) -> Result<Presented, CredentialError> {
    let resolver = Resolver::new();
    let verifier = CredentialVerifier::new(&resolver, now).trust(maker().did);
    let text = presentation.to_string();
    verifier.verify_presentation(text.as_bytes(), challenge).await.map(|it| it.into_inner())
}

async fn verify(presentation: &Object) -> Result<Presented, CredentialError> {
    verify_at(presentation, &challenge(), NOW).await
}

#[tokio::test]
async fn a_holder_presents_what_is_said_about_it() {
    let presented = verify(&shown(&[issued(&statement()), issued(&statement())])).await.unwrap();
    assert_eq!(presented.holder, station().did);
    assert_eq!(presented.credentials, [statement(), statement()]);
}

#[tokio::test]
async fn a_presentation_cannot_be_played_back() {
    let presentation = shown(&[issued(&statement())]);
    let again = Challenge::new("n-43", "service.example");
    assert!(matches!(verify_at(&presentation, &again, NOW).await, Err(CredentialError::Challenge)));
    let elsewhere = Challenge::new("n-42", "thief.example");
    assert!(matches!(
        verify_at(&presentation, &elsewhere, NOW).await,
        Err(CredentialError::Audience)
    ));
    let late = NOW.plus(Challenge::DEFAULT_MAX_AGE + Duration::from_secs(1));
    assert!(matches!(
        verify_at(&presentation, &challenge(), late).await,
        Err(CredentialError::Expired(_))
    ));
    let none = Challenge::new("", "service.example");
    assert!(matches!(verify_at(&presentation, &none, NOW).await, Err(CredentialError::Challenge)));
    let none = Challenge::new("n-42", "");
    assert!(matches!(verify_at(&presentation, &none, NOW).await, Err(CredentialError::Audience)));
}

#[tokio::test]
async fn nobody_presents_what_is_said_about_others() {
    let thief = Party::new(Algorithm::EdDsa, 66);
    let presentation = Presentation::new(thief.did.clone())
        .credential(issued(&statement()))
        .sign(&thief.key, &thief.method, &challenge(), NOW)
        .unwrap();
    assert!(matches!(
        verify(&presentation).await,
        Err(CredentialError::Holder(did)) if did == thief.did
    ));
    let resolver = Resolver::new();
    let gateway = verifier(&resolver).any_holder();
    let text = presentation.to_string();
    let presented = gateway.verify_presentation(text.as_bytes(), &challenge()).await.unwrap();
    assert_eq!(presented.holder, thief.did);

    let nobody = Credential::builder(&maker().did)
        .subject(json::object([("model", "Pebble 2")]))
        .build()
        .unwrap();
    assert!(matches!(verify(&shown(&[issued(&nobody)])).await, Err(CredentialError::Holder(_))));
}

#[tokio::test]
async fn a_holder_cannot_lend_its_name() {
    // Somebody else signs in the name of the holder.
    let thief = Party::new(Algorithm::Es256, 66);
    let unsigned = {
        let mut presentation = shown(&[issued(&statement())]);
        presentation.remove("proof");
        presentation
    };
    let mut options = Options::new(thief.method.clone(), Purpose::Authentication);
    options.created = Some(NOW);
    options.challenge = Some("n-42".into());
    options.domain = vec!["service.example".into()];
    let forged = secure(&unsigned, &options, &thief.key).unwrap();
    assert!(matches!(
        verify(&forged).await,
        Err(CredentialError::Proof(ProofError::NoDocument(_)))
    ));
    assert!(matches!(verify(&unsigned).await, Err(CredentialError::Proof(ProofError::Missing))));
    let error = Presentation::new(station().did)
        .sign(&thief.key, &thief.method, &challenge(), NOW)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);

    // A statement is no login, and a proof without a date never grows old.
    options.verification_method = station().method;
    let mut ageless = options.clone();
    ageless.created = None;
    let ageless = secure(&unsigned, &ageless, &station().key).unwrap();
    assert!(matches!(verify(&ageless).await, Err(CredentialError::Member("created"))));
    options.purpose = Purpose::Assertion;
    let statement = secure(&unsigned, &options, &station().key).unwrap();
    assert!(matches!(
        verify(&statement).await,
        Err(CredentialError::Proof(ProofError::Purpose { .. }))
    ));
}

#[tokio::test]
async fn every_credential_in_a_presentation_is_verified() {
    let mut forged = issued(&statement());
    forged
        .insert("credentialSubject", json::object([("id", station().did.as_str()), ("rank", "1")]));
    let presentation = shown(&[issued(&statement()), forged]);
    assert!(matches!(verify(&presentation).await, Err(CredentialError::Proof(_))));
    for count in [0, MAX_CREDENTIALS + 1] {
        let presentation = shown(&vec![issued(&statement()); count]);
        assert!(matches!(
            verify(&presentation).await,
            Err(CredentialError::Member("verifiableCredential"))
        ));
    }
    // Swapped after it was signed.
    let mut swapped = shown(&[issued(&statement())]);
    let other = Credential::builder(&maker().did)
        .subject(json::object([("id", station().did.as_str())]))
        .build()
        .unwrap();
    swapped.insert("verifiableCredential", vec![issued(&other)]);
    assert!(matches!(
        verify(&swapped).await,
        Err(CredentialError::Proof(ProofError::Signature(_)))
    ));
}

#[tokio::test]
async fn what_has_not_the_form_of_a_presentation_is_refused() {
    for (name, value) in [
        ("@context", json::Value::from(vec!["https://www.w3.org/2018/credentials/v1"])),
        ("type", "Other".into()),
        ("holder", "https://station.example".into()),
        ("holder", json::Value::Null),
        ("verifiableCredential", "eyJ".into()),
    ] {
        let mut presentation = shown(&[issued(&statement())]);
        presentation.insert(name, value);
        assert!(matches!(
            verify(&presentation).await,
            Err(CredentialError::Member(what)) if what == name
        ));
    }
    let mut presentation = shown(&[issued(&statement())]);
    presentation.insert("termsOfUse", Object::new());
    assert!(matches!(verify(&presentation).await, Err(CredentialError::NotUnderstood(_))));
}
