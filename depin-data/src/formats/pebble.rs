//! What IoTeX's Pebble Tracker sends: protobuf packages of one sample each.
//!
//! The scales are those of the device's firmware and its server. The server reads the unsigned fields as
//! signed ones and lets every missing field be zero; here each field keeps its sign and a missing one
//! gives no reading. Pressure leaves the device in hundredths of a hectopascal, which are pascals.
//!
//! # The signature inside
//!
//! A package has a `signature` of its own. Pebble's server stores it and never verifies it, and no published
//! text says which bytes it covers, so it is handed on as bytes in [`Sample::signature`] and proves nothing
//! here. What is verified on Pebble's way is the signature over the request around the package; to have
//! its readings count in this SDK, a gateway that has checked that signs them in a batch of its own.

use depin_core::{Error, ErrorKind, Reading, Timestamp};
use prost::Message;

use super::{Import, Leftover, Reason, number, quantity};

/// Most bytes of a package.
pub const MAX_BYTES: usize = 4096;
/// Most values of one motion sensor; the device sends three.
pub const MAX_AXES: usize = 3;

/// A sample with the time and the unverified signature that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When the device packed it, in whole seconds.
    pub at: Timestamp,
    /// Bytes that nobody has verified; see the [module](self).
    pub signature: Vec<u8>,
    /// The readings.
    pub import: Import,
}

