//! What status lists say of credentials, also when they say nothing.

use std::time::Duration;

use depin_core::{ErrorKind, Timestamp};
use depin_identity::{
    Resolver,
    credentials::{
        Credential, CredentialError, CredentialVerifier,
        status::{PublishedList, Purpose, StatusEntry, StatusError, StatusList, StatusLists},
    },
    data_integrity::{self, Options},
    json,
};

use super::{NOW, issued, maker, statement, station, verifier};

const LIST: &str = "https://maker.example/status/3";
const DAY: Duration = Duration::from_secs(86_400);

fn list() -> PublishedList {
    let bits = StatusList::new(StatusList::MIN_ENTRIES).unwrap();
    PublishedList::new(LIST, maker().did, Purpose::Revocation, bits, NOW, DAY)
}

fn entry(index: u64) -> StatusEntry {
    StatusEntry::new(LIST, index, Purpose::Revocation)
}

/// What is said of the credential with entry 7 at a time, with these lists.
async fn ask(lists: &StatusLists, at: Timestamp) -> Result<(), CredentialError> {
    let credential = json::parse(statement().as_object().to_string().as_bytes()).unwrap();
    let mut credential = credential.as_object().unwrap().clone();
    credential.insert("credentialStatus", entry(7).to_object());
    credential.remove("validUntil");
    let credential = issued(&Credential::read(credential).unwrap());
    let resolver = Resolver::new();
    let verifier = CredentialVerifier::new(&resolver, at).trust(maker().did).lists(lists);
    verifier.verify_object(&credential).await.map(drop)
}

#[tokio::test]
async fn a_set_bit_refuses_and_a_cleared_one_accepts() {
    let mut lists = StatusLists::new();
    lists.insert(list()).unwrap();
    ask(&lists, NOW).await.unwrap();
    let later = NOW.plus(Duration::from_secs(1));
    let revoked = list().update([(7, true)], later, DAY).unwrap();
    lists.insert(revoked).unwrap();
    assert!(matches!(ask(&lists, later).await, Err(CredentialError::Status(Purpose::Revocation))));
    // The one before cannot be put back.
    assert!(lists.insert(list()).is_err());
    assert!(ask(&lists, later).await.is_err());
}

#[tokio::test]
async fn a_list_that_says_nothing_never_means_valid() {
    let unknown = ask(&StatusLists::new(), NOW).await.unwrap_err();
    assert!(matches!(&unknown, CredentialError::StatusList(StatusError::Missing(_))));
    assert!(unknown.could_not_check() && unknown.is_retryable());

    let mut lists = StatusLists::new();
    lists.insert(list()).unwrap();
    let stale = ask(&lists, NOW.plus(DAY + Duration::from_millis(1))).await.unwrap_err();
    assert!(matches!(&stale, CredentialError::StatusList(StatusError::Stale(_))));
    assert!(stale.could_not_check());

    let bits = StatusList::new(StatusList::MIN_ENTRIES).unwrap();
    let other = PublishedList::new(LIST, maker().did, Purpose::Suspension, bits.clone(), NOW, DAY);
    let mut lists = StatusLists::new();
    lists.insert(other).unwrap();
    assert!(matches!(
        ask(&lists, NOW).await,
        Err(CredentialError::StatusList(StatusError::Purpose(Purpose::Revocation)))
    ));

    let early = NOW.plus(DAY);
    let mut lists = StatusLists::new();
    lists
        .insert(PublishedList::new(LIST, maker().did, Purpose::Revocation, bits, early, DAY))
        .unwrap();
    let early = ask(&lists, NOW).await.unwrap_err();
    assert!(matches!(&early, CredentialError::StatusList(StatusError::Early(_))));
}

#[tokio::test]
async fn the_list_of_a_stranger_speaks_for_nobody_else() {
    let bits = StatusList::new(StatusList::MIN_ENTRIES).unwrap();
    let strangers = PublishedList::new(LIST, station().did, Purpose::Revocation, bits, NOW, DAY);
    let mut lists = StatusLists::new();
    lists.insert(strangers).unwrap();
    assert!(matches!(
        ask(&lists, NOW).await,
        Err(CredentialError::StatusList(StatusError::Missing(_)))
    ));
}

#[tokio::test]
async fn a_published_list_survives_its_credential() {
    let list = list().update([(7, true), (131_071, true)], NOW, DAY);
    assert!(list.is_err(), "a version needs a later moment");
    let list = self::list();
    let credential = list.issue(&maker().key, &maker().method).unwrap();
    let resolver = Resolver::new();
    let verified = PublishedList::verify(credential.to_string().as_bytes(), &verifier(&resolver))
        .await
        .unwrap();
    assert_eq!(verified, list);
}

