//! did:jwk: the DID is a public key as a JSON Web Key, so its document needs nobody to ask.
//!
//! `did:jwk:` and the base64url of the key's JSON. The same key can be spelled in many ways, each a DID of its
//! own. Made here is one of them: only the members that make the key, sorted, without blanks, which is the
//! text of its RFC 7638 thumbprint. Resolved is any.

use alloc::{boxed::Box, format};

use async_trait::async_trait;
use base64ct::{Base64UrlUnpadded, Encoding};
use depin_core::{
    Algorithm, Error, ErrorKind,
    document::{Material, Relationships},
    resolution::{Freshness, Resolution, Version},
};

use super::{latest_only, only};
use crate::{
    Did, DidDocument, DidResolver, DidUrl, PublicKey, Result, VerificationMethod,
    json::{self, Object, Value},
    jwk::{self, JwkError},
};

/// The method name.
pub const METHOD: &str = "jwk";

/// The did:jwk of a public key.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey};
/// use depin_identity::methods::jwk;
///
/// let device = SoftwareKey::from_seed(Algorithm::Es256, [7; 32]);
/// let did = jwk::did_jwk(device.public_key());
/// assert_eq!(&jwk::public_key(&did)?, device.public_key());
/// # Ok::<(), depin_core::Error>(())
/// ```
pub fn did_jwk(key: &PublicKey) -> Did {
    let text = jwk::to_object(key).canonical();
    Did::parse(&format!("did:jwk:{}", Base64UrlUnpadded::encode_string(text.as_bytes())))
        .expect("invariant: base64url fits the grammar, and the text of a key is short")
}

/// The public key that a did:jwk is made of.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for another method or a kind of key that the SDK does not sign with,
/// [`ErrorKind::Malformed`] when it is not the base64url of a JWK, or of a private one.
pub fn public_key(did: &Did) -> Result<PublicKey> {
    let object = object(did)?;
    jwk::from_object(&object).map_err(|error| Error::from(error).with("did", did))
}

/// The document of a did:jwk: one method, `#0`.
///
/// The member `use` decides what for: `sig` for everything but key agreement, `enc` for key agreement alone,
/// and without it the key is for all that it can do.
///
/// # Errors
/// As [`public_key`], but keys of other kinds have documents too.
pub fn document(did: &Did) -> Result<DidDocument> {
    let object = object(did)?;
    let material = match jwk::from_object(&object) {
        Ok(key) => Material::Key(key),
        Err(JwkError::Unsupported) => {
            Material::Foreign { member: "publicKeyJwk".into(), value: object.canonical() }
        }
        Err(error) => return Err(Error::from(error).with("did", did)),
    };
    let relationships = relationships(&object, &material)
        .ok_or_else(|| Error::from(JwkError::Member("use")).with("did", did))?;
    let method = VerificationMethod {
        id: DidUrl::parse(&format!("{did}#0"))?,
        controller: did.clone(),
        kind: "JsonWebKey2020".into(),
        material,
        relationships,
    };
    Ok(DidDocument { verification_method: [method].into(), ..DidDocument::new(did.clone()) })
}

fn relationships(object: &Object, material: &Material) -> Option<Relationships> {
    let signs = Relationships::AUTHENTICATION
        | Relationships::ASSERTION
        | Relationships::INVOCATION
        | Relationships::DELEGATION;
    match (object.get("use"), material) {
        (None, Material::Key(key)) if key.algorithm() == Algorithm::EdDsa => Some(signs),
        (None, _) => Some(signs | Relationships::KEY_AGREEMENT),
        (Some(Value::Text(purpose)), _) if purpose == "sig" => Some(signs),
        (Some(Value::Text(purpose)), _) if purpose == "enc" => Some(Relationships::KEY_AGREEMENT),
        (Some(Value::Text(_)), _) => Some(Relationships::NONE),
        _ => None,
    }
}

fn object(did: &Did) -> Result<Object> {
    only(METHOD, did)?;
    let malformed = || {
        Error::new(ErrorKind::Malformed, "a did:jwk is the base64url of a json web key")
            .with("did", did)
    };
    let text = Base64UrlUnpadded::decode_vec(did.id()).map_err(|_| malformed())?;
    match json::parse(&text).map_err(|error| malformed().source(error))? {
        Value::Object(object) => Ok(object),
        _ => Err(malformed()),
    }
}

/// Resolves did:jwk, without asking anybody.
#[derive(Clone, Copy, Debug, Default)]
pub struct JwkResolver;

#[async_trait]
impl DidResolver for JwkResolver {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        latest_only(did, version)?;
        document(did).map(|document| Resolution::new(document, Freshness::Forever))
    }
}
