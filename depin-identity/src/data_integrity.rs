//! Proofs inside JSON documents: W3C Verifiable Credential Data Integrity 1.0 with the suites
//! `eddsa-jcs-2022` (Ed25519) and `ecdsa-jcs-2019` (P-256).
//!
//! [`secure`] adds a proof, [`verify`] checks all of them: sets, and chains in which a proof covers earlier
//! ones (`previousProof`). A proof says who signed, for what purpose, until when, and for whom; each of
//! these is compared with what the verifier expects and with the signer's DID document. Nothing here
//! waits: DID documents are passed in, or found first by [`documents`].
//!
//! RDF suites are left out, because they need JSON-LD processing. So is P-384.

mod options;
mod proof;
mod refusal;
mod secure;
mod verify;

#[cfg(feature = "credentials")]
pub(crate) use proof::created;

pub use options::{Expectation, Options, Purpose};
pub use refusal::ProofError;
pub use secure::secure;
pub use verify::{Proof, Secured, documents, verify};

/// Most proofs in one document.
pub const MAX_PROOFS: usize = 16;
