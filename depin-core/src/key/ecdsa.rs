//! ECDSA over secp256k1 and P-256. What is a key, a signature and a high `s` is decided by the pure Rust
//! crates always; the feature `fast` changes only who computes the equation.

use alloc::vec::Vec;

use k256::ecdsa::signature::hazmat::PrehashVerifier as _;

use super::KeyError;
#[cfg(feature = "fast")]
use super::fast;

/// Which form of `s` is accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Only the lower of the two, so that a signature has one form.
    Low,
    /// Both, as JOSE and COSE allow.
    Any,
}

macro_rules! verifying_key {
    ($(#[$doc:meta])* $name:ident from $krate:ident, computed by $fast:path) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub(crate) struct $name {
            key: $krate::ecdsa::VerifyingKey,
            #[cfg(feature = "fast")]
            fast: Option<$fast>,
        }

        impl $name {
            pub(super) fn from_sec1(bytes: &[u8]) -> Option<Self> {
                let key = $krate::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok()?;
                Some(Self {
                    #[cfg(feature = "fast")]
                    fast: <$fast>::new(key.to_encoded_point(false).as_bytes()),
                    key,
                })
            }

            pub(super) fn to_sec1(&self, compress: bool) -> Vec<u8> {
                self.key.to_encoded_point(compress).as_bytes().into()
            }

            pub(super) fn verify(
                &self,
                digest: &[u8; 32],
                signature: &[u8; 64],
                form: Form,
            ) -> Result<(), KeyError> {
                let signature = $krate::ecdsa::Signature::from_slice(signature)
                    .map_err(|_| KeyError::Signature)?;
                let low = signature.normalize_s();
                if low.is_some() && form == Form::Low {
                    return Err(KeyError::HighS);
                }
                let held = self.holds(digest, &low.unwrap_or(signature));
                held.then_some(()).ok_or(KeyError::Signature)
            }

            fn holds(&self, digest: &[u8; 32], signature: &$krate::ecdsa::Signature) -> bool {
                #[cfg(feature = "fast")]
                if let Some(fast) = &self.fast {
                    return fast.holds(digest, &signature.to_bytes().into());
                }
                self.key.verify_prehash(digest, signature).is_ok()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.key == other.key
            }
        }

        impl Eq for $name {}
    };
}

verifying_key! {
    /// A key of secp256k1.
    Secp256k1 from k256, computed by fast::Secp256k1
}

verifying_key! {
    /// A key of P-256.
    P256 from p256, computed by fast::P256
}
