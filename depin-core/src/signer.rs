//! The seam to whatever holds a private key, and a key in memory.

use alloc::{boxed::Box, string::String};
use core::fmt;

use k256::ecdsa::signature::{Signer as _, hazmat::PrehashSigner as _};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::{
    error::{Error, ErrorKind, Result},
    key::{Algorithm, KeyError, PublicKey, Signature, ed25519},
};

/// Signs with one private key that it never hands out.
///
/// # Contract
/// 1. `public_key` MUST be the same for the life of the signer.
/// 2. Every signature MUST pass [`PublicKey::verify`] (so ECDSA has low `s`) for the same message.
/// 3. `sign_prehash` MUST pass [`PublicKey::verify_prehash`] or answer [`ErrorKind::Unsupported`].
/// 4. The private key MUST NOT appear in `Debug`, errors or any return value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a signer",
    note = "use `SoftwareKey` or implement `depin_core::Signer`"
)]
pub trait Signer: Send + Sync + fmt::Debug {
    /// The public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs a message with the key's algorithm, which hashes it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when hardware does not answer now.
    fn sign(&self, message: &[u8]) -> Result<Signature>;

    /// Signs a 32-byte digest as it is, which EIP-712 needs.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the key signs messages only.
    fn sign_prehash(&self, digest: &[u8; 32]) -> Result<Signature>;
}

/// A private key in memory: for simulated devices, servers and tests.
///
/// Wiped when dropped, and never printed. A real device keeps its key in hardware behind [`Signer`].
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey};
///
/// let key = SoftwareKey::generate(Algorithm::Es256k, &mut rand::thread_rng());
/// let signature = key.sign(b"reading")?;
/// assert!(key.public_key().verify(b"reading", &signature).is_ok());
/// assert!(!format!("{key:?}").contains("secret"));
/// # Ok::<(), depin_core::Error>(())
/// ```
pub struct SoftwareKey {
    public: PublicKey,
    secret: Secret,
}

enum Secret {
    Secp256k1(k256::ecdsa::SigningKey),
    P256(p256::ecdsa::SigningKey),
    Ed25519(Box<ed25519::SigningKey>),
}

impl SoftwareKey {
    /// A fresh key.
    pub fn generate(algorithm: Algorithm, rng: &mut impl CryptoRngCore) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self::from_seed(algorithm, *seed)
    }

    /// The key that follows from 32 secret bytes. ECDSA scalars out of range (one seed in 2^32 for
    /// P-256, in 2^127 for secp256k1) are hashed until they fit.
    pub fn from_seed(algorithm: Algorithm, seed: [u8; 32]) -> Self {
        let mut seed = Zeroizing::new(seed);
        loop {
            if let Ok(key) = Self::from_bytes(algorithm, &seed) {
                return key;
            }
            *seed = alloy_primitives::keccak256(*seed).0;
        }
    }

    /// From the 32 bytes of a private key.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when they are no scalar of the curve.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8; 32]) -> Result<Self> {
        let bad =
            |_| Error::new(ErrorKind::Malformed, "the bytes are no private key of this curve");
        let secret = match algorithm {
            Algorithm::Es256k => {
                k256::ecdsa::SigningKey::from_slice(bytes).map(Secret::Secp256k1).map_err(bad)?
            }
            Algorithm::Es256 => {
                p256::ecdsa::SigningKey::from_slice(bytes).map(Secret::P256).map_err(bad)?
            }
            Algorithm::EdDsa => Secret::Ed25519(Box::new(ed25519::SigningKey::from_seed(bytes))),
        };
        let public = match &secret {
            Secret::Secp256k1(key) => PublicKey::from_bytes(
                algorithm,
                key.verifying_key().to_encoded_point(true).as_bytes(),
            ),
            Secret::P256(key) => PublicKey::from_bytes(
                algorithm,
                key.verifying_key().to_encoded_point(true).as_bytes(),
            ),
            Secret::Ed25519(key) => PublicKey::from_bytes(algorithm, key.public()),
        }?;
        Ok(Self { public, secret })
    }
}

impl Signer for SoftwareKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Signature> {
        let bytes = match &self.secret {
            Secret::Secp256k1(key) => {
                let signature: k256::ecdsa::Signature = key.sign(message);
                signature.normalize_s().unwrap_or(signature).to_bytes().into()
            }
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.normalize_s().unwrap_or(signature).to_bytes().into()
            }
            Secret::Ed25519(key) => key.sign(message),
        };
        Ok(Signature::from_bytes(bytes))
    }

    fn sign_prehash(&self, digest: &[u8; 32]) -> Result<Signature> {
        let failed = |source: k256::ecdsa::Error| {
            Error::new(ErrorKind::Rejected, "the digest cannot be signed").with("cause", source)
        };
        let bytes = match &self.secret {
            Secret::Secp256k1(key) => {
                let signature: k256::ecdsa::Signature = key.sign_prehash(digest).map_err(failed)?;
                signature.normalize_s().unwrap_or(signature).to_bytes().into()
            }
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(digest).map_err(failed)?;
                signature.normalize_s().unwrap_or(signature).to_bytes().into()
            }
            Secret::Ed25519(_) => return Err(KeyError::Prehash.into()),
        };
        Ok(Signature::from_bytes(bytes))
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public: String = self.public.to_multikey();
        write!(f, "SoftwareKey({public})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_signs_what_its_public_key_verifies() {
        for algorithm in Algorithm::ALL {
            let key = SoftwareKey::from_seed(algorithm, [3; 32]);
            let signature = key.sign(b"m").unwrap();
            key.public_key().verify(b"m", &signature).unwrap();
            assert_eq!(key.public_key().verify(b"n", &signature), Err(KeyError::Signature));
            match key.sign_prehash(&[5; 32]) {
                Ok(signature) => key.public_key().verify_prehash(&[5; 32], &signature).unwrap(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
            }
        }
    }

    #[test]
    fn a_seed_out_of_range_still_gives_a_key() {
        for algorithm in Algorithm::ALL {
            SoftwareKey::from_seed(algorithm, [0; 32]).sign(b"m").unwrap();
            SoftwareKey::from_seed(algorithm, [0xff; 32]).sign(b"m").unwrap();
        }
    }

    #[test]
    fn high_s_is_refused_in_our_formats_and_allowed_in_jose() {
        let key = SoftwareKey::from_seed(Algorithm::Es256k, [3; 32]);
        let low = k256::ecdsa::Signature::from_slice(key.sign(b"m").unwrap().as_bytes()).unwrap();
        let (r, s) = low.split_scalars();
        let high = k256::ecdsa::Signature::from_scalars(*r, -*s).unwrap();
        let high = Signature::from_bytes(high.to_bytes().into());
        assert_eq!(key.public_key().verify(b"m", &high), Err(KeyError::HighS));
        key.public_key().verify_any_s(b"m", &high).unwrap();
    }

    #[test]
    fn a_zero_signature_is_refused() {
        for algorithm in Algorithm::ALL {
            let key = SoftwareKey::from_seed(algorithm, [3; 32]);
            assert!(key.public_key().verify(b"m", &Signature::from_bytes([0; 64])).is_err());
        }
    }
}
