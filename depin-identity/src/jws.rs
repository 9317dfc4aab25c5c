//! Signed texts in the compact form of JWS (RFC 7515), with ES256K, ES256 and EdDSA.
//!
//! The algorithm is a property of the key: a [`Jws`] is verified with a [`PublicKey`], and holds only if
//! its header names that key's algorithm. `none` and the HMAC names are unknown here, so there is nothing
//! to confuse. Extensions that change what a signature covers (`crit`, `b64`) are refused. Names are
//! registered ones: the `Es256K` that ioConnect writes is unknown too.

use alloc::{string::String, vec::Vec};

use base64ct::{Base64UrlUnpadded as Base64Url, Encoding};
use depin_core::{
    Algorithm, Error, ErrorKind, PublicKey, Result, Signature, Signer, key::KeyError,
};

use crate::json::{self, JsonError, Object, Value};

/// Longest compact JWS in bytes.
pub const MAX_LEN: usize = 1024 * 1024;

/// Longest header in bytes of base64url.
pub const MAX_HEADER_LEN: usize = 16 * 1024;

/// Why a text is no JWS that holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// Longer than [`MAX_LEN`], or its header than [`MAX_HEADER_LEN`].
    #[error("a jws has at most {MAX_LEN} bytes and its header {MAX_HEADER_LEN}")]
    TooLong,
    /// Not three parts with dots between them.
    #[error("a compact jws is a header, a payload and a signature with dots between them")]
    Structure,
    /// A part is not base64url in its one spelling, without padding.
    #[error("the {0} of the jws is no base64url without padding")]
    Encoding(&'static str),
    /// The header is no strict JSON.
    #[error("the header of the jws is no strict json: {0}")]
    Header(#[from] JsonError),
    /// The header is no object, or a member of it is not of the type that RFC 7515 says.
    #[error("the header of the jws is no object, or its {0} is missing or no text")]
    Member(&'static str),
    /// The header names an algorithm that is not known here.
    #[error("the header of the jws names no supported algorithm (ES256K, ES256, EdDSA)")]
    Algorithm,
    /// The header asks for an extension.
    #[error("the header of the jws asks for {0}, which is not understood")]
    Critical(&'static str),
    /// The header names another algorithm than the key's.
    #[error("the jws says {said}, but the key is for {key}")]
    Confusion {
        /// What the header names.
        said: Algorithm,
        /// What the key is for.
        key: Algorithm,
    },
    /// The signature is not 64 bytes or does not hold.
    #[error(transparent)]
    Signature(#[from] KeyError),
}

impl From<JwsError> for Error {
    fn from(error: JwsError) -> Self {
        let kind = match &error {
            JwsError::TooLong => ErrorKind::Limit,
            JwsError::Header(json) => return Self::from(json.clone()).source(error),
            JwsError::Structure | JwsError::Encoding(_) | JwsError::Member(_) => {
                ErrorKind::Malformed
            }
            JwsError::Algorithm => ErrorKind::Unsupported,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, alloc::format!("{error}")).source(error)
    }
}

/// A compact JWS whose signature has not been checked.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey};
/// use depin_identity::{json::object, jws::{self, Jws}};
///
/// let key = SoftwareKey::from_seed(Algorithm::EdDsa, [7; 32]);
/// let text = jws::sign(&key, object([("kid", "did:example:7#a")]), b"payload")?;
/// let jws = Jws::parse(&text)?;
/// assert_eq!(jws.key_id(), Some("did:example:7#a"));
/// assert_eq!(jws.verify(key.public_key())?, b"payload");
///
/// let other = SoftwareKey::from_seed(Algorithm::EdDsa, [8; 32]);
/// assert!(jws.verify(other.public_key()).is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Jws<'a> {
    signed: &'a str,
    payload: &'a str,
    header: Object,
    algorithm: Algorithm,
    signature: Signature,
}

impl<'a> Jws<'a> {
    /// Parses the text and reads its header; the payload stays encoded until the signature holds.
    ///
    /// # Errors
    /// Any [`JwsError`] but [`Confusion`](JwsError::Confusion).
    pub fn parse(text: &'a str) -> Result<Self, JwsError> {
        if text.len() > MAX_LEN {
            return Err(JwsError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwsError::Structure)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Structure)?;
        if payload.contains('.') {
            return Err(JwsError::Structure);
        }
        let header = read_header(header)?;
        Ok(Self {
            signed,
            payload,
            algorithm: algorithm(&header)?,
            header,
            signature: read_signature(signature)?,
        })
    }

    /// The header. Whatever it says about keys (`jwk`, `jku`, `x5c`) is a claim of the sender.
    pub const fn header(&self) -> &Object {
        &self.header
    }

    /// The algorithm that the header names.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The `kid` of the header: which key the sender says it is.
    pub fn key_id(&self) -> Option<&str> {
        self.header.text("kid")
    }

    /// The payload before any check, to find out whose key to verify with. Believe none of it.
    ///
    /// # Errors
    /// [`JwsError::Encoding`].
    pub fn unverified_payload(&self) -> Result<Vec<u8>, JwsError> {
        Base64Url::decode_vec(self.payload).map_err(|_| JwsError::Encoding("payload"))
    }

    /// Verifies, and gives the payload. ECDSA signatures may have either form of `s`, as JOSE allows.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`JwsError::Encoding`].
    pub fn verify(&self, key: &PublicKey) -> Result<Vec<u8>, JwsError> {
        self.check(key)?;
        self.unverified_payload()
    }

    /// What was signed, and the signature.
    pub(crate) const fn signed(&self) -> (&'a [u8], &Signature) {
        (self.signed.as_bytes(), &self.signature)
    }

    /// Verifies the signature alone. With an Ed25519 key this allocates nothing.
    ///
    /// # Errors
    /// [`JwsError::Confusion`] or [`JwsError::Signature`].
    pub fn check(&self, key: &PublicKey) -> Result<(), JwsError> {
        if self.algorithm != key.algorithm() {
            return Err(JwsError::Confusion { said: self.algorithm, key: key.algorithm() });
        }
        Ok(key.verify_any_s(self.signed.as_bytes(), &self.signature)?)
    }
}

fn read_header(encoded: &str) -> Result<Object, JwsError> {
    if encoded.len() > MAX_HEADER_LEN {
        return Err(JwsError::TooLong);
    }
    let text = Base64Url::decode_vec(encoded).map_err(|_| JwsError::Encoding("header"))?;
    let Value::Object(header) = json::parse(&text)? else { return Err(JwsError::Member("object")) };
    check_header(&header)?;
    Ok(header)
}

/// RFC 7515 section 4.1: nothing that must be understood and is not, and names that are texts.
fn check_header(header: &Object) -> Result<(), JwsError> {
    for extension in ["crit", "b64"] {
        if header.contains(extension) {
            return Err(JwsError::Critical(extension));
        }
    }
    for name in ["alg", "kid", "typ", "cty"] {
        if header.get(name).is_some_and(|value| value.as_text().is_none()) {
            return Err(JwsError::Member(name));
        }
    }
    Ok(())
}

fn algorithm(header: &Object) -> Result<Algorithm, JwsError> {
    let name = header.text("alg").ok_or(JwsError::Member("alg"))?;
    let known = Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == name);
    known.ok_or(JwsError::Algorithm)
}

/// On the stack, so that verification needs no memory of its own.
fn read_signature(encoded: &str) -> Result<Signature, JwsError> {
    let mut bytes = [0; Signature::LEN];
    if encoded.len() != ENCODED_SIGNATURE_LEN {
        return Err(KeyError::Signature.into());
    }
    let decoded = Base64Url::decode(encoded, &mut bytes);
    decoded.map_err(|_| JwsError::Encoding("signature"))?;
    Ok(Signature::from_bytes(bytes))
}

const ENCODED_SIGNATURE_LEN: usize = 86;

/// Signs: the compact JWS of a payload. `alg` is added to the header, ECDSA signatures have low `s`.
///
/// ```
/// use depin_core::{Algorithm, SoftwareKey};
/// use depin_identity::{json::object, jws};
///
/// // RFC 8037 appendix A.4.
/// # let seed = [0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
/// #     0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60];
/// let key = SoftwareKey::from_bytes(Algorithm::EdDsa, &seed)?;
/// let text = jws::sign(&key, Default::default(), b"Example of Ed25519 signing")?;
/// assert!(text.starts_with("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0J"));
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// Whatever the signer objects to; [`ErrorKind::Config`] when the header names another algorithm or asks
/// for an extension; [`ErrorKind::Limit`] when the text would be longer than [`MAX_LEN`].
pub fn sign(signer: &dyn Signer, mut header: Object, payload: &[u8]) -> Result<String> {
    let algorithm = signer.public_key().algorithm().as_str();
    let said = header.insert("alg", algorithm);
    if said.is_some_and(|said| said.as_text() != Some(algorithm)) {
        let message = "the header does not name the signer's algorithm; leave alg out";
        return Err(Error::new(ErrorKind::Config, message));
    }
    check_header(&header)
        .map_err(|error| Error::new(ErrorKind::Config, alloc::format!("{error}")).source(error))?;
    let mut text = Base64Url::encode_string(header.canonical().as_bytes());
    let header_len = text.len();
    text.push('.');
    text.push_str(&Base64Url::encode_string(payload));
    if header_len > MAX_HEADER_LEN || text.len() + 1 + ENCODED_SIGNATURE_LEN > MAX_LEN {
        return Err(JwsError::TooLong.into());
    }
    let signature = signer.sign(text.as_bytes())?;
    text.push('.');
    text.push_str(&Base64Url::encode_string(signature.as_bytes()));
    Ok(text)
}
