//! Attacks on logins.

use core::time::Duration;

use depin_core::{
    Algorithm, Did, ErrorKind, NetworkId, Signer, SoftwareKey, Timestamp, Verified,
    document::Relationships,
    envelope::{Envelope, EnvelopeError, Purpose},
};
use depin_identity::{
    DidDocument, DidUrl, KeyRing, VerificationMethod,
    login::{
        Audience, Channel, Login, LoginError, LoginOptions, LoginResponse, LoginService, Session,
        respond,
    },
    methods::{io, key::did_key},
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use crate::chip::key;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn network() -> NetworkId {
    NetworkId::parse("climate").unwrap()
}

fn audience(text: &str) -> Audience {
    Audience::parse(text).unwrap()
}

fn service_of(audience_text: &str, seed: u64) -> (LoginService, StdRng) {
    let mut rng = StdRng::seed_from_u64(seed);
    (LoginService::new(network(), audience(audience_text), &mut rng), rng)
}

fn service() -> (LoginService, StdRng) {
    service_of("https://ingest.example", 1)
}

fn session(channel: &[u8]) -> Session {
    let audience = audience("https://ingest.example");
    Session { network: network(), audience, channel: Channel::of(channel) }
}

/// A device whose key is its name.
fn device(seed: u8) -> (SoftwareKey, Did) {
    let key = key(Algorithm::ALL[usize::from(seed) % 3], seed);
    let did = did_key(key.public_key());
    (key, did)
}

fn answer(challenge: &[u8], session: &Session, now: Timestamp) -> Vec<u8> {
    let (key, did) = device(1);
    respond(&key, &did, session, challenge, now).unwrap()
}

fn accept(
    service: &mut LoginService,
    answer: &[u8],
    channel: &[u8],
    now: Timestamp,
) -> Result<Verified<Login>, LoginError> {
    let response = LoginResponse::parse(answer, service.network())?;
    service.accept(&response, &Channel::of(channel), &KeyRing::new(), now)
}

#[test]
fn a_device_logs_in_with_every_algorithm() {
    for seed in 0..3 {
        let ((mut service, mut rng), (key, did)) = (service(), device(seed));
        let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
        let later = NOW.plus(Duration::from_secs(3));
        let answer = respond(&key, &did, &session(b"tls"), &challenge, later).unwrap();
        println!(
            "{}: challenge {}, answer {}",
            key.public_key().algorithm(),
            challenge.len(),
            answer.len()
        );
        let now = later.plus(Duration::from_secs(2));
        let login = accept(&mut service, &answer, b"tls", now).unwrap();
        assert_eq!((&login.device, login.at, login.device_time), (&did, now, later));
        assert_eq!(login.session, session(b"tls"));
    }
}

#[test]
fn an_answer_counts_once() {
    let (mut service, mut rng) = service();
    let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
    let first = answer(&challenge, &session(b"tls"), NOW);
    accept(&mut service, &first, b"tls", NOW).unwrap();
    assert_eq!(accept(&mut service, &first, b"tls", NOW), Err(LoginError::Replayed));
    // Nor does the challenge, signed again with another time or by another device.
    let again = answer(&challenge, &session(b"tls"), NOW.plus(Duration::from_secs(1)));
    assert_eq!(accept(&mut service, &again, b"tls", NOW), Err(LoginError::Replayed));
    let (key, did) = device(2);
    let other = respond(&key, &did, &session(b"tls"), &challenge, NOW).unwrap();
    assert_eq!(accept(&mut service, &other, b"tls", NOW), Err(LoginError::Replayed));
}

#[test]
fn a_refused_answer_does_not_use_the_challenge_up() {
    let (mut service, mut rng) = service();
    let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
    let answer = answer(&challenge, &session(b"tls"), NOW);
    assert_eq!(accept(&mut service, &answer, b"other", NOW), Err(LoginError::Channel));
    accept(&mut service, &answer, b"tls", NOW).unwrap();
}

/// A relay between the device and the service it wants to enter in the device's name.
#[test]
fn a_relayed_challenge_is_not_answered_by_an_honest_device() {
    let (service, mut rng) = service();
    // The relay's channel to the service is not the one the device has to the relay.
    let relayed = service.challenge(&Channel::of(b"relay to service"), &mut rng, NOW).unwrap();
    let (key, did) = device(1);
    let sees = session(b"device to relay");
    let error = respond(&key, &did, &sees, &relayed, NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    // A device that wants to reach the relay's own service gets the challenge of another.
    let sees =
        Session { audience: audience("https://relay.example"), ..session(b"relay to service") };
    assert_eq!(respond(&key, &did, &sees, &relayed, NOW).unwrap_err().kind(), ErrorKind::Rejected);
    let sees =
        Session { network: NetworkId::parse("drive").unwrap(), ..session(b"relay to service") };
    assert_eq!(respond(&key, &did, &sees, &relayed, NOW).unwrap_err().kind(), ErrorKind::Rejected);
}

/// What a device that does not look at the challenge would sign: its own view with any challenge.
fn careless(challenge: &[u8], sees: &Session, network: &NetworkId, purpose: Purpose) -> Vec<u8> {
    let (key, did) = device(1);
    // `respond` only checks that the views agree, so the payload is taken from an answer to a challenge
    // that agrees, and the challenge in it exchanged.
    let mut payload = Vec::new();
    let mut e = depin_core::cbor::Encoder::new(&mut payload);
    e.map(4).unwrap().u8(1).unwrap().bytes(challenge).unwrap();
    e.u8(2).unwrap().str(sees.audience.as_str()).unwrap();
    e.u8(3).unwrap().bytes(&channel_hash(sees)).unwrap();
    e.u8(4).unwrap().u64(NOW.millis()).unwrap();
    Envelope::seal(&key, &did, network, purpose, &payload).unwrap()
}

/// The channel as it stands in an honest answer.
fn channel_hash(sees: &Session) -> Vec<u8> {
    let (service, mut rng) = service_of(sees.audience.as_str(), 9);
    let challenge = service.challenge(&sees.channel, &mut rng, NOW).unwrap();
    let mut d = depin_core::cbor::Decoder::new(&challenge);
    d.map().unwrap();
    for _ in 0..5 {
        d.skip().unwrap();
    }
    d.bytes().unwrap().to_vec()
}

const LOGIN: Purpose = Purpose::new("login", 1);

#[test]
fn the_service_refuses_what_a_careless_device_signs_for_a_relay() {
    let (mut service, mut rng) = service();
    let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
    // First that the forged bytes are right but for the attack.
    let fine = careless(&challenge, &session(b"tls"), &network(), LOGIN);
    assert_eq!(fine.len(), answer(&challenge, &session(b"tls"), NOW).len());

    let sees = session(b"device to relay");
    let answer = careless(&challenge, &sees, &network(), LOGIN);
    assert_eq!(accept(&mut service, &answer, b"tls", NOW), Err(LoginError::Channel));

    let relay = audience("https://relay.example");
    let sees = Session { audience: relay.clone(), ..session(b"tls") };
    let answer = careless(&challenge, &sees, &network(), LOGIN);
    assert_eq!(accept(&mut service, &answer, b"tls", NOW), Err(LoginError::Audience(relay)));

    accept(&mut service, &fine, b"tls", NOW).unwrap();
}

#[test]
fn an_answer_to_another_service_is_refused() {
    let (mut service, _) = service();
    let (other, mut rng) = service_of("https://other.example", 2);
    let challenge = other.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
    let sees = Session { audience: audience("https://other.example"), ..session(b"tls") };
    let relayed = answer(&challenge, &sees, NOW);
    let other = LoginError::Audience(audience("https://other.example"));
    assert_eq!(accept(&mut service, &relayed, b"tls", NOW), Err(other));
    // Also when the device believes to talk to this service: the challenge is not from here.
    let answer = careless(&challenge, &session(b"tls"), &network(), LOGIN);
    assert_eq!(accept(&mut service, &answer, b"tls", NOW), Err(LoginError::Forged));
}

#[test]
fn a_challenge_cannot_be_made_or_changed_by_others() {
    let (mut service, mut rng) = service();
    // A service of the same name, but with its own key: somebody else, or this one before a restart.
    let (before, mut other) = service_of("https://ingest.example", 2);
    let old = before.challenge(&Channel::of(b"tls"), &mut other, NOW).unwrap();
    let answer_to_old = answer(&old, &session(b"tls"), NOW);
    assert_eq!(accept(&mut service, &answer_to_old, b"tls", NOW), Err(LoginError::Forged));

    let mut challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
    for at in 0..challenge.len() {
        challenge[at] ^= 1;
        let forged = careless(&challenge, &session(b"tls"), &network(), LOGIN);
        assert!(accept(&mut service, &forged, b"tls", NOW).is_err(), "{at}");
        challenge[at] ^= 1;
    }
}

#[test]
fn an_answer_from_another_network_or_purpose_is_refused() {
    let (mut service, mut rng) = service();
    let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
    let drive = NetworkId::parse("drive").unwrap();
    let answer = careless(&challenge, &session(b"tls"), &drive, LOGIN);
    let error = accept(&mut service, &answer, b"tls", NOW).unwrap_err();
    assert!(matches!(error, LoginError::Envelope(EnvelopeError::Network { .. })), "{error}");
    // A caller who parses with the wrong network does not get it past the service.
    let response = LoginResponse::parse(&answer, &drive).unwrap();
    let error = service.accept(&response, &Channel::of(b"tls"), &KeyRing::new(), NOW);
    assert_eq!(error, Err(LoginError::Network(drive)));
    for purpose in [Purpose::new("batch", 1), Purpose::new("login", 2)] {
        let answer = careless(&challenge, &session(b"tls"), &network(), purpose);
        let error = accept(&mut service, &answer, b"tls", NOW).unwrap_err();
        assert!(matches!(error, LoginError::Envelope(EnvelopeError::Purpose { .. })), "{error}");
    }
}

#[test]
fn the_devices_clock_may_be_off_by_the_skew_and_no_more_both_ways() {
    let minute = Duration::from_secs(60);
    let tick = Duration::from_millis(1);
    for (time, fine) in [
        (NOW.minus(minute), true),
        (NOW.plus(minute), true),
        (NOW.minus(minute).minus(tick), false),
        (NOW.plus(minute).plus(tick), false),
        (Timestamp::EPOCH, false),
        (Timestamp::from_millis(u64::MAX), false),
    ] {
        let (mut service, mut rng) = service();
        let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
        let answer = answer(&challenge, &session(b"tls"), time);
        match accept(&mut service, &answer, b"tls", NOW) {
            Ok(login) => assert!(fine && login.device_time == time, "{time}"),
            Err(error) => assert!(!fine && error == LoginError::Skew(time), "{time}"),
        }
    }
}

#[test]
fn an_expired_challenge_is_refused() {
    let (mut service, mut rng) = service();
    let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
    let expiry = NOW.plus(Duration::from_secs(60));
    let answer = answer(&challenge, &session(b"tls"), expiry);
    let verdict = accept(&mut service, &answer, b"tls", expiry);
    assert_eq!(verdict, Err(LoginError::Expired(expiry)));
    let last = expiry.minus(Duration::from_millis(1));
    let (mut service, mut rng) = self::service();
    let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
    accept(&mut service, &self::answer(&challenge, &session(b"tls"), last), b"tls", last).unwrap();
}

#[test]
fn a_clock_that_is_set_back_revives_nothing_and_locks_nobody_out() {
    let (mut service, mut rng) = service();
    let log_in = |service: &mut LoginService, rng: &mut StdRng, now| {
        let challenge = service.challenge(&Channel::of(b"tls"), rng, now).unwrap();
        let answer = answer(&challenge, &session(b"tls"), now);
        accept(service, &answer, b"tls", now).map(|_| answer)
    };
    let first = log_in(&mut service, &mut rng, NOW).unwrap();
    // Two minutes later the first answer is forgotten, for its challenge is over.
    let later = NOW.plus(Duration::from_secs(120));
    log_in(&mut service, &mut rng, later).unwrap();
    assert!(format!("{service:?}").contains("remembered: 1"));
    // The clock is set back into the life of that challenge.
    let verdict = accept(&mut service, &first, b"tls", NOW);
    assert_eq!(verdict, Err(LoginError::Expired(NOW.plus(Duration::from_secs(60)))));
    log_in(&mut service, &mut rng, NOW).unwrap();
}

#[test]
fn a_clock_that_was_far_ahead_fills_no_memory_and_revives_nothing() {
    let mut options = LoginOptions::default();
    options.capacity = 2;
    let (service, mut rng) = service();
    let mut service = service.with_options(options);
    let mut log_in = |service: &mut LoginService, now| {
        let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, now).unwrap();
        let answer = answer(&challenge, &session(b"tls"), now);
        accept(service, &answer, b"tls", now).map(|_| answer)
    };
    let year = NOW.plus(Duration::from_secs(365 * 86_400));
    let before = log_in(&mut service, NOW).unwrap();
    let ahead = log_in(&mut service, year).unwrap();
    // The challenge of the login during which the clock goes back is void, and so are those of before.
    assert_eq!(log_in(&mut service, NOW).unwrap_err(), LoginError::Forged);
    for minute in 0..10 {
        let now = NOW.plus(Duration::from_secs(60 * minute));
        log_in(&mut service, now).unwrap();
        for old in [&before, &ahead] {
            assert_eq!(accept(&mut service, old, b"tls", now), Err(LoginError::Forged));
        }
    }
    log_in(&mut service, year).unwrap();
    assert_eq!(accept(&mut service, &ahead, b"tls", year), Err(LoginError::Forged));
}

/// Asking for challenges costs the service nothing; only devices that got in take room, for a minute.
#[test]
fn a_flood_takes_no_memory_and_a_full_memory_forgets_nothing() {
    let mut options = LoginOptions::default();
    options.capacity = 3;
    let (service, mut rng) = service();
    let mut service = service.with_options(options);
    for _ in 0..10_000 {
        service.challenge(&Channel::of(b"flood"), &mut rng, NOW).unwrap();
    }
    assert!(format!("{service:?}").contains("remembered: 0"));
    let mut log_in = |service: &mut LoginService, now| {
        let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, now).unwrap();
        let answer = answer(&challenge, &session(b"tls"), now);
        accept(service, &answer, b"tls", now).map(|_| answer)
    };
    let first = log_in(&mut service, NOW).unwrap();
    log_in(&mut service, NOW).unwrap();
    log_in(&mut service, NOW).unwrap();
    let full = log_in(&mut service, NOW).unwrap_err();
    assert_eq!(full, LoginError::Full);
    assert!(depin_core::Error::from(full).is_retryable());
    assert_eq!(accept(&mut service, &first, b"tls", NOW), Err(LoginError::Replayed));
    log_in(&mut service, NOW.plus(Duration::from_secs(60))).unwrap();
    assert!(format!("{service:?}").contains("remembered: 1"));
}

