//! Bundles: one file with everything that decided an epoch, for strangers to audit without a server.
//!
//! A bundle holds the [record](crate::epoch::EpochRecord) of an epoch, every signed batch that it counts, and
//! what each account had earned before. With it, the rules by their code and the two commitments on chain
//! (of this epoch and the one before), everybody comes to the same scores, shares and root, or to the first
//! difference. The same epoch makes the same bytes, whoever writes it, and both [`write`](write()) and
//! [`Bundle::audit`] need the memory of the record and the largest device, however many readings there are.
//!
//! # The bytes
//!
//! ```text
//! bundle   = "depin bundle v1\n" record balances* batch* end
//! frame    = length of content, u32 big-endian
//!            kind, u8
//!            content
//!            CRC-32 (ISO-HDLC) of kind and content, u32 big-endian
//! record   = frame of kind 1: the bytes of the record
//! balances = frame of kind 2: at most 4096 times [account, 20 bytes][amount, u256 big-endian], what accounts
//!            had earned before the epoch, by rising account, none zero; all but the last frame are full
//! batch    = frame of kind 3: index in the log, u64 big-endian, and the signed bytes; by the sender's place
//!            in the roster, then by index
//! end      = frame of kind 4: the number of batches, u64 big-endian; nothing follows
//! ```
//!
//! The record says where each of its devices stood before, and commits to where all others did: so a row of
//! bundles leads from the first epoch to the last, and one who recomputes it holds
//! [`Standings`](crate::epoch::Standings) against each. What an epoch ends with is not stated: it is what the
//! batches lead to, and what the next one begins with.
//!
//! The checksums find what a disk or a connection broke and say where; nobody trusts them. What a batch is,
//! its hash in the record says, and what the record is, the manifest on chain.

use depin_core::{B256, Error, ErrorKind};

use crate::epoch::EpochError;

mod folder;
mod frame;
mod read;
mod write;

pub use folder::{BundleFolder, store};
pub use read::{Bundle, claimed_epoch};
pub use write::write;

/// The first bytes of a bundle.
pub const MAGIC: &[u8; 16] = b"depin bundle v1\n";
/// Most accounts whose earnings a bundle tells.
pub const MAX_ACCOUNTS: usize = 1 << 22;

/// Why a file is no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// It begins otherwise.
    #[error("the file is not a bundle of version 1; check what was downloaded")]
    Magic,
    /// A part of it is damaged or not where it belongs.
    #[error("frame {frame} of the bundle, at byte {offset}: {fault}; download the bundle again")]
    Frame {
        /// Which one, from 0.
        frame: u64,
        /// Where it begins.
        offset: u64,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The record in it is another than was asked for.
    #[error(
        "the record in the bundle is not the one on chain: its manifest is {found}, not {expected}"
    )]
    Manifest {
        /// That of the record that was asked for, such as the one on chain.
        expected: B256,
        /// That of the record in the bundle.
        found: B256,
    },
    /// The record in it is none.
    #[error(transparent)]
    Record(#[from] EpochError),
    /// The file could not be read.
    #[error("the bundle cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        let kind = match error {
            BundleError::Record(error) => return error.into(),
            BundleError::Io(_) => ErrorKind::Unavailable,
            BundleError::Manifest { .. } => ErrorKind::Corrupt,
            _ => ErrorKind::Malformed,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}
