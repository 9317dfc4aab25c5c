//! Readings from and to the formats that others speak.
//!
//! Every import gives two lists: the readings, and what could not become one, with its place and reason.
//! Nothing is dropped in silence and nothing passes through a binary float: a value is the decimal that
//! was written. Imports are bounded in bytes, rows and text lengths, and refuse a whole document only when
//! its own standard says so.

use depin_core::Reading;
#[cfg(feature = "formats")]
use depin_core::reading::Quantity;

#[cfg(feature = "formats")]
#[cfg_attr(docsrs, doc(cfg(feature = "formats")))]
pub mod csv;
#[cfg(feature = "formats")]
mod number;
#[cfg(feature = "parquet")]
#[cfg_attr(docsrs, doc(cfg(feature = "parquet")))]
pub mod parquet;
#[cfg(feature = "formats")]
#[cfg_attr(docsrs, doc(cfg(feature = "formats")))]
pub mod pebble;
#[cfg(feature = "formats")]
#[cfg_attr(docsrs, doc(cfg(feature = "formats")))]
pub mod senml;

/// What an import found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// The readings, in the order of the document.
    pub readings: Vec<Reading>,
    /// What could not become a reading, in the order of the document.
    pub leftovers: Vec<Leftover>,
}

/// Something in a document that could not become a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Position of the record or row in the document, from 0; a header is not counted.
    pub record: u64,
    /// Name of the field, column or measurement.
    pub field: String,
    /// The value as it stood there, cut after [`MAX_VALUE`](Self::MAX_VALUE) characters.
    pub value: String,
    /// Why it is no reading.
    pub reason: Reason,
}

impl Leftover {
    /// Most characters of a value that are kept.
    pub const MAX_VALUE: usize = 64;

    #[cfg(feature = "formats")]
    fn new(record: u64, field: &str, value: &str, reason: Reason) -> Self {
        let clip = |text: &str| text.chars().take(Self::MAX_VALUE).collect();
        Self { record, field: clip(field), value: clip(value), reason }
    }
}

/// Why something is no reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Empty, `NaN` or a value that stands for none.
    #[error("no value was measured")]
    Missing,
    /// Not a decimal number.
    #[error("not a decimal number")]
    NotANumber,
    /// A decimal that does not fit a [`Decimal`](depin_core::Decimal).
    #[error("needs more than 12 decimals or 64 bits of digits; round it")]
    Unrepresentable,
    /// A text.
    #[error("a text is no reading")]
    Text,
    /// A boolean.
    #[error("a boolean is no reading")]
    Boolean,
    /// Bytes.
    #[error("bytes are no reading")]
    Bytes,
    /// An integral over time, whose unit no registry names.
    #[error("a sum over time is no reading")]
    Sum,
    /// The time is missing, unreadable, or outside the years that a timestamp has.
    #[error("the time is missing, unreadable, before 1970 or too far in the future")]
    Time,
    /// It belongs to another device.
    #[error("the name is not one of this device's")]
    OtherDevice,
    /// Name or unit cannot stand in a batch.
    #[error("a quantity has a name of 1 to 32 bytes, a unit of at most 32, no control characters")]
    Quantity,
    /// A field that this format does not define and that may be ignored.
    #[error("a field that is not known")]
    UnknownField,
    /// The row has more or fewer fields than the header.
    #[error("the row has another number of fields than the header")]
    Fields,
}

/// A quantity that a batch can carry.
#[cfg(feature = "formats")]
fn quantity(name: &str, unit: &str) -> Result<Quantity, Reason> {
    let fits = |text: &str| text.len() <= Quantity::MAX_LEN && !text.chars().any(char::is_control);
    let good = !name.is_empty() && fits(name) && fits(unit);
    good.then(|| Quantity::new(name, unit)).ok_or(Reason::Quantity)
}