#[test]
fn only_a_key_that_may_authenticate_opens_the_door() {
    let (mut service, mut rng) = service();
    let (signer, thief) = (key(Algorithm::Es256k, 1), key(Algorithm::Es256k, 2));
    let did = io::did_io(signer.public_key()).unwrap();
    let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
    let response = |signer| {
        let answer = respond(signer, &did, &session(b"tls"), &challenge, NOW).unwrap();
        LoginResponse::parse(&answer, &network()).unwrap()
    };
    let ring = |relationships| {
        let id = DidUrl::parse(&format!("{did}#key-1")).unwrap();
        let method = VerificationMethod::new(id, did.clone(), signer.public_key().clone());
        let mut document = DidDocument::new(did.clone());
        document.verification_method = vec![VerificationMethod { relationships, ..method }];
        let mut ring = KeyRing::new();
        ring.insert_document(&document);
        ring
    };
    let channel = Channel::of(b"tls");
    let mut accept = |by, ring: &KeyRing| service.accept(&response(by), &channel, ring, NOW);
    let unknown = Err(LoginError::UnknownKey(did.clone()));
    assert_eq!(accept(&signer, &KeyRing::new()), unknown);
    assert_eq!(accept(&signer, &ring(Relationships::ASSERTION)), unknown);
    let error = accept(&thief, &ring(Relationships::AUTHENTICATION)).unwrap_err();
    assert!(matches!(error, LoginError::Envelope(EnvelopeError::Cose(_))), "{error}");
    accept(&signer, &ring(Relationships::AUTHENTICATION)).unwrap();
}

