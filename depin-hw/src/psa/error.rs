//! Why a token is refused, claim by claim.

use alloc::{format, string::String};
use core::fmt;

use depin_core::{Error, ErrorKind, cose::CoseError};

use super::{MAX_COMPONENTS, MAX_TOKEN, entries::MAX_ENTRIES};

/// A claim of RFC 9783 section 4, or an attribute of one of its software components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Claim {
    /// Profile definition.
    Profile,
    /// Nonce.
    Nonce,
    /// Instance id.
    InstanceId,
    /// Client id.
    ClientId,
    /// Security lifecycle.
    Lifecycle,
    /// Implementation id.
    ImplementationId,
    /// Boot seed.
    BootSeed,
    /// Certification reference.
    CertificationReference,
    /// Software components.
    Components,
    /// No software measurements, of the legacy profile.
    NoMeasurements,
    /// Verification service indicator.
    VerificationService,
    /// Measurement type of a software component.
    MeasurementType,
    /// Measurement value of a software component.
    MeasurementValue,
    /// Version of a software component.
    Version,
    /// Signer id of a software component.
    SignerId,
    /// Measurement description of a software component.
    Description,
}

impl Claim {
    /// The name in RFC 9783, without the prefix `psa-`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Nonce => "nonce",
            Self::InstanceId => "instance-id",
            Self::ClientId => "client-id",
            Self::Lifecycle => "security-lifecycle",
            Self::ImplementationId => "implementation-id",
            Self::BootSeed => "boot-seed",
            Self::CertificationReference => "certification-reference",
            Self::Components => "software-components",
            Self::NoMeasurements => "no-software-measurements",
            Self::VerificationService => "verification-service-indicator",
            Self::MeasurementType => "measurement-type",
            Self::MeasurementValue => "measurement-value",
            Self::Version => "version",
            Self::SignerId => "signer-id",
            Self::Description => "measurement-desc",
        }
    }

    /// What the value must be.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Profile => "the text of a known profile",
            Self::Nonce | Self::MeasurementValue | Self::SignerId => "32, 48 or 64 bytes",
            Self::InstanceId => "33 bytes of which the first is 0x01",
            Self::ClientId => "a 32-bit integer other than 0",
            Self::Lifecycle => "an integer whose high byte is 0x00 or 0x10 to 0x60",
            Self::ImplementationId => "32 bytes",
            Self::BootSeed => "8 to 32 bytes, exactly 32 in the legacy profile",
            Self::CertificationReference => {
                "13 digits, a dash and 5 digits; in the legacy profile 13 digits suffice"
            }
            Self::Components => "an array of 1 to 32 maps",
            Self::NoMeasurements => "the integer 1, in place of software components",
            Self::VerificationService => "a text that is not empty",
            Self::MeasurementType | Self::Version | Self::Description => "a text",
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes are no acceptable PSA token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PsaError {
    /// Longer than [`MAX_TOKEN`].
    #[error("the token has {len} bytes; at most {MAX_TOKEN} are read")]
    Size {
        /// Its length.
        len: usize,
    },
    /// A COSE_Mac0 token: whoever can check it can also forge it.
    #[error(
        "the token is a cose_mac0 made with a shared secret; configure the device to sign with ES256"
    )]
    Mac0,
    /// No CBOR tag 18 around the token.
    #[error("the token lacks cbor tag 18 of cose_sign1")]
    Untagged,
    /// Not a COSE_Sign1, or its signature does not hold.
    #[error(transparent)]
    Cose(#[from] CoseError),
    /// The key is for another algorithm than this crate verifies.
    #[error("the attestation key is not for ES256; endorse the P-256 key of the device")]
    Algorithm,
    /// The claims are not well-formed CBOR of definite lengths, or not a map.
    #[error("the claims are not a cbor map of definite lengths")]
    Encoding,
    /// Bytes follow the claims.
    #[error("bytes follow the claims")]
    Trailing,
    /// A map with more than 64 entries.
    #[error("a map has more than {MAX_ENTRIES} entries")]
    Entries,
    /// A key occurs twice.
    #[error("the key {key} occurs twice")]
    Duplicate {
        /// The key.
        key: String,
    },
    /// Too many software components.
    #[error("the token lists {count} software components; at most {MAX_COMPONENTS} are read")]
    Components {
        /// How many the token announces.
        count: u64,
    },
    /// The profile is none that is known here.
    #[error("the profile \"{found}\" is not known")]
    Profile {
        /// The start of its text.
        found: String,
    },
    /// Claim keys of the legacy profile beside those of RFC 9783.
    #[error("the token mixes the claim keys of RFC 9783 with those of PSA_IOT_PROFILE_1")]
    Mixed,
    /// A mandatory claim is absent.
    #[error("the claim {0} is missing")]
    Missing(Claim),
    /// A claim has another CBOR type.
    #[error("the claim {claim} has another type; it must be {}", claim.rule())]
    Type {
        /// The claim.
        claim: Claim,
    },
    /// A claim has a forbidden value or length.
    #[error("the claim {claim} has a forbidden value; it must be {}", claim.rule())]
    Value {
        /// The claim.
        claim: Claim,
    },
}

impl From<PsaError> for Error {
    fn from(error: PsaError) -> Self {
        let kind = match &error {
            PsaError::Cose(CoseError::Structure | CoseError::Header) => ErrorKind::Malformed,
            PsaError::Mac0 | PsaError::Algorithm | PsaError::Profile { .. } => ErrorKind::Rejected,
            PsaError::Cose(_) => ErrorKind::Rejected,
            _ => ErrorKind::Malformed,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}
