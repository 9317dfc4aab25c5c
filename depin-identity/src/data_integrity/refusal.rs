//! Why a document with proofs is refused.

use alloc::{format, string::String};

use depin_core::{Did, DidUrl, Error, ErrorKind, Timestamp, key::KeyError};

use super::{MAX_PROOFS, Purpose};

/// Why a document with proofs is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The document has no `proof`.
    #[error("the document has no proof")]
    Missing,
    /// More than [`MAX_PROOFS`] proofs.
    #[error("the document has more than {MAX_PROOFS} proofs")]
    TooMany,
    /// A member of a proof is missing or does not follow its format.
    #[error("the member {0} of a proof is missing or malformed")]
    Member(&'static str),
    /// A `type` or `cryptosuite` that is not one of ours.
    #[error("the {member} {found:?} is not supported; use eddsa-jcs-2022 or ecdsa-jcs-2019")]
    Unsupported {
        /// The member that says it.
        member: &'static str,
        /// What it says.
        found: String,
    },
    /// Two proofs have one id.
    #[error("two proofs of the document have the id {0:?}")]
    Twice(String),
    /// `previousProof` names a proof that is not there.
    #[error("the previous proof {0:?} is not in the document")]
    Previous(String),
    /// Proofs that cover one another in a circle.
    #[error("the proof {0:?} covers itself through previous proofs")]
    Cycle(String),
    /// The proof was made for another `@context` than the document begins with.
    #[error("the @context of the document does not begin with the one of the proof")]
    Context,
    /// The proof is for another purpose.
    #[error("the proof is for {found:?}, not for {expected}")]
    Purpose {
        /// What the proof says.
        found: String,
        /// What the verifier expects.
        expected: Purpose,
    },
    /// Not the challenge that the verifier gave.
    #[error("the proof does not answer the challenge")]
    Challenge,
    /// Not the domains of the verifier.
    #[error("the proof is meant for another domain")]
    Domain,
    /// The proof holds no more.
    #[error("the proof expired at {0}")]
    Expired(Timestamp),
    /// The proof says that it comes from the future.
    #[error("the proof says that it was made at {0}, which is yet to come")]
    Early(Timestamp),
    /// The DID document of the signer was not among those passed in.
    #[error("the did document of {0} is not at hand")]
    NoDocument(Did),
    /// The signer's document has no such verification method.
    #[error("the did document of the signer has no verification method {0}")]
    NoMethod(DidUrl),
    /// Somebody else than the document's subject controls the key.
    #[error("the verification method {0} is controlled by another did than its document's")]
    Controller(DidUrl),
    /// The document does not allow the key what the proof is for.
    #[error("the did document does not allow {0} to sign for {1}")]
    Relationship(DidUrl, Purpose),
    /// The key is not of the suite's algorithm.
    #[error("the key {0} is not of the algorithm that the cryptosuite is for")]
    Algorithm(DidUrl),
    /// The signature does not hold for this document, proof and key.
    #[error("the proof does not hold: {0}")]
    Signature(#[from] KeyError),
}

impl From<ProofError> for Error {
    fn from(error: ProofError) -> Self {
        let kind = match &error {
            ProofError::Missing | ProofError::Member(_) => ErrorKind::Malformed,
            ProofError::TooMany => ErrorKind::Limit,
            ProofError::Unsupported { .. } => ErrorKind::Unsupported,
            ProofError::NoDocument(_) | ProofError::NoMethod(_) => ErrorKind::NotFound,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}