#[test]
fn audiences_are_printable_and_bounded() {
    for bad in ["", "https://a b", "https://é.example", "a\n"] {
        assert_eq!(Audience::parse(bad), Err(LoginError::AudienceText), "{bad:?}");
    }
    assert!(Audience::parse(&"a".repeat(257)).is_err());
    let did: Did = "did:web:ingest.example".parse().unwrap();
    assert_eq!(Audience::from(&did).as_str(), did.as_str());
    let long: Did = format!("did:web:{}", "a".repeat(500)).parse().unwrap();
    assert!(Audience::from(&long).as_str().len() <= Audience::MAX_LEN);
}

#[test]
fn the_largest_login_fits_its_bounds() {
    let mut rng = StdRng::seed_from_u64(3);
    let network = NetworkId::parse(&"n".repeat(64)).unwrap();
    let session = Session {
        network: network.clone(),
        audience: audience(&"a".repeat(256)),
        channel: Channel::of(b"tls"),
    };
    let mut service = LoginService::new(network.clone(), session.audience.clone(), &mut rng);
    let now = Timestamp::from_millis(1 << 60);
    let challenge = service.challenge(&session.channel, &mut rng, now).unwrap();
    let did: Did = format!("did:web:{}", "a".repeat(504)).parse().unwrap();
    let (key, _) = device(1);
    let answer = respond(&key, &did, &session, &challenge, now).unwrap();
    println!("largest challenge {}, answer {}", challenge.len(), answer.len());
    let mut ring = KeyRing::new();
    ring.insert(&did, key.public_key().clone(), Relationships::AUTHENTICATION).unwrap();
    let response = LoginResponse::parse(&answer, &network).unwrap();
    service.accept(&response, &session.channel, &ring, now).unwrap();
}

