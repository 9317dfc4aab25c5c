//! A place in a log to go on from.

use std::{fmt, str::FromStr};

use depin_core::{Error, ErrorKind, Result};

/// Where a consumer goes on: at a reading of a batch of the log.
///
/// As text `index` or `index.reading`, both decimal: the batch with that index, from that reading on.
/// Indices never change their meaning, so a cursor holds for as long as the log keeps the batch.
///
/// ```
/// use depin_data::subscribe::Cursor;
///
/// let cursor: Cursor = "42.7".parse()?;
/// assert_eq!((cursor.index(), cursor.reading()), (42, 7));
/// assert_eq!(Cursor::batch(42).to_string(), "42");
/// assert!("42.".parse::<Cursor>().is_err());
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    index: u64,
    reading: usize,
}

impl Cursor {
    /// The beginning of the log.
    pub const START: Self = Self::batch(0);

    /// The whole batch with this index, and all after it.
    pub const fn batch(index: u64) -> Self {
        Self { index, reading: 0 }
    }

    /// The readings from this position on of the batch with this index, and all batches after it.
    pub const fn reading_of(index: u64, reading: usize) -> Self {
        Self { index, reading }
    }

    /// Index of the batch.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Position of the reading in the batch.
    pub const fn reading(self) -> usize {
        self.reading
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reading {
            0 => write!(f, "{}", self.index),
            reading => write!(f, "{}.{reading}", self.index),
        }
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (index, reading) = text.split_once('.').unwrap_or((text, "0"));
        match (index.parse(), reading.parse()) {
            (Ok(index), Ok(reading)) => Ok(Self { index, reading }),
            _ => Err(Error::new(
                ErrorKind::Malformed,
                "a cursor is a number, or two with a dot between",
            )),
        }
    }
}
