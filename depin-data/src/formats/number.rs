//! Numbers of other formats as exact decimals.
//!
//! Text is read digit by digit, with an exponent when there is one. A binary float stands for its exact
//! value when that is a [`Decimal`], and otherwise for the shortest decimal that reads back as the same
//! float of its width, which is the number that JSON would have shown.

use depin_core::Decimal;

use super::Reason;

/// Longest text of a number.
const MAX_TEXT: usize = 64;

/// `[+-]digits[.digits][(e|E)[+-]digits]`, exactly.
pub(super) fn parse(text: &str) -> Result<Decimal, Reason> {
    let (digits, exponent) = scan(text)?;
    of(digits, exponent)
}

/// As [`parse`], rounded half to even to `places` decimals.
pub(super) fn parse_rounded(text: &str, places: u8) -> Result<Decimal, Reason> {
    let (mut digits, mut exponent) = scan(text)?;
    let last = -i32::from(places);
    let mut below = 0;
    while exponent < last && (digits != 0 || below != 0) {
        // What lies below is kept as 0, less than half, half (5) or more than half of the last place.
        let dropped = (digits % 10).abs();
        below = if below == 0 || dropped != 0 && dropped != 5 { dropped } else { dropped + 1 };
        (digits, exponent) = (digits / 10, exponent + 1);
    }
    let up = below > 5 || below == 5 && digits % 2 != 0;
    let away = if text.starts_with('-') { -1 } else { 1 };
    of(digits + if up { away } else { 0 }, exponent.max(last))
}

/// `digits * 10^exponent`.
pub(super) fn of(mut digits: i128, mut exponent: i32) -> Result<Decimal, Reason> {
    if digits == 0 {
        return Ok(Decimal::default());
    }
    while digits % 10 == 0 && exponent < i32::from(Decimal::MAX_EXPONENT) {
        (digits, exponent) = (digits / 10, exponent + 1);
    }
    while exponent > i32::from(Decimal::MAX_EXPONENT) {
        digits = digits.checked_mul(10).ok_or(Reason::Unrepresentable)?;
        exponent -= 1;
    }
    let mantissa = i64::try_from(digits).map_err(|_| Reason::Unrepresentable)?;
    let exponent = i8::try_from(exponent).map_err(|_| Reason::Unrepresentable)?;
    Decimal::new(mantissa, exponent).map_err(|_| Reason::Unrepresentable)
}

pub(super) fn of_f64(value: f64) -> Result<Decimal, Reason> {
    if !value.is_finite() {
        return Err(Reason::Missing);
    }
    exact(value).map_or_else(|| parse(&format!("{value:e}")), Ok)
}

pub(super) fn of_f32(value: f32) -> Result<Decimal, Reason> {
    if !value.is_finite() {
        return Err(Reason::Missing);
    }
    exact(value.into()).map_or_else(|| parse(&format!("{value:e}")), Ok)
}

/// The exact value, if it is a [`Decimal`].
fn exact(value: f64) -> Option<Decimal> {
    let bits = value.to_bits();
    let (stored, fraction) = ((bits >> 52 & 0x7ff) as i32, i128::from(bits & ((1 << 52) - 1)));
    let (mut digits, mut power) =
        if stored == 0 { (fraction, -1074) } else { (fraction | 1 << 52, stored - 1075) };
    if digits == 0 {
        return Some(Decimal::default());
    }
    let even = digits.trailing_zeros();
    (digits, power) = (digits >> even, power + even.cast_signed());
    let exponent = power.min(0);
    // 2^-k is 5^k / 10^k.
    let factor = if power < 0 { 5i128 } else { 2 }.checked_pow(power.unsigned_abs())?;
    let digits = digits.checked_mul(factor)?;
    of(if value.is_sign_negative() { -digits } else { digits }, exponent).ok()
}

/// The digits without the point, and the power of ten of the last one.
fn scan(text: &str) -> Result<(i128, i32), Reason> {
    if text.len() > MAX_TEXT {
        return Err(Reason::Unrepresentable);
    }
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, integer(exponent)?),
        None => (text, 0),
    };
    let unsigned = number.strip_prefix(['-', '+']).unwrap_or(number);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((_, "")) => return Err(Reason::NotANumber),
        split => split.unwrap_or((unsigned, "")),
    };
    let all = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || !all(whole) || !all(fraction) {
        return Err(Reason::NotANumber);
    }
    let fraction = fraction.trim_end_matches('0');
    let digits: i128 = format!("{whole}{fraction}").parse().map_err(|_| Reason::Unrepresentable)?;
    let places = i32::try_from(fraction.len()).map_err(|_| Reason::Unrepresentable)?;
    Ok((if number.starts_with('-') { -digits } else { digits }, exponent - places))
}

