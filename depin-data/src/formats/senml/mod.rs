//! Sensor Measurement Lists (RFC 8428) in JSON and CBOR.
//!
//! [`read_json`] and [`read_cbor`] resolve a pack: base fields applied, times made absolute with the moment
//! given as now, names checked. [`Pack::into_import`] then takes the numbers of one device as readings.
//! Numbers are the decimals that were written; a CBOR float is its exact value if that is a
//! [`Decimal`], else the shortest decimal that reads back as the same float (16 bits are widened to 32).
//! Times finer than a millisecond are cut off. `s` is kept in the record but is no reading, because the
//! registry has no names for units multiplied by seconds.

use depin_core::{Decimal, Error, ErrorKind, Reading, Timestamp};

use super::{Import, Leftover, Reason, quantity};

mod cbor;
mod json;
mod resolve;
mod write;

pub use write::{write_cbor, write_json};

/// Most bytes of a pack.
pub const MAX_BYTES: usize = 1 << 20;
/// Most records of a pack.
pub const MAX_RECORDS: usize = 16_384;
/// Most bytes of a name with its base name, and of a unit.
pub const MAX_NAME: usize = 256;

/// A resolved pack (RFC 8428 section 4.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pack {
    /// The records that hold a measurement.
    pub records: Vec<Record>,
    /// What was ignored as the standard demands, and numbers that are no [`Decimal`].
    pub leftovers: Vec<Leftover>,
}

/// A record without base fields or relative times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Position in the pack, from 0, counting those that only hold base fields.
    pub index: u64,
    /// The name with its base name.
    pub name: String,
    /// The unit, empty if the record has none.
    pub unit: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub value: Value,
    /// The integral over time (`s`), in the unit multiplied by seconds.
    pub sum: Option<Decimal>,
    /// Seconds within which the sensor will speak again (`ut`).
    pub update: Option<Decimal>,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the standard has these value fields, and none beside a sum"
)]
pub enum Value {
    /// `v`.
    Number(Decimal),
    /// `vs`.
    Text(String),
    /// `vb`.
    Boolean(bool),
    /// `vd`.
    Bytes(Vec<u8>),
    /// None; the record has a sum.
    Nothing,
}

/// Why a pack is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SenmlError {
    /// More than [`MAX_BYTES`] or [`MAX_RECORDS`].
    #[error("a pack has at most 1048576 bytes and 16384 records; split it")]
    Limit,
    /// Not an array of records.
    #[error("byte {at} is not as an array of records is written")]
    Syntax {
        /// Where, from 0.
        at: usize,
    },
    /// A record breaks a rule of the standard.
    #[error("record {record}: {fault}")]
    Record {
        /// Position of the record, from 0.
        record: usize,
        /// The rule.
        fault: Fault,
    },
}

/// The rule that a record breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A field has a value of the wrong type.
    #[error("field {0} has a value of another type")]
    Type(&'static str),
    /// A field stands twice.
    #[error("a field stands twice")]
    Twice,
    /// A version that is not understood, or two versions in one pack.
    #[error("the version is not 10 or 26, or differs between records")]
    Version,
    /// An unknown field whose label ends with `_`.
    #[error("an unknown field must be understood")]
    MustUnderstand,
    /// Other characters than `A-Za-z0-9-:./_`, a first one that is no letter or digit, or too long.
    #[error("a name has 1 to 256 of A-Z a-z 0-9 - : . / _ and begins with a letter or digit")]
    Name,
    /// A unit longer than [`MAX_NAME`].
    #[error("a unit has at most 256 bytes")]
    Unit,
    /// More than one value field.
    #[error("a record has one value")]
    Values,
    /// Neither a value nor a sum.
    #[error("a record needs a value or a sum")]
    NoValue,
}

impl From<SenmlError> for Error {
    fn from(error: SenmlError) -> Self {
        let kind = match &error {
            SenmlError::Limit => ErrorKind::Limit,
            SenmlError::Record { fault: Fault::Version | Fault::MustUnderstand, .. } => {
                ErrorKind::Unsupported
            }
            _ => ErrorKind::Malformed,
        };
        Self::new(kind, format!("no senml pack that can be used: {error}")).source(error)
    }
}

/// Reads `application/senml+json`. `now` is what relative times are relative to.
///
/// ```
/// use depin_core::{Decimal, Timestamp};
/// use depin_data::formats::{Reason, senml::read_json};
///
/// let pack = br#"[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1320078429,"n":"temp","u":"Cel","v":23.1},
///                 {"n":"label","vs":"Machine Room"}]"#;
/// let import = read_json(pack, Timestamp::from_secs(1_320_078_500))?
///     .into_import("urn:dev:ow:10e2073a01080063");
/// assert_eq!(import.readings[0].quantity().name(), "temp");
/// assert_eq!(import.readings[0].value(), Decimal::parse("23.1")?);
/// assert_eq!(import.leftovers[0].reason, Reason::Text);
/// # Ok::<(), depin_data::Error>(())
/// ```
///
/// # Errors
/// What the standard refuses, and what exceeds the limits.
pub fn read_json(bytes: &[u8], now: Timestamp) -> Result<Pack, SenmlError> {
    within(bytes)?;
    resolve::pack(json::records(bytes)?, now)
}

