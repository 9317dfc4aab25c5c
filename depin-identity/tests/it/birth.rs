//! Attacks on birth certificates, and their size.

use depin_core::{
    Algorithm, B256, ChainId, Did, ErrorKind, NetworkId, PublicKey, Signer, SoftwareKey, Timestamp,
    Verified,
    cbor::{Decoder, Encoder},
    cose::CoseError,
    envelope::{Envelope, EnvelopeError, Purpose},
    evidence::{Appraisal, TrustTier},
};
use depin_identity::{
    Period,
    birth::{Anchors, BirthCertificate, BirthError, MAX_BYTES, Model, ModelCertificate},
    methods::{self, io::did_io, key::did_key},
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::chip::{appraise, appraise_as, key};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const BORN: Timestamp = Timestamp::from_secs(2_000);

fn period(from: u64, until: u64) -> Period {
    Period::new(Timestamp::from_secs(from), Timestamp::from_secs(until)).unwrap()
}

/// A manufacturer, one factory line and one device.
struct World {
    maker: SoftwareKey,
    factory: SoftwareKey,
    line: ModelCertificate,
    device: SoftwareKey,
    appraisal: Verified<Appraisal>,
}

impl World {
    fn new() -> Self {
        Self::of(Algorithm::Es256, Algorithm::Es256, Algorithm::Es256k, 1)
    }

    fn of(maker: Algorithm, factory: Algorithm, device: Algorithm, seed: u8) -> Self {
        let (maker, factory) = (key(maker, seed), key(factory, seed + 1));
        let device = key(device, seed + 2);
        let line = line(&maker, &factory, "Pebble", period(1_000, 3_000));
        let did = did_io(device.public_key()).unwrap_or_else(|_| did_key(device.public_key()));
        let appraisal = appraise("factory", &[seed; 33], &did, device.public_key());
        Self { maker, factory, line, device, appraisal }
    }

    fn certificate(&self) -> BirthCertificate {
        let Self { factory, line, device, appraisal, .. } = self;
        BirthCertificate::issue(line, factory, device, appraisal, BORN).unwrap()
    }

    fn anchors(&self) -> Anchors {
        trust(self.maker.public_key())
    }

    /// Verifies links that an attacker put together.
    fn judge(&self, links: &[&[u8]]) -> Result<Verified<depin_identity::birth::Birth>, BirthError> {
        BirthCertificate::parse(&join(links))?.verify(&self.anchors(), NOW)
    }
}

fn line(maker: &SoftwareKey, factory: &SoftwareKey, name: &str, valid: Period) -> ModelCertificate {
    let model = Model::new(name, "rev C", factory.public_key().clone(), valid).unwrap();
    ModelCertificate::issue(maker, &did_key(maker.public_key()), &model).unwrap()
}

fn trust(maker: &PublicKey) -> Anchors {
    Anchors::new().trust(did_key(maker), maker.clone(), Period::ALWAYS)
}

fn split(certificate: &BirthCertificate) -> [Vec<u8>; 3] {
    let mut decoder = Decoder::new(certificate.as_bytes());
    assert_eq!(decoder.array().unwrap(), Some(3));
    [(); 3].map(|()| decoder.bytes().unwrap().to_vec())
}

fn join(links: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    encoder.array(links.len() as u64).unwrap();
    for link in links {
        encoder.bytes(link).unwrap();
    }
    bytes
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn seal(
    signer: &SoftwareKey,
    did: &Did,
    network: &str,
    purpose: Purpose,
    payload: &[u8],
) -> Vec<u8> {
    Envelope::seal(signer, did, &NetworkId::parse(network).unwrap(), purpose, payload).unwrap()
}

const DEVICE: Purpose = Purpose::new("birth-device", 1);
const ACCEPT: Purpose = Purpose::new("birth-accept", 1);

fn acceptance(device: &SoftwareKey, did: &Did, leaf: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    Encoder::new(&mut payload).map(1).unwrap().u8(1).unwrap().bytes(&sha256(leaf)).unwrap();
    seal(device, did, "birth", ACCEPT, &payload)
}

#[test]
fn what_was_certified_is_read_back() {
    let world = World::new();
    let certificate = world.certificate();
    assert_eq!(BirthCertificate::parse(certificate.as_bytes()).unwrap(), certificate);
    let birth = certificate.verify(&world.anchors(), NOW).unwrap();
    assert_eq!(*birth, *certificate.peek());
    assert_eq!(birth.manufacturer, did_key(world.maker.public_key()));
    assert_eq!((birth.model.name(), birth.model.hardware()), ("Pebble", "rev C"));
    assert_eq!(birth.model_link, world.line.hash());
    assert_eq!(birth.did, world.appraisal.challenge.did);
    assert_eq!(birth.key, *world.device.public_key());
    assert_eq!(birth.appraisal, world.appraisal.hash());
    assert_eq!((birth.tier, birth.born), (TrustTier::Affirming, BORN));
    assert_eq!(ModelCertificate::parse(world.line.as_bytes()).unwrap(), world.line);
}

#[test]
fn every_algorithm_fits_into_a_kilobyte() {
    for maker in Algorithm::ALL {
        for factory in Algorithm::ALL {
            for device in Algorithm::ALL {
                let world = World::of(maker, factory, device, 1);
                let certificate = world.certificate();
                certificate.verify(&world.anchors(), NOW).unwrap();
                let size = certificate.as_bytes().len();
                println!("{maker} -> {factory} -> {device}: {size} bytes");
                assert!(size < 1000, "{size}");
            }
        }
    }
}

#[test]
fn the_longest_names_still_fit() {
    let (maker, factory) = (key(Algorithm::Es256, 1), key(Algorithm::Es256, 2));
    let device = key(Algorithm::Es256, 3);
    let names = ("n".repeat(Model::MAX_NAME), "h".repeat(Model::MAX_HARDWARE));
    let millis = |ms| Timestamp::from_millis(ms);
    let valid = Period::new(millis(1_700_000_000_001), millis(2_700_000_000_001)).unwrap();
    let model = Model::new(&names.0, &names.1, factory.public_key().clone(), valid).unwrap();
    let line = ModelCertificate::issue(&maker, &did_key(maker.public_key()), &model).unwrap();
    let did = did_key(device.public_key());
    let appraisal = appraise("factory", b"chip", &did, device.public_key());
    let certificate =
        BirthCertificate::issue(&line, &factory, &device, &appraisal, millis(1_800_000_000_000));
    let size = certificate.unwrap().as_bytes().len();
    println!("longest names, did:key throughout: {size} bytes");
    assert!(size < MAX_BYTES);
}

#[test]
fn a_certificate_that_would_be_too_long_is_not_issued() {
    let world = World::new();
    let long: Did = format!("did:web:{}.example", "a".repeat(200)).parse().unwrap();
    let appraisal = appraise("factory", b"chip", &long, world.device.public_key());
    let issue = |appraisal| {
        BirthCertificate::issue(&world.line, &world.factory, &world.device, appraisal, BORN)
    };
    assert_eq!(issue(&appraisal).unwrap_err().kind(), ErrorKind::Limit);
    let model = world.line.model();
    let longer: Did = format!("did:web:{}", "a".repeat(500)).parse().unwrap();
    let accepted = ModelCertificate::issue(&world.maker, &longer, model).unwrap();
    let error =
        BirthCertificate::issue(&accepted, &world.factory, &world.device, &world.appraisal, BORN);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn nobody_is_trusted_by_default_and_no_stranger_ever() {
    let world = World::new();
    let certificate = world.certificate();
    let did = did_key(world.maker.public_key());
    assert_eq!(
        certificate.verify(&Anchors::new(), NOW),
        Err(BirthError::Manufacturer(did.clone()))
    );
    let other = key(Algorithm::Es256, 50);
    assert_eq!(
        certificate.verify(&trust(other.public_key()), NOW),
        Err(BirthError::Manufacturer(did.clone()))
    );
    // The right name with another key.
    let renamed = Anchors::new().trust(did, other.public_key().clone(), Period::ALWAYS);
    let error = certificate.verify(&renamed, NOW).unwrap_err();
    assert!(matches!(error, BirthError::Envelope { link: "model link", .. }), "{error}");
}

#[test]
fn a_stranger_cannot_certify_under_the_manufacturers_name() {
    let world = World::new();
    let stranger = key(Algorithm::Es256, 50);
    let did = did_key(world.maker.public_key());
    let forged = ModelCertificate::issue(&stranger, &did, world.line.model()).unwrap();
    let World { factory, device, appraisal, .. } = &world;
    let certificate = BirthCertificate::issue(&forged, factory, device, appraisal, BORN).unwrap();
    let error = certificate.verify(&world.anchors(), NOW).unwrap_err();
    assert!(matches!(error, BirthError::Envelope { link: "model link", .. }), "{error}");
}

#[test]
fn the_model_of_another_manufacturer_certifies_nothing_here() {
    let (world, other) =
        (World::new(), World::of(Algorithm::Es256, Algorithm::EdDsa, Algorithm::Es256, 60));
    let [_, device, accepted] = split(&world.certificate());
    let [model, ..] = split(&other.certificate());
    let error = world.judge(&[&model, &device, &accepted]).unwrap_err();
    assert_eq!(error, BirthError::Broken("the model did not certify"));
}

#[test]
fn a_leaf_cannot_be_moved_to_another_link_of_the_same_key() {
    let world = World::new();
    let better = line(&world.maker, &world.factory, "Pebble Pro", period(1_000, 9_000));
    let [_, device, accepted] = split(&world.certificate());
    let error = world.judge(&[better.as_bytes(), &device, &accepted]).unwrap_err();
    assert_eq!(error, BirthError::Broken("the device was certified under another model link"));
}

#[test]
fn a_swapped_leaf_or_acceptance_is_refused() {
    let world = World::new();
    let [model, device, accepted] = split(&world.certificate());
    // A sister device of the same line.
    let sister = key(Algorithm::Es256k, 70);
    let did = did_io(sister.public_key()).unwrap();
    let appraisal = appraise("factory", b"sister", &did, sister.public_key());
    let other =
        BirthCertificate::issue(&world.line, &world.factory, &sister, &appraisal, BORN).unwrap();
    let [_, other_device, other_accepted] = split(&other);
    let error = world.judge(&[&model, &other_device, &accepted]).unwrap_err();
    assert_eq!(error, BirthError::Broken("another device accepted"));
    let error = world.judge(&[&model, &device, &other_accepted]).unwrap_err();
    assert_eq!(error, BirthError::Broken("another device accepted"));
    // The same device, certified a second time.
    let again = BirthCertificate::issue(
        &world.line,
        &world.factory,
        &world.device,
        &world.appraisal,
        Timestamp::from_secs(2_001),
    );
    let [_, again, _] = split(&again.unwrap());
    let error = world.judge(&[&model, &again, &accepted]).unwrap_err();
    assert_eq!(error, BirthError::Broken("the device accepted another certificate"));
}

#[test]
fn a_device_key_that_did_not_accept_cannot_be_claimed() {
    let world = World::new();
    let [model, device, _] = split(&world.certificate());
    let thief = key(Algorithm::Es256k, 80);
    let forged = acceptance(&thief, &world.appraisal.challenge.did, &device);
    let error = world.judge(&[&model, &device, &forged]).unwrap_err();
    assert!(matches!(error, BirthError::Envelope { link: "acceptance", .. }), "{error}");
}

#[test]
fn a_leaf_that_the_model_key_did_not_sign_is_refused() {
    let world = World::new();
    let [model, device, _] = split(&world.certificate());
    let network = NetworkId::parse("birth").unwrap();
    let payload = Envelope::parse(&device, &network, DEVICE).unwrap().peek().to_vec();
    // The attacker says to be the model's key, but does not have it.
    let forger = key(Algorithm::Es256, 81);
    let claimed = did_key(world.factory.public_key());
    let forged = seal(&forger, &claimed, "birth", DEVICE, &payload);
    let accepted = acceptance(&world.device, &world.appraisal.challenge.did, &forged);
    let error = world.judge(&[&model, &forged, &accepted]).unwrap_err();
    assert!(matches!(error, BirthError::Envelope { link: "device link", .. }), "{error}");
    // Or signs as himself.
    let forged = seal(&forger, &did_key(forger.public_key()), "birth", DEVICE, &payload);
    let accepted = acceptance(&world.device, &world.appraisal.challenge.did, &forged);
    let error = world.judge(&[&model, &forged, &accepted]).unwrap_err();
    assert_eq!(error, BirthError::Broken("the model did not certify"));
}

#[test]
fn no_link_stands_for_another() {
    let world = World::new();
    let [model, device, accepted] = split(&world.certificate());
    let links: [&[u8]; 3] = [&model, &device, &accepted];
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [0, 0, 2], [0, 1, 1]] {
        let error = world.judge(&order.map(|at| links[at])).unwrap_err();
        let purpose =
            matches!(&error, BirthError::Envelope { error: EnvelopeError::Purpose { .. }, .. });
        assert!(purpose, "{order:?}: {error}");
    }
    for wrong in [&links[..2], &[&links[..], &[&[0x80][..]]].concat(), &[]] {
        assert_eq!(world.judge(wrong), Err(BirthError::Format("list of links")));
    }
}

#[test]
fn a_message_of_a_network_is_no_link() {
    let world = World::new();
    let [model, device, _] = split(&world.certificate());
    let did = &world.appraisal.challenge.did;
    for (network, purpose) in [
        ("climate", ACCEPT),
        ("birth", Purpose::new("batch", 1)),
        ("birth", Purpose::new("birth-accept", 2)),
    ] {
        let mut payload = Vec::new();
        Encoder::new(&mut payload).map(1).unwrap().u8(1).unwrap().bytes(&sha256(&device)).unwrap();
        let message = seal(&world.device, did, network, purpose, &payload);
        let error = world.judge(&[&model, &device, &message]).unwrap_err();
        assert!(matches!(error, BirthError::Envelope { link: "acceptance", .. }), "{error}");
    }
}

#[test]
fn a_device_outlives_the_key_that_certified_it() {
    let world = World::new();
    assert!(Timestamp::from_secs(3_000) < NOW, "the model's key is not valid any more");
    world.certificate().verify(&world.anchors(), NOW).unwrap();
    // But nothing is born when the key is not valid.
    let World { line, factory, device, appraisal, .. } = &world;
    for secs in [999, 3_000, 5_000] {
        let born = Timestamp::from_secs(secs);
        let error = BirthCertificate::issue(line, factory, device, appraisal, born).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{secs}");
    }
    for secs in [1_000, 2_999] {
        let born = Timestamp::from_secs(secs);
        let certificate = BirthCertificate::issue(line, factory, device, appraisal, born).unwrap();
        certificate.verify(&world.anchors(), NOW).unwrap();
    }
}

/// `issue` refuses, so the leaf is signed by hand, as a thief of the model's key would.
#[test]
fn an_expired_model_key_certifies_nothing_new() {
    let world = World::new();
    let did = &world.appraisal.challenge.did;
    for (secs, fine) in [(999, false), (1_000, true), (2_999, true), (3_000, false)] {
        let leaf = leaf(&world, world.line.hash(), did, 3, Timestamp::from_secs(secs));
        let accepted = acceptance(&world.device, did, &leaf);
        let verdict = world.judge(&[world.line.as_bytes(), &leaf, &accepted]);
        if fine {
            verdict.unwrap();
        } else {
            assert_eq!(verdict.unwrap_err(), BirthError::Born(Timestamp::from_secs(secs)));
        }
    }
}

fn leaf(world: &World, model: B256, did: &Did, tier: u8, born: Timestamp) -> Vec<u8> {
    let mut payload = Vec::new();
    let key = world.device.public_key();
    let mut e = Encoder::new(&mut payload);
    e.map(8).unwrap().u8(1).unwrap().bytes(model.as_slice()).unwrap();
    e.u8(2).unwrap().str(did.as_str()).unwrap();
    e.u8(3).unwrap().i64(key.algorithm().cose()).unwrap();
    e.u8(4).unwrap().bytes(&key.to_bytes()).unwrap();
    e.u8(5).unwrap().bytes(&[1; 32]).unwrap().u8(6).unwrap().u8(tier).unwrap();
    e.u8(7).unwrap().bytes(&[2; 32]).unwrap().u8(8).unwrap().u64(born.millis()).unwrap();
    seal(&world.factory, &did_key(world.factory.public_key()), "birth", DEVICE, &payload)
}

#[test]
fn an_unknown_tier_or_a_did_of_another_key_is_refused() {
    let world = World::new();
    let did = &world.appraisal.challenge.did;
    let leaf_of = |did: &Did, tier| {
        let leaf = leaf(&world, world.line.hash(), did, tier, BORN);
        let accepted = acceptance(&world.device, did, &leaf);
        world.judge(&[world.line.as_bytes(), &leaf, &accepted])
    };
    leaf_of(did, 3).unwrap();
    assert_eq!(leaf_of(did, 4), Err(BirthError::Format("device link")));
    let other = key(Algorithm::Es256k, 90);
    let address = other.public_key().to_address().unwrap();
    for did in [
        did_io(other.public_key()).unwrap(),
        did_key(other.public_key()),
        methods::pkh::from_address(ChainId::new(4689), address),
        methods::ethr::from_address("mainnet", address).unwrap(),
        methods::ethr::from_key("mainnet", other.public_key()).unwrap(),
    ] {
        let broken = BirthError::Broken("the did of the device does not name its key");
        assert_eq!(leaf_of(&did, 3), Err(broken));
    }
    // Whose key another method's DID has is the factory's word.
    leaf_of(&"did:web:device.example".parse().unwrap(), 3).unwrap();
}

#[test]
fn the_clock_of_the_verifier_must_have_passed_the_birth() {
    let world = World::new();
    let certificate = world.certificate();
    let before = Timestamp::from_millis(BORN.millis() - 1);
    assert_eq!(certificate.verify(&world.anchors(), before), Err(BirthError::Unborn(BORN)));
    certificate.verify(&world.anchors(), BORN).unwrap();
}

#[test]
fn a_model_is_certified_within_the_time_of_the_manufacturers_key() {
    let world = World::new();
    let certificate = world.certificate();
    let maker = world.maker.public_key();
    let during = |period| Anchors::new().trust(did_key(maker), maker.clone(), period);
    certificate.verify(&during(period(1_000, 3_000)), NOW).unwrap();
    for outside in [period(1_001, 3_000), period(1_000, 2_999), period(5_000, 6_000)] {
        assert_eq!(certificate.verify(&during(outside), NOW), Err(BirthError::ModelPeriod));
    }
    // A manufacturer who changed his key keeps the old one for its time.
    let next = key(Algorithm::Es256, 95);
    let both = during(period(0, 4_000)).trust(
        did_key(maker),
        next.public_key().clone(),
        period(4_000, 9_000),
    );
    certificate.verify(&both, NOW).unwrap();
}

#[test]
fn a_revoked_model_takes_its_devices_along() {
    let world = World::new();
    let anchors = world.anchors().revoke(world.line.hash());
    assert_eq!(world.certificate().verify(&anchors, NOW), Err(BirthError::Revoked));
}

#[test]
fn a_certificate_is_about_one_appraisal() {
    let world = World::new();
    let birth = world.certificate().verify(&world.anchors(), NOW).unwrap();
    birth.matches(&world.appraisal).unwrap();
    let did = &world.appraisal.challenge.did;
    let key_of = world.device.public_key();
    let other = key(Algorithm::Es256k, 90);
    let cases = [
        ("did", appraise("factory", &[1; 33], &did_key(key_of), key_of)),
        ("key", appraise("factory", &[1; 33], did, other.public_key())),
        ("chip", appraise("factory", &[2; 33], did, key_of)),
        ("question or time", appraise("climate", &[1; 33], did, key_of)),
        ("question or time", appraise_as(TrustTier::Warning, "factory", &[1; 33], did, key_of)),
    ];
    for (what, appraisal) in cases {
        assert_eq!(birth.matches(&appraisal), Err(BirthError::Appraisal(what)));
    }
}

#[test]
fn a_network_recognises_the_chip_at_enrollment_also_after_a_rotation() {
    let world = World::new();
    let birth = world.certificate().verify(&world.anchors(), NOW).unwrap();
    let did = &world.appraisal.challenge.did;
    let rotated = key(Algorithm::Es256k, 90);
    assert!(birth.same_hardware(&appraise("climate", &[1; 33], did, rotated.public_key())));
    assert!(!birth.same_hardware(&appraise("climate", &[2; 33], did, &birth.key)));
}

#[test]
fn only_the_right_keys_can_issue() {
    let world = World::new();
    let other = key(Algorithm::Es256, 90);
    let World { line, factory, device, appraisal, .. } = &world;
    let issue = |factory: &SoftwareKey, device: &SoftwareKey| {
        BirthCertificate::issue(line, factory, device, appraisal, BORN).unwrap_err().kind()
    };
    assert_eq!(issue(&other, device), ErrorKind::Config);
    assert_eq!(issue(factory, &other), ErrorKind::Config);
    let did = &appraisal.challenge.did;
    let bad = TrustTier::Contraindicated;
    let bad = appraise_as(bad, "factory", b"chip", did, device.public_key());
    let error = BirthCertificate::issue(line, factory, device, &bad, BORN).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let nameless = appraise("factory", b"", did, device.public_key());
    let error = BirthCertificate::issue(line, factory, device, &nameless, BORN).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
}

#[test]
fn names_are_bounded_and_printable() {
    let factory = key(Algorithm::Es256, 2).public_key().clone();
    let model = |name: &str, hardware: &str| {
        Model::new(name, hardware, factory.clone(), period(1, 2)).is_ok()
    };
    assert!(model("Pebble", "C"));
    for (name, hardware) in [("", "C"), ("a\n", "C"), ("a", ""), ("a", "\u{7f}")] {
        assert!(!model(name, hardware), "{name:?} {hardware:?}");
    }
    assert!(!model(&"n".repeat(49), "C"));
    assert!(!model("n", &"h".repeat(17)));
}

#[test]
fn truncated_and_trailing_bytes_are_refused() {
    let world = World::new();
    let bytes = world.certificate().as_bytes().to_vec();
    for end in 0..bytes.len() {
        assert!(BirthCertificate::parse(&bytes[..end]).is_err(), "{end}");
    }
    for tail in [&[0][..], &[0x80], &bytes] {
        assert!(BirthCertificate::parse(&[&bytes, tail].concat()).is_err());
    }
    assert_eq!(BirthCertificate::parse(&[0; MAX_BYTES + 1]), Err(BirthError::TooLong));
    let line = world.line.as_bytes();
    for end in 0..line.len() {
        assert!(ModelCertificate::parse(&line[..end]).is_err(), "{end}");
    }
}

/// Every bit counts: whatever is changed, it is no longer a certificate of that manufacturer.
#[test]
fn every_changed_byte_is_noticed() {
    let world = World::new();
    let certificate = world.certificate();
    let mut bytes = certificate.as_bytes().to_vec();
    for at in 0..bytes.len() {
        bytes[at] ^= 1;
        let verdict = BirthCertificate::parse(&bytes).and_then(|c| c.verify(&world.anchors(), NOW));
        assert!(verdict.is_err(), "{at}");
        bytes[at] ^= 1;
    }
}

#[test]
fn errors_have_kinds() {
    let signature = EnvelopeError::Cose(CoseError::Confusion);
    for (error, kind) in [
        (BirthError::TooLong, ErrorKind::Limit),
        (BirthError::Format("x"), ErrorKind::Malformed),
        (BirthError::Envelope { link: "x", error: EnvelopeError::Header }, ErrorKind::Malformed),
        (BirthError::Envelope { link: "x", error: signature }, ErrorKind::Rejected),
        (BirthError::Revoked, ErrorKind::Rejected),
    ] {
        assert_eq!(depin_core::Error::from(error).kind(), kind);
    }
}

proptest! {
    #[test]
    fn outside_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(BirthCertificate::parse(&bytes).is_err());
        prop_assert!(ModelCertificate::parse(&bytes).is_err());
    }
}
