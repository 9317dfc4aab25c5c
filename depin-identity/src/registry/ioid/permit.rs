//! The one struct that an ioID device signs, whatever it consents to.

use depin_core::{
    Address, Algorithm, B256, Error, ErrorKind, PublicKey, Result, Signer, U256,
    registry::Enrolment,
};
use depin_evm::{
    alloy::{
        primitives::Signature as Recoverable,
        sol,
        sol_types::{Eip712Domain, SolStruct},
    },
    recoverable,
};

sol! {
    /// What the contracts check. Neither the action, nor document, token or deadline are part of it.
    #[derive(Debug)]
    struct Permit {
        address owner;
        uint256 nonce;
    }
}

mod local {
    use depin_evm::alloy::sol;

    sol! {
        /// What this adapter has the device sign in addition, and checks itself: everything.
        #[derive(Debug)]
        struct Enrolment {
            address device;
            address owner;
            bytes32 documentHash;
            string documentURI;
            bytes32 appraisal;
            uint256 nonce;
        }
    }
}

/// A signature as the contracts take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) v: u8,
    pub(super) r: B256,
    pub(super) s: B256,
}

/// One registry contract on one chain: what signatures are bound to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) chain: u64,
    pub(super) registry: Address,
}

impl Scope {
    /// What a device signs so that `owner` may register, update or remove it, or be migrated to.
    pub(super) fn permit(self, owner: Address, nonce: U256) -> B256 {
        Permit { owner, nonce }.eip712_signing_hash(&self.domain("ioIDRegistry"))
    }

    /// What a device signs for this adapter before a permit.
    fn enrolment(self, enrolment: &Enrolment, device: Address, nonce: U256) -> B256 {
        let everything = local::Enrolment {
            device,
            owner: enrolment.owner,
            documentHash: enrolment.document_hash,
            documentURI: enrolment.document_uri.clone(),
            appraisal: enrolment.appraisal.hash(),
            nonce,
        };
        everything.eip712_signing_hash(&self.domain("depin ioID enrolment"))
    }

    fn domain(self, name: &'static str) -> Eip712Domain {
        Eip712Domain {
            name: Some(name.into()),
            version: Some("1".into()),
            chain_id: Some(U256::from(self.chain)),
            verifying_contract: Some(self.registry),
            salt: None,
        }
    }
}

/// Has the device consent to every field of the enrolment, and believes no other signature.
pub(super) fn consent(
    scope: Scope,
    enrolment: &Enrolment,
    device: &dyn Signer,
    nonce: U256,
) -> Result<()> {
    let digest = scope.enrolment(enrolment, address(device.public_key())?, nonce);
    let signature = device.sign_prehash(&digest.0)?;
    Ok(device.public_key().verify_prehash(&digest.0, &signature)?)
}

/// Asks the device for a permit, to be sent at once: it is a bearer token for four actions.
pub(super) fn sign(device: &dyn Signer, digest: B256) -> Result<Signed> {
    let address = address(device.public_key())?;
    let [rs @ .., v] = recoverable(&device.sign_prehash(&digest.0)?, digest, address)?;
    let (r, s) = rs.split_at(32);
    Ok(Signed { v, r: B256::from_slice(r), s: B256::from_slice(s) })
}

/// The key that made a permit for `owner`, when it is the device's and was made for one of its first
/// `nonces` actions.
pub(super) fn recover(
    scope: Scope,
    signed: &Signed,
    owner: Address,
    device: Address,
    nonces: U256,
) -> Option<PublicKey> {
    let parity = signed.v.checked_sub(27).filter(|parity| *parity < 2)? == 1;
    let signature = Recoverable::new(signed.r.into(), signed.s.into(), parity);
    let tried = nonces.saturating_to::<u64>().min(MAX_NONCES);
    (0..tried).find_map(|nonce| {
        let digest = scope.permit(owner, U256::from(nonce));
        let key = signature.recover_from_prehash(&digest).ok()?;
        let sec1 = key.to_encoded_point(true);
        let key = PublicKey::from_bytes(Algorithm::Es256k, sec1.as_bytes()).ok()?;
        (key.to_address() == Some(device)).then_some(key)
    })
}

/// The address of a key that ioID can register.
pub(super) fn address(key: &PublicKey) -> Result<Address> {
    match (key.algorithm(), key.to_address()) {
        (Algorithm::Es256k, Some(address)) => Ok(address),
        (algorithm, _) => {
            let text = "ioID's contracts check secp256k1 signatures only; give the device such a key, \
                        or use registry::evm, which registers p-256 too";
            Err(Error::new(ErrorKind::Unsupported, text).with("algorithm", algorithm))
        }
    }
}

/// How many actions before its registration a device may have had for its key to be recovered.
const MAX_NONCES: u64 = 256;

#[cfg(test)]
mod tests {
    use depin_core::SoftwareKey;
    use depin_evm::alloy::primitives::b256;

    use super::*;

    fn scope(chain: u64, registry: &str) -> Scope {
        Scope { chain, registry: registry.parse().unwrap() }
    }

    /// Type hash and separators recomputed from the contract's source in the shared vectors.
    #[test]
    fn permits_are_those_of_the_deployed_contracts() {
        let permit = Permit { owner: Address::ZERO, nonce: U256::ZERO };
        let type_hash = b256!("e36c3d5cb707dcfeb19a6a4b1d7b82c8c20d841769c752e659da03b2a8b729f9");
        assert_eq!(permit.eip712_type_hash(), type_hash);
        let Some(path) =
            depin_testkit::vectors::find(env!("CARGO_MANIFEST_DIR"), "iotex/ioid_eip712.json")
        else {
            return;
        };
        let vectors: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let domains = vectors["domains"].as_array().unwrap();
        assert_eq!(domains.len(), 2);
        for domain in domains {
            let chain = domain["chainId"].as_u64().unwrap();
            let scope = scope(chain, domain["verifyingContract"].as_str().unwrap());
            let separator = scope.domain("ioIDRegistry").separator();
            assert_eq!(separator.to_string(), domain["separator"].as_str().unwrap());
        }
    }

    #[test]
    fn a_permit_gives_away_the_key_that_made_it_and_no_other() {
        let scope = scope(4690, "0x0A7e595C7889dF3652A19aF52C18377bF17e027D");
        let device = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
        let owner = Address::repeat_byte(1);
        let address = device.public_key().to_address().unwrap();
        let signed = sign(&device, scope.permit(owner, U256::from(2))).unwrap();

        let found = recover(scope, &signed, owner, address, U256::from(3));
        assert_eq!(found.as_ref(), Some(device.public_key()));
        assert_eq!(recover(scope, &signed, owner, address, U256::from(2)), None);
        assert_eq!(recover(scope, &signed, address, address, U256::from(3)), None);
        assert_eq!(recover(scope, &signed, owner, owner, U256::MAX), None);
        for v in [0, 1, 26, 29, 255] {
            assert_eq!(recover(scope, &Signed { v, ..signed }, owner, address, U256::MAX), None);
        }
        let zero = Signed { r: B256::ZERO, s: B256::ZERO, v: 27 };
        assert_eq!(recover(scope, &zero, owner, address, U256::MAX), None);
    }

    #[test]
    fn other_curves_are_refused_by_name() {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
            let device = SoftwareKey::from_seed(algorithm, [7; 32]);
            let error = sign(&device, B256::repeat_byte(1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(algorithm.as_str()), "{error}");
        }
    }
}
