//! Readings that a device signed together.
//!
//! Batches of one device form a chain: each holds its position and the hash of the one before, so that a
//! missing, reordered or replaced batch shows. The wire format belongs to `depin-data`.

use alloc::vec::Vec;
use core::fmt;

use alloy_primitives::{B256, Bytes};
use sha2::{Digest, Sha256};

use crate::{Did, Reading, Sequence};

/// The content of a batch. Trust it only as [`Verified<Batch>`](crate::Verified).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Hash of the signed bytes; names the batch everywhere.
    pub hash: B256,
    /// Who measured and signed.
    pub device: Did,
    /// Position in the device's chain, from 0.
    pub sequence: Sequence,
    /// Hash of the device's previous batch, zero for the first.
    pub previous: B256,
    /// RFC 9162 root over the readings.
    pub root: B256,
    /// The readings, in the order signed.
    pub readings: Vec<Reading>,
    /// Where the salts of the readings' leaves come from, if they have any.
    pub salt_seed: Option<[u8; 16]>,
    /// Readings that one reader alone can open (HPKE), signed with the rest. Nothing is checked of them and
    /// nothing is paid for them.
    pub sealed: Option<Vec<u8>>,
}

/// The signed bytes of a batch, exactly as the device made them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SignedBatch {
    hash: B256,
    bytes: Bytes,
}

impl SignedBatch {
    /// Wraps bytes from a device and hashes them, once for all who ask; whether they are a batch is
    /// decided by verification.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { hash: B256::new(Sha256::digest(&bytes).into()), bytes }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes: the name of the batch.
    pub const fn hash(&self) -> B256 {
        self.hash
    }
}

impl fmt::Debug for SignedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedBatch({}, {} bytes)", self.hash, self.bytes.len())
    }
}
