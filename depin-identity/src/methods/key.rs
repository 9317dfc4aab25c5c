//! did:key: the DID is the public key, so its document needs nobody to ask.
//!
//! Follows the W3C CCG method text in its Multikey form. Key agreement is left out: deriving an X25519
//! key from an Ed25519 one is not for keys that only sign, and reusing an ECDSA key to agree on secrets
//! is bad practice.

use alloc::{boxed::Box, format};

use async_trait::async_trait;
use depin_core::{
    document::Relationships,
    key::KeyError,
    resolution::{Freshness, Resolution, Version},
};

use super::{latest_only, only};
use crate::{Did, DidDocument, DidResolver, DidUrl, PublicKey, Result, VerificationMethod};

/// The method name.
pub const METHOD: &str = "key";

/// The did:key of a public key.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey};
/// use depin_identity::methods::key;
///
/// let device = SoftwareKey::from_seed(Algorithm::EdDsa, [0; 32]);
/// let did = key::did_key(device.public_key());
/// assert_eq!(did.as_str(), "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp");
/// assert_eq!(&key::public_key(&did)?, device.public_key());
/// # Ok::<(), depin_core::Error>(())
/// ```
pub fn did_key(key: &PublicKey) -> Did {
    Did::parse(&format!("did:key:{}", key.to_multikey()))
        .expect("invariant: base58 is letters and digits, and a multikey is short")
}

/// The public key that a did:key is made of.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for another method,
/// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) when it is not the one spelling of a
/// secp256k1, P-256 or Ed25519 key.
pub fn public_key(did: &Did) -> Result<PublicKey> {
    only(METHOD, did)?;
    let key = PublicKey::from_multikey(did.id()).map_err(|error| refused(error, did))?;
    // A key has one DID: what decodes to it in another way would be a second name for it.
    if did_key(&key) == *did { Ok(key) } else { Err(refused(KeyError::Key, did)) }
}

fn refused(error: KeyError, did: &Did) -> crate::Error {
    crate::Error::from(error).with("did", did)
}

/// The document of a did:key: one method, named by the key itself, for every use but key agreement.
///
/// ```
/// use depin_identity::methods::key;
///
/// let did = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme".parse()?;
/// let document = key::document(&did)?;
/// assert_eq!(document.verification_method[0].id.fragment(), Some(did.id()));
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// As [`public_key`].
pub fn document(did: &Did) -> Result<DidDocument> {
    let key = public_key(did)?;
    let id = DidUrl::parse(&format!("{did}#{}", did.id()))?;
    let method = VerificationMethod::new(id, did.clone(), key);
    let method = VerificationMethod { relationships: may(), ..method };
    Ok(DidDocument { verification_method: [method].into(), ..DidDocument::new(did.clone()) })
}

/// What the key may be used for: all that signing keys are for.
pub(crate) fn may() -> Relationships {
    Relationships::AUTHENTICATION
        | Relationships::ASSERTION
        | Relationships::INVOCATION
        | Relationships::DELEGATION
}

/// Resolves did:key, without asking anybody.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyResolver;

#[async_trait]
impl DidResolver for KeyResolver {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        latest_only(did, version)?;
        document(did).map(|document| Resolution::new(document, Freshness::Forever))
    }
}
