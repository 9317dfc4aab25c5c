//! Finding the document of a DID, at a version, with what is known about it (W3C DID Resolution 0.3).

use alloc::{boxed::Box, string::String};
use core::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{Did, Error, ErrorKind, Result, Timestamp, document::DidDocument};

/// Which state of a document is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// The present one.
    #[default]
    Latest,
    /// The one of a name, as [`DocumentMetadata::version_id`] gives it (`versionId`).
    Id(String),
    /// The one that was valid at a moment (`versionTime`).
    At(Timestamp),
}

/// What is known about a document beside its content. All of it is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DocumentMetadata {
    /// When the DID was created.
    pub created: Option<Timestamp>,
    /// When this version came to be.
    pub updated: Option<Timestamp>,
    /// Whether the DID was given up. Then the document has no verification methods.
    pub deactivated: bool,
    /// When the next version came to be, if there is one.
    pub next_update: Option<Timestamp>,
    /// Name of this version.
    pub version_id: Option<String>,
    /// Name of the next version, if there is one.
    pub next_version_id: Option<String>,
}

/// How long an answer stays true, as the one who gave it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// It can never change: a did:key, or a version that its ledger has finalised.
    Forever,
    /// It may be used again for this long.
    For(Duration),
    /// It must be asked for each time. A method that keeps its own record of a ledger answers so.
    Once,
}

/// A document as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolution {
    /// The document.
    pub document: DidDocument,
    /// What is known about it.
    pub metadata: DocumentMetadata,
    /// How long it stays true.
    pub freshness: Freshness,
}

impl Resolution {
    /// A document without metadata.
    pub fn new(document: DidDocument, freshness: Freshness) -> Self {
        Self { document, metadata: DocumentMetadata::default(), freshness }
    }
}

/// Finds the document of a DID.
///
/// # Contract
/// 1. The `id` of the document MUST equal the DID asked for.
/// 2. A method it does not speak MUST yield [`ErrorKind::Unsupported`], and so MUST a [`Version`] when the
///    method keeps none.
/// 3. A DID that never existed MUST yield [`ErrorKind::NotFound`], never an empty document. One that was
///    given up MUST yield `NotFound` too, or a document without verification methods whose metadata says
///    `deactivated`.
/// 4. Time and memory MUST be bounded, whatever the other side sends.
/// 5. `Freshness::Forever` MUST be said only of what can never be answered differently.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a DID resolver",
    note = "implement `depin_core::resolution::DidResolver`"
)]
pub trait DidResolver: Send + Sync + fmt::Debug {
    /// Resolves a version of a document.
    ///
    /// # Errors
    /// See the contract; [`ErrorKind::Unavailable`] when a ledger or server does not answer now.
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution>;

    /// The present document of a DID in use.
    ///
    /// # Errors
    /// As [`resolve_version`](Self::resolve_version); [`ErrorKind::NotFound`] also when it was given up.
    async fn resolve(&self, did: &Did) -> Result<DidDocument> {
        let Resolution { document, metadata, .. } =
            self.resolve_version(did, &Version::Latest).await?;
        if metadata.deactivated {
            return Err(Error::new(ErrorKind::NotFound, "the did was given up").with("did", did));
        }
        Ok(document)
    }
}
