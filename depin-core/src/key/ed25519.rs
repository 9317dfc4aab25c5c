//! Ed25519 (RFC 8032) with one rule of validity, the same for one signature and for many at once.
//!
//! A signature `(R, s)` of a message holds for a key `A` when
//! 1. `A` and `R` are canonical encodings of points (`y` below the field's prime),
//! 2. neither of them has small order: such a key or commitment binds to no message,
//! 3. `s` is below the order of the base point, so that nobody can write it in a second way, and
//! 4. `[8][s]B = [8]R + [8][k]A`, the equation of RFC 8032 section 5.1.7.
//!
//! The factor 8 is what makes the verdict of a batch the verdict of each member: points of the torsion
//! subgroup can cancel each other in a sum, and with the factor they count for nothing everywhere.
//! Chalkias, Garillot and Nikolaenko recommend it ("Taming the many EdDSAs", SSR 2020). Verifiers without
//! the factor refuse some signatures that the holder of a key crafted on purpose with a torsion
//! component; honest signers cannot meet the difference.

use curve25519_dalek::{
    EdwardsPoint, Scalar, edwards::CompressedEdwardsY, scalar::clamp_integer, traits::IsIdentity,
};
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, Zeroizing};

/// A public key: canonical and not of small order.
#[derive(Clone)]
pub(crate) struct VerifyingKey {
    bytes: [u8; 32],
    negated: EdwardsPoint,
}

impl VerifyingKey {
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        Some(Self { bytes, negated: -decode(bytes)? })
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// `-A`.
    pub(super) const fn negated(&self) -> &EdwardsPoint {
        &self.negated
    }

    /// Whether the signature holds for the message that `parts` make when joined. Allocates nothing.
    pub(crate) fn holds(&self, parts: &[&[u8]], signature: &[u8; 64]) -> bool {
        let Some(claim) = Claim::new(self, parts, signature) else { return false };
        let k = claim.challenge();
        let r = EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &self.negated, &claim.s);
        is_torsion(&(r - claim.r))
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        // The encoding is canonical, so equal points have equal bytes.
        self.bytes == other.bytes
    }
}

impl Eq for VerifyingKey {}

/// A signature that passed every rule but the equation.
pub(super) struct Claim {
    /// The commitment.
    pub(super) r: EdwardsPoint,
    /// The response.
    pub(super) s: Scalar,
    /// SHA-512 of `R`, `A` and the message.
    pub(super) digest: [u8; 64],
}

impl Claim {
    pub(super) fn new(key: &VerifyingKey, parts: &[&[u8]], signature: &[u8; 64]) -> Option<Self> {
        let (r, s) = signature.split_first_chunk::<32>()?;
        let s = Option::from(Scalar::from_canonical_bytes(s.try_into().ok()?))?;
        let digest = challenge(r, &key.bytes, parts);
        Some(Self { r: decode(*r)?, s, digest })
    }

    /// The scalar `k`.
    pub(super) fn challenge(&self) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&self.digest)
    }
}

/// Whether the cofactor takes the point to the identity.
pub(super) fn is_torsion(point: &EdwardsPoint) -> bool {
    point.mul_by_cofactor().is_identity()
}

/// A point from its canonical encoding, unless its order is small.
fn decode(bytes: [u8; 32]) -> Option<EdwardsPoint> {
    let [lowest, middle @ .., highest] = bytes;
    // The prime is 2^255 - 19. The other encodings with two forms, those of x = 0, have small order.
    let canonical =
        lowest < 0xed || middle.iter().any(|byte| *byte != 0xff) || highest & 0x7f != 0x7f;
    if !canonical {
        return None;
    }
    CompressedEdwardsY(bytes).decompress().filter(|point| !is_torsion(point))
}

/// SHA-512 of `R`, `A` and the message.
fn challenge(r: &[u8; 32], a: &[u8; 32], parts: &[&[u8]]) -> [u8; 64] {
    let hash = Sha512::new_with_prefix(r).chain_update(a);
    parts.iter().fold(hash, |hash, part| hash.chain_update(part)).finalize().into()
}

/// A private key (RFC 8032 section 5.1.5), expanded.
pub(crate) struct SigningKey {
    scalar: Scalar,
    /// The secret from which commitments follow.
    prefix: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl SigningKey {
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        let expanded = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(seed)));
        let (mut scalar, mut prefix) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        for (to, from) in scalar.iter_mut().chain(prefix.iter_mut()).zip(expanded.iter()) {
            *to = *from;
        }
        let scalar = Scalar::from_bytes_mod_order(clamp_integer(*scalar));
        let public = EdwardsPoint::mul_base(&scalar).compress().to_bytes();
        Self { scalar, prefix, public }
    }

    pub(crate) const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Signs as RFC 8032 section 5.1.6 says, without randomness.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        // Whoever learns the nonce, also before it is reduced, computes the key from the signature.
        let mut hash = Zeroizing::new([0; 64]);
        Sha512::new_with_prefix(self.prefix.as_slice())
            .chain_update(message)
            .finalize_into((&mut *hash).into());
        let nonce = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&hash));
        let r = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
        let k = Scalar::from_bytes_mod_order_wide(&challenge(&r, &self.public, &[message]));
        let s = *nonce + k * self.scalar;
        let mut signature = [0; 64];
        for (to, from) in signature.iter_mut().zip(r.iter().chain(s.as_bytes())) {
            *to = *from;
        }
        signature
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.scalar.zeroize();
    }
}
