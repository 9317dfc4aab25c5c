//! Which credentials still hold: a bit for each, in lists that their issuers publish.
//!
//! W3C Bitstring Status List 1.0 (REC, 15 May 2025), entries of one bit. A [`StatusList`] is decoded once
//! and then read by index in a few nanoseconds, so that a service can ask it for every message. Where a
//! list came from, for what it speaks and until when is the business of a [`PublishedList`]; changes
//! reach devices that were offline as signed [`delta`]s of about 200 bytes.

mod codec;
mod credential;
pub mod delta;
mod entry;
mod published;

use alloc::{boxed::Box, format, string::String, vec};

use depin_core::{Error, ErrorKind};

pub use entry::{Purpose, StatusEntry};
pub use published::{ListTerms, PublishedList, StatusLists};

/// Why a status list cannot be made, read or asked. Each names the W3C error it stands for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// Fewer than [`StatusList::MIN_ENTRIES`] or more than [`StatusList::MAX_ENTRIES`], or not whole
    /// bytes (`STATUS_LIST_LENGTH_ERROR`).
    #[error(
        "a status list has {min} to {max} entries in whole bytes",
        min = StatusList::MIN_ENTRIES,
        max = StatusList::MAX_ENTRIES
    )]
    Length,
    /// The text is not multibase base64url (`u`) of one gzip stream, or its checksum is wrong
    /// (`MALFORMED_VALUE_ERROR`).
    #[error("the encoded list is not multibase base64url of one gzip stream")]
    Encoding,
    /// The compressed data goes on after the length that it declares (`MALFORMED_VALUE_ERROR`).
    #[error("the encoded list expands to more than it declares; do not trust its issuer")]
    Bomb,
    /// The index is outside of the list (`RANGE_ERROR`).
    #[error("the status index {index} is outside of a list of {entries} entries")]
    Range {
        /// The index asked for.
        index: u64,
        /// How many entries there are.
        entries: usize,
    },
    /// A status entry or list lacks a member, or it does not follow its format
    /// (`MALFORMED_VALUE_ERROR`).
    #[error("the member {0} of the status entry or list is missing or malformed")]
    Member(&'static str),
    /// An entry of another type or purpose than this implementation can check.
    #[error("status entries of \"{0}\" are not understood; allow them by name to go on unchecked")]
    Kind(String),
    /// Entries of more than one bit, which this implementation does not read.
    #[error(
        "status entries of {0} bits are not supported; ask the issuer for a list of single bits"
    )]
    Size(u64),
    /// The list does not speak about this purpose (`STATUS_VERIFICATION_ERROR`).
    #[error("the list does not speak about {0}; ask the issuer which list does")]
    Purpose(Purpose),
    /// Nobody fetched this list (`STATUS_RETRIEVAL_ERROR`).
    #[error("the status list {0} is not at hand; fetch it and try again")]
    Missing(String),
    /// The list is too old to say anything (`STATUS_RETRIEVAL_ERROR`).
    #[error("the status list {0} is stale; fetch it again")]
    Stale(String),
    /// The list is of the future.
    #[error("the status list {0} is not valid yet; check the clock")]
    Early(String),
}

impl StatusError {
    /// Whether fetching the list again may help: what was asked is not known, rather than wrong.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Stale(_))
    }
}

