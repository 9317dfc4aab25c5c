//! Why a credential is refused, and whether asking again can help.

use alloc::{format, string::String};

use depin_core::{Did, DidUrl, Error, ErrorKind, Timestamp};

use super::{
    sd_jwt::SdJwtError,
    status::{Purpose, StatusError},
};
use crate::{data_integrity::ProofError, json::JsonError};

/// Why a credential or presentation is refused.
///
/// Two kinds of errors must not be confused: what was checked and is wrong stays wrong, and what
/// [could not be checked](Self::could_not_check) may turn out to be fine. Neither is ever accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Not strict JSON within its bounds.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member is missing or does not follow its format. Issuers must be DIDs.
    #[error("the member {0} of the credential is missing or malformed")]
    Member(&'static str),
    /// A context that the verifier does not list.
    #[error("the context {0} is not listed; allow it with CredentialVerifier::context")]
    Context(String),
    /// A member, proof, status or purpose that decides over validity in a way this verifier does not
    /// understand.
    #[error(
        "\"{0}\" decides over validity and is not understood; \
         allow it by name with CredentialVerifier::leave_unchecked"
    )]
    NotUnderstood(String),
    /// The credential is not of an expected type.
    #[error("the credential is not of the expected type {0}")]
    Type(String),
    /// Nobody said that this issuer is to be trusted.
    #[error("the issuer {0} is not trusted; add it with CredentialVerifier::trust")]
    Issuer(Did),
    /// The DID of somebody who must have signed does not exist, or was given up.
    #[error("the did {0} does not exist or was given up")]
    Unknown(Did),
    /// It begins to hold later.
    #[error("the credential is not valid before {0}")]
    NotYetValid(Timestamp),
    /// It holds no more.
    #[error("the credential expired at {0}; ask for a new one")]
    Expired(Timestamp),
    /// The proof is missing, malformed, of an unknown suite, or does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The proof or token names a key that is not the signer's, or may not be used for this.
    #[error("{0} is no key that may sign this")]
    Key(DidUrl),
    /// A status list says no.
    #[error("the credential is under {0}")]
    Status(Purpose),
    /// The status entry or its list is wrong, or the list is not at hand or stale.
    #[error(transparent)]
    StatusList(#[from] StatusError),
    /// The presentation answers another challenge, or none.
    #[error("the presentation does not answer the challenge; it may be played back")]
    Challenge,
    /// The presentation is for somebody else.
    #[error("the presentation is for another domain or audience")]
    Audience,
    /// Somebody presents a credential about somebody else.
    #[error("the credential is not about its holder {0}")]
    Holder(Did),
    /// Not an SD-JWT, or its disclosures do not fit.
    #[error(transparent)]
    SdJwt(#[from] SdJwtError),
    /// Whoever would know does not answer: the document of a DID, for example.
    #[error("could not be checked: {0}")]
    CouldNotCheck(#[source] Error),
}

impl CredentialError {
    /// Whether the answer is "unknown" rather than "no".
    pub const fn could_not_check(&self) -> bool {
        match self {
            Self::CouldNotCheck(_) => true,
            Self::StatusList(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// Whether the same check may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::CouldNotCheck(error) => error.is_retryable(),
            Self::StatusList(error) => error.is_retryable(),
            _ => false,
        }
    }
}

impl From<CredentialError> for Error {
    fn from(error: CredentialError) -> Self {
        let kind = match error {
            CredentialError::Json(json) => return json.into(),
            CredentialError::StatusList(status) => return status.into(),
            CredentialError::SdJwt(token) => return token.into(),
            CredentialError::Proof(proof) => return proof.into(),
            CredentialError::CouldNotCheck(cause) => return cause,
            CredentialError::Member(_) => ErrorKind::Malformed,
            CredentialError::NotUnderstood(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}
