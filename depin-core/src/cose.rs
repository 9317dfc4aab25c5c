//! COSE_Sign1 (RFC 9052 section 4.2), verified over the bytes as received.
//!
//! [`Sign1`] borrows from the input: nothing is re-encoded to verify. It is the plain structure, as
//! attestation tokens use it; our own messages add a domain to it, see [`envelope`](crate::envelope).

use alloc::vec::Vec;

use minicbor::{
    data::{Tag, Type},
    encode::write::Cursor,
};

use crate::{
    cbor::{self, Decoder, Encoder},
    error::{Error, ErrorKind, Result},
    key::{Algorithm, KeyError, PublicKey, Signature},
    signer::Signer,
};

/// Header label of the algorithm.
pub const ALG: i64 = 1;
/// Header label of the list of labels that a reader must understand.
pub const CRIT: i64 = 2;
/// Header label of the content type.
pub const CONTENT_TYPE: i64 = 3;
/// Header label of the key id.
pub const KID: i64 = 4;

/// CBOR tag of COSE_Sign1.
const TAG: u64 = 18;
/// Most parameters in one header.
const MAX_PARAMETERS: usize = 16;

/// Why bytes are not an acceptable COSE_Sign1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoseError {
    /// Not an array of protected header, unprotected header, payload and signature.
    #[error("not a cose_sign1 structure")]
    Structure,
    /// A header repeats a label, is too large or has a text label.
    #[error("a header repeats a label, has a text label or more than 16 parameters")]
    Header,
    /// The protected header names no algorithm that is known here.
    #[error("the protected header names no supported algorithm (ES256K, ES256, EdDSA)")]
    Algorithm,
    /// The algorithm of the header is not the key's.
    #[error("the algorithm in the header is not the algorithm of the key")]
    Confusion,
    /// A critical header parameter is not understood.
    #[error("a critical header parameter is not understood")]
    Critical,
    /// The signature is not 64 bytes or does not hold.
    #[error(transparent)]
    Signature(#[from] KeyError),
}

impl From<CoseError> for Error {
    fn from(error: CoseError) -> Self {
        let kind = match error {
            CoseError::Structure | CoseError::Header => ErrorKind::Malformed,
            CoseError::Algorithm => ErrorKind::Unsupported,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, alloc::format!("{error}")).source(error)
    }
}

/// A header: integer labels with their encoded values, as received. Needs no allocator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    parameters: [(i64, &'a [u8]); MAX_PARAMETERS],
    count: usize,
}

impl<'a> Header<'a> {
    /// Reads a header map.
    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, CoseError> {
        let bytes = decoder.input();
        let count = decoder.map().map_err(|_| CoseError::Structure)?.ok_or(CoseError::Structure)?;
        let mut header = Self::default();
        if count > header.parameters.len() as u64 {
            return Err(CoseError::Header);
        }
        for _ in 0..count {
            let label = decoder.i64().map_err(|_| CoseError::Header)?;
            let start = decoder.position();
            // Skipping would take a stray break byte for a value.
            if decoder.datatype().map_err(|_| CoseError::Structure)? == Type::Break {
                return Err(CoseError::Structure);
            }
            decoder.skip().map_err(|_| CoseError::Structure)?;
            let value = bytes.get(start..decoder.position()).ok_or(CoseError::Structure)?;
            if header.value(label).is_some() {
                return Err(CoseError::Header);
            }
            *header.parameters.get_mut(header.count).ok_or(CoseError::Header)? = (label, value);
            header.count += 1;
        }
        Ok(header)
    }

    fn iter(&self) -> impl Iterator<Item = (i64, &'a [u8])> + '_ {
        self.parameters.iter().take(self.count).copied()
    }

    /// The encoded value of a label.
    pub fn value(&self, label: i64) -> Option<&'a [u8]> {
        self.iter().find(|(known, _)| *known == label).map(|(_, value)| value)
    }

    /// The labels, in the order received.
    pub fn labels(&self) -> impl Iterator<Item = i64> + '_ {
        self.iter().map(|(label, _)| label)
    }

    /// The integer value of a label.
    pub fn integer(&self, label: i64) -> Option<i64> {
        self.value(label).and_then(|value| Decoder::new(value).i64().ok())
    }

    /// The byte string value of a label.
    pub fn bytes(&self, label: i64) -> Option<&'a [u8]> {
        self.value(label).and_then(|value| Decoder::new(value).bytes().ok())
    }
}

