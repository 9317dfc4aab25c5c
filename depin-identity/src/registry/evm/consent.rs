//! What devices sign, and the checks before anybody pays for sending it.

use depin_core::{
    Algorithm, B256, Error, ErrorKind, PublicKey, Result, Signer, U256, registry::Enrolment,
};
use depin_evm::{
    alloy::{
        primitives::Bytes,
        sol_types::{Eip712Domain, SolStruct},
    },
    bindings::DeviceRegistry as Contract,
    recoverable,
};

use super::EvmRegistry;
use crate::methods::io;

/// A registration with the device's signature.
#[derive(Clone, Debug)]
pub(super) struct Consent {
    pub(super) registration: Contract::Registration,
    pub(super) signature: Bytes,
}

impl Consent {
    /// Asks the device, and makes sure that the contract will believe it.
    pub(super) fn ask(
        enrolment: &Enrolment,
        device: &dyn Signer,
        domain: &Eip712Domain,
        deadline: U256,
    ) -> Result<Self> {
        let challenge = &enrolment.appraisal.challenge;
        let fail = |kind, text| Err(Error::new(kind, text).with("did", &challenge.did));
        if *device.public_key() != challenge.key {
            return fail(
                ErrorKind::Rejected,
                "the signer has another key than the appraisal; attest with the key that signs",
            );
        }
        let did = io::did_io(&challenge.key)?;
        if did != challenge.did {
            let text = "this registry names devices by did:io; attest as methods::io::did_io(key)";
            return Err(Error::new(ErrorKind::Rejected, text)
                .with("did", &challenge.did)
                .with("expected", did));
        }
        if enrolment.next_key.is_some() || enrolment.nullifier.is_some() {
            return fail(ErrorKind::Unsupported, "the contract keeps no next keys and nullifiers");
        }
        if enrolment.document_uri.len() > MAX_URI_LEN {
            return fail(ErrorKind::Limit, "the document uri has more than 1024 bytes; shorten it");
        }
        let registration = Contract::Registration {
            device: io::address(&did)?,
            owner: enrolment.owner,
            details: details(enrolment)?,
            nonce: U256::ZERO,
            deadline,
        };
        let digest = registration.eip712_signing_hash(domain);
        Ok(Self { signature: sign(device, digest)?, registration })
    }
}

impl EvmRegistry {
    /// The EIP-712 domain of the contract.
    pub(super) fn domain(&self) -> Eip712Domain {
        Eip712Domain {
            name: Some("DeviceRegistry".into()),
            version: Some("1".into()),
            chain_id: Some(U256::from(self.chain.id().value())),
            verifying_contract: Some(self.address),
            salt: None,
        }
    }
}

/// The device's signature of a change of its document.
pub(super) fn update_signature(
    update: &Contract::DocumentUpdate,
    domain: &Eip712Domain,
    device: &dyn Signer,
) -> Result<Bytes> {
    sign(device, update.eip712_signing_hash(domain))
}

/// Signs as the contract expects it of the curve, and never hands on what would not verify.
fn sign(device: &dyn Signer, digest: B256) -> Result<Bytes> {
    let key = device.public_key();
    let signature = device.sign_prehash(&digest.0)?;
    key.verify_prehash(&digest.0, &signature)?;
    match (key.algorithm(), key.to_address()) {
        (Algorithm::Es256k, Some(address)) => {
            recoverable(&signature, digest, address).map(|bytes| Bytes::from(bytes.to_vec()))
        }
        _ => Ok(Bytes::copy_from_slice(signature.as_bytes())),
    }
}

fn details(enrolment: &Enrolment) -> Result<Contract::Details> {
    let key = &enrolment.appraisal.challenge.key;
    let unsupported =
        || Error::new(ErrorKind::Unsupported, "the registry takes secp256k1 and p-256 keys only");
    let algorithm = match key.algorithm() {
        Algorithm::Es256k => SECP256K1,
        Algorithm::Es256 => P256,
        _ => return Err(unsupported()),
    };
    let xy = key.to_uncompressed().ok_or_else(unsupported)?;
    let (x, y) = xy.split_at(32);
    Ok(Contract::Details {
        algorithm,
        publicKeyX: B256::from_slice(x),
        publicKeyY: B256::from_slice(y),
        documentHash: enrolment.document_hash,
        documentURI: enrolment.document_uri.clone(),
        evidenceHash: enrolment.appraisal.hash(),
    })
}

/// The key in the details of a device.
pub(super) fn public_key(details: &Contract::Details) -> Result<PublicKey> {
    let algorithm = match details.algorithm {
        SECP256K1 => Algorithm::Es256k,
        P256 => Algorithm::Es256,
        _ => {
            let text = "the registry knows a kind of key that this version does not; update it";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
    };
    let point = [&[4], details.publicKeyX.as_slice(), details.publicKeyY.as_slice()].concat();
    Ok(PublicKey::from_bytes(algorithm, &point)?)
}

/// `KeyAlgorithm` of the contract.
const SECP256K1: u8 = 0;
const P256: u8 = 1;

/// `MAX_URI_BYTES` of the contract.
const MAX_URI_LEN: usize = 1024;
