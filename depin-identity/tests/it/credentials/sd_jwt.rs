//! SD-JWT: what its holder shows is what its issuer said, and nobody shows it twice.

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use depin_core::{Signer, Timestamp, Verified};
use depin_identity::{
    Resolver,
    credentials::{
        Challenge, CredentialError, CredentialVerifier,
        sd_jwt::{Disclosure, SdJwt, SdJwtBuilder, SdJwtClaims, SdJwtError},
        status::{PublishedList, Purpose, StatusEntry, StatusError, StatusList, StatusLists},
    },
    json::{self, Object, Value},
    jws,
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

use super::{NOW, Party, maker, rfc9901, station};

const KIND: &str = "https://maker.example/station";

fn address() -> Object {
    json::object([("street", "Schulstr. 12"), ("city", "Schulpforta")])
}

fn builder() -> SdJwtBuilder {
    SdJwt::builder(KIND)
        .holder(station().key.public_key())
        .claim("model", "Pebble 2")
        .claim("serial", "0042")
        .claim("address", address())
        .claim("owners", vec!["anna", "ben", "cleo"])
        .claim("exp", json::Number::try_from(NOW.secs() + 86_400).unwrap())
        .hide("/serial")
        .hide("/address/street")
        .hide("/address")
        .hide("/owners/0")
        .hide("/owners/2")
        .decoys(2)
}

fn issue(builder: SdJwtBuilder) -> SdJwt {
    let mut rng = StdRng::seed_from_u64(7);
    builder.issue(&maker().key, &maker().method, NOW, &mut rng).unwrap()
}

fn challenge() -> Challenge {
    Challenge::new("n-42", "https://service.example")
}

fn bound(token: &SdJwt, pointers: &[&str]) -> SdJwt {
    let shown = token.select(pointers.iter().copied()).unwrap();
    shown.bind(&station().key, &challenge(), NOW).unwrap()
}

async fn verify_at(
    text: &str,
    challenge: Option<&Challenge>,
    now: Timestamp,
) -> Result<Verified<SdJwtClaims>, CredentialError> {
    let resolver = Resolver::new();
    let verifier = CredentialVerifier::new(&resolver, now).trust(maker().did).expect_type(KIND);
    verifier.verify_sd_jwt(text, challenge).await
}

async fn verify(token: &SdJwt) -> Result<Verified<SdJwtClaims>, CredentialError> {
    verify_at(&token.to_string(), Some(&challenge()), NOW).await
}

/// A token over a payload of our choice, with these disclosures and no key binding.
fn forged(payload: Object, disclosures: &[&str]) -> String {
    forged_with(payload, "dc+sd-jwt", disclosures)
}

fn forged_with(mut payload: Object, typ: &str, disclosures: &[&str]) -> String {
    for (name, value) in [("iss", maker().did.as_str()), ("vct", KIND)] {
        if !payload.contains(name) {
            payload.insert(name, value);
        }
    }
    let header = json::object([("typ", typ), ("kid", &maker().method.to_string())]);
    let token = jws::sign(&maker().key, header, payload.canonical().as_bytes()).unwrap();
    disclosures.iter().fold(token + "~", |text, disclosure| text + disclosure + "~")
}

/// A disclosure of this JSON, and its digest.
fn disclosure(json: &str) -> (String, String) {
    let encoded = Base64UrlUnpadded::encode_string(json.as_bytes());
    let digest = Base64UrlUnpadded::encode_string(&Sha256::digest(&encoded));
    (encoded, digest)
}

fn hiding(digests: &[&str]) -> Object {
    json::object([("_sd", digests.to_vec())])
}

async fn refused(text: &str) -> SdJwtError {
    match verify_at(text, None, NOW).await {
        Err(CredentialError::SdJwt(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_example_of_the_standard_is_verified() {
    let resolver = Resolver::new();
    let verifier = CredentialVerifier::new(&resolver, Timestamp::from_secs(1_748_454_271))
        .trust_key("https://pid-issuer.bund.de.example", rfc9901::issuer())
        .expect_type("urn:eudi:pid:de:1");
    let challenge = Challenge::new("1234567890", "https://verifier.example.org");
    let shown = verifier.verify_sd_jwt(rfc9901::PRESENTATION, Some(&challenge)).await.unwrap();
    assert_eq!(
        shown.claims.to_string(),
        concat!(
            r#"{"age_equal_or_over":{"18":true},"cnf":{"jwk":{"crv":"P-256","kty":"EC","#,
            r#""x":"TCAER19Zvu3OHF4j4W4vfSVoHIP1ILilDls7vCeGemc","#,
            r#""y":"ZxjiWWbZMQGHVWKVQ4hbSIirsVfuecCE6t4jT9F2HZQ"}},"exp":1883000000,"#,
            r#""iat":1683000000,"iss":"https://pid-issuer.bund.de.example","#,
            r#""nationalities":["DE"],"vct":"urn:eudi:pid:de:1"}"#,
        )
    );
    assert!(shown.holder.is_some());
}

#[test]
fn digests_of_the_standard_follow_from_their_disclosures() {
    // RFC 9901 sections 4.2.1 to 4.2.4.
    for (encoded, name, digest) in [
        (
            "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0",
            Some("family_name"),
            "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0",
        ),
        (
            "WyJsa2x4RjVqTVlsR1RQVW92TU5JdkNBIiwgIkZSIl0",
            None,
            "w0I8EKcdCtUPkGCNUrfwVp2xEgNjtoIDlOxc9-PlOhs",
        ),
    ] {
        let disclosure = Disclosure::read(encoded).unwrap();
        assert_eq!((disclosure.name(), disclosure.digest().as_str()), (name, digest));
    }
    for variation in [
        "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNX\
         HUwMGY2Yml1cyJd",
        "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsImZhbWlseV9uYW1lIiwiTcO2Y\
         ml1cyJd",
        "WwoiXzI2YmM0TFQtYWM2cTJLSTZjQlc1ZXMiLAoiZmFtaWx5X25hbWUiLAoiT\
         cO2Yml1cyIKXQ",
    ] {
        assert_eq!(Disclosure::read(variation).unwrap().value().as_text(), Some("Möbius"));
    }
}

#[tokio::test]
async fn the_holder_shows_what_it_likes_and_no_more() {
    let token = issue(builder());
    assert_eq!(token.disclosures().len(), 5);

    let nothing = verify(&bound(&token, &[])).await.unwrap();
    assert_eq!(nothing.claims.get("owners").unwrap().to_string(), r#"["ben"]"#);
    assert!(!nothing.claims.contains("serial") && !nothing.claims.contains("address"));
    assert!(!nothing.claims.to_string().contains("_sd"));
    assert_eq!(nothing.holder.as_ref(), Some(station().key.public_key()));

    // What is around a claim comes along, what is beside it does not.
    let street = verify(&bound(&token, &["/address/street"])).await.unwrap();
    assert_eq!(street.claims.get("address"), Some(&address().into()));
    assert!(!street.claims.contains("serial"));
    let city = verify(&bound(&token, &["/address", "/owners/2"])).await.unwrap();
    assert_eq!(city.claims.get("address").unwrap().to_string(), r#"{"city":"Schulpforta"}"#);
    assert_eq!(city.claims.get("owners").unwrap().to_string(), r#"["ben","cleo"]"#);

    assert_eq!(token.select(["/model"]), Err(SdJwtError::Pointer("/model".into())));
    let text = token.to_string();
    for hidden in ["0042", "Schulstr", "anna"] {
        let jwt = text.split('~').next().unwrap();
        let payload = jwt.split('.').nth(1).unwrap();
        let payload = Base64UrlUnpadded::decode_vec(payload).unwrap();
        assert!(!String::from_utf8(payload).unwrap().contains(hidden), "{hidden}");
    }
}

#[tokio::test]
async fn salts_differ_and_are_long() {
    let (one, two) = (issue(builder()), issue(builder()));
    assert_eq!(one, two, "the same randomness gives the same token");
    let mut rng = StdRng::seed_from_u64(8);
    let other = builder().issue(&maker().key, &maker().method, NOW, &mut rng).unwrap();
    for (one, other) in one.disclosures().iter().zip(other.disclosures()) {
        assert_ne!(one.digest(), other.digest());
        let json = Base64UrlUnpadded::decode_vec(one.as_str()).unwrap();
        let items = json::parse(&json).unwrap();
        let salt = items.as_list().unwrap()[0].as_text().unwrap().to_owned();
        assert_eq!(Base64UrlUnpadded::decode_vec(&salt).unwrap().len(), 16);
    }
}

#[tokio::test]
async fn a_presentation_answers_one_challenge() {
    let shown = bound(&issue(builder()), &["/serial"]).to_string();
    verify_at(&shown, Some(&challenge()), NOW).await.unwrap();
    let another = Challenge::new("n-43", "https://service.example");
    assert!(matches!(
        verify_at(&shown, Some(&another), NOW).await,
        Err(CredentialError::Challenge)
    ));
    let elsewhere = Challenge::new("n-42", "https://thief.example");
    assert!(matches!(
        verify_at(&shown, Some(&elsewhere), NOW).await,
        Err(CredentialError::Audience)
    ));
    let late = NOW.plus(Challenge::DEFAULT_MAX_AGE + Duration::from_secs(1));
    let early = NOW.minus(Duration::from_secs(1));
    assert!(matches!(
        verify_at(&shown, Some(&challenge()), late).await,
        Err(CredentialError::Expired(_))
    ));
    assert!(matches!(
        verify_at(&shown, Some(&challenge()), early).await,
        Err(CredentialError::NotYetValid(_))
    ));
    assert!(matches!(
        verify_at(&shown, Some(&Challenge::new("", "")), NOW).await,
        Err(CredentialError::Challenge)
    ));
}

#[tokio::test]
async fn a_key_binding_is_there_if_and_only_if_it_is_asked_for() {
    let token = issue(builder());
    let plain = token.select(["/serial"]).unwrap();
    let missing = verify(&plain).await;
    assert!(matches!(missing, Err(CredentialError::SdJwt(SdJwtError::Binding))));
    verify_at(&plain.to_string(), None, NOW).await.unwrap();
    let bound = bound(&token, &["/serial"]);
    assert!(bound.is_bound());
    assert_eq!(refused(&bound.to_string()).await, SdJwtError::Binding);
    // A token without the key of a holder cannot be bound to anybody.
    let ownerless = issue(SdJwt::builder(KIND));
    let ownerless = ownerless.bind(&station().key, &challenge(), NOW).unwrap();
    assert!(matches!(
        verify(&ownerless).await,
        Err(CredentialError::SdJwt(SdJwtError::Claim("cnf")))
    ));
}

#[tokio::test]
async fn a_key_binding_holds_for_its_holder_and_its_disclosures_alone() {
    let token = issue(builder());
    let shown = token.select(["/serial"]).unwrap();
    let thief = Party::new(depin_core::Algorithm::Es256, 66);
    let stolen = shown.bind(&thief.key, &challenge(), NOW).unwrap();
    assert!(matches!(verify(&stolen).await, Err(CredentialError::SdJwt(SdJwtError::Jws(_)))));

    // Somebody on the way adds or drops disclosures, or moves the binding to another token.
    let bound_to = |pointers: &[&str]| bound(&token, pointers).to_string();
    let binding = |text: &str| text.rsplit('~').next().unwrap().to_owned();
    let less = token.select([]).unwrap().to_string() + &binding(&bound_to(&["/serial"]));
    let more = token.select(["/serial"]).unwrap().to_string() + &binding(&bound_to(&[]));
    for moved in [less, more] {
        assert!(matches!(
            verify_at(&moved, Some(&challenge()), NOW).await,
            Err(CredentialError::SdJwt(SdJwtError::Hashed))
        ));
    }
    // The token itself is no key binding, whoever signed it.
    let token_as_binding = token.select([]).unwrap().to_string();
    let jwt = token_as_binding.trim_end_matches('~').to_owned();
    assert!(matches!(
        verify_at(&(token_as_binding + &jwt), Some(&challenge()), NOW).await,
        Err(CredentialError::SdJwt(SdJwtError::Typ("kb+jwt")))
    ));
}

#[tokio::test]
async fn disclosures_that_were_altered_added_or_repeated_are_refused() {
    let token = issue(builder()).select(["/serial"]).unwrap().to_string();
    let jwt = token.split('~').next().unwrap();
    let original = token.split('~').nth(1).unwrap();
    let altered = {
        let text = String::from_utf8(Base64UrlUnpadded::decode_vec(original).unwrap()).unwrap();
        disclosure(&text.replace("0042", "0043")).0
    };
    assert_eq!(refused(&format!("{jwt}~{altered}~")).await, SdJwtError::Unreferenced);
    assert_eq!(refused(&format!("{jwt}~{original}~{original}~")).await, SdJwtError::Twice);
    let (stranger, _) = disclosure(r#"["salt","role","admin"]"#);
    assert_eq!(refused(&format!("{jwt}~{original}~{stranger}~")).await, SdJwtError::Unreferenced);
    // What lies within something that is not shown belongs nowhere.
    let all = issue(builder());
    let street = all.disclosures().iter().find(|d| d.name() == Some("street")).unwrap();
    assert_eq!(refused(&format!("{jwt}~{}~", street.as_str())).await, SdJwtError::Unreferenced);
}

#[tokio::test]
async fn digests_stand_in_one_place() {
    let (encoded, digest) = disclosure(r#"["salt","a",1]"#);
    let once = hiding(&[&digest]);
    verify_at(&forged(once.clone(), &[&encoded]), None, NOW).await.unwrap();
    let twice = hiding(&[&digest, &digest]);
    assert_eq!(refused(&forged(twice.clone(), &[&encoded])).await, SdJwtError::Twice);
    // Also when nobody shows what is behind it.
    assert_eq!(refused(&forged(twice, &[])).await, SdJwtError::Twice);
    let mut elsewhere = once.clone();
    elsewhere.insert("nested", once.clone());
    assert_eq!(refused(&forged(elsewhere, &[])).await, SdJwtError::Twice);
    // Also when it is behind another one.
    let (outer, outer_digest) = disclosure(&format!(r#"["salt","b",{once}]"#));
    let both = hiding(&[&digest, &outer_digest]);
    assert_eq!(refused(&forged(both, &[&encoded, &outer])).await, SdJwtError::Twice);
}

#[tokio::test]
async fn disclosures_cannot_take_reserved_or_taken_names() {
    for (json, error) in [
        (r#"["salt","_sd",[]]"#, SdJwtError::Reserved("_sd".into())),
        (r#"["salt","...","x"]"#, SdJwtError::Reserved("...".into())),
        (r#"["salt","_sd_alg","sha-512"]"#, SdJwtError::Reserved("_sd_alg".into())),
        (r#"["salt","model","fake"]"#, SdJwtError::NameTaken("model".into())),
        (r#"["salt","exp",99999999999]"#, SdJwtError::Fixed("exp".into())),
        (r#"["salt","cnf",{}]"#, SdJwtError::Fixed("cnf".into())),
        (r#"["salt","aud","https://other.example"]"#, SdJwtError::Fixed("aud".into())),
        (r#"["salt","credentialStatus",{}]"#, SdJwtError::Fixed("credentialStatus".into())),
        (r#"["salt","item"]"#, SdJwtError::Disclosure),
        (r#"["salt"]"#, SdJwtError::Disclosure),
        (r#"["salt","a",1,2]"#, SdJwtError::Disclosure),
        (r#"[1,"a",1]"#, SdJwtError::Disclosure),
        (r#"["salt",1,1]"#, SdJwtError::Disclosure),
        (r#"{"salt":"a"}"#, SdJwtError::Disclosure),
        (r#"["salt","a",{"b":1,"b":2}]"#, SdJwtError::Disclosure),
        ("salt", SdJwtError::Disclosure),
    ] {
        let (encoded, digest) = disclosure(json);
        let mut payload = hiding(&[&digest]);
        payload.insert("model", "Pebble 2");
        assert_eq!(refused(&forged(payload, &[&encoded])).await, error, "{json}");
    }
    // Two disclosures of one name.
    let ((one, first), (two, second)) =
        (disclosure(r#"["s","a",1]"#), disclosure(r#"["t","a",2]"#));
    let payload = hiding(&[&first, &second]);
    assert_eq!(refused(&forged(payload, &[&one, &two])).await, SdJwtError::NameTaken("a".into()));
    // A member where an item should stand.
    let mut payload = Object::new();
    payload.insert("list", vec![json::object([("...", first.as_str())])]);
    assert_eq!(refused(&forged(payload, &[&one])).await, SdJwtError::Disclosure);
}

#[tokio::test]
async fn malformed_payloads_are_refused() {
    let object = |name: &str, value: Value| json::object([(name, value)]);
    for (payload, error) in [
        (object("_sd", "x".into()), SdJwtError::Reserved("_sd".into())),
        (object("_sd", vec![1].into()), SdJwtError::Reserved("_sd".into())),
        (object("...", "x".into()), SdJwtError::Reserved("...".into())),
        (object("_sd_alg", "sha-512".into()), SdJwtError::Hash),
        (object("_sd_alg", 1.into()), SdJwtError::Hash),
        (
            object("a", object("_sd_alg", "sha-256".into()).into()),
            SdJwtError::Reserved("_sd_alg".into()),
        ),
        (
            object("a", vec![json::object([("...", "x"), ("b", "y")])].into()),
            SdJwtError::Reserved("...".into()),
        ),
        (object("cnf", hiding(&["x"]).into()), SdJwtError::Fixed("/cnf".into())),
        (object("exp", "soon".into()), SdJwtError::Claim("exp")),
        (object("iss", 1.into()), SdJwtError::Claim("iss")),
        (object("vct", "".into()), SdJwtError::Claim("vct")),
    ] {
        let text = payload.to_string();
        assert_eq!(refused(&forged(payload, &[])).await, error, "{text}");
    }
    assert_eq!(
        refused(&forged_with(Object::new(), "vc+sd-jwt", &[])).await,
        SdJwtError::Typ("dc+sd-jwt")
    );
    for text in ["", "a.b.c", "~", "a.b.c~~", "a.b.c~WyJ~"] {
        assert!(
            SdJwt::parse(text).is_err() || refused(text).await != SdJwtError::Binding,
            "{text}"
        );
    }
}

#[tokio::test]
async fn nesting_and_numbers_are_bounded() {
    // Each disclosure lies within the one before.
    let (mut inner, mut digest) = disclosure(r#"["s","a",1]"#);
    let mut chain = vec![inner];
    for _ in 0..40 {
        (inner, digest) = disclosure(&format!(r#"["s","a",{}]"#, hiding(&[&digest])));
        chain.push(inner);
    }
    let chain: Vec<_> = chain.iter().map(String::as_str).collect();
    assert_eq!(refused(&forged(hiding(&[&digest]), &chain)).await, SdJwtError::Depth);

    let many: Vec<_> = (0..257).map(|n| disclosure(&format!(r#"["s","a",{n}]"#)).0).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(SdJwt::parse(&forged(Object::new(), &many)), Err(SdJwtError::TooLong));
    assert_eq!(SdJwt::parse(&"~".repeat(10 << 20)), Err(SdJwtError::TooLong));
}

#[tokio::test]
async fn disclosures_are_not_read_before_the_signature_holds() {
    let (stray, _) = disclosure(r#"["salt","role","admin"]"#);
    let text = forged(Object::new(), &[&stray]);
    assert_eq!(refused(&text).await, SdJwtError::Unreferenced);
    let resolver = Resolver::new();
    let nobody = CredentialVerifier::new(&resolver, NOW);
    let untrusted = nobody.verify_sd_jwt(&text, None).await;
    assert!(matches!(untrusted, Err(CredentialError::Issuer(_))));
    let key = station().key.public_key().clone();
    let unsigned = nobody.trust_key(maker().did.as_str(), key).verify_sd_jwt(&text, None).await;
    assert!(matches!(unsigned, Err(CredentialError::SdJwt(SdJwtError::Jws(_)))));
}

#[tokio::test]
async fn many_items_under_a_long_name_cost_no_pointers() {
    let items = |name: usize| {
        let items = vec![Value::from(1); 40_000];
        forged(json::object([("n".repeat(name).as_str(), items)]), &[])
    };
    verify_at(&items(1024), None, NOW).await.unwrap();
    assert_eq!(refused(&items(1025)).await, SdJwtError::TooLong);
    assert_eq!(refused(&items(96 << 10)).await, SdJwtError::TooLong);
    let (long, digest) = disclosure(&format!(r#"["salt","{}",1]"#, "n".repeat(1025)));
    assert_eq!(refused(&forged(hiding(&[&digest]), &[&long])).await, SdJwtError::TooLong);
}

#[tokio::test]
async fn issuers_dates_types_and_audiences_are_checked() {
    let shown = bound(&issue(builder()), &[]).to_string();
    let resolver = Resolver::new();
    let ask = async |verifier: CredentialVerifier<'_>| {
        verifier.verify_sd_jwt(&shown, Some(&challenge())).await.map(drop)
    };
    let at = |now| CredentialVerifier::new(&resolver, now);
    assert!(matches!(ask(at(NOW)).await, Err(CredentialError::Issuer(_))));
    assert!(matches!(
        ask(at(NOW).trust(maker().did).expect_type("other")).await,
        Err(CredentialError::Type(_))
    ));
    let expired = at(NOW.plus(Duration::from_secs(86_401))).trust(maker().did);
    assert!(matches!(ask(expired).await, Err(CredentialError::Expired(_))));
    let impostor = at(NOW).trust_key(maker().did.as_str(), station().key.public_key().clone());
    assert!(matches!(ask(impostor).await, Err(CredentialError::SdJwt(SdJwtError::Jws(_)))));

    let payload = json::object([("aud", "https://other.example")]);
    let misdirected = verify_at(&forged(payload, &[]), None, NOW).await;
    assert!(matches!(misdirected, Err(CredentialError::Audience)));
    let payload = json::object([("status", Object::new())]);
    let unknown = verify_at(&forged(payload, &[]), None, NOW).await;
    assert!(matches!(unknown, Err(CredentialError::NotUnderstood(name)) if name == "status"));
    // Signed by another, whom nobody trusts, in the name of the maker.
    let mut stranger = json::object([("iss", maker().did.as_str()), ("vct", KIND)]);
    stranger.insert("iat", 1);
    let header = json::object([("typ", "dc+sd-jwt"), ("kid", &station().method.to_string())]);
    let token = jws::sign(&station().key, header, stranger.canonical().as_bytes()).unwrap() + "~";
    let refused = verify_at(&token, None, NOW).await;
    assert!(matches!(refused, Err(CredentialError::Key(_))));
}

#[tokio::test]
async fn the_status_of_a_token_is_checked() {
    const LIST: &str = "https://maker.example/status/3";
    let token = issue(SdJwt::builder(KIND).status(&StatusEntry::new(LIST, 7, Purpose::Revocation)));
    let text = token.to_string();
    let resolver = Resolver::new();
    let verifier = CredentialVerifier::new(&resolver, NOW).trust(maker().did);
    let blind = verifier.verify_sd_jwt(&text, None).await.unwrap_err();
    assert!(matches!(&blind, CredentialError::StatusList(StatusError::Missing(_))));
    assert!(blind.could_not_check());

    let mut bits = StatusList::new(1 << 17).unwrap();
    let mut lists = StatusLists::new();
    for (revoked, days) in [(false, 1), (true, 2)] {
        bits.set(7, revoked).unwrap();
        let life = Duration::from_secs(days * 86_400);
        let as_of = NOW.minus(Duration::from_secs(10 - days));
        let list =
            PublishedList::new(LIST, maker().did, Purpose::Revocation, bits.clone(), as_of, life);
        lists.insert(list).unwrap();
        let answer = verifier.clone().lists(&lists).verify_sd_jwt(&text, None).await;
        assert_eq!(matches!(answer, Err(CredentialError::Status(Purpose::Revocation))), revoked);
        assert_eq!(answer.is_ok(), !revoked);
    }
}

#[test]
fn an_issuer_cannot_hide_what_decides_nor_use_reserved_names() {
    let issue = |builder: SdJwtBuilder| {
        builder.issue(&maker().key, &maker().method, NOW, &mut StdRng::seed_from_u64(7)).map(drop)
    };
    for pointer in
        ["/exp", "/cnf/jwk", "/vct", "/iss", "/nothing", "/owners/3", "/owners/00", "model", ""]
    {
        assert!(issue(builder().hide(pointer)).is_err(), "{pointer}");
    }
    let hidden = builder().claim("aud", "https://other.example").hide("/aud");
    assert!(issue(hidden).is_err());
    assert!(issue(builder().hide("/serial")).is_err(), "named twice");
    for name in ["_sd", "_sd_alg", "..."] {
        assert!(issue(builder().claim(name, 1)).is_err(), "{name}");
        let nested = vec![json::object([(name, 1)])];
        assert!(issue(builder().claim("nested", nested)).is_err(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_text_never_panics(text in "[A-Za-z0-9_.~-]{0,200}") {
        if let Ok(token) = SdJwt::parse(&text) {
            prop_assert_eq!(token.to_string(), text);
            prop_assert!(token.select([]).is_err());
        }
    }

    #[test]
    fn a_cut_or_flipped_token_is_refused(place: prop::sample::Index, flip in 1..128_u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let text = bound(&issue(builder()), &["/serial"]).to_string();
        let place = place.index(text.len());
        let cut = &text[..place];
        let mut flipped = text.clone().into_bytes();
        flipped[place] = (flipped[place] ^ flip) & 0x7f;
        let flipped = String::from_utf8(flipped).unwrap();
        for bad in [cut, &flipped] {
            let answer = runtime.block_on(verify_at(bad, Some(&challenge()), NOW));
            prop_assert!(bad == text || answer.is_err());
        }
    }
}
