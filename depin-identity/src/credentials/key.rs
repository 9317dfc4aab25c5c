//! The documents and keys of those who sign.

use depin_core::{
    Did, DidUrl, ErrorKind, PublicKey,
    document::{DidDocument, Relationships},
};

use super::CredentialError;
use crate::DidResolver;

/// The present document of a DID. A DID that does not exist or was given up signs nothing.
pub(super) async fn resolve_document(
    resolver: &dyn DidResolver,
    did: &Did,
) -> Result<DidDocument, CredentialError> {
    resolver.resolve(did).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => CredentialError::Unknown(did.clone()),
        _ => CredentialError::CouldNotCheck(error),
    })
}

/// The key of a verification method, if its document lets it be used for `purpose`.
pub(super) async fn resolve_key(
    resolver: &dyn DidResolver,
    method: &DidUrl,
    purpose: Relationships,
) -> Result<PublicKey, CredentialError> {
    let document = resolve_document(resolver, method.did()).await?;
    let found = document
        .method(method)
        .filter(|found| found.controller == document.id && found.relationships.contains(purpose));
    let key = found.and_then(|found| found.key().cloned());
    key.ok_or_else(|| CredentialError::Key(method.clone()))
}
