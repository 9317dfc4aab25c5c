//! Public keys as JSON Web Keys (RFC 7517, RFC 8037, RFC 8812), and their thumbprints (RFC 7638).
//!
//! Only the curves that the SDK signs with: secp256k1, P-256 and Ed25519. A private key is never read, not
//! even to drop its private half: whoever publishes one has to hear of it.

use alloc::{format, string::String, vec::Vec};

use base64ct::{Base64UrlUnpadded, Encoding};
use depin_core::{Algorithm, B256, Error, ErrorKind, PublicKey};
use sha2::{Digest, Sha256};

use crate::json::{self, JsonError, Object, Value, object};

/// Longest JSON text of a key in bytes.
pub const MAX_LEN: usize = 4096;

/// Why something is no public key of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// Not strict JSON, or longer than [`MAX_LEN`].
    #[error("the jwk is no strict json: {0}")]
    Json(#[from] JsonError),
    /// A member is missing, of the wrong type, or no base64url of 32 bytes.
    #[error("the member {0} of the jwk is missing or malformed")]
    Member(&'static str),
    /// The coordinates are no point of the curve.
    #[error("the coordinates of the jwk are no point of its curve")]
    Point,
    /// A private or secret key.
    #[error("the jwk holds a private key; consider that key stolen")]
    PrivateKey,
    /// A curve or type of key that the SDK does not sign with.
    #[error("the jwk is no secp256k1, p-256 or ed25519 key")]
    Unsupported,
}

impl From<JwkError> for Error {
    fn from(error: JwkError) -> Self {
        let kind = match error {
            JwkError::Unsupported => ErrorKind::Unsupported,
            JwkError::Json(JsonError::TooLong(_)) => ErrorKind::Limit,
            _ => ErrorKind::Malformed,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// Reads a key from the text of a JWK. Members beside the key, such as `kid`, are not looked at.
///
/// ```
/// use depin_identity::jwk;
///
/// // RFC 8037 appendix A.2 and A.3.
/// let key = jwk::parse(
///     br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
/// )?;
/// assert_eq!(jwk::thumbprint_text(&key), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
/// assert_eq!(jwk::from_object(&jwk::to_object(&key))?, key);
/// # Ok::<(), jwk::JwkError>(())
/// ```
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse(text: &[u8]) -> Result<PublicKey, JwkError> {
    match json::parse_within(text, MAX_LEN)? {
        Value::Object(jwk) => from_object(&jwk),
        _ => Err(JwkError::Member("kty")),
    }
}

/// Reads a key from a JWK that is part of a larger JSON text.
///
/// # Errors
/// As [`parse`].
pub fn from_object(jwk: &Object) -> Result<PublicKey, JwkError> {
    if is_private(jwk) {
        return Err(JwkError::PrivateKey);
    }
    let kind = required(jwk, "kty")?;
    let curve = if jwk.contains("crv") { required(jwk, "crv")? } else { "" };
    let (algorithm, bytes) = match (kind, curve) {
        ("EC", "secp256k1") => (Algorithm::Es256k, point(jwk)?),
        ("EC", "P-256") => (Algorithm::Es256, point(jwk)?),
        ("OKP", "Ed25519") => (Algorithm::EdDsa, coordinate(jwk, "x")?.to_vec()),
        _ => return Err(JwkError::Unsupported),
    };
    PublicKey::from_bytes(algorithm, &bytes).map_err(|_| JwkError::Point)
}

/// The JWK of a key: only the members that make the key, which are those of its thumbprint.
pub fn to_object(key: &PublicKey) -> Object {
    let text = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    let pair = |curve: &str, x: &[u8], y: &[u8]| {
        object([("crv", curve.into()), ("kty", "EC".into()), ("x", text(x)), ("y", text(y))])
    };
    match key.to_uncompressed() {
        Some(point) => {
            let (x, y) = point.split_at(32);
            let curve = if key.algorithm() == Algorithm::Es256k { "secp256k1" } else { "P-256" };
            pair(curve, x, y)
        }
        None => {
            object([("crv", "Ed25519".into()), ("kty", "OKP".into()), ("x", text(&key.to_bytes()))])
        }
    }
}

/// The SHA-256 thumbprint of a key (RFC 7638).
pub fn thumbprint(key: &PublicKey) -> B256 {
    // RFC 7638 wants sorted members and no blanks: RFC 8785 writes the same for these.
    B256::new(Sha256::digest(to_object(key).canonical()).into())
}

/// The [`thumbprint`] as base64url, the way it is used as `kid`.
pub fn thumbprint_text(key: &PublicKey) -> String {
    Base64UrlUnpadded::encode_string(thumbprint(key).as_slice())
}

/// The [`thumbprint`] as a URI (RFC 9278).
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey};
/// use depin_identity::jwk;
///
/// let key = SoftwareKey::from_seed(Algorithm::Es256, [1; 32]);
/// let uri = jwk::thumbprint_uri(key.public_key());
/// assert!(uri.starts_with("urn:ietf:params:oauth:jwk-thumbprint:sha-256:"));
/// ```
pub fn thumbprint_uri(key: &PublicKey) -> String {
    format!("urn:ietf:params:oauth:jwk-thumbprint:sha-256:{}", thumbprint_text(key))
}

/// Whether the JWK holds more than a public key.
pub(crate) fn is_private(jwk: &Object) -> bool {
    // ioID servers write `"d":""` into public keys.
    let filled =
        |name| !matches!(jwk.get(name), None | Some(Value::Null)) && jwk.text(name) != Some("");
    filled("d") || filled("k")
}

/// SEC1, uncompressed.
fn point(jwk: &Object) -> Result<Vec<u8>, JwkError> {
    Ok([[4].as_slice(), &coordinate(jwk, "x")?, &coordinate(jwk, "y")?].concat())
}

fn coordinate(jwk: &Object, name: &'static str) -> Result<[u8; 32], JwkError> {
    let mut bytes = [0; 32];
    match Base64UrlUnpadded::decode(required(jwk, name)?, &mut bytes) {
        Ok(all) if all.len() == 32 => Ok(bytes),
        _ => Err(JwkError::Member(name)),
    }
}

fn required<'a>(jwk: &'a Object, name: &'static str) -> Result<&'a str, JwkError> {
    jwk.text(name).ok_or(JwkError::Member(name))
}
