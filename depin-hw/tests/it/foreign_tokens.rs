//! Tokens that others made: RFC 9783's own example, and Trusted Firmware-M's.

use std::path::Path;

use depin_core::{
    Algorithm, PublicKey, Signer, SoftwareKey, Timestamp,
    cose::CoseError,
    evidence::{Evidence, EvidenceVerifier},
};
use depin_hw::{
    Implementation, Policy, PsaVerifier,
    policy::PolicyError,
    psa::{InstanceId, Lifecycle, Profile, PsaError, Token},
};
use depin_testkit::vectors;

use crate::forge::{base64, challenge};

/// RFC 9783 appendix A, the COSE_Sign1 example.
const RFC_TOKEN: &str = "\
    d28443a10126a0590100a8190100582101020202020202020202020202020202020202020202020202020202\
    020202020219095c582000000000000000000000000000000000000000000000000000000000000000000a58\
    20010101010101010101010101010101010101010101010101010101010101010119095a1a7fffffff19095b\
    19300019010978217461673a7073616365727469666965642e6f72672c323032333a7073612374666d19010c\
    48000000000000000019095f81a3055820040404040404040404040404040404040404040404040404040404\
    0404040404025820030303030303030303030303030303030303030303030303030303030303030301645052\
    6f545840786e937a4c42667af3847399319ca95c7e7dbabdc9b50fdb8de3f6bff4ab82ff80c42140e2a48800\
    0219e3e10663193da69c75f52b798ea10b2f7041a90e8e5a";

/// Its key, `x || y`.
const RFC_KEY: &str = "\
    4e5e22099e3bceb45b446d1355fd1dc3b545947b6fd7c1c89d886798c3726e8f80d70b840b256aac34a62ede\
    1043364f044095f003474b91e0182092afb13f2e";

fn rfc_key() -> PublicKey {
    let point = [vec![4], hex::decode(RFC_KEY).unwrap()].concat();
    PublicKey::from_bytes(Algorithm::Es256, &point).unwrap()
}

#[test]
fn the_example_of_the_rfc_verifies() {
    let bytes = hex::decode(RFC_TOKEN).unwrap();
    let token = Token::parse(&bytes).unwrap();
    let claims = token.verify(&rfc_key()).unwrap();
    assert_eq!(claims.profile, Profile::Tfm);
    assert_eq!(claims.nonce, [1; 32]);
    assert_eq!(claims.client_id, i32::MAX);
    assert_eq!(claims.lifecycle, Lifecycle::Secured);
    assert_eq!(claims.boot_seed.as_deref(), Some([0; 8].as_slice()));
    let [component] = claims.components.as_slice() else { panic!("one component") };
    assert_eq!(component.measurement_type.as_deref(), Some("PRoT"));
    assert_eq!(
        (component.measurement_value.as_slice(), component.signer_id.as_slice()),
        (&[3; 32][..], &[4; 32][..])
    );
}

#[test]
fn no_bit_of_the_example_can_change() {
    let bytes = hex::decode(RFC_TOKEN).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let verified = Token::parse(&changed).and_then(|token| token.verify(&rfc_key()).cloned());
        assert!(verified.is_err(), "bit {bit}");
    }
}

#[test]
fn a_key_of_another_algorithm_never_verifies() {
    let bytes = hex::decode(RFC_TOKEN).unwrap();
    let token = Token::parse(&bytes).unwrap();
    for algorithm in [Algorithm::Es256k, Algorithm::EdDsa] {
        let key = SoftwareKey::from_seed(algorithm, [1; 32]);
        assert_eq!(token.verify(key.public_key()), Err(PsaError::Algorithm));
    }
}

#[test]
fn a_header_that_names_another_algorithm_is_confusion() {
    let bytes = hex::decode(RFC_TOKEN).unwrap();
    for (algorithm, expected) in [
        ("27", CoseError::Confusion), // EdDSA
        ("25", CoseError::Algorithm), // -6 is direct key agreement
        ("05", CoseError::Algorithm), // HMAC 256/256
    ] {
        let mut changed = bytes.clone();
        assert_eq!(changed[5], 0x26);
        changed[5] = hex::decode(algorithm).unwrap()[0];
        let token = Token::parse(&changed).unwrap();
        assert_eq!(token.verify(&rfc_key()), Err(PsaError::Cose(expected)));
    }
}

fn tfm_key(folder: &Path) -> PublicKey {
    let pem = std::fs::read_to_string(folder.join("tfm_public.pem")).unwrap();
    let body = pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let der = base64(&body);
    PublicKey::from_bytes(Algorithm::Es256, &der[der.len() - 65..]).unwrap()
}

#[test]
fn tokens_of_trusted_firmware_m_verify() {
    let Some(folder) = vectors::find(env!("CARGO_MANIFEST_DIR"), "hw/psa-cca") else { return };
    let key = tfm_key(&folder);
    for (file, profile) in
        [("tfm_psa-iot-1_sign1.bin", Profile::Legacy), ("tfm_psa-2_0_0_sign1.bin", Profile::Draft)]
    {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let token = Token::parse(&bytes).unwrap();
        let claims = token.verify(&key).unwrap();
        assert_eq!(claims.profile, profile);
        assert_eq!(claims.nonce, [0; 64]);
        assert_eq!(claims.client_id, 3002);
        assert_eq!(claims.lifecycle, Lifecycle::Secured);
        assert_eq!(claims.instance_id, InstanceId::of_key(&key), "the id is the hash of the key");
        assert_eq!(claims.boot_seed.as_ref().map(Vec::len), Some(32));
        assert_eq!(claims.certification_reference.as_deref(), Some("0604565272829-10010"));
        assert_eq!(claims.verification_service.as_deref(), Some("www.trustedfirmware.org"));
        let types = claims.components.iter().map(|it| it.measurement_type.as_deref());
        assert_eq!(types.collect::<Vec<_>>(), [Some("SPE"), Some("NSPE")]);

        for length in 0..bytes.len() {
            assert!(Token::parse(&bytes[..length]).is_err(), "{file} cut to {length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Token::parse(&longer).unwrap_err(), PsaError::Cose(CoseError::Structure));
    }
}

#[test]
fn an_endorsed_chip_that_answers_another_challenge_is_refused_for_the_nonce() {
    let Some(folder) = vectors::find(env!("CARGO_MANIFEST_DIR"), "hw/psa-cca") else { return };
    let key = tfm_key(&folder);
    let bytes = std::fs::read(folder.join("tfm_psa-2_0_0_sign1.bin")).unwrap();
    let make = Token::parse(&bytes).unwrap().peek().implementation_id;
    let policy = Policy::default().allow(Implementation::new(make, "tf-m"));
    let verifier = PsaVerifier::new(policy).endorse(InstanceId::of_key(&key), key);
    let evidence = Evidence { format: "application/eat+cwt".into(), bytes };
    let error = verifier.appraise(&evidence, &challenge(), Timestamp::EPOCH).unwrap_err();
    let cause = std::error::Error::source(&error).and_then(|it| it.downcast_ref());
    assert_eq!(cause, Some(&PolicyError::Binding));
}

#[test]
fn tokens_with_a_shared_secret_are_refused_as_such() {
    let Some(folder) = vectors::find(env!("CARGO_MANIFEST_DIR"), "hw/psa-cca") else { return };
    for file in ["tfm_psa-iot-1_mac0.bin", "tfm_psa-2_0_0_mac0.bin"] {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        assert_eq!(Token::parse(&bytes).unwrap_err(), PsaError::Mac0);
    }
}
