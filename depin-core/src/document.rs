//! DID documents and the seam that finds them.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use async_trait::async_trait;

use crate::{Did, DidUrl, PublicKey, Result};

/// One key of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationMethod {
    /// Its name inside the document.
    pub id: DidUrl,
    /// Who may change it.
    pub controller: Did,
    /// The key.
    pub key: PublicKey,
}

/// A way to reach the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name inside the document.
    pub id: DidUrl,
    /// What it speaks, for example `LinkedDomains`.
    pub kind: String,
    /// Where it is.
    pub endpoint: String,
}

/// The part of a DID document (W3C DID Core 1.0) that the SDK acts on.
///
/// Every verification method may authenticate and assert; finer relationships are a method's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DidDocument {
    /// The subject.
    pub id: Did,
    /// Who else may change the document.
    pub controller: Vec<Did>,
    /// The keys.
    pub verification_method: Vec<VerificationMethod>,
    /// Other names of the subject.
    pub also_known_as: Vec<String>,
    /// Ways to reach it.
    pub service: Vec<Service>,
}

impl DidDocument {
    /// A document with nothing but its subject.
    pub const fn new(id: Did) -> Self {
        Self {
            id,
            controller: Vec::new(),
            verification_method: Vec::new(),
            also_known_as: Vec::new(),
            service: Vec::new(),
        }
    }

    /// The keys of the subject.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.verification_method.iter().map(|method| &method.key)
    }
}

/// Finds the document of a DID.
///
/// # Contract
/// 1. The `id` of the document MUST equal the DID asked for.
/// 2. A method it does not speak MUST yield [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
/// 3. A DID that does not exist or was deactivated MUST yield
///    [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), never an empty document.
/// 4. Time and memory MUST be bounded, whatever the other side sends.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a DID resolver",
    note = "implement `depin_core::document::DidResolver`"
)]
pub trait DidResolver: Send + Sync + fmt::Debug {
    /// Resolves.
    ///
    /// # Errors
    /// See the contract; [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when a ledger or
    /// server does not answer now.
    async fn resolve(&self, did: &Did) -> Result<DidDocument>;
}