/// An exponent; those beyond four digits are cut there, where no decimal reaches.
fn integer(text: &str) -> Result<i32, Reason> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Reason::NotANumber);
    }
    let value = digits.parse().map_or(9999, |value: i32| value.min(9999));
    Ok(if text.starts_with('-') { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn exponents_are_exact() {
        for (text, expected) in [
            ("1.320078429e+09", "1320078429"),
            ("0.14e1", "1.4"),
            ("1.66E-06", "0.00000166"),
            ("-0", "0"),
            ("0e9999", "0"),
            ("1e24", "1000000000000000000000000"),
            ("+5", "5"),
        ] {
            assert_eq!(parse(text), Ok(decimal(expected)), "{text}");
        }
        for bad in ["", "-", ".5", "5.", "1e", "1e+", "1e1.0", "0x1", "NaN", "1,5", "1e1e1", "١"] {
            assert_eq!(parse(bad), Err(Reason::NotANumber), "{bad}");
        }
        for bad in ["1e-13", "1e25", "1e99999999999", "1e-99999999999", "9223372036854775808"] {
            assert_eq!(parse(bad), Err(Reason::Unrepresentable), "{bad}");
        }
    }

    #[test]
    fn rounding_goes_half_to_even() {
        for (text, places, expected) in [
            ("0.0435299999999999", 12, "0.04353"),
            ("0.5", 0, "0"),
            ("1.5", 0, "2"),
            ("2.5", 0, "2"),
            ("2.5000000000000001", 0, "3"),
            ("2.51", 0, "3"),
            ("-2.5", 0, "-2"),
            ("-3.5", 0, "-4"),
            ("0.05", 0, "0"),
            ("0.96", 1, "1"),
            ("1e-40", 6, "0"),
            ("-0.6", 0, "-1"),
            ("12e3", 2, "12000"),
        ] {
            assert_eq!(parse_rounded(text, places), Ok(decimal(expected)), "{text} to {places}");
        }
    }

    #[test]
    fn floats_stand_for_what_was_meant() {
        assert_eq!(of_f64(120.1), Ok(decimal("120.1")));
        assert_eq!(of_f64(1_276_020_076.001), Ok(decimal("1276020076.001")));
        assert_eq!(of_f32(23.1), Ok(decimal("23.1")));
        assert_eq!(of_f64(-0.000_244_140_625), Ok(decimal("-0.000244140625")));
        assert_eq!(of_f64(4_611_686_018_427_387_904.0), Ok(decimal("4611686018427387904")));
        assert_eq!(of_f64(-0.0), Ok(Decimal::default()));
        assert_eq!(of_f64(f64::NAN), Err(Reason::Missing));
        assert_eq!(of_f64(f64::INFINITY), Err(Reason::Missing));
        assert_eq!(of_f64(f64::MIN_POSITIVE), Err(Reason::Unrepresentable));
        assert_eq!(of_f64(f64::MAX), Err(Reason::Unrepresentable));
    }

    proptest! {
        #[test]
        fn a_float_and_its_decimal_read_back_the_same(bits: u64) {
            let value = f64::from_bits(bits);
            if let Ok(decimal) = of_f64(value) {
                prop_assert_eq!(decimal.to_string().parse::<f64>().unwrap(), value);
            }
            let value = f32::from_bits(bits as u32);
            if let Ok(decimal) = of_f32(value) {
                prop_assert_eq!(decimal.to_string().parse::<f32>().unwrap(), value);
            }
        }

        #[test]
        fn rounding_is_the_nearest(mantissa in -999_999_999i64..=999_999_999, places in 0u8..=9) {
            let exact = Decimal::new(mantissa, -9).unwrap();
            let rounded = parse_rounded(&exact.to_string(), places).unwrap();
            let unit = 10u128.pow(12 - u32::from(places));
            prop_assert!(exact.abs_diff(rounded) * 2 <= unit);
            prop_assert!(rounded.scaled() % unit.cast_signed() == 0);
        }

        #[test]
        fn no_text_panics(text in "[0-9eE+.-]{0,80}|\\PC{0,80}", places: u8) {
            let _ = (parse(&text), parse_rounded(&text, places));
        }
    }
}