/// Why a package is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PebbleError {
    /// More than [`MAX_BYTES`].
    #[error("a package has at most 4096 bytes")]
    Bytes,
    /// Not protobuf, or not of these messages.
    #[error("the bytes are not a pebble package")]
    Malformed,
    /// A field that every package has is missing.
    #[error("the package lacks its {0}")]
    Lacks(&'static str),
    /// A configuration or a state, which holds no measurement.
    #[error("the package is a {0}, not a sample")]
    NoSample(&'static str),
    /// More than [`MAX_AXES`] values of a motion sensor.
    #[error("a motion sensor has three axes")]
    Axes,
}

impl From<PebbleError> for Error {
    fn from(error: PebbleError) -> Self {
        let kind = match error {
            PebbleError::Bytes | PebbleError::Axes => ErrorKind::Limit,
            PebbleError::NoSample(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Malformed,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// The package around every message. The schema requires all four; the decoder alone would not.
#[derive(Clone, PartialEq, Message)]
struct BinPackage {
    #[prost(int32, optional, tag = "1")]
    kind: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    data: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "3")]
    timestamp: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    signature: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct SensorData {
    #[prost(uint32, optional, tag = "1")]
    snr: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    vbat: Option<u32>,
    #[prost(sint32, optional, tag = "3")]
    latitude: Option<i32>,
    #[prost(sint32, optional, tag = "4")]
    longitude: Option<i32>,
    #[prost(uint32, optional, tag = "5")]
    gas_resistance: Option<u32>,
    #[prost(sint32, optional, tag = "6")]
    temperature: Option<i32>,
    #[prost(uint32, optional, tag = "7")]
    pressure: Option<u32>,
    #[prost(uint32, optional, tag = "8")]
    humidity: Option<u32>,
    #[prost(uint32, optional, tag = "9")]
    light: Option<u32>,
    #[prost(uint32, optional, tag = "10")]
    temperature2: Option<u32>,
    #[prost(sint32, repeated, packed = "false", tag = "11")]
    gyroscope: Vec<i32>,
    #[prost(sint32, repeated, packed = "false", tag = "12")]
    accelerometer: Vec<i32>,
    #[prost(string, optional, tag = "13")]
    random: Option<String>,
}

/// Reads a `BinPackage` that holds a `SensorData`.
///
/// | field | reading |
/// |---|---|
/// | snr | `signal` in `/100`: 25 below 700, 100 above 2700, between them `(raw - 700) * 0.0375 + 25` |
/// | vbat | `battery` in `%EL`: `(raw - 320) / 90`, to one decimal; 100 from 410, 0.1 below 329, as its server has it |
/// | latitude, longitude | `latitude`, `longitude` in `lat`, `lon`: raw * 10^-7; 200 degrees stand for no fix |
/// | gasResistance | `gas-resistance` in `Ohm`: raw / 100 |
/// | temperature, temperature2 | `temperature`, `temperature2` in `Cel`: raw / 100; the second cannot be below zero |
/// | pressure | `pressure` in `Pa`: raw |
/// | humidity | `humidity` in `%RH`: raw / 100 |
/// | light | `light` in `lx`: raw / 100 |
/// | gyroscope, accelerometer | `gyroscope-x` to `accelerometer-z`: raw counts, no unit |
/// | random | a leftover |
///
/// ```
/// use depin_core::{Decimal, Timestamp};
/// use depin_data::formats::pebble;
///
/// // type 0, data (temperature -10.50), timestamp 1700000000, signature of one byte
/// let bytes = b"\x08\x00\x12\x03\x30\xb3\x10\x18\x80\xe2\xcf\xaa\x06\x22\x01\x00";
/// let sample = pebble::read(bytes)?;
/// assert_eq!(sample.at, Timestamp::from_secs(1_700_000_000));
/// assert_eq!(sample.import.readings[0].value(), Decimal::parse("-10.5")?);
/// # Ok::<(), depin_data::Error>(())
/// ```
///
/// # Errors
/// Any [`PebbleError`].
pub fn read(bytes: &[u8]) -> Result<Sample, PebbleError> {
    if bytes.len() > MAX_BYTES {
        return Err(PebbleError::Bytes);
    }
    let package = BinPackage::decode(bytes).map_err(|_| PebbleError::Malformed)?;
    match package.kind.ok_or(PebbleError::Lacks("type"))? {
        0 => {}
        1 => return Err(PebbleError::NoSample("configuration")),
        2 => return Err(PebbleError::NoSample("state")),
        _ => return Err(PebbleError::Malformed),
    }
    let data = package.data.ok_or(PebbleError::Lacks("data"))?;
    let at = package.timestamp.ok_or(PebbleError::Lacks("timestamp"))?;
    let signature = package.signature.ok_or(PebbleError::Lacks("signature"))?;
    let data = SensorData::decode(&*data).map_err(|_| PebbleError::Malformed)?;
    if data.gyroscope.len() > MAX_AXES || data.accelerometer.len() > MAX_AXES {
        return Err(PebbleError::Axes);
    }
    let at = Timestamp::from_secs(at.into());
    Ok(Sample { at, signature, import: data.import(at) })
}

impl SensorData {
    fn import(self, at: Timestamp) -> Import {
        let mut draft = Draft { at, import: Import::default() };
        if let Some(raw) = self.snr {
            let ten_thousandths = (i64::from(raw.clamp(700, 2700)) - 700) * 375 + 250_000;
            draft.push("signal", "/100", ten_thousandths, -4);
        }
        if let Some(raw) = self.vbat {
            draft.push("battery", "%EL", battery(raw), -1);
        }
        draft.place("latitude", "lat", self.latitude);
        draft.place("longitude", "lon", self.longitude);
        draft.scaled("gas-resistance", "Ohm", self.gas_resistance.map(i64::from), -2);
        draft.scaled("temperature", "Cel", self.temperature.map(i64::from), -2);
        draft.scaled("pressure", "Pa", self.pressure.map(i64::from), 0);
        draft.scaled("humidity", "%RH", self.humidity.map(i64::from), -2);
        draft.scaled("light", "lx", self.light.map(i64::from), -2);
        draft.scaled("temperature2", "Cel", self.temperature2.map(i64::from), -2);
        for (axis, raw) in ["gyroscope-x", "gyroscope-y", "gyroscope-z"].iter().zip(self.gyroscope)
        {
            draft.push(axis, "", raw.into(), 0);
        }
        let axes = ["accelerometer-x", "accelerometer-y", "accelerometer-z"];
        for (axis, raw) in axes.iter().zip(self.accelerometer) {
            draft.push(axis, "", raw.into(), 0);
        }
        if let Some(random) = self.random {
            draft.leave("random", &random, Reason::Text);
        }
        draft.import
    }
}

/// Tenths of a percent from hundredths of a volt.
fn battery(raw: u32) -> i64 {
    let above = i64::from(raw) - 320;
    match above {
        91.. => 1000,
        ..9 => 1,
        // A multiple of ten is never halfway between two multiples of 90.
        _ => (above * 1000 + 45) / 90,
    }
}

/// The readings so far.
struct Draft {
    at: Timestamp,
    import: Import,
}

impl Draft {
    /// Degrees that the firmware sends while it has no fix.
    const NO_FIX: i32 = 2_000_000_000;

    fn push(&mut self, name: &str, unit: &str, raw: i64, exponent: i32) {
        let value = number::of(raw.into(), exponent);
        match quantity(name, unit).and_then(|quantity| Ok(Reading::new(quantity, value?, self.at)))
        {
            Ok(reading) => self.import.readings.push(reading),
            Err(reason) => self.leave(name, &raw.to_string(), reason),
        }
    }

    fn scaled(&mut self, name: &str, unit: &str, raw: Option<i64>, exponent: i32) {
        if let Some(raw) = raw {
            self.push(name, unit, raw, exponent);
        }
    }

    fn place(&mut self, name: &str, unit: &str, raw: Option<i32>) {
        match raw {
            Some(Self::NO_FIX) => self.leave(name, "200", Reason::Missing),
            raw => self.scaled(name, unit, raw.map(i64::from), -7),
        }
    }

    fn leave(&mut self, name: &str, value: &str, reason: Reason) {
        self.import.leftovers.push(Leftover::new(0, name, value, reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_battery_follows_the_servers_formula() {
        for (raw, tenths) in [
            (0, 1),
            (328, 1),
            (329, 100),
            (332, 133),
            (365, 500),
            (409, 989),
            (410, 1000),
            (u32::MAX, 1000),
        ] {
            assert_eq!(battery(raw), tenths, "{raw}");
        }
    }
}
