//! Credentials whose holders choose what to show: SD-JWT VC.
//!
//! RFC 9901 (SD-JWT) in its compact form, with the claims of draft-ietf-oauth-sd-jwt-vc-19: a JWT in which
//! digests stand for claims, followed by the disclosures that its holder shows. Issuers are DIDs, whose
//! documents hold the keys; others are trusted by key. Not supported, and refused: hash functions other
//! than SHA-256, the JSON serialization, `x5c`, the `status` claim (OAuth status lists). Put a
//! [`StatusEntry`](super::status::StatusEntry) into the token instead, which is checked like that of any credential.

mod conceal;
mod disclosure;
mod issue;
mod reveal;
mod verify;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use depin_core::{Error, ErrorKind};

use crate::jws::JwsError;

pub use disclosure::Disclosure;
pub use issue::SdJwtBuilder;
pub use verify::SdJwtClaims;

/// Longest token with its disclosures, in bytes.
pub const MAX_LEN: usize = 256 * 1024;

/// Most disclosures of one token.
pub const MAX_DISCLOSURES: usize = 256;

/// Longest name of a claim, in bytes.
pub const MAX_NAME_LEN: usize = 1024;

/// The `typ` of a credential.
const TYP: &str = "dc+sd-jwt";

/// The `typ` of a key binding.
const BINDING_TYP: &str = "kb+jwt";

/// Claims that decide over validity: their issuer may not hide them, nor anything in them. The last two
/// are ours (a holder who keeps `aud` to himself would show the token to anybody), the others are those of
/// the draft, section 2.2.2.3.
const FIXED: [&str; 10] = [
    "iss",
    "nbf",
    "exp",
    "cnf",
    "vct",
    "vct#integrity",
    "aka_vcts",
    "status",
    "credentialStatus",
    "aud",
];

fn fixed(name: &str) -> bool {
    FIXED.contains(&name)
}

/// Why a text is no SD-JWT, or its disclosures do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdJwtError {
    /// Longer than [`MAX_LEN`], with more than [`MAX_DISCLOSURES`], or a name longer than [`MAX_NAME_LEN`].
    #[error(
        "an sd-jwt has at most {MAX_LEN} bytes, {MAX_DISCLOSURES} disclosures and names of \
         {MAX_NAME_LEN} bytes"
    )]
    TooLong,
    /// Not a JWT and disclosures, each followed by a tilde.
    #[error("an sd-jwt is a jwt and its disclosures, each followed by '~'")]
    Form,
    /// The JWT or its key binding is malformed, or its signature does not hold.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// The `typ` of a token is another.
    #[error("the token is not of the type {0}")]
    Typ(&'static str),
    /// A claim is missing or does not follow its format.
    #[error("the claim {0} is missing or malformed")]
    Claim(&'static str),
    /// A disclosure is malformed, or an item stands where a member should and the other way round.
    #[error("a disclosure is malformed or does not fit the place of its digest")]
    Disclosure,
    /// A digest or a disclosure stands there twice.
    #[error("a digest or disclosure appears twice")]
    Twice,
    /// A disclosure whose digest stands nowhere.
    #[error("a disclosure belongs to no digest; it was altered or is of another token")]
    Unreferenced,
    /// `_sd`, `_sd_alg` or `...` where it may not be.
    #[error("the reserved name {0} is misused")]
    Reserved(String),
    /// A disclosure would replace a claim.
    #[error("a disclosure would replace the claim {0}")]
    NameTaken(String),
    /// A claim that decides over validity is hidden, or something in it.
    #[error("the claim {0} decides over validity and cannot be hidden")]
    Fixed(String),
    /// A hash function other than SHA-256.
    #[error("the hash function of the sd-jwt is not supported; ask for sha-256")]
    Hash,
    /// Disclosures within disclosures, too deeply.
    #[error("the claims are nested too deeply")]
    Depth,
    /// No claim is there.
    #[error("there is no claim at {0}")]
    Pointer(String),
    /// The key binding is missing, or there is one that nobody asked for.
    #[error("a key binding is missing, or one is there that was not asked for")]
    Binding,
    /// The key binding was made for other disclosures.
    #[error("the key binding covers another token or other disclosures")]
    Hashed,
}

impl From<SdJwtError> for Error {
    fn from(error: SdJwtError) -> Self {
        let kind = match &error {
            SdJwtError::Jws(jws) => return jws.clone().into(),
            SdJwtError::TooLong | SdJwtError::Depth => ErrorKind::Limit,
            SdJwtError::Hash => ErrorKind::Unsupported,
            SdJwtError::Pointer(_) => ErrorKind::NotFound,
            SdJwtError::Form | SdJwtError::Claim(_) | SdJwtError::Disclosure => {
                ErrorKind::Malformed
            }
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// A token with the disclosures that come with it, and the key binding if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdJwt {
    token: String,
    disclosures: Vec<Disclosure>,
    binding: Option<String>,
}

impl SdJwt {
    /// Splits a text into its parts. This checks nothing but their form.
    ///
    /// # Errors
    /// [`SdJwtError::TooLong`], [`SdJwtError::Form`] or [`SdJwtError::Disclosure`].
    pub fn parse(text: &str) -> Result<Self, SdJwtError> {
        if text.len() > MAX_LEN {
            return Err(SdJwtError::TooLong);
        }
        let (token, rest) = text.split_once('~').ok_or(SdJwtError::Form)?;
        let (disclosures, binding) = rest.rsplit_once('~').unwrap_or(("", rest));
        let disclosures: Vec<_> = if disclosures.is_empty() && !rest.starts_with('~') {
            Vec::new()
        } else {
            disclosures.split('~').collect()
        };
        if disclosures.len() > MAX_DISCLOSURES {
            return Err(SdJwtError::TooLong);
        }
        let disclosures =
            disclosures.into_iter().map(Disclosure::read).collect::<Result<_, _>>()?;
        let binding = (!binding.is_empty()).then(|| binding.to_string());
        Ok(Self { token: token.into(), disclosures, binding })
    }

    /// The claims that this text can show.
    pub fn disclosures(&self) -> &[Disclosure] {
        &self.disclosures
    }

    /// Whether a holder signed this very choice of disclosures.
    pub const fn is_bound(&self) -> bool {
        self.binding.is_some()
    }

    /// The token and its disclosures: what a key binding covers.
    fn shown(&self) -> String {
        let mut text = self.token.clone() + "~";
        for disclosure in &self.disclosures {
            text.push_str(disclosure.as_str());
            text.push('~');
        }
        text
    }
}

impl fmt::Display for SdJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())?;
        self.binding.iter().try_for_each(|binding| f.write_str(binding))
    }
}
