//! What a proof is made with, and what a verifier expects of it.

use alloc::{string::String, vec::Vec};
use core::{fmt, time::Duration};

use depin_core::{DidUrl, Timestamp, document::Relationships};

/// What a proof is for (`proofPurpose`): the relationship that the signer's document must give its key.
// Closed: these are the verification relationships that sign, W3C Controlled Identifiers 1.0 section 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To state something, such as a credential.
    Assertion,
    /// To prove who one is, such as at a login or when presenting credentials.
    Authentication,
    /// To use a capability.
    Invocation,
    /// To pass a capability on.
    Delegation,
}

impl Purpose {
    /// The value of `proofPurpose`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assertion => "assertionMethod",
            Self::Authentication => "authentication",
            Self::Invocation => "capabilityInvocation",
            Self::Delegation => "capabilityDelegation",
        }
    }

    /// What the key's document must allow it.
    pub const fn relationship(self) -> Relationships {
        match self {
            Self::Assertion => Relationships::ASSERTION,
            Self::Authentication => Relationships::AUTHENTICATION,
            Self::Invocation => Relationships::INVOCATION,
            Self::Delegation => Relationships::DELEGATION,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a new proof says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The signer's verification method: the key's place in a DID document.
    pub verification_method: DidUrl,
    /// What the proof is for.
    pub purpose: Purpose,
    /// A URL that names this proof, so that later ones can cover it.
    pub id: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// From when on it does not hold any more.
    pub expires: Option<Timestamp>,
    /// The word that a verifier gave for this one use.
    pub challenge: Option<String>,
    /// Where it is meant to be used.
    pub domain: Vec<String>,
    /// Ids of earlier proofs that this one covers.
    pub previous: Vec<String>,
}

impl Options {
    /// A proof that says no more than who signs and for what.
    pub const fn new(verification_method: DidUrl, purpose: Purpose) -> Self {
        Self {
            verification_method,
            purpose,
            id: None,
            created: None,
            expires: None,
            challenge: None,
            domain: Vec::new(),
            previous: Vec::new(),
        }
    }
}

/// What a verifier demands of every proof of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expectation {
    /// What the proofs must be for.
    pub purpose: Purpose,
    /// The present moment.
    pub now: Timestamp,
    /// How far ahead of `now` a signer's clock may be. A minute unless set.
    pub skew: Duration,
    /// The word given for this one use. `None` accepts proofs with any challenge and without one.
    pub challenge: Option<String>,
    /// The domains that the proofs must name, exactly these. None accepts all.
    pub domain: Vec<String>,
}

impl Expectation {
    /// Proofs for `purpose` that hold at `now`.
    pub const fn new(purpose: Purpose, now: Timestamp) -> Self {
        let skew = Duration::from_secs(60);
        Self { purpose, now, skew, challenge: None, domain: Vec::new() }
    }
}
