//! Public keys and signatures of the three algorithms that devices and chains have.
//!
//! A [`PublicKey`] is checked to be a point of its curve when it is made, once. Signatures are 64 bytes,
//! `r || s` or Ed25519's `R || S`. Our own formats demand low-S, so that a signature has one form.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use alloy_primitives::{Address, keccak256};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind};

mod batch;
mod ecdsa;
pub(crate) mod ed25519;
#[cfg(feature = "fast")]
mod fast;

pub use batch::{Check, verify_all};
use ecdsa::Form;

/// A signature algorithm with its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA over secp256k1 with SHA-256 (RFC 8812). The curve of the chains.
    Es256k,
    /// ECDSA over P-256 with SHA-256 (RFC 9053). The curve of secure elements and TPMs.
    Es256,
    /// Ed25519 (RFC 8032).
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Es256k, Self::Es256, Self::EdDsa];

    /// The number in the IANA COSE registry.
    pub const fn cose(self) -> i64 {
        match self {
            Self::Es256k => -47,
            Self::Es256 => -7,
            Self::EdDsa => -8,
        }
    }

    /// The algorithm of a COSE number.
    pub fn from_cose(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.cose() == number)
    }

    /// The name that JOSE and our JSON use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256k => "ES256K",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The multicodec prefix of a public key, already a varint.
    const fn multicodec(self) -> [u8; 2] {
        match self {
            Self::Es256k => [0xe7, 0x01],
            Self::Es256 => [0x80, 0x24],
            Self::EdDsa => [0xed, 0x01],
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why bytes are no key, or a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the encoding of a point on the curve.
    #[error("the bytes are not a public key of this algorithm")]
    Key,
    /// Unknown multicodec, or not multibase base58btc.
    #[error("not a multikey of secp256k1, p-256 or ed25519")]
    Multikey,
    /// The signature does not hold for this key and message.
    #[error("the signature does not match the key and message")]
    Signature,
    /// An ECDSA signature whose `s` is in the upper half of the order.
    #[error("the signature has a high s; normalise it before sending")]
    HighS,
    /// Ed25519 signs messages, not digests.
    #[error("ed25519 cannot sign or verify a bare digest; use secp256k1 or p-256")]
    Prehash,
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        let kind = match error {
            KeyError::Key | KeyError::Multikey => ErrorKind::Malformed,
            KeyError::Prehash => ErrorKind::Unsupported,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// A public key, known to be valid.
///
/// ```
/// use depin_core::{Algorithm, PublicKey, Signer, SoftwareKey};
///
/// let key = SoftwareKey::from_seed(Algorithm::Es256, [7; 32]);
/// let public = key.public_key();
/// assert_eq!(PublicKey::from_multikey(&public.to_multikey())?, *public);
/// public.verify(b"hello", &key.sign(b"hello")?)?;
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Curve);

#[derive(Clone, PartialEq, Eq)]
enum Curve {
    Secp256k1(ecdsa::Secp256k1),
    P256(ecdsa::P256),
    Ed25519(ed25519::VerifyingKey),
}

impl PublicKey {
    /// From SEC1 bytes (compressed or not) or 32 Ed25519 bytes.
    ///
    /// # Errors
    /// [`KeyError::Key`] when the bytes are no point of the curve, or an Ed25519 point of small order,
    /// with which anybody can sign, or one that is not written in the canonical way.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let curve = match algorithm {
            Algorithm::Es256k => ecdsa::Secp256k1::from_sec1(bytes).map(Curve::Secp256k1),
            Algorithm::Es256 => ecdsa::P256::from_sec1(bytes).map(Curve::P256),
            Algorithm::EdDsa => bytes
                .try_into()
                .ok()
                .and_then(ed25519::VerifyingKey::from_bytes)
                .map(Curve::Ed25519),
        };
        curve.map(Self).ok_or(KeyError::Key)
    }

    /// The algorithm this key is for.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Curve::Secp256k1(_) => Algorithm::Es256k,
            Curve::P256(_) => Algorithm::Es256,
            Curve::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// The compressed point (33 bytes), or the 32 bytes of Ed25519.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Curve::Secp256k1(key) => key.to_sec1(true),
            Curve::P256(key) => key.to_sec1(true),
            Curve::Ed25519(key) => key.as_bytes().into(),
        }
    }

    /// `x || y` (64 bytes), or `None` for Ed25519.
    pub fn to_uncompressed(&self) -> Option<[u8; 64]> {
        let point = match &self.0 {
            Curve::Secp256k1(key) => key.to_sec1(false),
            Curve::P256(key) => key.to_sec1(false),
            Curve::Ed25519(_) => return None,
        };
        point.get(1..)?.try_into().ok()
    }

    /// The last 20 bytes of `keccak256(x || y)`: the chain address of a secp256k1 key, and what did:io
    /// uses for both ECDSA curves. `None` for Ed25519.
    pub fn to_address(&self) -> Option<Address> {
        self.to_uncompressed().map(|xy| Address::from_word(keccak256(xy)))
    }

    /// The W3C Multikey text: `z` and base58btc of multicodec and key.
    pub fn to_multikey(&self) -> String {
        let mut bytes = self.algorithm().multicodec().to_vec();
        bytes.extend(self.to_bytes());
        format!("z{}", bs58::encode(bytes).into_string())
    }

    /// Parses a W3C Multikey.
    ///
    /// # Errors
    /// [`KeyError::Multikey`] for other encodings and curves, [`KeyError::Key`] for an invalid point or
    /// an uncompressed one.
    pub fn from_multikey(text: &str) -> Result<Self, KeyError> {
        const LONGEST: usize = 64;
        let encoded = text.strip_prefix('z').filter(|rest| rest.len() <= LONGEST);
        let bytes = encoded
            .and_then(|rest| bs58::decode(rest).into_vec().ok())
            .ok_or(KeyError::Multikey)?;
        let (prefix, key) = bytes.split_first_chunk().ok_or(KeyError::Multikey)?;
        let known = Algorithm::ALL.into_iter().find(|algorithm| algorithm.multicodec() == *prefix);
        let algorithm = known.ok_or(KeyError::Multikey)?;
        let length = if algorithm == Algorithm::EdDsa { 32 } else { 33 };
        if key.len() != length {
            return Err(KeyError::Key);
        }
        Self::from_bytes(algorithm, key)
    }

    /// Verifies strictly: ECDSA must have low `s`, Ed25519 must follow RFC 8032 with its cofactor.
    ///
    /// Ed25519 takes canonical encodings only, no commitment of small order, `s` below the group's order,
    /// and the equation `[8][s]B = [8]R + [8][k]A`, the one rule that [`verify_all`] can share exactly.
    ///
    /// # Errors
    /// [`KeyError::HighS`] or [`KeyError::Signature`].
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), KeyError> {
        self.verify_parts(&[message], signature)
    }

    /// As [`verify`](Self::verify), for the message that the parts make when joined. Neither they nor
    /// Ed25519 need an allocator.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_parts(&self, parts: &[&[u8]], signature: &Signature) -> Result<(), KeyError> {
        self.verify_form(parts, signature, Form::Low)
    }

    /// Verifies with either form of `s`, as JOSE and COSE allow their ECDSA signatures.
    ///
    /// # Errors
    /// [`KeyError::Signature`].
    pub fn verify_any_s(&self, message: &[u8], signature: &Signature) -> Result<(), KeyError> {
        self.verify_parts_any_s(&[message], signature)
    }

    /// As [`verify_any_s`](Self::verify_any_s), for the message that the parts make when joined.
    ///
    /// # Errors
    /// [`KeyError::Signature`].
    pub fn verify_parts_any_s(
        &self,
        parts: &[&[u8]],
        signature: &Signature,
    ) -> Result<(), KeyError> {
        self.verify_form(parts, signature, Form::Any)
    }

    fn verify_form(
        &self,
        parts: &[&[u8]],
        signature: &Signature,
        form: Form,
    ) -> Result<(), KeyError> {
        match &self.0 {
            Curve::Secp256k1(key) => key.verify(&sha256(parts), &signature.0, form),
            Curve::P256(key) => key.verify(&sha256(parts), &signature.0, form),
            Curve::Ed25519(key) => {
                key.holds(parts, &signature.0).then_some(()).ok_or(KeyError::Signature)
            }
        }
    }

    /// Verifies an ECDSA signature over a 32-byte digest, strictly.
    ///
    /// # Errors
    /// [`KeyError::Prehash`] for Ed25519, else as [`verify`](Self::verify).
    pub fn verify_prehash(&self, digest: &[u8; 32], signature: &Signature) -> Result<(), KeyError> {
        match &self.0 {
            Curve::Secp256k1(key) => key.verify(digest, &signature.0, Form::Low),
            Curve::P256(key) => key.verify(digest, &signature.0, Form::Low),
            Curve::Ed25519(_) => Err(KeyError::Prehash),
        }
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_multikey())
    }
}

impl core::hash::Hash for PublicKey {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.to_bytes().hash(state);
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_multikey())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_multikey(&text).map_err(serde::de::Error::custom)
    }
}

/// A 64-byte signature: `r || s`, big endian, or Ed25519's `R || S`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Length in bytes.
    pub const LEN: usize = 64;

    /// Wraps the bytes; whether they hold is decided by verification.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes.try_into().map(Self).map_err(|_| KeyError::Signature)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", alloy_primitives::hex::encode(self.0))
    }
}
