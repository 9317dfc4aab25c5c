//! The rules of every claim, against known valid and invalid claim sets and against hand-made ones.

use depin_hw::psa::{
    Claim, Claims, Component, ImplementationId, InstanceId, Lifecycle, Profile, PsaError,
};
use depin_testkit::vectors;
use proptest::{option, prelude::*};
use serde_json::Value;

use crate::forge::{array, base64, bytes, entries, integer, map, text, with, without};

/// Encodes a claim set of the JSON vectors under the keys of `profile`.
fn encode(set: &Value, profile: Profile) -> Vec<u8> {
    let legacy = profile == Profile::Legacy;
    let seed = if profile == Profile::Tfm { 268 } else { 2397 };
    let octets = |name: &str| set[name].as_str().map(|it| bytes(&base64(it)));
    let number = |name: &str| set[name].as_i64().map(integer);
    let string = |name: &str| set[name].as_str().map(text);
    let stated = match profile {
        Profile::Legacy => string("psa-profile"),
        // The same sets, under the name and keys that the RFC ended up with.
        Profile::Tfm => set["eat-profile"].as_str().map(|it| match it {
            "http://arm.com/psa/2.0.0" => text(Profile::Tfm.as_str()),
            other => text(other),
        }),
        _ => string("eat-profile"),
    };
    let claims = [
        (-75_000, 265, stated),
        (-75_001, 2394, number("psa-client-id")),
        (-75_002, 2395, number("psa-security-lifecycle")),
        (-75_003, 2396, octets("psa-implementation-id")),
        (-75_004, seed, octets("psa-boot-seed")),
        (-75_005, 2398, string("psa-certification-reference")),
        (-75_006, 2399, set["psa-software-components"].as_array().map(|it| components(it))),
        (-75_007, 2401, number("psa-no-software-measurements")),
        (-75_008, 10, octets("psa-nonce")),
        (-75_009, 256, octets("psa-instance-id")),
        (-75_010, 2400, string("psa-verification-service-indicator")),
    ];
    let entries = claims.into_iter().filter_map(|(old, new, value)| {
        let key = if legacy { old } else { new };
        value.map(|value| (key, value))
    });
    map(&entries.collect::<Vec<_>>())
}

fn components(list: &[Value]) -> Vec<u8> {
    let items = list.iter().map(|component| {
        let entries = [
            (1, component["measurement-type"].as_str().map(text)),
            (2, component["measurement-value"].as_str().map(|it| bytes(&base64(it)))),
            (5, component["signer-id"].as_str().map(|it| bytes(&base64(it)))),
        ];
        let present = entries.into_iter().filter_map(|(key, value)| Some((key, value?)));
        map(&present.collect::<Vec<_>>())
    });
    array(&items.collect::<Vec<_>>())
}

/// What each vector must give under the keys of RFC 9783 and its drafts, and under the legacy ones.
fn expected(name: &str) -> [Option<PsaError>; 2] {
    let value = |claim| Some(PsaError::Value { claim });
    let missing = |claim| Some(PsaError::Missing(claim));
    let both = |error: Option<PsaError>| [error.clone(), error];
    match name {
        "boot-seed-invalid-long" | "boot-seed-invalid-short" => both(value(Claim::BootSeed)),
        "boot-seed-invalid-missing" => [None, missing(Claim::BootSeed)],
        "client-id-invalid-missing" => both(missing(Claim::ClientId)),
        "hardware-version-invalid" => both(value(Claim::CertificationReference)),
        "implementation-id-invalid-long" | "implementation-id-invalid-short" => {
            both(value(Claim::ImplementationId))
        }
        "implementation-id-invalid-missing" => both(missing(Claim::ImplementationId)),
        "instance-id-invalid-euid-type"
        | "instance-id-invalid-long"
        | "instance-id-invalid-short" => both(value(Claim::InstanceId)),
        "instance-id-invalid-missing" => both(missing(Claim::InstanceId)),
        "nonce-invalid-long" | "nonce-invalid-short" => both(value(Claim::Nonce)),
        "nonce-invalid-missing" => both(missing(Claim::Nonce)),
        "profile-invalid-missing" | "profile-valid-missing" => [missing(Claim::Profile), None],
        "profile-invalid-unknown" => {
            both(Some(PsaError::Profile { found: "http://UNKNOWN".into() }))
        }
        "security-lifecycle-invalid-missing" => both(missing(Claim::Lifecycle)),
        "security-lifecycle-invalid-state" => both(value(Claim::Lifecycle)),
        "sw-component-and-no-sw-measurements-missing" | "sw-components-invalid-missing" => {
            both(missing(Claim::Components))
        }
        "sw-component-measurement-value-invalid-missing" => both(missing(Claim::MeasurementValue)),
        "sw-component-measurement-value-invalid-short" => both(value(Claim::MeasurementValue)),
        "sw-component-signer-id-invalid-missing" => both(missing(Claim::SignerId)),
        "sw-component-signer-id-invalid-short" => both(value(Claim::SignerId)),
        "sw-components-empty" => both(value(Claim::Components)),
        "sw-components-invalid-combo" => [missing(Claim::Profile), value(Claim::NoMeasurements)],
        "token-valid-full" => both(None),
        "token-valid-minimalist-no-sw-measurements" | "token-valid-minimalist-p1" => {
            [missing(Claim::Profile), None]
        }
        "token-valid-minimalist-p2" => [None, missing(Claim::BootSeed)],
        "vsi-invalid-empty" => both(value(Claim::VerificationService)),
        other => panic!("no expectation for {other}"),
    }
}

