//! What devices sign, and the checks before anybody pays for sending it.

use depin_core::{
    Algorithm, B256, Did, Error, ErrorKind, PublicKey, Result, Signer, U256,
    registry::{Enrolment, OwnFault, next_key_commitment},
};
use depin_evm::{
    alloy::sol_types::{Eip712Domain, SolStruct},
    bindings::DeviceRegistry as Contract,
    recoverable,
};

use super::{EvmRegistry, refusal};
use crate::methods::io;

/// A registration with the device's signature.
#[derive(Clone, Debug)]
pub(super) struct Consent {
    pub(super) registration: Contract::Registration,
    pub(super) signature: Contract::Signature,
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
        if [enrolment.next_key, enrolment.nullifier].contains(&Some(B256::ZERO)) {
            let text =
                "a next key or a nullifier of zeros stands for none in the contract; leave it out";
            return fail(ErrorKind::Malformed, text);
        }
        if enrolment.next_key == Some(next_key_commitment(&challenge.key)) {
            return Err(refusal::next_key_is_live(&did));
        }
        check_uri(&did, &enrolment.document_uri)?;
        let registration = Contract::Registration {
            device: io::address(&did)?,
            owner: enrolment.owner,
            details: details(enrolment)?,
            nonce: U256::ZERO,
            deadline,
        };
        Ok(Self { signature: sign(&registration, domain, device)?, registration })
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

/// Signs as the contract expects it of the curve, and never hands on what would not verify: `r` and `s`,
/// for secp256k1 with the parity of the point in the highest bit (ERC-2098).
pub(super) fn sign(
    what: &impl SolStruct,
    domain: &Eip712Domain,
    device: &dyn Signer,
) -> Result<Contract::Signature> {
    let digest = what.eip712_signing_hash(domain);
    let key = device.public_key();
    let signature = device.sign_prehash(&digest.0)?;
    key.verify_prehash(&digest.0, &signature)?;
    let (r, s) = signature.as_bytes().split_at(32);
    let (r, mut vs) = (B256::from_slice(r), B256::from_slice(s));
    if let (Algorithm::Es256k, Some(address)) = (key.algorithm(), key.to_address())
        && recoverable(&signature, digest, address)?.ends_with(&[28])
    {
        vs |= B256::from(U256::ONE << 255);
    }
    Ok(Contract::Signature { r, vs })
}

/// What the contract asks of the URI of a document.
pub(super) fn check_uri(did: &Did, uri: &str) -> Result<()> {
    if uri.len() > MAX_URI_LEN {
        let text = "the document uri has more than 1024 bytes; shorten it";
        return Err(Error::new(ErrorKind::Limit, text).with("did", did));
    }
    if uri.is_ascii() { Ok(()) } else { Err(refusal::uri_not_ascii(did)) }
}

fn details(enrolment: &Enrolment) -> Result<Contract::Details> {
    let (algorithm, x, y) = parts(&enrolment.appraisal.challenge.key)?;
    Ok(Contract::Details {
        algorithm,
        publicKeyX: x,
        publicKeyY: y,
        nextKeyHash: enrolment.next_key.unwrap_or_default(),
        nullifier: enrolment.nullifier.unwrap_or_default(),
        documentHash: enrolment.document_hash,
        evidenceHash: enrolment.appraisal.hash(),
        documentURI: enrolment.document_uri.clone(),
    })
}

/// A key as the contract has it: `KeyAlgorithm`, x and y.
pub(super) fn parts(key: &PublicKey) -> Result<(u8, B256, B256)> {
    let unsupported =
        || Error::new(ErrorKind::Unsupported, "the registry takes secp256k1 and p-256 keys only");
    let algorithm = match key.algorithm() {
        Algorithm::Es256k => SECP256K1,
        Algorithm::Es256 => P256,
        _ => return Err(unsupported()),
    };
    let xy = key.to_uncompressed().ok_or_else(unsupported)?;
    let (x, y) = xy.split_at(32);
    Ok((algorithm, B256::from_slice(x), B256::from_slice(y)))
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

/// The key in details that the contract commits to: what is wrong with it the device has chosen, and no node.
pub(super) fn committed_key(details: &Contract::Details) -> Result<PublicKey> {
    public_key(details).map_err(|error| match error.kind() {
        ErrorKind::Unsupported => error,
        kind => Error::new(kind, format!("the device's key is none: {error}")).source(OwnFault),
    })
}

/// `KeyAlgorithm` of the contract.
const SECP256K1: u8 = 0;
pub(super) const P256: u8 = 1;

/// `MAX_URI_BYTES` of the contract.
const MAX_URI_LEN: usize = 1024;
