#![no_main]
//! Signed changes of status lists: whatever the issuer signs is applied or changes nothing.

use std::time::Duration;

use depin_core::{
    Algorithm, Did, NetworkId, Signer, SoftwareKey, Timestamp, document::DidDocument,
    document::VerificationMethod, envelope::Envelope,
};
use depin_identity::credentials::status::{PublishedList, Purpose, StatusList, delta};

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    let did: Did = "did:example:maker".parse().expect("a did");
    let network = NetworkId::parse("fuzz").expect("a name");
    let mut document = DidDocument::new(did.clone());
    document.verification_method.push(VerificationMethod::new(
        "did:example:maker#a".parse().expect("a did url"),
        did.clone(),
        key.public_key().clone(),
    ));
    let bits = StatusList::new(StatusList::MIN_ENTRIES).expect("a size within the bounds");
    let life = Duration::from_secs(60);
    let list =
        PublishedList::new("a", did.clone(), Purpose::Revocation, bits, Timestamp::EPOCH, life);
    let sealed = Envelope::seal(&key, &did, &network, delta::PURPOSE, payload).expect("a message");
    for bytes in [payload, &sealed] {
        let mut held = list.clone();
        if held.apply(bytes, &network, &document).is_err() {
            assert_eq!(held, list);
        }
    }
});