/// A list as its issuer signed it at NOW, without `validUntil`.
fn endless(ttl: Option<i32>, created: Option<Timestamp>) -> String {
    let mut subject = json::object([
        ("type", "BitstringStatusList".into()),
        ("statusPurpose", "revocation".into()),
        ("encodedList", StatusList::new(1 << 17).unwrap().encode()),
    ]);
    if let Some(ttl) = ttl {
        subject.insert("ttl", ttl);
    }
    let credential = Credential::builder(&maker().did)
        .id(LIST)
        .kind("BitstringStatusListCredential")
        .valid_from(NOW)
        .subject(subject)
        .build()
        .unwrap();
    let mut options = Options::new(maker().method, data_integrity::Purpose::Assertion);
    options.created = created;
    data_integrity::secure(credential.as_object(), &options, &maker().key).unwrap().to_string()
}

#[tokio::test]
async fn an_old_list_without_an_end_is_stale_however_late_it_is_verified() {
    let resolver = Resolver::new();
    let hour = Duration::from_secs(3600);
    let at = async |json: &str, now: Timestamp, age: Option<Duration>| {
        let verifier = CredentialVerifier::new(&resolver, now).trust(maker().did);
        let verifier = match age {
            Some(age) => verifier.list_age(age),
            None => verifier,
        };
        PublishedList::verify(json.as_bytes(), &verifier).await
    };
    let stale = |answer: Result<PublishedList, CredentialError>| {
        matches!(answer, Err(CredentialError::StatusList(StatusError::Stale(_))))
    };
    let late = NOW.plus(30 * DAY);
    for ttl in [None, Some(300_000)] {
        for created in [None, Some(NOW)] {
            let list = endless(ttl, created);
            let last = at(&list, late, None).await.unwrap();
            assert_eq!(last.terms().fresh_until, late, "not fresh for longer than its age");
            assert!(stale(at(&list, late.plus(Duration::from_millis(1)), None).await));
            assert!(stale(at(&list, NOW.plus(2 * hour), Some(hour)).await));
            at(&list, NOW.plus(60 * DAY), Some(61 * DAY)).await.unwrap();
        }
        // The list says how things stood at NOW, and its issuer said so again later.
        let renewed = endless(ttl, Some(NOW.plus(20 * DAY)));
        at(&renewed, NOW.plus(49 * DAY), None).await.unwrap();
        assert!(stale(at(&renewed, NOW.plus(51 * DAY), None).await));
    }
}

#[tokio::test]
async fn of_one_moment_there_is_one_list() {
    let mut bits = StatusList::new(StatusList::MIN_ENTRIES).unwrap();
    bits.set(7, true).unwrap();
    let revoked = PublishedList::new(LIST, maker().did, Purpose::Revocation, bits, NOW, DAY);
    let mut lists = StatusLists::new();
    lists.insert(revoked.clone()).unwrap();
    lists.insert(revoked).unwrap();
    assert_eq!(lists.insert(list()).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(matches!(ask(&lists, NOW).await, Err(CredentialError::Status(Purpose::Revocation))));
}

#[tokio::test]
async fn ttl_and_trust_of_a_list_are_checked() {
    let resolver = Resolver::new();
    let subject = json::object([
        ("type", json::Value::from("BitstringStatusList")),
        ("statusPurpose", vec!["revocation", "message"].into()),
        ("encodedList", StatusList::new(1 << 17).unwrap().encode().into()),
        ("ttl", 300_000.into()),
    ]);
    let credential = Credential::builder(&maker().did)
        .id(LIST)
        .kind("BitstringStatusListCredential")
        .valid_from(NOW)
        .subject(subject)
        .build()
        .unwrap();
    let json = issued(&credential).to_string();
    let published = PublishedList::verify(json.as_bytes(), &verifier(&resolver)).await.unwrap();
    assert_eq!(published.terms().fresh_until, NOW.plus(Duration::from_secs(300)));
    assert_eq!(published.terms().purposes, [Purpose::Revocation].into());

    let nobody = CredentialVerifier::new(&resolver, NOW);
    let refused = PublishedList::verify(json.as_bytes(), &nobody).await.unwrap_err();
    assert!(matches!(refused, CredentialError::Issuer(_)));
    let authority = nobody.status_authority(maker().did);
    PublishedList::verify(json.as_bytes(), &authority).await.unwrap();
    let altered = json.replacen("300000", "900000", 1);
    assert!(PublishedList::verify(altered.as_bytes(), &authority).await.is_err());
}