#[test]
fn truncated_and_trailing_bytes_are_refused() {
    let (service, mut rng) = service();
    let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
    let (key, did) = device(1);
    for end in 0..challenge.len() {
        let cut = &challenge[..end];
        let error = respond(&key, &did, &session(b"tls"), cut, NOW).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{end}");
        let answer = careless(cut, &session(b"tls"), &network(), LOGIN);
        assert!(LoginResponse::parse(&answer, &network()).is_err(), "{end}");
    }
    let answer = answer(&challenge, &session(b"tls"), NOW);
    for end in 0..answer.len() {
        assert!(LoginResponse::parse(&answer[..end], &network()).is_err(), "{end}");
    }
    let tail = [&answer[..], &[0]].concat();
    assert!(LoginResponse::parse(&tail, &network()).is_err());
    let huge = vec![0; 100_000];
    assert!(matches!(LoginResponse::parse(&huge, &network()), Err(LoginError::TooLong(_))));
    let error = respond(&key, &did, &session(b"tls"), &huge, NOW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}

#[test]
fn every_changed_byte_is_noticed() {
    let (mut service, mut rng) = service();
    let challenge = service.challenge(&Channel::of(b"tls"), &mut rng, NOW).unwrap();
    let mut answer = answer(&challenge, &session(b"tls"), NOW);
    for at in 0..answer.len() {
        answer[at] ^= 1;
        assert!(accept(&mut service, &answer, b"tls", NOW).is_err(), "{at}");
        answer[at] ^= 1;
    }
    accept(&mut service, &answer, b"tls", NOW).unwrap();
}

#[test]
fn the_key_of_the_service_is_not_printed() {
    let (service, _) = service();
    let printed = format!("{service:?}");
    assert!(printed.contains("ingest.example") && !printed.contains("key"), "{printed}");
}

proptest! {
    #[test]
    fn outside_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (key, did) = device(1);
        prop_assert!(LoginResponse::parse(&bytes, &network()).is_err());
        prop_assert!(respond(&key, &did, &session(b"tls"), &bytes, NOW).is_err());
    }
}
