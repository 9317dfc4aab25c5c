//! A span of time in which a statement counts.

use core::fmt;

use depin_core::{Error, ErrorKind, Result, Timestamp};

/// From a first moment on, and no longer at a last one.
///
/// ```
/// use depin_core::Timestamp;
/// use depin_identity::Period;
///
/// let year = Period::new(Timestamp::from_secs(0), Timestamp::from_secs(31_536_000))?;
/// assert!(year.contains(Timestamp::EPOCH));
/// assert!(!year.contains(year.until()));
/// assert!(Period::ALWAYS.covers(&year));
/// assert!(Period::new(year.until(), year.from()).is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period {
    from: Timestamp,
    until: Timestamp,
}

impl Period {
    /// All of time.
    pub const ALWAYS: Self =
        Self { from: Timestamp::EPOCH, until: Timestamp::from_millis(u64::MAX) };

    /// From `from` on, and no longer at `until`.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when that is no time at all.
    pub fn new(from: Timestamp, until: Timestamp) -> Result<Self> {
        if from < until {
            return Ok(Self { from, until });
        }
        let message = "a period ends after it begins";
        Err(Error::new(ErrorKind::Malformed, message).with("from", from).with("until", until))
    }

    /// The first moment in it.
    pub const fn from(&self) -> Timestamp {
        self.from
    }

    /// The first moment after it.
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether a moment lies in it.
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.from <= moment && moment < self.until
    }

    /// Whether all of `other` lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.from <= other.from && other.until <= self.until
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.until)
    }
}
