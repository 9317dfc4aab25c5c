#![no_main]
//! Delegation chains: what is read keeps its bytes, and nobody guesses the owner's signature.

use std::collections::BTreeSet;

use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey};
use depin_identity::{
    KeyRing,
    delegation::{DelegationChain, Ownership, Scopes},
    methods::key::did_key,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = core::str::from_utf8(bytes)
        && let Ok(scopes) = text.parse::<Scopes>()
    {
        assert_eq!(scopes.to_string().parse::<Scopes>().expect("its own text"), scopes);
    }
    let network = NetworkId::parse("climate").expect("a valid name");
    if let Ok(chain) = DelegationChain::parse(bytes, &network) {
        assert_eq!(chain.as_bytes(), bytes);
        let links = chain.peek();
        let owner = did_key(SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]).public_key());
        let root = Ownership { owner, device: links[0].device.clone() };
        let now = links[0].valid.from();
        assert!(chain.verify(&root, &KeyRing::new(), &BTreeSet::new(), now).is_err());
    }
});
