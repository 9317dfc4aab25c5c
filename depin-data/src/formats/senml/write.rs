//! Readings as a pack: one base name and base time, then one record for each reading.

use core::fmt::Write as _;

use depin_core::{
    Decimal, Error, ErrorKind, Reading, Result, Timestamp,
    cbor::{Encoder, Tag, encode},
    reading::Quantity,
};

use super::{MAX_RECORDS, SEPARATORS};
use crate::{formats::number, units::Unit};

/// Times below 2^28 seconds would be read as relative.
const EARLIEST: Timestamp = Timestamp::from_secs(1 << 28);

/// Writes `application/senml+json`, which [`read_json`](super::read_json) reads back the same.
///
/// The names are `device`, a colon unless it ends with a separator, and the quantity's. Units of RFC 8798's
/// secondary registry make it a pack of version 26, as RFC 9100 demands.
///
/// ```
/// use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};
/// use depin_data::formats::senml::{read_json, write_json};
///
/// let at = Timestamp::from_millis(1_320_078_429_500);
/// let readings = [Reading::new(Quantity::new("temp", "Cel"), Decimal::parse("23.1")?, at)];
/// let text = write_json("urn:dev:ow:10e2073a01080063", &readings)?;
/// assert_eq!(
///     text,
///     r#"[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1320078429.5,"n":"temp","u":"Cel","v":23.1}]"#
/// );
/// let pack = read_json(text.as_bytes(), Timestamp::EPOCH)?;
/// assert_eq!(pack.into_import("urn:dev:ow:10e2073a01080063").readings, readings);
/// # Ok::<(), depin_data::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Malformed`] for a name that SenML does not allow or a time before July 1978,
/// [`ErrorKind::Limit`] for more readings than a pack takes.
pub fn write_json(device: &str, readings: &[Reading]) -> Result<String> {
    let head = Head::of(device, readings)?;
    let mut text = String::from("[");
    for (position, reading) in readings.iter().enumerate() {
        text.push_str(if position == 0 { "{" } else { ",{" });
        if position == 0 {
            let version = head.version.map(|version| format!("\"bver\":{version},"));
            let (name, time, version) = (&head.name, head.time, version.unwrap_or_default());
            let _ = write!(text, "\"bn\":\"{name}\",\"bt\":{time},{version}");
        }
        let quantity = reading.quantity();
        let _ = write!(text, "\"n\":\"{}\",", quantity.name());
        if !quantity.unit().is_empty() {
            let _ = write!(text, "\"u\":\"{}\",", escaped(quantity.unit()));
        }
        let offset = head.offset(reading)?;
        if offset != Decimal::default() {
            let _ = write!(text, "\"t\":{offset},");
        }
        let _ = write!(text, "\"v\":{}}}", reading.value());
    }
    text.push(']');
    Ok(text)
}

/// Writes `application/senml+cbor` in deterministic CBOR, with decimal fractions for what is no integer.
///
/// Names and versions as in [`write_json`].
///
/// # Errors
/// As [`write_json`].
pub fn write_cbor(device: &str, readings: &[Reading]) -> Result<Vec<u8>> {
    let head = Head::of(device, readings)?;
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    let full = |_| Error::new(ErrorKind::Limit, "the readings cannot be encoded");
    encoder.array(readings.len() as u64).map_err(full)?;
    for (position, reading) in readings.iter().enumerate() {
        let offset = head.offset(reading)?;
        let head = (position == 0).then_some(&head);
        record(&mut encoder, head, reading, offset).map_err(full)?;
    }
    Ok(bytes)
}

type Written = Result<(), encode::Error<core::convert::Infallible>>;

fn record(
    encoder: &mut Encoder<&mut Vec<u8>>,
    head: Option<&Head>,
    reading: &Reading,
    offset: Decimal,
) -> Written {
    let quantity = reading.quantity();
    let (unit, late) = (!quantity.unit().is_empty(), offset != Decimal::default());
    let version = head.and_then(|head| head.version);
    let base = if head.is_some() { 2 + u64::from(version.is_some()) } else { 0 };
    encoder.map(2 + u64::from(unit) + u64::from(late) + base)?;
    encoder.u8(0)?.str(quantity.name())?;
    if unit {
        encoder.u8(1)?.str(quantity.unit())?;
    }
    decimal(encoder.u8(2)?, reading.value())?;
    if late {
        decimal(encoder.u8(6)?, offset)?;
    }
    if let Some(version) = version {
        encoder.i8(-1)?.u8(version)?;
    }
    if let Some(head) = head {
        encoder.i8(-2)?.str(&head.name)?;
        decimal(encoder.i8(-3)?, head.time)?;
    }
    Ok(())
}

fn decimal(encoder: &mut Encoder<&mut Vec<u8>>, value: Decimal) -> Written {
    if value.exponent() == 0 {
        encoder.i64(value.mantissa())?;
    } else {
        let fraction = encoder.tag(Tag::new(4))?.array(2)?;
        fraction.i8(value.exponent())?.i64(value.mantissa())?;
    }
    Ok(())
}

/// What the first record says for all.
struct Head {
    name: String,
    start: Timestamp,
    time: Decimal,
    version: Option<u8>,
}

impl Head {
    fn of(device: &str, readings: &[Reading]) -> Result<Self> {
        if readings.len() > MAX_RECORDS {
            return Err(Error::new(ErrorKind::Limit, "a pack has at most 16384 records; split it"));
        }
        let colon = if device.is_empty() || device.ends_with(SEPARATORS) { "" } else { ":" };
        let name = format!("{device}{colon}");
        for reading in readings {
            check(&name, reading)?;
        }
        let start = readings.first().map_or(EARLIEST, Reading::at);
        let secondary =
            |quantity: &Quantity| Unit::parse(quantity.unit()).is_ok_and(Unit::is_secondary);
        let version = readings.iter().any(|reading| secondary(reading.quantity())).then_some(26);
        Ok(Self { name, start, time: seconds(start.millis().into())?, version })
    }

    fn offset(&self, reading: &Reading) -> Result<Decimal> {
        seconds(i128::from(reading.at().millis()) - i128::from(self.start.millis()))
    }
}

fn check(base: &str, reading: &Reading) -> Result<()> {
    let name = reading.quantity().name();
    super::resolve::check_name(&format!("{base}{name}")).map_err(|fault| {
        Error::new(ErrorKind::Malformed, "senml does not allow this name")
            .with("name", name)
            .source(fault)
    })?;
    if reading.at() < EARLIEST {
        let why = "senml takes times before 1978-07-04T21:24:16Z for relative ones";
        return Err(Error::new(ErrorKind::Malformed, why).with("time", reading.at()));
    }
    Ok(())
}

fn seconds(millis: i128) -> Result<Decimal> {
    number::of(millis, -3)
        .map_err(|reason| Error::new(ErrorKind::Malformed, "a time is too far away").source(reason))
}

/// A unit inside a JSON text.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}
