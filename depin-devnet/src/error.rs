//! One error type for the crate, in Rust and over JSON-RPC.
//!
//! The [`ErrorKind`] says what a caller can do; the text names the thing and the remedy. The same error
//! becomes a JSON-RPC error object with the codes nodes use.

use std::fmt;

use alloy::primitives::Bytes;

/// What went wrong, in a form to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is malformed or out of range (JSON-RPC -32602).
    Invalid,
    /// The transaction or call cannot run as given: nonce, funds, fees, gas (JSON-RPC -32000).
    Rejected,
    /// The contract reverted; [`Error::revert_data`] has what it returned (JSON-RPC 3).
    Reverted,
    /// A block, filter or snapshot is unknown (JSON-RPC -32001).
    Missing,
    /// The method does not exist here (JSON-RPC -32601).
    Unsupported,
    /// A limit of the devnet was reached (JSON-RPC -32005).
    Limit,
    /// The file system or the network of the machine failed.
    Io,
    /// A dump file is damaged or was written by another version.
    Damaged,
}

/// Why the devnet refused.
///
/// ```
/// use depin_devnet::{Devnet, ErrorKind};
///
/// let refused = Devnet::start().reorg(7).unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Invalid);
/// assert_eq!(refused.to_string(), "reorg depth 7 is more than the 0 blocks above genesis");
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    revert: Option<Bytes>,
    source: Option<std::io::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), revert: None, source: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn rejected(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Rejected, message)
    }

    pub(crate) fn damaged(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged, message)
    }

    pub(crate) fn io(message: impl Into<String>, source: std::io::Error) -> Self {
        Self { source: Some(source), ..Self::new(ErrorKind::Io, message) }
    }

    pub(crate) fn with_revert(mut self, data: Bytes) -> Self {
        self.revert = Some(data);
        self
    }

    /// What kind of failure this is.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same request can succeed later without being changed.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Io | ErrorKind::Limit)
    }

    /// What the contract returned when it reverted.
    pub const fn revert_data(&self) -> Option<&Bytes> {
        self.revert.as_ref()
    }

    /// JSON-RPC error code (EIP-1474; 3 is what nodes use for reverts).
    pub(crate) const fn code(&self) -> i64 {
        match self.kind {
            ErrorKind::Invalid => -32602,
            ErrorKind::Reverted => 3,
            ErrorKind::Missing => -32001,
            ErrorKind::Unsupported => -32601,
            ErrorKind::Limit => -32005,
            ErrorKind::Rejected | ErrorKind::Io | ErrorKind::Damaged => -32000,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