/// A parsed COSE_Sign1 whose signature has not been checked.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey, cose::{self, Sign1}};
///
/// let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
/// let token = cose::sign1(&key, &cose::plain_header(Algorithm::EdDsa), b"payload", b"")?;
/// let parsed = Sign1::parse(&token)?;
/// parsed.verify(key.public_key(), b"", &[])?;
/// assert_eq!(parsed.payload(), b"payload");
/// assert!(parsed.verify(key.public_key(), b"other context", &[]).is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sign1<'a> {
    tagged: bool,
    protected_bytes: &'a [u8],
    protected: Header<'a>,
    unprotected: Header<'a>,
    payload: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Sign1<'a> {
    /// Parses a tagged or bare COSE_Sign1 with attached payload, and nothing after it.
    ///
    /// # Errors
    /// [`CoseError::Structure`] or [`CoseError::Header`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CoseError> {
        let structure = |_| CoseError::Structure;
        let mut decoder = Decoder::new(bytes);
        let tagged = decoder.datatype().map_err(structure)? == Type::Tag;
        if tagged && decoder.tag().map_err(structure)? != Tag::new(TAG) {
            return Err(CoseError::Structure);
        }
        if decoder.array().map_err(structure)? != Some(4) {
            return Err(CoseError::Structure);
        }
        let protected_bytes = decoder.bytes().map_err(structure)?;
        let protected = if protected_bytes.is_empty() {
            Header::default()
        } else {
            let mut inner = Decoder::new(protected_bytes);
            let header = Header::decode(&mut inner)?;
            if inner.position() != protected_bytes.len() {
                return Err(CoseError::Structure);
            }
            header
        };
        let unprotected = Header::decode(&mut decoder)?;
        if unprotected.labels().any(|label| protected.value(label).is_some()) {
            return Err(CoseError::Header);
        }
        let payload = decoder.bytes().map_err(structure)?;
        let signature = decoder.bytes().map_err(structure)?;
        if decoder.position() != bytes.len() {
            return Err(CoseError::Structure);
        }
        Ok(Self { tagged, protected_bytes, protected, unprotected, payload, signature })
    }

    /// Whether the structure carries CBOR tag 18.
    pub const fn is_tagged(&self) -> bool {
        self.tagged
    }

    /// The header that the signature covers.
    pub const fn protected(&self) -> &Header<'a> {
        &self.protected
    }

    /// The encoded protected header, as signed.
    pub const fn protected_bytes(&self) -> &'a [u8] {
        self.protected_bytes
    }

    /// The header that nobody signed: hints only.
    pub const fn unprotected(&self) -> &Header<'a> {
        &self.unprotected
    }

    /// The payload, not yet verified.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The signature bytes as received.
    pub const fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// The algorithm named in the protected header.
    ///
    /// # Errors
    /// [`CoseError::Algorithm`] when it is missing there or unknown.
    pub fn algorithm(&self) -> Result<Algorithm, CoseError> {
        let number = self.protected.integer(ALG).ok_or(CoseError::Algorithm)?;
        Algorithm::from_cose(number).ok_or(CoseError::Algorithm)
    }

    /// Verifies with low-S required. `understood` lists the critical labels the caller handles.
    ///
    /// # Errors
    /// Any [`CoseError`] but the parsing ones.
    pub fn verify(&self, key: &PublicKey, aad: &[u8], understood: &[i64]) -> Result<(), CoseError> {
        let signature = self.checked_signature(key, understood)?;
        Ok(self.to_be_signed(aad, |parts| key.verify_parts(parts, &signature))?)
    }

    /// Verifies with either form of `s`, for tokens that others made.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), without [`KeyError::HighS`].
    pub fn verify_any_s(
        &self,
        key: &PublicKey,
        aad: &[u8],
        understood: &[i64],
    ) -> Result<(), CoseError> {
        let signature = self.checked_signature(key, understood)?;
        Ok(self.to_be_signed(aad, |parts| key.verify_parts_any_s(parts, &signature))?)
    }

    /// What [`verify`](Self::verify) would ask of `key`: the bytes that were signed, and the signature.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), but for a signature that does not hold.
    pub fn signed(
        &self,
        key: &PublicKey,
        aad: &[u8],
        understood: &[i64],
    ) -> Result<(Vec<u8>, Signature), CoseError> {
        let signature = self.checked_signature(key, understood)?;
        Ok((self.to_be_signed(aad, |parts| parts.concat()), signature))
    }

    fn checked_signature(
        &self,
        key: &PublicKey,
        understood: &[i64],
    ) -> Result<Signature, CoseError> {
        if self.algorithm()? != key.algorithm() {
            return Err(CoseError::Confusion);
        }
        self.check_critical(understood)?;
        Ok(Signature::try_from(self.signature)?)
    }

    /// RFC 9052 section 3.1: every critical label must be present, protected and understood.
    fn check_critical(&self, understood: &[i64]) -> Result<(), CoseError> {
        if self.unprotected.value(CRIT).is_some() {
            return Err(CoseError::Critical);
        }
        let Some(value) = self.protected.value(CRIT) else { return Ok(()) };
        let mut decoder = Decoder::new(value);
        let count = decoder
            .array()
            .ok()
            .flatten()
            .filter(|count| (1..=MAX_PARAMETERS as u64).contains(count));
        for _ in 0..count.ok_or(CoseError::Critical)? {
            let label = decoder.i64().map_err(|_| CoseError::Critical)?;
            if !understood.contains(&label) || self.protected.value(label).is_none() {
                return Err(CoseError::Critical);
            }
        }
        Ok(())
    }

    fn to_be_signed<T>(&self, aad: &[u8], take: impl FnOnce(&[&[u8]]) -> T) -> T {
        to_be_signed(self.protected_bytes, aad, self.payload, take)
    }
}

