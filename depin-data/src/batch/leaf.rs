//! What stands for a reading in the tree of its batch, plain or salted.

use alloc::vec::Vec;
use core::fmt;

use depin_core::{B256, Reading};
use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};

use crate::merkle::{self, Leaves};

/// First byte of what a salt is hashed from: leaves of trees begin with 0, nodes with 1.
const DOMAIN: u8 = 2;

/// Where the salts of a batch come from, so that some of its readings can be shown and the others cannot be
/// guessed from their hashes: measured values are few, and a hash of few values hides nothing.
///
/// Each leaf has its own salt, `SHA-256(0x02 || seed || index)[..16]` with the index as eight big-endian
/// bytes, and who is shown some of them learns nothing about the others. The input always has 25 bytes, so
/// nothing can be appended to it, which is what HMAC would guard against at the price of a second hash.
///
/// Whoever holds the batch holds the seed: salts hide readings from those who are shown a part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaltSeed([u8; 16]);

impl SaltSeed {
    /// A fresh seed; every batch needs its own.
    pub fn generate(rng: &mut (impl CryptoRngCore + ?Sized)) -> Self {
        let mut seed = [0; 16];
        rng.fill_bytes(&mut seed);
        Self(seed)
    }

    /// From the bytes in a batch.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The salt of the reading at `index` of the batch.
    pub fn salt(&self, index: u64) -> [u8; 16] {
        let mut input = [DOMAIN; 25];
        let (_, rest) = input.split_at_mut(1);
        let (seed, place) = rest.split_at_mut(16);
        seed.copy_from_slice(&self.0);
        place.copy_from_slice(&index.to_be_bytes());
        let hash: [u8; 32] = Sha256::digest(input).into();
        let mut salt = [0; 16];
        salt.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        salt
    }
}

impl fmt::Debug for SaltSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltSeed(..)")
    }
}

/// The hash that stands for one reading in the tree of its batch.
///
/// ```
/// use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
/// use depin_data::{batch::leaf, merkle::leaf_hash};
///
/// let reading = Reading::new(Quantity::new("t", "Cel"), Decimal::from(3), Timestamp::from_millis(5));
/// assert_eq!(leaf(&reading), leaf_hash(b"\x85\x61t\x63Cel\x05\x03\x00"));
/// ```
pub fn leaf(reading: &Reading) -> B256 {
    let mut bytes = Vec::with_capacity(96);
    write(reading, None, &mut bytes);
    merkle::leaf_hash(&bytes)
}

/// The hash that stands for one reading in the tree of a batch with a [`SaltSeed`].
///
/// ```
/// use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
/// use depin_data::{batch::{SaltSeed, root, salted_leaf}, merkle::verify_inclusion};
///
/// let reading = |value| Reading::new(Quantity::new("t", "Cel"), Decimal::from(value), Timestamp::from_millis(5));
/// let (seed, readings) = (SaltSeed::from_bytes([7; 16]), [reading(3), reading(4)]);
/// // Shown: the second reading, its salt, and the hash of the first.
/// let [first, second] = [0, 1].map(|i| salted_leaf(&readings[i], &seed.salt(i as u64)));
/// verify_inclusion(&second, 1, 2, &[first], &root(&readings, Some(&seed)))?;
/// # Ok::<(), depin_data::merkle::MerkleError>(())
/// ```
pub fn salted_leaf(reading: &Reading, salt: &[u8; 16]) -> B256 {
    let mut bytes = Vec::with_capacity(96);
    write(reading, Some(salt), &mut bytes);
    merkle::leaf_hash(&bytes)
}

/// The root over the leaves of readings, as the batch has it.
pub fn root(readings: &[Reading], seed: Option<&SaltSeed>) -> B256 {
    let mut leaves = Leaves::new();
    let mut bytes = Vec::with_capacity(96);
    for (reading, index) in readings.iter().zip(0..) {
        bytes.clear();
        let salt = seed.map(|seed| seed.salt(index));
        write(reading, salt.as_ref(), &mut bytes);
        leaves.push(&bytes);
    }
    merkle::root(leaves.finish())
}

