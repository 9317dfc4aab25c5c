//! Units of the SenML registry and conversion between them.
//!
//! Primary units are those of RFC 8428 and RFC 8798, secondary ones those of RFC 8798, each with the exact
//! ratio and offset to its primary unit. Conversion uses integers alone: the same on every machine.

use core::fmt;

use depin_core::{Decimal, Error, ErrorKind};

mod table;

use table::{Row, UNITS};

/// A unit of the registry.
///
/// ```
/// use depin_core::Decimal;
/// use depin_data::units::{Unit, convert};
///
/// let (celsius, kelvin) = (Unit::parse("Cel")?, Unit::parse("K")?);
/// assert_eq!(convert(Decimal::parse("-10.6")?, celsius, kelvin)?, Decimal::parse("262.55")?);
///
/// let (hour, second) = (Unit::parse("km/h")?, Unit::parse("m/s")?);
/// assert_eq!(convert(Decimal::from(90), hour, second)?, Decimal::from(25));
/// assert_eq!(convert(Decimal::from(1), hour, second)?, Decimal::parse("0.277777777778")?);
///
/// assert!(convert(Decimal::from(1), celsius, second).is_err());
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Unit(&'static Row);

impl Unit {
    /// The unit with this symbol.
    ///
    /// # Errors
    /// [`UnitError::Unknown`] for a symbol that the registry does not have; case matters.
    pub fn parse(symbol: &str) -> Result<Self, UnitError> {
        UNITS.iter().find(|row| row.symbol == symbol).map(Self).ok_or(UnitError::Unknown)
    }

    /// All units that are known.
    pub fn all() -> impl Iterator<Item = Self> {
        UNITS.iter().map(Self)
    }

    /// The symbol, as a [`Quantity`](depin_core::reading::Quantity) carries it.
    pub const fn symbol(self) -> &'static str {
        self.0.symbol
    }

    /// The unit that values are converted through; a base converts to itself.
    pub const fn base(self) -> &'static str {
        self.0.base
    }

    /// Whether SenML allows the unit only in packs of version 26 (RFC 9100).
    pub const fn is_secondary(self) -> bool {
        self.0.secondary
    }
}

impl PartialEq for Unit {
    fn eq(&self, other: &Self) -> bool {
        self.0.symbol == other.0.symbol
    }
}

impl Eq for Unit {}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unit({})", self.0.symbol)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.symbol)
    }
}

/// Why a unit is not known or a value not converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// The registry has no such symbol.
    #[error("not a unit of the senml registry; symbols are like Cel, %RH, m/s")]
    Unknown,
    /// The units measure different things.
    #[error("the units measure different things")]
    Different,
    /// The converted value needs more than 64 bits of digits.
    #[error("the converted value does not fit a decimal")]
    Overflow,
}

impl From<UnitError> for Error {
    fn from(error: UnitError) -> Self {
        let kind = match error {
            UnitError::Unknown => ErrorKind::NotFound,
            UnitError::Different => ErrorKind::Config,
            UnitError::Overflow => ErrorKind::Overflow,
        };
        Self::new(kind, alloc::format!("{error}")).source(error)
    }
}

/// The value in another unit of the same kind.
///
/// Exact when the result is a [`Decimal`]. Otherwise rounded half to even at the finest of 12 decimals
/// that 64 bits of digits have room for, as for 1 km/h in m/s.
///
/// # Errors
/// [`UnitError::Different`] or [`UnitError::Overflow`].
pub fn convert(value: Decimal, from: Unit, to: Unit) -> Result<Decimal, UnitError> {
    if from == to {
        return Ok(value);
    }
    if from.0.base != to.0.base {
        return Err(UnitError::Different);
    }
    let (from, to) = (from.0, to.0);
    if from.offset != 0 || to.offset != 0 {
        // Units with an offset have their base's scale, so only the offset moves.
        let hundredths = i128::from(from.offset) - i128::from(to.offset);
        return ratio(value.scaled() + hundredths * 10i128.pow(10), 1, Decimal::MIN_EXPONENT);
    }
    let numerator = i128::from(from.numerator) * i128::from(to.denominator);
    let denominator = i128::from(from.denominator) * i128::from(to.numerator);
    let common = gcd(numerator, denominator);
    let digits = i128::from(value.mantissa()).checked_mul(numerator / common);
    ratio(digits.ok_or(UnitError::Overflow)?, denominator / common, value.exponent())
}

/// `digits / divisor * 10^exponent` as a decimal, by long division.
fn ratio(digits: i128, divisor: i128, mut exponent: i8) -> Result<Decimal, UnitError> {
    let room = |quotient: i128| quotient.unsigned_abs() <= u128::from(i64::MAX.unsigned_abs()) / 10;
    let (mut quotient, mut rest) = (digits / divisor, digits % divisor);
    while rest != 0 && exponent > Decimal::MIN_EXPONENT && room(quotient) {
        rest *= 10;
        quotient = quotient * 10 + rest / divisor;
        rest %= divisor;
        exponent -= 1;
    }
    let twice = rest.unsigned_abs() * 2;
    let up = twice > divisor.unsigned_abs() || twice == divisor.unsigned_abs() && quotient % 2 != 0;
    quotient += if up { digits.signum() } else { 0 };
    while quotient != 0 && quotient % 10 == 0 && exponent < Decimal::MAX_EXPONENT {
        (quotient, exponent) = (quotient / 10, exponent + 1);
    }
    let mantissa = i64::try_from(quotient).map_err(|_| UnitError::Overflow)?;
    Decimal::new(mantissa, exponent).map_err(|_| UnitError::Overflow)
}

const fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;

    fn converted(value: &str, from: &str, to: &str) -> String {
        let (from, to) = (Unit::parse(from).unwrap(), Unit::parse(to).unwrap());
        convert(Decimal::parse(value).unwrap(), from, to).unwrap().to_string()
    }

    #[test]
    fn values_of_the_standard_convert() {
        // RFC 8798 section 3: 100 ms and 10 dBm.
        assert_eq!(converted("100", "ms", "s"), "0.1");
        assert_eq!(converted("10", "dBm", "dBW"), "-20");
        for (value, from, to, expected) in [
            ("1013.25", "hPa", "Pa", "101325"),
            ("101325", "Pa", "hPa", "1013.25"),
            ("0", "K", "Cel", "-273.15"),
            ("36", "km/h", "m/s", "10"),
            ("3.6", "mm/h", "m/s", "0.000001"),
            ("1", "kWh", "Wh", "1000"),
            ("1", "kWh", "J", "3600000"),
            ("5", "min", "h", "0.083333333333"),
            ("-2", "min", "h", "-0.033333333333"),
            ("120", "1/min", "1/s", "2"),
            ("1", "MB/s", "Mbit/s", "8"),
            ("12.5", "/100", "/1000", "125"),
            ("50", "%RH", "%RH", "50"),
            ("1", "%", "/", "1"),
            ("1500", "l", "m3", "1.5"),
            ("15", "ug/m3", "kg/m3", "0.000000015"),
            ("10", "Wh/km", "J/m", "36"),
        ] {
            assert_eq!(converted(value, from, to), expected, "{value} {from}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_not_converted() {
        let pairs = [
            ("Cel", "Pa"),
            ("lat", "lon"),
            ("%RH", "/"),
            ("deg", "rad"),
            ("var", "VA"),
            ("m", "s"),
        ];
        for (from, to) in pairs {
            let (from, to) = (Unit::parse(from).unwrap(), Unit::parse(to).unwrap());
            assert_eq!(convert(Decimal::from(1), from, to), Err(UnitError::Different));
        }
        for unknown in ["", "C°", "celsius", "cel", "CEL", "m/h/s"] {
            assert_eq!(Unit::parse(unknown), Err(UnitError::Unknown), "{unknown}");
        }
        let (hour, second) = (Unit::parse("h").unwrap(), Unit::parse("s").unwrap());
        let most = Decimal::new(i64::MAX, 6).unwrap();
        assert_eq!(convert(most, hour, second), Err(UnitError::Overflow));
    }

    #[test]
    fn the_table_is_sound() {
        for unit in Unit::all() {
            let row = unit.0;
            assert_eq!(
                Unit::all().filter(|other| *other == unit).count(),
                1,
                "{unit} stands twice"
            );
            let base = Unit::parse(row.base).unwrap().0;
            assert_eq!(
                (base.base, base.numerator, base.denominator, base.offset),
                (row.base, 1, 1, 0)
            );
            assert!(row.numerator > 0 && row.denominator > 0 && row.symbol.len() <= 32);
            assert!(row.offset == 0 || row.numerator == row.denominator, "{unit}");
        }
    }

    /// What the last digit of a number of this size is worth, in 10^-12: nineteen of them fit.
    fn last_digit(value: Decimal) -> u128 {
        let size = value.abs_diff(Decimal::default());
        let mut steps = std::iter::successors(Some(1_u128), |step| Some(step * 10));
        steps.find(|step| size / step <= i64::MAX as u128).unwrap()
    }

    #[test]
    fn large_numbers_are_rounded_where_their_digits_end() {
        let of = |symbol| Unit::parse(symbol).unwrap();
        let value = Decimal::from(553_415_332);
        let there = convert(value, of("1/min"), of("1/s")).unwrap();
        assert_eq!(there.to_string(), "9223588.86666666667");
        let back = convert(there, of("1/s"), of("1/min")).unwrap();
        assert_eq!(back.to_string(), "553415332.0000000002");
    }

    proptest! {
        #[test]
        fn there_and_back_is_within_the_rounding(mantissa: i32, exponent in -6i8..=2, a in 0..200usize, b in 0..200usize) {
            let value = Decimal::new(mantissa.into(), exponent).unwrap();
            let (from, to) = (Unit(&UNITS[a % UNITS.len()]), Unit(&UNITS[b % UNITS.len()]));
            let there = convert(value, from, to);
            let back = there.and_then(|there| convert(there, to, from));
            if let (Ok(there), Ok(back)) = (there, back) {
                // Half of the last digit that fits, as large as the scale makes it.
                let scale = u128::from(to.0.numerator * from.0.denominator).div_ceil(u128::from(to.0.denominator * from.0.numerator));
                let most = scale * last_digit(there) + last_digit(back);
                prop_assert!(back.abs_diff(value) <= most, "{value} {from} {to} {back}");
            }
        }
    }
}