/// Hands over the Sig_structure of RFC 9052 section 4.4 in parts, which are nowhere copied together.
fn to_be_signed<T>(
    protected: &[u8],
    aad: &[u8],
    payload: &[u8],
    take: impl FnOnce(&[&[u8]]) -> T,
) -> T {
    /// An array of four that begins with a text.
    const CONTEXT: &[u8] = b"\x84\x6aSignature1";
    let [first, second, third] = [protected, aad, payload].map(Head::of);
    take(&[CONTEXT, first.as_bytes(), protected, second.as_bytes(), aad, third.as_bytes(), payload])
}

/// What stands before the content of a CBOR byte string.
struct Head {
    bytes: [u8; 9],
    length: usize,
}

impl Head {
    fn of(content: &[u8]) -> Self {
        let mut cursor = Cursor::new([0; 9]);
        let written = Encoder::new(&mut cursor).bytes_len(content.len() as u64).map(drop);
        debug_assert!(written.is_ok(), "a length takes at most nine bytes");
        Self { length: cursor.position(), bytes: cursor.into_inner() }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A protected header that names the algorithm alone.
pub fn plain_header(algorithm: Algorithm) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    let written = encoder.map(1).and_then(|e| e.i64(ALG)?.i64(algorithm.cose()));
    debug_assert!(written.is_ok(), "writing to a vector cannot fail");
    bytes
}

/// Signs: a tagged COSE_Sign1 with the given encoded protected header and an empty unprotected one.
///
/// # Errors
/// Whatever the signer objects to; [`ErrorKind::Config`] when the header names another algorithm.
pub fn sign1(signer: &dyn Signer, protected: &[u8], payload: &[u8], aad: &[u8]) -> Result<Vec<u8>> {
    let header = Header::decode(&mut Decoder::new(protected))?;
    if header.integer(ALG) != Some(signer.public_key().algorithm().cose()) {
        return Err(Error::new(
            ErrorKind::Config,
            "the protected header does not name the signer's algorithm",
        ));
    }
    let signature = to_be_signed(protected, aad, payload, |parts| signer.sign(&parts.concat()))?;
    let mut bytes = Vec::with_capacity(16 + protected.len() + payload.len() + Signature::LEN);
    Encoder::new(&mut bytes)
        .tag(Tag::new(TAG))
        .and_then(|e| e.array(4))
        .and_then(|e| e.bytes(protected))
        .and_then(|e| e.map(0))
        .and_then(|e| e.bytes(payload))
        .and_then(|e| e.bytes(signature.as_bytes()))
        .map_err(|_| Error::new(ErrorKind::Limit, "the payload cannot be encoded"))?;
    debug_assert_eq!(cbor::check(&bytes), Ok(()));
    Ok(bytes)
}
