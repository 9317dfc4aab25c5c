//! did:io, the method of IoTeX's ioID: an address made from the device's key, in a registry.
//!
//! `did:io:0x` and 40 hexadecimal digits, the last 20 bytes of `keccak256(x || y)` for secp256k1 and
//! P-256 alike. Addresses are met in three spellings; here a DID is brought to lower case when it is
//! parsed, because that is what the contracts write and DIDs are compared byte by byte.

use alloc::{boxed::Box, format, sync::Arc};

use async_trait::async_trait;
use depin_core::{
    Address, Error, ErrorKind,
    registry::{DeviceRecord, DeviceRegistry, DeviceStatus},
    resolution::{Freshness, Resolution, Version},
};

use super::{digits_to_address, latest_only, only};
use crate::{
    Did, DidDocument, DidResolver, DidUrl, PublicKey, Result, VerificationMethod,
    document::document_hash,
};

/// The method name.
pub const METHOD: &str = "io";

/// The did:io of a public key.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey};
/// use depin_identity::methods::io;
///
/// let device = SoftwareKey::from_seed(Algorithm::Es256k, [1; 32]);
/// let did = io::did_io(device.public_key())?;
/// assert_eq!(Some(io::address(&did)?), device.public_key().to_address());
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Unsupported`] for Ed25519, which has no address.
pub fn did_io(key: &PublicKey) -> Result<Did> {
    key.to_address().map(from_address).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            "did:io needs a secp256k1 or p-256 key; use did:key for ed25519",
        )
    })
}

/// The did:io of an address.
pub fn from_address(address: Address) -> Did {
    Did::parse(&format!("did:io:{address:#x}")).expect("invariant: hexadecimal fits the grammar")
}

/// The address in a did:io, whichever way it is spelled.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for another method, [`ErrorKind::Malformed`] as [`parse`] says.
pub fn address(did: &Did) -> Result<Address> {
    only(METHOD, did)?;
    let digits = did.id().strip_prefix("0x").ok_or_else(|| malformed(did.as_str()))?;
    digits_to_address(digits).ok_or_else(|| malformed(did.as_str()))
}

/// Parses a did:io and brings it to lower case.
///
/// Accepts lower case, upper case and EIP-55's mixed case, whose checksum must be right.
///
/// ```
/// use depin_identity::methods::io;
///
/// let did = io::parse("did:io:0x5576E95935366Ebd2637D9171E4C92e60598be10")?;
/// assert_eq!(did.as_str(), "did:io:0x5576e95935366ebd2637d9171e4c92e60598be10");
/// assert!(io::parse("did:io:0x5576E95935366ebd2637D9171E4C92e60598be10").is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Malformed`] when it is no DID, has no `0x`, not 40 digits, or a wrong checksum;
/// [`ErrorKind::Unsupported`] for another method.
pub fn parse(text: &str) -> Result<Did> {
    address(&Did::parse(text)?).map(from_address)
}

/// Parses a did:io as [`parse`] does, and also without `0x`, as w3bstream writes prover ids.
///
/// # Errors
/// As [`parse`].
pub fn parse_lenient(text: &str) -> Result<Did> {
    match text.strip_prefix("did:io:") {
        Some(digits) if !digits.starts_with("0x") => {
            digits_to_address(digits).map(from_address).ok_or_else(|| malformed(text))
        }
        _ => parse(text),
    }
}

fn malformed(did: &str) -> Error {
    let message = "a did:io is 0x and 40 hexadecimal digits of one case or with an eip-55 checksum";
    Error::new(ErrorKind::Malformed, message).with("did", did)
}

/// The document of a device that has not rotated, which follows from its key: one method `#key-1`.
///
/// # Errors
/// As [`did_io`].
pub fn document(key: &PublicKey) -> Result<DidDocument> {
    derived(did_io(key)?, key)
}

/// The document that follows from a record: the device's DID, and the key it has now as `#key-1`.
///
/// A registry stores no URI for it, and as hash either zero or [that](document_hash) of this document.
/// Zero is better: it stays true when the key rotates.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when the record is not that of a did:io or says that the document is
/// elsewhere, [`ErrorKind::Rejected`] when it holds the hash of another document.
pub fn document_of(record: &DeviceRecord) -> Result<DidDocument> {
    address(&record.did)?;
    if !record.document_uri.is_empty() {
        let message =
            "the document is elsewhere; fetch it and pass it to methods::io::verify_document";
        return Err(Error::new(ErrorKind::Unsupported, message)
            .with("did", &record.did)
            .with("uri", &record.document_uri));
    }
    let document = derived(record.did.clone(), &record.key)?;
    if !record.document_hash.is_zero() && document_hash(&document) != record.document_hash {
        let message =
            "the registry holds the hash of another document and does not say where that is";
        return Err(Error::new(ErrorKind::Rejected, message).with("did", &record.did));
    }
    Ok(document)
}

fn derived(did: Did, key: &PublicKey) -> Result<DidDocument> {
    let id = DidUrl::parse(&format!("{did}#key-1"))?;
    let method = VerificationMethod::new(id, did.clone(), key.clone());
    Ok(DidDocument { verification_method: [method].into(), ..DidDocument::new(did) })
}

/// Reads the document that was fetched from the URI in a record, whoever served it.
///
/// The hash is taken over the bytes as they came.
///
/// # Errors
/// [`ErrorKind::Rejected`] when the bytes are not what the registry holds the hash of, or describe
/// another DID; those of [`from_json`](crate::document::from_json).
pub fn verify_document(record: &DeviceRecord, json: &[u8]) -> Result<DidDocument> {
    let rejected = |message| Error::new(ErrorKind::Rejected, message).with("did", &record.did);
    if crate::document::hash_bytes(json) != record.document_hash {
        return Err(rejected("the document is not the one whose hash the registry holds"));
    }
    let document = crate::document::from_json(json)?;
    if document.id != record.did {
        return Err(rejected("the document describes another did"));
    }
    Ok(document)
}

/// Resolves did:io from a device registry.
///
/// Answers the document that follows from the record. It fetches nothing from elsewhere: for a device
/// whose document is at a URI, fetch it and pass the bytes to [`verify_document`]. Suspended devices
/// keep their document, revoked ones have none.
#[derive(Clone, Debug)]
pub struct IoResolver(Arc<dyn DeviceRegistry>);

impl IoResolver {
    /// Asks `registry`.
    pub fn new(registry: Arc<dyn DeviceRegistry>) -> Self {
        Self(registry)
    }
}

#[async_trait]
impl DidResolver for IoResolver {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        latest_only(did, version)?;
        let fail = |kind, message| Err(Error::new(kind, message).with("did", did));
        if from_address(address(did)?) != *did {
            let message = "the did:io is not in lower case; parse it with methods::io::parse";
            return fail(ErrorKind::Malformed, message);
        }
        let Some(record) = self.0.device(did).await? else {
            return fail(ErrorKind::NotFound, "no such device in the registry; register it first");
        };
        if record.status == DeviceStatus::Revoked {
            return fail(ErrorKind::NotFound, "the device was revoked");
        }
        Ok(Resolution::new(document_of(&record)?, Freshness::Once))
    }
}
