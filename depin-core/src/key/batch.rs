//! Many signatures at once, each with the verdict it would get alone.
//!
//! Ed25519 signatures are verified as one sum over all of them, which costs about half; a sum that does
//! not vanish is halved until the bad members stand alone. ECDSA has no such sum and goes one by one.
//!
//! The sum is `Σ z·(sB − R − kA)` with a coefficient `z` of 128 bits for each signature, so that errors of
//! different signatures cannot cancel. The coefficients follow from a hash over every `k` (which is a hash
//! of `R`, `A` and the message) and `s` in it: whoever changes anything gets other coefficients, and the
//! errors vanish together with probability 2^-128 for every hash that an attacker cares to compute. That
//! is the strength of Ed25519 itself, so no source of randomness is needed, and verdicts repeat.

use alloc::vec::Vec;

use curve25519_dalek::{
    EdwardsPoint, Scalar, constants::ED25519_BASEPOINT_POINT, traits::VartimeMultiscalarMul,
};
use sha2::{Digest, Sha512};

use super::{
    Curve, KeyError, PublicKey, Signature,
    ed25519::{Claim, VerifyingKey, is_torsion},
};

/// Most signatures in one sum: more gain little, and this bounds memory.
const PIECE: usize = 256;

/// A signature to be verified.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Whose it should be.
    pub key: &'a PublicKey,
    /// What was signed.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a Signature,
}

impl Check<'_> {
    fn alone(&self) -> Result<(), KeyError> {
        self.key.verify(self.message, self.signature)
    }
}

/// Verifies all of them: the answers, in their order, are those of [`PublicKey::verify`].
///
/// A sender of bad signatures slows down whoever shares the call: one bad among 64 costs what verifying one
/// by one does, and when nearly all are bad the call takes up to three times as long.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey, key::{Check, verify_all}};
///
/// let key = SoftwareKey::from_seed(Algorithm::EdDsa, [7; 32]);
/// let signature = key.sign(b"4.9 Cel")?;
/// let check = |message| Check { key: key.public_key(), message, signature: &signature };
/// let verdicts = verify_all(&[check(b"4.9 Cel"), check(b"9.4 Cel"), check(b"4.9 Cel")]);
/// assert!(verdicts[0].is_ok() && verdicts[1].is_err() && verdicts[2].is_ok());
/// # Ok::<(), depin_core::Error>(())
/// ```
pub fn verify_all(checks: &[Check<'_>]) -> Vec<Result<(), KeyError>> {
    let mut verdicts: Vec<_> = checks
        .iter()
        .map(|check| match check.key.0 {
            // Until a sum says otherwise.
            Curve::Ed25519(_) => Err(KeyError::Signature),
            _ => check.alone(),
        })
        .collect();
    let mut claims = Vec::new();
    for (index, check) in checks.iter().enumerate() {
        let Curve::Ed25519(key) = &check.key.0 else { continue };
        let claim = Claim::new(key, &[check.message], check.signature.as_bytes());
        claims.extend(claim.map(|claim| (index, key, claim)));
    }
    // Signatures of one key side by side share its place in the sum.
    claims.sort_unstable_by_key(|(index, key, _)| (*key.as_bytes(), *index));
    for piece in claims.chunks(PIECE) {
        let terms = weigh(piece);
        judge(&terms, sum(&terms), &mut |index| {
            if let Some(verdict) = verdicts.get_mut(index) {
                *verdict = Ok(());
            }
        });
    }
    verdicts
}

/// A claim times its coefficient.
struct Term<'a> {
    index: usize,
    key: &'a VerifyingKey,
    r: EdwardsPoint,
    z: Scalar,
    zs: Scalar,
    zk: Scalar,
}

/// Gives each claim its coefficient, which depends on all of them.
fn weigh<'a>(claims: &[(usize, &'a VerifyingKey, Claim)]) -> Vec<Term<'a>> {
    let mut transcript = Sha512::new_with_prefix(b"depin ed25519 batch");
    for (_, _, claim) in claims {
        transcript.update(claim.digest);
        transcript.update(claim.s.as_bytes());
    }
    let seed = transcript.finalize();
    let weigh = |(place, (index, key, claim)): (usize, &(usize, &'a VerifyingKey, Claim))| {
        let z = coefficient(&seed, place);
        let (zs, zk) = (z * claim.s, z * claim.challenge());
        Term { index: *index, key, r: claim.r, z, zs, zk }
    };
    claims.iter().enumerate().map(weigh).collect()
}

/// 128 bits from the seed, never zero: a claim that stands alone is decided by its error and nothing else.
fn coefficient(seed: &[u8], place: usize) -> Scalar {
    let hash: [u8; 64] =
        Sha512::new_with_prefix(seed).chain_update((place as u64).to_le_bytes()).finalize().into();
    let bits = hash.first_chunk().map_or(1, |bytes| u128::from_le_bytes(*bytes));
    Scalar::from(bits.max(1))
}

/// `Σ z·(sB − R − kA)`.
fn sum(terms: &[Term<'_>]) -> EdwardsPoint {
    let mut scalars = Vec::with_capacity(2 * terms.len() + 1);
    let mut points = Vec::with_capacity(2 * terms.len() + 1);
    scalars.push(terms.iter().map(|term| term.zs).sum());
    points.push(ED25519_BASEPOINT_POINT);
    for term in terms {
        scalars.push(term.z);
        points.push(-term.r);
    }
    for of_one_key in terms.chunk_by(|a, b| a.key == b.key) {
        scalars.push(of_one_key.iter().map(|term| term.zk).sum());
        points.extend(of_one_key.first().map(|term| *term.key.negated()));
    }
    EdwardsPoint::vartime_multiscalar_mul(&scalars, &points)
}

/// Calls `hold` with the index of every claim that holds, given the sum of all.
fn judge(terms: &[Term<'_>], total: EdwardsPoint, hold: &mut impl FnMut(usize)) {
    if is_torsion(&total) {
        terms.iter().for_each(|term| hold(term.index));
    } else if terms.len() > 1 {
        let (left, right) = terms.split_at(terms.len() / 2);
        let of_left = sum(left);
        judge(left, of_left, hold);
        // What the left half does not explain is the sum of the right half.
        judge(right, total - of_left, hold);
    }
}
