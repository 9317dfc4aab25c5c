#![no_main]
//! Logins from both sides: devices read challenges, services read answers.

use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey, Timestamp};
use depin_identity::{
    KeyRing,
    login::{Audience, Channel, LoginResponse, LoginService, Session, respond},
    methods::key::did_key,
};
use rand::{SeedableRng, rngs::StdRng};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let network = NetworkId::parse("climate").expect("a valid name");
    let audience = Audience::parse("https://ingest.example").expect("a valid origin");
    let channel = Channel::of(b"tls");
    let session = Session { network: network.clone(), audience: audience.clone(), channel };
    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    let did = did_key(key.public_key());
    let mut service = LoginService::new(network.clone(), audience, &mut StdRng::seed_from_u64(1));

    // Whatever a device signs, the service did not ask it.
    let answers = [Some(bytes.to_vec()), respond(&key, &did, &session, bytes, Timestamp::EPOCH).ok()];
    for answer in answers.iter().flatten() {
        if let Ok(response) = LoginResponse::parse(answer, &network) {
            let verdict = service.accept(&response, &channel, &KeyRing::new(), Timestamp::EPOCH);
            assert!(verdict.is_err());
        }
    }
});