impl From<StatusError> for Error {
    fn from(error: StatusError) -> Self {
        let kind = match &error {
            StatusError::Missing(_) | StatusError::Stale(_) => ErrorKind::Unavailable,
            StatusError::Length | StatusError::Bomb => ErrorKind::Limit,
            StatusError::Size(_) | StatusError::Kind(_) => ErrorKind::Unsupported,
            StatusError::Purpose(_) | StatusError::Early(_) | StatusError::Range { .. } => {
                ErrorKind::Rejected
            }
            _ => ErrorKind::Malformed,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// One bit for each credential; entry 0 is the most significant bit of the first byte.
///
/// ```
/// use depin_identity::credentials::status::{StatusError, StatusList};
///
/// let mut list = StatusList::new(1 << 20)?;
/// list.set(94_567, true)?;
/// let received = StatusList::decode(&list.encode())?;
/// assert_eq!(received.get(94_567), Some(true));
/// assert_eq!(received.get(94_568), Some(false));
/// assert_eq!(received.get(1 << 20), None);
/// # Ok::<(), StatusError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StatusList(Box<[u8]>);

impl StatusList {
    /// Fewest entries, so that an index tells little about whose it is: 16 KiB of bits.
    pub const MIN_ENTRIES: usize = 1 << 17;
    /// Most entries: 2 MiB of bits.
    pub const MAX_ENTRIES: usize = 1 << 24;

    /// A list in which nothing is set.
    ///
    /// # Errors
    /// [`StatusError::Length`] unless `entries` is a multiple of 8 within the bounds.
    pub fn new(entries: usize) -> Result<Self, StatusError> {
        if !entries.is_multiple_of(8) {
            return Err(StatusError::Length);
        }
        // The bounds come before the allocation.
        check_bytes(entries / 8)?;
        Ok(Self(vec![0; entries / 8].into()))
    }

    /// A list from its bits.
    fn from_bytes(bytes: Box<[u8]>) -> Result<Self, StatusError> {
        check_bytes(bytes.len())?;
        Ok(Self(bytes))
    }

    /// Whether the entry is set, or `None` outside of the list.
    #[inline]
    pub fn get(&self, index: usize) -> Option<bool> {
        self.0.get(index >> 3).map(|byte| byte & mask(index) != 0)
    }

    /// Sets or clears an entry; gives what it was.
    ///
    /// # Errors
    /// [`StatusError::Range`] outside of the list.
    pub fn set(&mut self, index: usize, value: bool) -> Result<bool, StatusError> {
        let out_of_range = StatusError::Range { index: index as u64, entries: self.entries() };
        let byte = self.0.get_mut(index >> 3).ok_or(out_of_range)?;
        let was = *byte & mask(index) != 0;
        *byte = if value { *byte | mask(index) } else { *byte & !mask(index) };
        Ok(was)
    }

    /// How many entries there are.
    pub const fn entries(&self) -> usize {
        self.0.len() * 8
    }

    /// The entries that are set, in order.
    pub fn indices(&self) -> impl Iterator<Item = usize> {
        let bits = |(at, byte): (usize, &u8)| {
            let byte = *byte;
            (0..8).filter(move |bit| byte & (0x80 >> bit) != 0).map(move |bit| at * 8 + bit)
        };
        self.0.iter().enumerate().filter(|(_, byte)| **byte != 0).flat_map(bits)
    }

    /// The text that `encodedList` carries: `u`, base64url, gzip at its highest level without a time.
    /// The same list gives the same text as long as the compressor does not change.
    pub fn encode(&self) -> String {
        codec::encode(&self.0)
    }

    /// Reads what [`encode`](Self::encode) or another implementation wrote.
    ///
    /// Reading stops at the length that the stream declares, and that is at most
    /// [`MAX_ENTRIES`](Self::MAX_ENTRIES) bits: a bomb costs no more memory than a list.
    ///
    /// # Errors
    /// [`StatusError::Encoding`], [`StatusError::Length`] or [`StatusError::Bomb`].
    pub fn decode(text: &str) -> Result<Self, StatusError> {
        codec::decode(text).and_then(Self::from_bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for StatusList {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "StatusList({} of {} set)", self.indices().count(), self.entries())
    }
}

const fn mask(index: usize) -> u8 {
    0x80 >> (index & 7)
}

fn check_bytes(bytes: usize) -> Result<(), StatusError> {
    let bounds = StatusList::MIN_ENTRIES / 8..=StatusList::MAX_ENTRIES / 8;
    if bounds.contains(&bytes) { Ok(()) } else { Err(StatusError::Length) }
}

/// Foreign words appear in errors, but not at any length.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}
