//! The one error that every seam returns.
//!
//! Modules of different teams meet at the seams, so they share one opaque error: a kind to branch on,
//! whether a retry can help, a sentence that names the remedy, context for logs, and the cause. Parsers
//! of outside bytes return small enums of their own, which convert into it.

use alloc::{borrow::Cow, boxed::Box, string::String, vec::Vec};
use core::{fmt, time::Duration};

/// What every fallible seam returns.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// The cause of an [`Error`], kept as it came.
pub type Source = Box<dyn core::error::Error + Send + Sync + 'static>;

/// What went wrong, coarse enough to branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Outside bytes or text do not follow their format.
    Malformed,
    /// Well formed, but a rule or signature check says no.
    Rejected,
    /// The named thing does not exist.
    NotFound,
    /// It exists already, or changed under the caller.
    Conflict,
    /// A size, count, depth or time bound was exceeded.
    Limit,
    /// The other side does not answer now; the same call may succeed later.
    Unavailable,
    /// This implementation cannot do it.
    Unsupported,
    /// A builder or option is missing or contradicts another.
    Config,
    /// Stored data is damaged.
    Corrupt,
    /// A number does not fit its type.
    Overflow,
}

impl ErrorKind {
    /// The stable lower-case name, as it appears in logs and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Rejected => "rejected",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Limit => "limit",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
            Self::Config => "config",
            Self::Corrupt => "corrupt",
            Self::Overflow => "overflow",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The opaque error of every seam.
///
/// ```
/// use depin_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Rejected, "evidence expired; attest again")
///     .with("did", "did:example:123");
/// assert_eq!(error.kind(), ErrorKind::Rejected);
/// assert!(!error.is_retryable());
/// assert_eq!(error.to_string(), "evidence expired; attest again (did: did:example:123)");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind` with a lower-case sentence that names the thing and the remedy.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// An [`ErrorKind::Unavailable`] error: the same call may succeed later.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Adds a context pair for logs and people.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, alloc::format!("{value}")));
        self
    }

    /// Says how long to wait before the same call makes sense again.
    #[must_use]
    pub fn retry_in(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable)
    }

    /// How long to wait before the same call makes sense again, where the other side said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The sentence without context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The context pairs, in the order they were added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(key, value)| (*key, value.as_str()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (i, (key, value)) in self.0.context.iter().enumerate() {
            f.write_str(if i == 0 { " (" } else { ", " })?;
            write!(f, "{key}: {value}")?;
        }
        if self.0.context.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.0.kind)?;
        let mut source = core::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, "\n  caused by: {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as _)
    }
}
