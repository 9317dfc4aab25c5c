//! Positions on the globe.

use core::fmt;

use depin_core::{Decimal, Error, ErrorKind, Result};

use super::distance;

/// A place in WGS 84 degrees, in steps of 10^-7 degrees (11 mm of latitude), as GNSS receivers report it.
///
/// ```
/// use depin_core::Decimal;
/// use depin_data::geo::Position;
///
/// let garmisch = Position::of(Decimal::parse("47.4844814278")?, Decimal::parse("10.9756895620")?)?;
/// assert_eq!(garmisch.to_string(), "47.4844814, 10.9756896");
/// let munich = Position::try_new(481_371_540, 115_761_240)?;
/// assert_eq!(garmisch.distance(munich) / 1_000, 85_307);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    latitude: i32,
    longitude: i32,
}

const DEGREE: i32 = 10_000_000;

impl Position {
    /// A place by latitude and longitude in 10^-7 degrees.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the latitude lies outside -90..=90 or the longitude outside -180..=180
    /// degrees.
    pub fn try_new(latitude: i32, longitude: i32) -> Result<Self> {
        let known = latitude.unsigned_abs() <= 90 * DEGREE.unsigned_abs()
            && longitude.unsigned_abs() <= 180 * DEGREE.unsigned_abs();
        if !known {
            return Err(outside());
        }
        Ok(Self { latitude, longitude })
    }

    /// A place by latitude and longitude in degrees; rounded to 10^-7 degrees.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the latitude lies outside -90..=90 or the longitude outside -180..=180.
    pub fn of(latitude: Decimal, longitude: Decimal) -> Result<Self> {
        // A scaled decimal counts 10^-12.
        let steps = |degrees: Decimal| {
            let half = 50_000 * degrees.scaled().signum();
            i32::try_from((degrees.scaled() + half) / 100_000).map_err(|_| outside())
        };
        Self::try_new(steps(latitude)?, steps(longitude)?)
    }

    /// Latitude in 10^-7 degrees, north positive.
    pub const fn latitude(self) -> i32 {
        self.latitude
    }

    /// Longitude in 10^-7 degrees, east positive.
    pub const fn longitude(self) -> i32 {
        self.longitude
    }

    /// Great-circle distance in millimetres, on a sphere of the Earth's mean radius (6,371,008.8 m, IUGG).
    ///
    /// Integers only, so the same on every machine. The arithmetic is exact to a millimetre; the Earth's
    /// flattening, which a sphere leaves out, makes up to 0.6 % of the distance.
    pub fn distance(self, other: Self) -> u64 {
        distance::millimetres(self, other)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let degrees = |steps: i32| Decimal::new(steps.into(), -7).unwrap_or_default();
        write!(f, "{}, {}", degrees(self.latitude), degrees(self.longitude))
    }
}

fn outside() -> Error {
    Error::new(
        ErrorKind::Malformed,
        "position outside -90..=90 degrees of latitude and -180..=180 of longitude",
    )
}
