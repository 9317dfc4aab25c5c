//! Signed messages of our own: a COSE_Sign1 that says for whom and for what it was signed.
//!
//! The protected header holds the signer's DID and a critical domain of tag, network, purpose and
//! version. A batch signed for one network is therefore never a batch, receipt or token of another, and
//! a reader can say so in words before it looks at the signature.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{
    cbor::{self, CborError, Decoder, Encoder},
    cose::{self, CoseError, Sign1},
    did::Did,
    error::{Error, ErrorKind, Result},
    id::NetworkId,
    key::{PublicKey, Signature},
    signer::Signer,
};

/// Header label of the domain, from the private range of the COSE registry.
const DOMAIN: i64 = -70_000;
/// First element of every domain.
const TAG: &str = "depin";

/// What a message is for, with the version of its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Purpose {
    name: &'static str,
    version: u8,
}

impl Purpose {
    /// A purpose such as `("batch", 1)`.
    pub const fn new(name: &'static str, version: u8) -> Self {
        Self { name, version }
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The version of the format.
    pub const fn version(self) -> u8 {
        self.version
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

/// Why an envelope is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The bytes are not deterministic CBOR.
    #[error("the envelope is not deterministic cbor: {0}")]
    Encoding(#[from] CborError),
    /// The bytes are not a COSE_Sign1 as we write it, or its signature does not hold.
    #[error(transparent)]
    Cose(#[from] CoseError),
    /// No domain or no valid DID in the protected header.
    #[error("the protected header lacks a depin domain or a valid did as key id")]
    Header,
    /// Signed for another network.
    #[error("signed for network \"{found}\"")]
    Network {
        /// The network in the message.
        found: String,
    },
    /// Signed for another purpose or version.
    #[error("signed as \"{found}\"")]
    Purpose {
        /// Purpose and version in the message.
        found: String,
    },
}

impl From<EnvelopeError> for Error {
    fn from(error: EnvelopeError) -> Self {
        let kind = match &error {
            EnvelopeError::Encoding(_) | EnvelopeError::Header => ErrorKind::Malformed,
            EnvelopeError::Cose(cose) => return (*cose).into(),
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, alloc::format!("{error}")).source(error)
    }
}

/// A parsed message: for this network and purpose by its own words, signature not yet checked.
///
/// ```
/// use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey, envelope::{Envelope, Purpose}};
///
/// const GREETING: Purpose = Purpose::new("greeting", 1);
/// let network = NetworkId::parse("climate")?;
/// let key = SoftwareKey::from_seed(Algorithm::Es256k, [1; 32]);
/// let did = "did:example:station".parse()?;
///
/// let bytes = Envelope::seal(&key, &did, &network, GREETING, b"hello")?;
/// let envelope = Envelope::parse(&bytes, &network, GREETING)?;
/// assert_eq!(envelope.signer(), &did);
/// assert_eq!(envelope.open(key.public_key())?, b"hello");
/// assert!(Envelope::parse(&bytes, &NetworkId::parse("drive")?, GREETING).is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    sign1: Sign1<'a>,
    signer: Did,
}

impl<'a> Envelope<'a> {
    /// Signs `payload` as `did` for one network and purpose.
    ///
    /// # Errors
    /// Whatever the signer objects to.
    pub fn seal(
        signer: &dyn Signer,
        did: &Did,
        network: &NetworkId,
        purpose: Purpose,
        payload: &[u8],
    ) -> Result<Vec<u8>> {
        let mut header = Vec::with_capacity(64 + did.as_str().len());
        Encoder::new(&mut header)
            .map(4)
            .and_then(|e| e.i64(cose::ALG)?.i64(signer.public_key().algorithm().cose()))
            .and_then(|e| e.i64(cose::CRIT)?.array(1)?.i64(DOMAIN))
            .and_then(|e| e.i64(cose::KID)?.bytes(did.as_str().as_bytes()))
            .and_then(|e| {
                let e = e.i64(DOMAIN)?.array(4)?.str(TAG)?.str(network.as_str())?;
                e.str(purpose.name)?.u8(purpose.version)
            })
            .map_err(|_| Error::new(ErrorKind::Limit, "the header cannot be encoded"))?;
        cose::sign1(signer, &header, payload, &[])
    }

    /// Parses and checks everything that needs no key: encoding, header, network, purpose.
    ///
    /// # Errors
    /// Any [`EnvelopeError`] but a failed signature.
    pub fn parse(
        bytes: &'a [u8],
        network: &NetworkId,
        purpose: Purpose,
    ) -> Result<Self, EnvelopeError> {
        cbor::check(bytes)?;
        let sign1 = Sign1::parse(bytes)?;
        // The protected header is CBOR inside a byte string, which the outer check does not enter.
        cbor::check(sign1.protected_bytes())?;
        let header = sign1.protected();
        let known = [cose::ALG, cose::CRIT, cose::KID, DOMAIN];
        let ours = sign1.is_tagged()
            && sign1.unprotected().labels().next().is_none()
            && header.labels().eq(known);
        if !ours {
            return Err(EnvelopeError::Header);
        }
        let (found_network, found_purpose) = domain(header.value(DOMAIN).unwrap_or_default())?;
        if found_network != network.as_str() {
            return Err(EnvelopeError::Network { found: clip(found_network) });
        }
        if found_purpose != (purpose.name, purpose.version) {
            let (name, version) = found_purpose;
            return Err(EnvelopeError::Purpose {
                found: alloc::format!("{} v{version}", clip(name)),
            });
        }
        let signer = header.bytes(cose::KID).and_then(|kid| core::str::from_utf8(kid).ok());
        let signer = signer.and_then(|did| Did::parse(did).ok()).ok_or(EnvelopeError::Header)?;
        Ok(Self { sign1, signer })
    }

    /// The DID that claims to have signed.
    pub const fn signer(&self) -> &Did {
        &self.signer
    }

    /// Verifies the signature over the received bytes and gives the payload.
    ///
    /// # Errors
    /// [`EnvelopeError::Cose`] when the signature does not hold for `key`.
    pub fn open(&self, key: &PublicKey) -> Result<&'a [u8], EnvelopeError> {
        self.sign1.verify(key, &[], &[DOMAIN])?;
        Ok(self.sign1.payload())
    }

    /// What [`open`](Self::open) would ask of `key`: the bytes that were signed, and the signature. For
    /// [`verify_all`](crate::key::verify_all).
    ///
    /// # Errors
    /// [`EnvelopeError::Cose`] when the header does not fit the key.
    pub fn signed(&self, key: &PublicKey) -> Result<(Vec<u8>, Signature), EnvelopeError> {
        Ok(self.sign1.signed(key, &[], &[DOMAIN])?)
    }

    /// The payload before verification, for routing and logging only.
    pub const fn peek(&self) -> &'a [u8] {
        self.sign1.payload()
    }
}

fn domain(value: &[u8]) -> Result<(&str, (&str, u8)), EnvelopeError> {
    let mut decoder = Decoder::new(value);
    let mut read = || {
        let count = decoder.array()?;
        Ok::<_, cbor::decode::Error>((
            count,
            decoder.str()?,
            decoder.str()?,
            decoder.str()?,
            decoder.u8()?,
        ))
    };
    match read() {
        Ok((Some(4), TAG, network, purpose, version)) => Ok((network, (purpose, version))),
        _ => Err(EnvelopeError::Header),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(NetworkId::MAX_LEN).collect()
}