/// The deterministic CBOR of a leaf, written by hand: most of what a batch costs beside hashing is this.
fn write(reading: &Reading, salt: Option<&[u8; 16]>, bytes: &mut Vec<u8>) {
    let (quantity, value) = (reading.quantity(), reading.value());
    head(bytes, ARRAY, if salt.is_some() { 6 } else { 5 });
    for text in [quantity.name(), quantity.unit()] {
        head(bytes, TEXT, text.len() as u64);
        bytes.extend_from_slice(text.as_bytes());
    }
    head(bytes, UNSIGNED, reading.at().millis());
    integer(bytes, value.mantissa());
    integer(bytes, value.exponent().into());
    if let Some(salt) = salt {
        head(bytes, BYTES, salt.len() as u64);
        bytes.extend_from_slice(salt);
    }
}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;

#[inline(always)]
fn integer(bytes: &mut Vec<u8>, value: i64) {
    // What is written for a negative number is -1 - value, which is its complement.
    match u64::try_from(value) {
        Ok(value) => head(bytes, UNSIGNED, value),
        Err(_) => head(bytes, NEGATIVE, (!value).cast_unsigned()),
    }
}

/// The head of an item, in its shortest form.
#[inline(always)]
fn head(bytes: &mut Vec<u8>, kind: u8, argument: u64) {
    let [a, b, c, d, e, f, g, h] = argument.to_be_bytes();
    match argument {
        0..=23 => bytes.push(kind | h),
        24..=0xff => bytes.extend_from_slice(&[kind | 24, h]),
        0x100..=0xffff => bytes.extend_from_slice(&[kind | 25, g, h]),
        0x1_0000..=0xffff_ffff => bytes.extend_from_slice(&[kind | 26, e, f, g, h]),
        _ => bytes.extend_from_slice(&[kind | 27, a, b, c, d, e, f, g, h]),
    }
}

#[cfg(test)]
mod tests {
    use depin_core::{Decimal, Timestamp, cbor::Encoder, reading::Quantity};
    use proptest::prelude::*;

    use super::*;

    fn encoded(reading: &Reading, salt: Option<&[u8; 16]>) -> Vec<u8> {
        let (quantity, value, mut bytes) = (reading.quantity(), reading.value(), Vec::new());
        Encoder::new(&mut bytes)
            .array(5 + u64::from(salt.is_some()))
            .and_then(|e| e.str(quantity.name())?.str(quantity.unit()))
            .and_then(|e| e.u64(reading.at().millis())?.i64(value.mantissa())?.i8(value.exponent()))
            .and_then(|e| salt.iter().try_fold(e, |e, salt| e.bytes(*salt)))
            .expect("vectors take everything");
        bytes
    }

    fn agree(name: &str, unit: &str, value: Decimal, millis: u64, salt: Option<[u8; 16]>) {
        let at = Timestamp::from_millis(millis);
        let reading = Reading::new(Quantity::new(name, unit), value, at);
        let mut bytes = Vec::new();
        write(&reading, salt.as_ref(), &mut bytes);
        assert_eq!(bytes, encoded(&reading, salt.as_ref()));
    }

    #[test]
    fn leaves_are_what_the_encoder_writes_where_heads_grow() {
        let edges = [0, 23, 24, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000];
        for edge in edges.into_iter().chain([i64::MAX as u64, u64::MAX]) {
            for mantissa in [edge.cast_signed(), !edge.cast_signed()] {
                let value = Decimal::new(mantissa, 0).expect("a mantissa");
                agree("t", "Cel", value, edge, None);
            }
        }
        for length in [0, 23, 24, 255, 256, 70_000] {
            agree(&"n".repeat(length), "", Decimal::from(1), 5, Some([length as u8; 16]));
        }
    }

    proptest! {
        #[test]
        fn leaves_are_what_the_encoder_writes(
            name in ".{0,32}", unit in ".{0,32}", mantissa: i64, exponent in -12i8..=6,
            millis: u64, salt: Option<[u8; 16]>,
        ) {
            if let Ok(value) = Decimal::new(mantissa, exponent) {
                agree(&name, &unit, value, millis, salt);
            }
        }
    }
}
