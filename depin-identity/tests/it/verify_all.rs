//! Messages of many signers at once: the answers of one by one, with one resolution for each DID.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use depin_core::{
    Algorithm, Did, ErrorKind, NetworkId, Signer, SoftwareKey,
    document::Relationships,
    envelope::{Envelope, Purpose},
};
use depin_identity::{
    DidResolver, Resolution, Resolver, Result, Version,
    json::object,
    jws::{self, Jws},
    methods::key::did_key,
    verify_all::{Message, verify_all},
};

const NOTE: Purpose = Purpose::new("note", 1);

/// Counts what did:key is asked.
#[derive(Debug, Default)]
struct Counting(Arc<Mutex<BTreeMap<Did, usize>>>);

#[async_trait]
impl DidResolver for Counting {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        *self.0.lock().unwrap().entry(did.clone()).or_default() += 1;
        Resolver::new().resolve_version(did, version).await
    }
}

fn device(algorithm: Algorithm, seed: u8) -> (SoftwareKey, Did) {
    let key = SoftwareKey::from_seed(algorithm, [seed; 32]);
    let did = did_key(key.public_key());
    (key, did)
}

fn token(key: &SoftwareKey, kid: &str) -> String {
    jws::sign(key, object([("kid", kid)]), b"4.9 Cel").unwrap()
}

/// Good and bad tokens of all algorithms.
fn tokens() -> Vec<String> {
    let mut tokens = Vec::new();
    for algorithm in Algorithm::ALL {
        for seed in 1..6 {
            let (key, did) = device(algorithm, seed);
            let url = format!("{did}#{}", did.id());
            tokens.push(token(&key, &url));
            tokens.push(token(&key, &format!("{did}#another")));
            // The key of somebody else, of the same or another algorithm.
            let thief = if seed % 2 == 0 { Algorithm::EdDsa } else { algorithm };
            tokens.push(token(&device(thief, 99).0, &url));
        }
    }
    let (key, did) = device(Algorithm::EdDsa, 1);
    tokens.push(token(&key, "no url"));
    tokens.push(token(&key, "did:example:unknown#key"));
    tokens.push(token(&key, &did.to_string()));
    tokens.push(jws::sign(&key, object::<&str, &str>([]), b"4.9 Cel").unwrap());
    tokens
}

fn envelopes(network: &NetworkId) -> Vec<Vec<u8>> {
    let seal =
        |key: &SoftwareKey, did: &Did| Envelope::seal(key, did, network, NOTE, b"4.9 Cel").unwrap();
    let mut envelopes = Vec::new();
    for algorithm in Algorithm::ALL {
        for seed in 1..4 {
            let (key, did) = device(algorithm, seed);
            envelopes.push(seal(&key, &did));
            envelopes.push(seal(&device(Algorithm::EdDsa, 99).0, &did));
        }
    }
    envelopes
}

#[tokio::test]
async fn answers_are_those_of_one_by_one_and_each_did_is_resolved_once() {
    let network = NetworkId::parse("climate").unwrap();
    let (tokens, envelopes) = (tokens(), envelopes(&network));
    let tokens: Vec<_> = tokens.iter().map(|text| Jws::parse(text).unwrap()).collect();
    let envelopes: Vec<_> =
        envelopes.iter().map(|bytes| Envelope::parse(bytes, &network, NOTE).unwrap()).collect();
    let messages: Vec<_> = tokens
        .iter()
        .map(Message::Jws)
        .chain(envelopes.iter().map(Message::Envelope))
        .chain(tokens.iter().map(Message::Jws))
        .collect();

    let resolver = Counting::default();
    let together = verify_all(&messages, Relationships::AUTHENTICATION, &resolver).await;
    assert!(resolver.0.lock().unwrap().values().all(|asked| *asked == 1));
    assert_eq!(together.len(), messages.len());
    let said = |verdict: &Result<()>| verdict.as_ref().map_err(ToString::to_string).copied();
    for (verdict, message) in together.iter().zip(&messages) {
        let alone = verify_all(&[*message], Relationships::AUTHENTICATION, &resolver).await;
        assert_eq!(said(verdict), said(&alone[0]), "{message:?}");
    }
    let good = together.iter().filter(|verdict| verdict.is_ok()).count();
    assert_eq!(good, 2 * 15 + 9);
}

#[tokio::test]
async fn each_refusal_has_its_kind() {
    let (key, did) = device(Algorithm::EdDsa, 1);
    let url = format!("{did}#{}", did.id());
    let thief = device(Algorithm::EdDsa, 2).0;
    for (text, kind) in [
        (token(&thief, &url), ErrorKind::Rejected),
        (token(&device(Algorithm::Es256, 2).0, &url), ErrorKind::Rejected),
        (token(&key, "no url"), ErrorKind::Malformed),
        (token(&key, &format!("{did}#another")), ErrorKind::NotFound),
        (token(&key, "did:example:unknown#key"), ErrorKind::Unsupported),
    ] {
        let message = Jws::parse(&text).unwrap();
        let verdicts =
            verify_all(&[Message::Jws(&message)], Relationships::ASSERTION, &Resolver::new()).await;
        assert_eq!(verdicts[0].as_ref().unwrap_err().kind(), kind, "{text}");
    }
    // A did:key of Ed25519 names another key to agree on secrets, if any: this one may not.
    let text = token(&key, &url);
    let message = Jws::parse(&text).unwrap();
    let verdicts =
        verify_all(&[Message::Jws(&message)], Relationships::KEY_AGREEMENT, &Resolver::new()).await;
    assert_eq!(verdicts[0].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn nothing_is_verified_without_asking_anybody() {
    let resolver = Counting::default();
    assert!(verify_all(&[], Relationships::AUTHENTICATION, &resolver).await.is_empty());
    assert!(resolver.0.lock().unwrap().is_empty());
}
