//! Private keys at rest, and keys as other programs write them.
//!
//! The seam is [`KeyStore`]; [`FileKeyStore`] keeps keys in a directory, encrypted. [`pem`] reads the keys
//! that OpenSSL and its kin write. JSON Web Keys are in [`jwk`](crate::jwk).

#[cfg(feature = "keystore")]
#[cfg_attr(docsrs, doc(cfg(feature = "keystore")))]
mod file;
#[cfg(feature = "pem")]
#[cfg_attr(docsrs, doc(cfg(feature = "pem")))]
pub mod pem;

pub use depin_core::keystore::{KeyName, KeyStore};

#[cfg(feature = "keystore")]
pub use file::{Cost, FileKeyStore, Passphrase};
