//! Keys in PEM (RFC 7468): public keys as SubjectPublicKeyInfo (RFC 5280), private keys as PKCS #8 (RFC 5958).
//!
//! What `openssl genpkey` and `openssl pkey -pubout` write. Private keys are read, to bring a key along;
//! nothing here writes one.

use alloc::string::String;

use depin_core::{Algorithm, Error, ErrorKind, PublicKey, Result};
use pkcs8::{
    AlgorithmIdentifierRef, Document, LineEnding, ObjectIdentifier, PrivateKeyInfo, SecretDocument,
    SubjectPublicKeyInfoRef,
    der::{Decode as _, Encode as _, asn1::BitStringRef},
};
use zeroize::Zeroizing;

/// Longest PEM text in bytes.
pub const MAX_LEN: usize = 4096;

/// Writes a public key as `-----BEGIN PUBLIC KEY-----`.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey};
/// use depin_identity::keys::pem;
///
/// let key = SoftwareKey::from_seed(Algorithm::Es256, [7; 32]);
/// let text = pem::public_key_to_pem(key.public_key());
/// assert!(text.starts_with("-----BEGIN PUBLIC KEY-----\n"));
/// assert_eq!(pem::public_key_from_pem(&text)?, *key.public_key());
/// # Ok::<(), depin_core::Error>(())
/// ```
pub fn public_key_to_pem(key: &PublicKey) -> String {
    let (oid, curve) = names(key.algorithm());
    // OpenSSL before 3.0 reads uncompressed points only.
    let point = match key.to_uncompressed() {
        Some(xy) => [[4].as_slice(), &xy].concat(),
        None => key.to_bytes(),
    };
    let write = || {
        let info = SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid, parameters: curve.as_ref().map(Into::into) },
            subject_public_key: BitStringRef::from_bytes(&point)?,
        };
        Document::from_der(&info.to_der()?)?.to_pem("PUBLIC KEY", LineEnding::LF)
    };
    write().expect("invariant: a key of known length fits into der")
}

/// Reads a public key of one of the three algorithms.
///
/// # Errors
/// [`ErrorKind::Limit`] beyond [`MAX_LEN`], [`ErrorKind::Malformed`] when it is no such PEM or no point of
/// its curve, [`ErrorKind::Unsupported`] for keys of other kinds.
pub fn public_key_from_pem(text: &str) -> Result<PublicKey> {
    let (label, document) = Document::from_pem(bounded(text)?).map_err(malformed)?;
    if label != "PUBLIC KEY" {
        return Err(labelled(label, "PUBLIC KEY"));
    }
    let info = SubjectPublicKeyInfoRef::from_der(document.as_bytes()).map_err(malformed)?;
    let algorithm = algorithm(&info.algorithm)?;
    let point = info.subject_public_key.as_bytes().unwrap_or_default();
    Ok(PublicKey::from_bytes(algorithm, point)?)
}

/// Reads an unencrypted private key: its algorithm and 32 secret bytes, for
/// [`FileKeyStore::import`](super::FileKeyStore::import) or
/// [`SoftwareKey::from_bytes`](depin_core::SoftwareKey::from_bytes).
///
/// ```
/// use depin_core::{Signer, SoftwareKey};
/// use depin_identity::keys::pem;
///
/// // RFC 8410 section 10.3.
/// let text = "-----BEGIN PRIVATE KEY-----\n\
///     MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
///     -----END PRIVATE KEY-----\n";
/// let (algorithm, secret) = pem::private_key_from_pem(text)?;
/// let key = SoftwareKey::from_bytes(algorithm, &secret)?;
/// // The public key of section 10.1.
/// let public = "-----BEGIN PUBLIC KEY-----\n\
///     MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
///     -----END PUBLIC KEY-----\n";
/// assert_eq!(pem::public_key_to_pem(key.public_key()), public);
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// As [`public_key_from_pem`]. `EC PRIVATE KEY` is an older format; convert it with `openssl pkey`.
pub fn private_key_from_pem(text: &str) -> Result<(Algorithm, Zeroizing<[u8; 32]>)> {
    let (label, document) = SecretDocument::from_pem(bounded(text)?).map_err(malformed)?;
    if label != "PRIVATE KEY" {
        return Err(labelled(label, "PRIVATE KEY"));
    }
    let info = PrivateKeyInfo::from_der(document.as_bytes()).map_err(malformed)?;
    let algorithm = algorithm(&info.algorithm)?;
    let bytes = match algorithm {
        // RFC 8410: an octet string inside the octet string.
        Algorithm::EdDsa => info.private_key.strip_prefix(&[0x04, 0x20]),
        // RFC 5915: SEQUENCE { version 1, OCTET STRING of 32 bytes, ... }.
        _ => scalar(info.private_key),
    };
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Zeroizing::new);
    let secret = bytes.ok_or_else(|| {
        Error::new(ErrorKind::Malformed, "the pem holds no private key of 32 bytes")
    })?;
    Ok((algorithm, secret))
}

/// The scalar of an ECPrivateKey.
fn scalar(der: &[u8]) -> Option<&[u8]> {
    let (head, rest) = der.split_first_chunk::<2>()?;
    let [0x30, length] = *head else { return None };
    if usize::from(length) != rest.len() || length > 0x7f {
        return None;
    }
    rest.strip_prefix(&[0x02, 0x01, 0x01, 0x04, 0x20])?.get(..32)
}

fn names(algorithm: Algorithm) -> (ObjectIdentifier, Option<ObjectIdentifier>) {
    match algorithm {
        Algorithm::Es256k => (EC, Some(SECP256K1)),
        Algorithm::Es256 => (EC, Some(P256)),
        _ => (ED25519, None),
    }
}

fn algorithm(found: &AlgorithmIdentifierRef<'_>) -> Result<Algorithm> {
    let curve = found.parameters.map(|any| any.decode_as::<ObjectIdentifier>());
    let known = |which: &Algorithm| {
        let (oid, parameters) = names(*which);
        oid == found.oid && parameters.map(Ok) == curve
    };
    Algorithm::ALL.into_iter().find(known).ok_or_else(|| {
        let text = "the pem holds a key of another kind than secp256k1, p-256 or ed25519";
        Error::new(ErrorKind::Unsupported, text).with("algorithm", found.oid)
    })
}

fn bounded(text: &str) -> Result<&str> {
    if text.len() <= MAX_LEN {
        return Ok(text);
    }
    Err(Error::new(ErrorKind::Limit, "a pem key has at most 4096 bytes"))
}

fn labelled(found: &str, wanted: &'static str) -> Error {
    Error::new(ErrorKind::Malformed, "the pem holds something else")
        .with("found", found.chars().take(64).collect::<String>())
        .with("wanted", wanted)
}

fn malformed(error: pkcs8::der::Error) -> Error {
    Error::new(ErrorKind::Malformed, "not the pem of a key").with("cause", error)
}

/// id-ecPublicKey (RFC 5480).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// secp256k1 (SEC 2).
const SECP256K1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.10");
/// secp256r1 (RFC 5480).
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// id-Ed25519 (RFC 8410).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
