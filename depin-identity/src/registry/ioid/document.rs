//! Documents of ioID devices: the chain has a hash of unknown make and a URI.

use std::fmt;

use async_trait::async_trait;
use depin_core::{Address, B256, Did, Error, ErrorKind, PublicKey, Result, keccak256};

use crate::{
    DidDocument,
    document::{DocumentError, MAX_JSON_LEN, from_json, hash_bytes},
    methods::io,
};

/// Fetches the bytes behind the URI of a registration: from IPFS, a web server, or a folder.
///
/// Bound what you accept: more than [`MAX_JSON_LEN`] bytes are refused afterwards. Nothing that it
/// answers is believed before it hashes to what the chain holds.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot fetch DID documents",
    note = "implement `depin_identity::registry::ioid::DocumentSource`"
)]
pub trait DocumentSource: Send + Sync + fmt::Debug {
    /// The bytes at `uri`, which the registration of `did` names.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when they cannot be had now, [`ErrorKind::NotFound`] when never.
    async fn fetch(&self, did: &Did, uri: &str) -> Result<Vec<u8>>;
}

/// What a `documentHash` was made with. The contracts do not say; both are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashedWith {
    /// SHA-256 (FIPS 180-4): IoTeX's command-line client and this SDK.
    Sha256,
    /// Keccak-256 as Ethereum has it: the tests of the contracts.
    Keccak256,
}

/// Reads a document as ioID devices write it, when its bytes hash to `hash` and it is of `did`.
///
/// The contracts take any 32 bytes, so SHA-256 and Keccak-256 over the bytes as they came are both
/// tried. DIDs are compared as addresses, because devices write them in three spellings.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey};
/// use depin_identity::{document, methods::io, registry::ioid::{HashedWith, verify_document}};
///
/// let device = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
/// let written = io::document(device.public_key())?;
/// let (json, hash) = (document::to_json(&written), document::document_hash(&written));
/// let (read, with) = verify_document(&written.id, hash, json.as_bytes())?;
/// assert_eq!((read, with), (written, HashedWith::Sha256));
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Rejected`] when the bytes have another hash or describe another DID; those of
/// [`from_json`].
pub fn verify_document(did: &Did, hash: B256, json: &[u8]) -> Result<(DidDocument, HashedWith)> {
    if json.len() > MAX_JSON_LEN {
        return Err(DocumentError::TooLong.into());
    }
    let rejected = |text| Error::new(ErrorKind::Rejected, text).with("did", did);
    let with = if hash_bytes(json) == hash {
        HashedWith::Sha256
    } else if keccak256(json) == hash {
        HashedWith::Keccak256
    } else {
        let text = "the document has neither the sha-256 nor the keccak-256 that ioID holds; \
                    fetch it again, or ask the device's owner to update the registration";
        return Err(rejected(text).with("expected", hash));
    };
    let document = from_json(json)?;
    if io::address(&document.id)? != io::address(did)? {
        return Err(rejected("the document describes another did").with("found", document.id));
    }
    Ok((document, with))
}

/// The key of `device` in its document: the one that its address was made from.
pub(super) fn key_of(document: &DidDocument, device: Address) -> Result<PublicKey> {
    let mut keys = document.verification_method.iter().filter_map(|method| method.key());
    keys.find(|key| key.to_address() == Some(device)).cloned().ok_or_else(|| {
        let text =
            "the document lacks the key that its did was made from; have the device write it again";
        Error::new(ErrorKind::Rejected, text).with("did", &document.id)
    })
}
