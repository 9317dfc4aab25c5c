//! Fixed-point measurements.
//!
//! A reading is a decimal (mantissa and power of ten), never a float: the same batch then scores the
//! same on every machine and inside a circuit.

use alloc::string::{String, ToString};
use core::{cmp::Ordering, fmt};

use crate::error::{Error, ErrorKind};

/// `mantissa * 10^exponent`, normalised: no trailing zero in the mantissa, zero has exponent 0.
///
/// The exponent lies in -12..=6, so that any two values compare and subtract exactly in 128 bits.
///
/// ```
/// use depin_core::Decimal;
///
/// let a = Decimal::parse("-10.597")?;
/// assert_eq!((a.mantissa(), a.exponent()), (-10597, -3));
/// assert!(a < Decimal::from(3) && Decimal::parse("3.0")? == Decimal::from(3));
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "String", try_from = "String")
)]
pub struct Decimal {
    mantissa: i64,
    exponent: i8,
}

impl Decimal {
    /// Smallest exponent.
    pub const MIN_EXPONENT: i8 = -12;
    /// Largest exponent.
    pub const MAX_EXPONENT: i8 = 6;

    /// `mantissa * 10^exponent`, normalised.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] when the normalised exponent lies outside -12..=6.
    pub fn new(mantissa: i64, exponent: i8) -> Result<Self, Error> {
        let (mut mantissa, mut exponent) = (mantissa, i16::from(exponent));
        if mantissa == 0 {
            return Ok(Self::default());
        }
        while mantissa % 10 == 0 && exponent < i16::from(Self::MAX_EXPONENT) {
            mantissa /= 10;
            exponent += 1;
        }
        match i8::try_from(exponent) {
            Ok(e) if (Self::MIN_EXPONENT..=Self::MAX_EXPONENT).contains(&e) => {
                Ok(Self { mantissa, exponent: e })
            }
            _ => Err(Error::new(
                ErrorKind::Overflow,
                "decimal exponent outside -12..=6; round the value",
            )),
        }
    }

    /// Accepts only the normalised form, as signed bytes must hold it.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when `(mantissa, exponent)` is not normalised or out of range.
    pub fn canonical(mantissa: i64, exponent: i8) -> Result<Self, Error> {
        match Self::new(mantissa, exponent) {
            Ok(value) if (value.mantissa, value.exponent) == (mantissa, exponent) => Ok(value),
            _ => Err(Error::new(ErrorKind::Malformed, "decimal is not in normal form")),
        }
    }

    /// Parses `-12.5`, `7`, `+0.001`; no exponent notation.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for other text, [`ErrorKind::Overflow`] past 64 bits or 12 decimals.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let malformed = || Error::new(ErrorKind::Malformed, "not a decimal number such as -12.5");
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return Err(malformed()),
            Some((whole, fraction)) => (whole, fraction.trim_end_matches('0')),
            None => (unsigned, ""),
        };
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.len() > 64 {
            return Err(malformed());
        }
        let overflow = || Error::new(ErrorKind::Overflow, "decimal does not fit; round the value");
        let digits: i128 = alloc::format!("{whole}{fraction}").parse().map_err(|_| overflow())?;
        let mut mantissa = if text.starts_with('-') { -digits } else { digits };
        let mut exponent = -i8::try_from(fraction.len()).map_err(|_| overflow())?;
        // The zeros that large exponents are written with do not fit 64 bits.
        while mantissa != 0 && mantissa % 10 == 0 && exponent < Self::MAX_EXPONENT {
            mantissa /= 10;
            exponent += 1;
        }
        Self::new(i64::try_from(mantissa).map_err(|_| overflow())?, exponent)
    }

    /// The digits.
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// The power of ten.
    pub const fn exponent(self) -> i8 {
        self.exponent
    }

    /// `|self - other|`, exact, in units of 10^-12.
    pub fn abs_diff(self, other: Self) -> u128 {
        self.scaled().abs_diff(other.scaled())
    }

    /// The value in units of 10^-12: at most 2^63 * 10^18, which fits.
    pub fn scaled(self) -> i128 {
        let shift = i16::from(self.exponent) - i16::from(Self::MIN_EXPONENT);
        i128::from(self.mantissa) * 10i128.pow(u32::from(shift.unsigned_abs()))
    }
}

impl From<i32> for Decimal {
    fn from(value: i32) -> Self {
        // A 32-bit mantissa loses at most six zeros, which the exponent range holds.
        Self::new(i64::from(value), 0).unwrap_or_default()
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.scaled().cmp(&other.scaled())
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = self.mantissa.unsigned_abs().to_string();
        let places = usize::from(self.exponent.unsigned_abs());
        let text = if self.exponent >= 0 {
            alloc::format!("{sign}{digits}{}", "0".repeat(places))
        } else {
            let padded = alloc::format!("{digits:0>width$}", width = places + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places);
            alloc::format!("{sign}{whole}.{fraction}")
        };
        f.pad(&text)
    }
}

impl From<Decimal> for String {
    fn from(value: Decimal) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for Decimal {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_notations_are_refused() {
        for bad in ["", "-", ".", "1.", ".1", "1e3", "NaN", "1,5", "--1", "0x1", "1.2.3"] {
            assert!(Decimal::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_ends_of_the_range_survive_text() {
        for mantissa in [i64::MIN, i64::MAX] {
            for exponent in [Decimal::MIN_EXPONENT, 0, Decimal::MAX_EXPONENT] {
                let value = Decimal::new(mantissa, exponent).unwrap();
                assert_eq!(Decimal::parse(&value.to_string()).unwrap(), value);
            }
        }
        assert!(Decimal::parse("9223372036854775808").is_err());
        assert!(Decimal::parse("0.0000000000001").is_err());
    }

    #[test]
    fn only_the_normal_form_is_canonical() {
        assert!(Decimal::canonical(10, 0).is_err());
        assert!(Decimal::canonical(0, 1).is_err());
        assert!(Decimal::canonical(1, 1).is_ok());
        assert!(Decimal::canonical(1, -13).is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(mantissa: i64, exponent in -12i8..=6) {
            if let Ok(value) = Decimal::new(mantissa, exponent) {
                prop_assert_eq!(Decimal::parse(&value.to_string()).unwrap(), value);
            }
        }

        #[test]
        fn order_agrees_with_scaled_integers(a: i32, b: i32, e in -6i8..=0, f in -6i8..=0) {
            let (x, y) = (Decimal::new(a.into(), e).unwrap(), Decimal::new(b.into(), f).unwrap());
            let scale = |v: i32, e: i8| i64::from(v) * 10i64.pow(u32::from((e + 6).unsigned_abs()));
            prop_assert_eq!(x.cmp(&y), scale(a, e).cmp(&scale(b, f)));
        }
    }
}