#[test]
fn known_claim_sets_are_accepted_or_refused_for_the_right_reason() {
    let Some(folder) = vectors::find(env!("CARGO_MANIFEST_DIR"), "hw/psa-cca") else { return };
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let Some(name) = name.strip_prefix("psa_test-") else { continue };
        let set: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let [current, legacy] = expected(name);
        for (profile, expected) in
            [(Profile::Tfm, current.clone()), (Profile::Draft, current), (Profile::Legacy, legacy)]
        {
            let outcome = Claims::decode(&encode(&set, profile));
            assert_eq!(outcome.as_ref().err(), expected.as_ref(), "{name} as {profile:?}");
            if let Ok(claims) = outcome {
                assert_eq!(claims.profile, profile);
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 33 * 3);
}

#[test]
fn every_mandatory_claim_is_missed_by_name() {
    for (key, claim) in [
        (10, Claim::Nonce),
        (256, Claim::InstanceId),
        (265, Claim::Profile),
        (2394, Claim::ClientId),
        (2395, Claim::Lifecycle),
        (2396, Claim::ImplementationId),
        (2399, Claim::Components),
    ] {
        assert_eq!(Claims::decode(&without(key)), Err(PsaError::Missing(claim)));
    }
}

#[test]
fn every_claim_of_another_type_is_refused_by_name() {
    for (key, wrong, claim) in [
        (10, text("nonce"), Claim::Nonce),
        (10, array(&[bytes(&[7; 32])]), Claim::Nonce),
        (256, integer(1), Claim::InstanceId),
        (265, integer(1), Claim::Profile),
        (268, text("seed"), Claim::BootSeed),
        (2394, text("1"), Claim::ClientId),
        (2395, bytes(&[0x30, 0]), Claim::Lifecycle),
        (2396, text("9"), Claim::ImplementationId),
        (2398, integer(1), Claim::CertificationReference),
        (2399, map(&[]), Claim::Components),
        (2399, array(&[integer(1)]), Claim::Components),
        (2400, bytes(b"service"), Claim::VerificationService),
    ] {
        assert_eq!(Claims::decode(&with(key, wrong)), Err(PsaError::Type { claim }), "{claim}");
    }
    for (key, wrong, claim) in [
        (1, integer(1), Claim::MeasurementType),
        (2, text("value"), Claim::MeasurementValue),
        (4, integer(1), Claim::Version),
        (5, integer(1), Claim::SignerId),
        (6, integer(1), Claim::Description),
    ] {
        let mut component = vec![(2, bytes(&[2; 32])), (5, bytes(&[5; 32]))];
        component.retain(|(known, _)| *known != key);
        component.push((key, wrong));
        let claims = with(2399, array(&[map(&component)]));
        assert_eq!(Claims::decode(&claims), Err(PsaError::Type { claim }));
    }
}

#[test]
fn every_forbidden_value_is_refused_by_name() {
    let long = integer(i64::from(i32::MAX) + 1);
    for (key, wrong, claim) in [
        (2394, integer(0), Claim::ClientId),
        (2394, long, Claim::ClientId),
        (2395, integer(-1), Claim::Lifecycle),
        (2395, integer(0x0100), Claim::Lifecycle),
        (2395, integer(0x7000), Claim::Lifecycle),
        (2395, integer(0x13000), Claim::Lifecycle),
        (268, bytes(&[0; 7]), Claim::BootSeed),
        (268, bytes(&[0; 33]), Claim::BootSeed),
        (2398, text("1234567890123"), Claim::CertificationReference),
        (2398, text("1234567890123-1234"), Claim::CertificationReference),
        (2398, text("123456789012\u{661}-12345"), Claim::CertificationReference),
    ] {
        assert_eq!(Claims::decode(&with(key, wrong)), Err(PsaError::Value { claim }), "{claim}");
    }
}

#[test]
fn repeated_keys_are_refused_also_when_spelled_differently() {
    let mut repeated = entries();
    repeated.push((10, bytes(&[8; 32])));
    assert_eq!(Claims::decode(&map(&repeated)), Err(PsaError::Duplicate { key: "10".into() }));

    // The key 10 as two bytes: variant forms are allowed, a second nonce is not.
    let mut variant = map(&entries());
    variant[0] += 1;
    variant.extend([0x18, 0x0a]);
    variant.extend(bytes(&[8; 32]));
    assert_eq!(Claims::decode(&variant), Err(PsaError::Duplicate { key: "10".into() }));

    let component = map(&[(2, bytes(&[2; 32])), (2, bytes(&[3; 32])), (5, bytes(&[5; 32]))]);
    let claims = with(2399, array(&[component]));
    assert_eq!(Claims::decode(&claims), Err(PsaError::Duplicate { key: "2".into() }));
}

#[test]
fn variant_forms_that_the_rfc_allows_are_read() {
    let mut reversed = entries();
    reversed.reverse();
    assert_eq!(Claims::decode(&map(&reversed)), Claims::decode(&map(&entries())));
    let long_lifecycle = with(2395, vec![0x1b, 0, 0, 0, 0, 0, 0, 0x30, 0x07]);
    let claims = Claims::decode(&long_lifecycle).unwrap();
    assert_eq!((claims.lifecycle, claims.lifecycle_minor), (Lifecycle::Secured, 7));
}

#[test]
fn claims_that_the_profile_does_not_define_are_ignored() {
    let nested = array(&[map(&[(1, array(&[integer(2), bytes(b"x")]))]), text("y")]);
    for (key, value) in [(-70_000, nested), (2397, bytes(&[1; 3])), (5, vec![0xf9, 0x3c, 0x00])] {
        assert_eq!(Claims::decode(&with(key, value)), Claims::decode(&map(&entries())));
    }
}

#[test]
fn indefinite_lengths_are_refused_wherever_they_hide() {
    for indefinite in [
        vec![0x5f, 0x41, 0x01, 0xff],
        vec![0x7f, 0x61, 0x61, 0xff],
        vec![0x9f, 0x01, 0xff],
        vec![0xbf, 0x01, 0x01, 0xff],
        vec![0x81, 0x9f, 0xff],
        vec![0xff],
    ] {
        assert_eq!(Claims::decode(&with(-70_000, indefinite)), Err(PsaError::Encoding));
    }
    let mut outer = map(&entries());
    outer[0] = 0xbf;
    outer.push(0xff);
    assert_eq!(Claims::decode(&outer), Err(PsaError::Encoding));
}

#[test]
fn keys_of_two_generations_do_not_mix() {
    assert_eq!(Claims::decode(&with(-75_008, bytes(&[8; 32]))), Err(PsaError::Mixed));
}

#[test]
fn the_number_of_components_and_claims_is_bounded() {
    let component = map(&[(2, bytes(&[2; 32])), (5, bytes(&[5; 32]))]);
    assert!(Claims::decode(&with(2399, array(&vec![component.clone(); 32]))).is_ok());
    let claims = with(2399, array(&vec![component; 33]));
    assert_eq!(Claims::decode(&claims), Err(PsaError::Components { count: 33 }));

    let many = (0..65).map(|key| (100_000 + key, integer(0))).collect::<Vec<_>>();
    assert_eq!(Claims::decode(&map(&many)), Err(PsaError::Entries));
}

#[test]
fn only_the_current_profile_is_written() {
    let mut claims = Claims::decode(&map(&entries())).unwrap();
    claims.profile = Profile::Legacy;
    let expected = PsaError::Profile { found: "PSA_IOT_PROFILE_1".into() };
    assert_eq!(claims.encode(), Err(expected));
}

prop_compose! {
    fn component()(
        measurement_type in option::of("[A-Za-z_]{0,12}"),
        measurement_value in hash(),
        version in option::of("[0-9.]{0,12}"),
        signer_id in hash(),
        description in option::of("[a-z0-9-]{0,12}"),
    ) -> Component {
        let mut component = Component::new("", measurement_value, signer_id);
        component.measurement_type = measurement_type;
        component.version = version;
        component.description = description;
        component
    }
}

fn hash() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![32usize, 48, 64]).prop_map(|length| vec![0x5a; length])
}

