//! The seam to whatever keeps private keys by name: a file, a TPM, a secure element.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::fmt;

use crate::{Algorithm, Error, ErrorKind, Result, Signer};

/// The name of a key in a store: 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`, not starting with `.`.
///
/// Narrow enough to be a file name and a label in every secure element.
///
/// ```
/// use depin_core::keystore::KeyName;
///
/// assert_eq!(KeyName::parse("station-7")?.as_str(), "station-7");
/// assert!(KeyName::parse("../escape").is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Box<str>);

impl KeyName {
    /// Longest name in bytes.
    pub const MAX_LEN: usize = 64;

    /// Parses a name.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] with the rule.
    pub fn parse(text: &str) -> Result<Self> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        let fits = (1..=Self::MAX_LEN).contains(&text.len()) && !text.starts_with('.');
        if fits && text.bytes().all(allowed) {
            return Ok(Self(text.into()));
        }
        let rule =
            "a key name is 1 to 64 of a-z, 0-9, '.', '_' and '-', and does not start with '.'";
        Err(Error::new(ErrorKind::Malformed, rule))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for KeyName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

/// Makes and keeps private keys that it never hands out.
///
/// # Contract
/// 1. After `generate` returned, `signer` MUST find the key, also after a restart.
/// 2. `generate` under a name in use MUST fail with [`ErrorKind::Conflict`] and keep the old key.
/// 3. The signers of one name MUST have the same public key and fulfil the contract of [`Signer`].
/// 4. A name that is not in use MUST be `None`, not an error.
/// 5. A store that cannot make keys of an algorithm MUST answer [`ErrorKind::Unsupported`].
/// 6. After `delete` returned, the key MUST be gone for good, and deleting nothing MUST be fine.
/// 7. No private key may appear in a return value, an error or `Debug`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key store",
    note = "implement `depin_core::keystore::KeyStore`"
)]
pub trait KeyStore: Send + Sync + fmt::Debug {
    /// Makes a fresh key under a new name.
    ///
    /// # Errors
    /// See the contract; [`ErrorKind::Unavailable`] when a disk or chip does not answer now.
    fn generate(&self, name: &KeyName, algorithm: Algorithm) -> Result<Arc<dyn Signer>>;

    /// The key of a name, to sign with.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when what is stored is damaged, [`ErrorKind::Unavailable`] when a disk or
    /// chip does not answer now.
    fn signer(&self, name: &KeyName) -> Result<Option<Arc<dyn Signer>>>;

    /// The names in use, in alphabetical order.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when a disk or chip does not answer now.
    fn names(&self) -> Result<Vec<KeyName>>;

    /// Destroys a key.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when a disk or chip does not answer now.
    fn delete(&self, name: &KeyName) -> Result<()>;
}