/// Reads `application/senml+cbor`. `now` is what relative times are relative to.
///
/// # Errors
/// What the standard refuses, and what exceeds the limits.
pub fn read_cbor(bytes: &[u8], now: Timestamp) -> Result<Pack, SenmlError> {
    within(bytes)?;
    resolve::pack(cbor::Records::new(bytes)?, now)
}

const fn within(bytes: &[u8]) -> Result<(), SenmlError> {
    if bytes.len() > MAX_BYTES { Err(SenmlError::Limit) } else { Ok(()) }
}

impl Pack {
    /// The numbers of `device` as readings; everything else is left over.
    ///
    /// A record belongs to the device if its name is the device's, or goes on after it with one of
    /// `: . / - _`; the rest of the name is the quantity's. A record with no more than the device's name is
    /// named by its unit.
    pub fn into_import(self, device: &str) -> Import {
        let mut import = Import { readings: Vec::new(), leftovers: self.leftovers };
        for record in self.records {
            let (index, name) = (record.index, record.name.clone());
            let sum = record.sum.map(|sum| sum.to_string());
            match record.into_reading(device) {
                Ok(reading) => import.readings.push(reading),
                Err((Reason::Sum, _)) => {}
                Err((reason, value)) => {
                    import.leftovers.push(Leftover::new(index, &name, &value, reason));
                }
            }
            if let Some(sum) = sum {
                import.leftovers.push(Leftover::new(index, &name, &sum, Reason::Sum));
            }
        }
        import.leftovers.sort_by_key(|leftover| leftover.record);
        import
    }
}

impl Record {
    fn into_reading(self, device: &str) -> Fit<Reading> {
        let value = match self.value {
            Value::Number(value) => value,
            Value::Text(text) => return Err((Reason::Text, text)),
            Value::Boolean(value) => return Err((Reason::Boolean, value.to_string())),
            Value::Bytes(bytes) => return Err((Reason::Bytes, format!("{} bytes", bytes.len()))),
            Value::Nothing => return Err((Reason::Sum, String::new())),
        };
        let ours = own_name(&self.name, device)
            .map(|rest| if rest.is_empty() { &self.unit } else { rest });
        let quantity = ours.ok_or(Reason::OtherDevice).and_then(|name| quantity(name, &self.unit));
        match quantity {
            Ok(quantity) => Ok(Reading::new(quantity, value, self.at)),
            Err(reason) => Err((reason, value.to_string())),
        }
    }
}

/// What follows the device's name and a separator.
fn own_name<'a>(name: &'a str, device: &str) -> Option<&'a str> {
    let rest = name.strip_prefix(device)?;
    let separated = device.ends_with(SEPARATORS) || device.is_empty() || rest.is_empty();
    if separated { Some(rest) } else { rest.strip_prefix(SEPARATORS) }
}

const SEPARATORS: [char; 5] = [':', '.', '/', '-', '_'];

/// A field as a document has it; the label is text when the standard does not know it.
struct Field {
    label: Result<Label, String>,
    value: Raw,
}

/// Something, or why it does not fit a reading and how it was written.
type Fit<T> = Result<T, (Reason, String)>;

type Number = Fit<Decimal>;

enum Raw {
    Number(Number),
    Text(String),
    Boolean(bool),
    Bytes(Vec<u8>),
    /// Something that no field of the standard has.
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    BaseVersion,
    BaseName,
    BaseTime,
    BaseUnit,
    BaseValue,
    BaseSum,
    Name,
    Unit,
    Value,
    Text,
    Boolean,
    Bytes,
    Sum,
    Time,
    Update,
}

impl Label {
    /// RFC 8428 table 4: in JSON and in CBOR.
    const ALL: [(Self, &'static str, i8); 15] = [
        (Self::BaseVersion, "bver", -1),
        (Self::BaseName, "bn", -2),
        (Self::BaseTime, "bt", -3),
        (Self::BaseUnit, "bu", -4),
        (Self::BaseValue, "bv", -5),
        (Self::BaseSum, "bs", -6),
        (Self::Name, "n", 0),
        (Self::Unit, "u", 1),
        (Self::Value, "v", 2),
        (Self::Text, "vs", 3),
        (Self::Boolean, "vb", 4),
        (Self::Sum, "s", 5),
        (Self::Time, "t", 6),
        (Self::Update, "ut", 7),
        (Self::Bytes, "vd", 8),
    ];

    fn of_text(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name, _)| *name == text).map(|(label, ..)| *label)
    }

    fn of_number(number: i128) -> Option<Self> {
        let found = Self::ALL.iter().find(|(.., label)| i128::from(*label) == number);
        found.map(|(label, ..)| *label)
    }

    fn text(self) -> &'static str {
        Self::ALL.iter().find(|(label, ..)| *label == self).map_or("", |(_, text, _)| text)
    }

    const fn is_base(self) -> bool {
        matches!(
            self,
            Self::BaseVersion
                | Self::BaseName
                | Self::BaseTime
                | Self::BaseUnit
                | Self::BaseValue
                | Self::BaseSum
        )
    }
}
