//! Disclosures: a claim with the salt that hides it, and the digest that stands in its place.

use alloc::{
    string::{String, ToString},
    vec,
};

use base64ct::{Base64UrlUnpadded, Encoding};
use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};

use super::SdJwtError;
use crate::json::{self, Value};

/// Bytes of a salt. RFC 9901 section 9.3 asks for at least 16.
const SALT: usize = 16;

/// One claim that its holder may show or keep (RFC 9901 section 4.2).
///
/// ```
/// use depin_identity::credentials::sd_jwt::Disclosure;
///
/// // The example of RFC 9901 section 4.2.3.
/// let encoded = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0";
/// let disclosure = Disclosure::read(encoded)?;
/// assert_eq!(disclosure.name(), Some("family_name"));
/// assert_eq!(disclosure.value().as_text(), Some("Möbius"));
/// assert_eq!(disclosure.digest(), "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0");
/// # Ok::<(), depin_identity::credentials::sd_jwt::SdJwtError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure {
    encoded: String,
    name: Option<String>,
    value: Value,
}

impl Disclosure {
    /// Hides a member of an object (`name`) or an item of an array behind a fresh salt.
    pub(super) fn make(name: Option<&str>, value: Value, rng: &mut impl CryptoRngCore) -> Self {
        let mut salt = [0; SALT];
        rng.fill_bytes(&mut salt);
        let salt = Value::from(Base64UrlUnpadded::encode_string(&salt));
        let mut items = vec![salt];
        items.extend(name.map(Value::from));
        items.push(value.clone());
        let text = Value::List(items).to_string();
        let encoded = Base64UrlUnpadded::encode_string(text.as_bytes());
        Self { encoded, name: name.map(ToString::to_string), value }
    }

    /// Reads a disclosure as it stands between two tildes.
    ///
    /// # Errors
    /// [`SdJwtError::Disclosure`] unless it is base64url of a JSON array of salt, name if any and value.
    pub fn read(encoded: &str) -> Result<Self, SdJwtError> {
        let bytes = Base64UrlUnpadded::decode_vec(encoded).map_err(|_| SdJwtError::Disclosure)?;
        let Ok(Value::List(items)) = json::parse(&bytes) else {
            return Err(SdJwtError::Disclosure);
        };
        let (name, value) = match <[Value; 2]>::try_from(items) {
            Ok([Value::Text(_), value]) => (None, value),
            Ok(_) => return Err(SdJwtError::Disclosure),
            Err(items) => match <[Value; 3]>::try_from(items) {
                Ok([Value::Text(_), Value::Text(name), value]) => (Some(name), value),
                _ => return Err(SdJwtError::Disclosure),
            },
        };
        Ok(Self { encoded: encoded.into(), name, value })
    }

    /// The name of the claim; nothing for an item of an array.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The claim.
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// The text between two tildes.
    pub fn as_str(&self) -> &str {
        &self.encoded
    }

    /// What stands in the token instead: base64url of SHA-256 over [`as_str`](Self::as_str).
    pub fn digest(&self) -> String {
        digest(&self.encoded)
    }
}

/// Base64url of SHA-256 over a text.
pub(super) fn digest(text: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(text))
}

/// A digest that hides nothing (RFC 9901 section 4.2.5).
pub(super) fn decoy(rng: &mut impl CryptoRngCore) -> String {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    digest(&Base64UrlUnpadded::encode_string(&bytes))
}
