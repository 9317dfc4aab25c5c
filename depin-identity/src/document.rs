//! DID documents as JSON: written in one way, read strictly, hashed.
//!
//! [`to_json`] writes the same bytes for the same document (sorted members, no blanks: what RFC 8785
//! makes of this content), so [`document_hash`] names a document. [`from_json`] reads what others wrote.

mod account;
mod kind;
mod material;
mod read;
mod write;

use depin_core::B256;
use sha2::{Digest, Sha256};

use crate::DidDocument;

pub(crate) use read::from_object;
pub use read::{DocumentError, MAX_ENTRIES, MAX_JSON_LEN, from_json};
pub use write::to_json;
pub(crate) use write::to_object;

/// SHA-256 over [`to_json`]: what a registry records.
///
/// ```
/// use depin_identity::{document, methods::key};
///
/// let did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse()?;
/// let mut document = key::document(&did)?;
/// let hash = document::document_hash(&document);
/// document.also_known_as.push("https://example.org/station-7".into());
/// assert_ne!(document::document_hash(&document), hash);
/// # Ok::<(), depin_core::Error>(())
/// ```
pub fn document_hash(document: &DidDocument) -> B256 {
    hash_bytes(to_json(document).as_bytes())
}

/// The hash of a document in the very bytes it came in.
pub(crate) fn hash_bytes(json: &[u8]) -> B256 {
    B256::new(Sha256::digest(json).into())
}