prop_compose! {
    fn claims()(
        nonce in hash(),
        instance in any::<[u8; 32]>(),
        client_id in any::<i32>().prop_filter("not 0", |id| *id != 0),
        lifecycle in prop::sample::select(vec![
            Lifecycle::Unknown, Lifecycle::AssemblyAndTest, Lifecycle::Provisioning, Lifecycle::Secured,
            Lifecycle::Debug, Lifecycle::RootDebug, Lifecycle::Decommissioned,
        ]),
        lifecycle_minor in any::<u8>(),
        make in any::<[u8; 32]>(),
        boot_seed in option::of(prop::collection::vec(any::<u8>(), 8..=32)),
        certification_reference in option::of("[0-9]{13}-[0-9]{5}"),
        components in prop::collection::vec(component(), 1..=32),
        verification_service in option::of("[a-z.:/]{1,40}"),
    ) -> Claims {
        let instance = InstanceId::parse(&[[1].as_slice(), &instance].concat()).unwrap();
        let make = ImplementationId::new(make);
        let mut claims = Claims::new(nonce, instance, make, lifecycle, components);
        claims.client_id = client_id;
        claims.lifecycle_minor = lifecycle_minor;
        claims.boot_seed = boot_seed;
        claims.certification_reference = certification_reference;
        claims.verification_service = verification_service;
        claims
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_deterministic(claims in claims()) {
        let bytes = claims.encode().unwrap();
        prop_assert_eq!(depin_core::cbor::check(&bytes), Ok(()));
        prop_assert_eq!(Claims::decode(&bytes), Ok(claims));
    }
}
