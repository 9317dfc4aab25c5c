//! PSA attestation tokens (RFC 9783): claims in CBOR, signed as COSE_Sign1.
//!
//! [`Token::parse`] reads what a device sent and holds it to every rule of its profile before any key is
//! touched; [`Token::verify`] checks the signature over the bytes as received. The RFC lets devices write
//! CBOR in variant forms (keys in any order, long integers), so tokens are not required to be
//! deterministic, but lengths must be definite and keys must not repeat. Claims that the profile does not
//! define are ignored, as the RFC demands; nothing here reads them.

mod claims;
mod entries;
mod error;
mod id;
mod profile;

use minicbor::{Decoder, data::Tag};

use depin_core::{Algorithm, PublicKey, cose::Sign1};

pub use claims::{Claims, Component, MAX_COMPONENTS};
pub use error::{Claim, PsaError};
pub use id::{ImplementationId, InstanceId};
pub use profile::{Lifecycle, Profile};

/// Media type of a token, as [`Evidence`](depin_core::evidence::Evidence) names it.
pub const MEDIA_TYPE: &str =
    "application/eat+cwt; eat_profile=\"tag:psacertified.org,2023:psa#tfm\"";

/// Largest token in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// CBOR tag of COSE_Mac0.
const MAC0: Tag = Tag::new(17);

/// A token whose claims obey their profile and whose signature has not been checked.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey, cose};
/// use depin_hw::psa::{Claims, Component, ImplementationId, InstanceId, Lifecycle, PsaError, Token};
///
/// let key = SoftwareKey::from_seed(Algorithm::Es256, [1; 32]);
/// let claims = Claims::new(
///     [7; 32],
///     InstanceId::of_key(key.public_key()),
///     ImplementationId::new([9; 32]),
///     Lifecycle::Secured,
///     vec![Component::new("BL", [1; 32], [2; 32])],
/// );
/// let bytes = cose::sign1(&key, &cose::plain_header(Algorithm::Es256), &claims.encode()?, b"")?;
///
/// let token = Token::parse(&bytes)?;
/// assert_eq!(token.verify(key.public_key())?, &claims);
/// let stranger = SoftwareKey::from_seed(Algorithm::Es256, [2; 32]);
/// assert!(token.verify(stranger.public_key()).is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Token<'a> {
    sign1: Sign1<'a>,
    claims: Claims,
}

impl<'a> Token<'a> {
    /// Parses a tagged COSE_Sign1 and holds its claims to the rules of their profile.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PsaError> {
        if bytes.len() > MAX_TOKEN {
            return Err(PsaError::Size { len: bytes.len() });
        }
        if Decoder::new(bytes).tag().is_ok_and(|tag| tag == MAC0) {
            return Err(PsaError::Mac0);
        }
        let sign1 = Sign1::parse(bytes)?;
        if !sign1.is_tagged() {
            return Err(PsaError::Untagged);
        }
        let claims = Claims::decode(sign1.payload())?;
        Ok(Self { sign1, claims })
    }

    /// The claims before verification: for finding the key, routing and logging only.
    pub const fn peek(&self) -> &Claims {
        &self.claims
    }

    /// Verifies the signature over the received bytes and gives the claims.
    ///
    /// Either form of `s` counts, because RFC 9783 does not demand the low one of devices.
    ///
    /// # Errors
    /// [`PsaError::Algorithm`] for keys of other curves, [`PsaError::Cose`] when the signature or its
    /// header does not hold.
    pub fn verify(&self, key: &PublicKey) -> Result<&Claims, PsaError> {
        if key.algorithm() != Algorithm::Es256 {
            return Err(PsaError::Algorithm);
        }
        self.sign1.verify_any_s(key, &[], &[])?;
        Ok(&self.claims)
    }

    /// The key that a software root carries as its key id. It proves nothing by itself.
    pub(crate) fn carried_key(&self) -> Option<PublicKey> {
        let kid = self.sign1.protected().bytes(depin_core::cose::KID)?;
        PublicKey::from_bytes(Algorithm::Es256, kid).ok()
    }
}
