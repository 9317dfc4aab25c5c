//! Credentials: what is accepted, and every way in which it must not be.

mod attacks;
mod delta;
mod list;
mod presentation;
mod rfc9901;
mod sd_jwt;
mod status;

use depin_core::{Algorithm, Did, DidUrl, Signer, SoftwareKey, Timestamp};
use depin_identity::{
    Resolver,
    credentials::{Credential, CredentialVerifier},
    json::{self, Object},
    methods::key,
};

/// 14 November 2023.
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Somebody with a key, whose DID is that key.
struct Party {
    key: SoftwareKey,
    did: Did,
    method: DidUrl,
}

impl Party {
    fn new(algorithm: Algorithm, seed: u8) -> Self {
        let key = SoftwareKey::from_seed(algorithm, [seed; 32]);
        let did = key::did_key(key.public_key());
        let method = format!("{did}#{}", did.id()).parse().unwrap();
        Self { key, did, method }
    }
}

fn maker() -> Party {
    Party::new(Algorithm::EdDsa, 1)
}

fn station() -> Party {
    Party::new(Algorithm::Es256, 2)
}

/// What the maker says about the station, for a day.
fn statement() -> Credential {
    let subject = json::object([("id", station().did.as_str()), ("model", "Pebble 2")]);
    Credential::builder(&maker().did)
        .kind("StationCredential")
        .valid_from(NOW)
        .valid_until(Timestamp::from_secs(1_700_086_400))
        .subject(subject)
        .build()
        .unwrap()
}

fn issued(credential: &Credential) -> Object {
    credential.issue(&maker().key, &maker().method, NOW).unwrap()
}

/// Trusts the maker.
fn verifier(resolver: &Resolver) -> CredentialVerifier<'_> {
    CredentialVerifier::new(resolver, NOW).trust(maker().did)
}
