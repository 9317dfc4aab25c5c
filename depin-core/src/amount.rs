//! Token amounts: 256-bit base units with checked arithmetic only.
//!
//! There are no `+` and `-` operators, so money cannot wrap or panic by accident; and no floats, so that
//! every machine computes the same payout.

use alloc::{format, string::String};
use core::fmt;

use alloy_primitives::{U256, U512};

use crate::error::{Error, ErrorKind};

/// An amount in base units (10^-18 of a token).
///
/// ```
/// use depin_core::Amount;
///
/// let pool = Amount::tokens(1_000);
/// let third = pool.mul_div(1.into(), 3.into())?;
/// assert_eq!(third.to_string(), "333.333333333333333333");
/// assert!(Amount::ZERO.checked_sub(third).is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "String", try_from = "String")
)]
pub struct Amount(U256);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);
    /// The largest amount an ERC-20 can express.
    pub const MAX: Self = Self(U256::MAX);
    /// Decimal places of a whole token.
    pub const DECIMALS: u8 = 18;

    const ONE_TOKEN: u64 = 1_000_000_000_000_000_000;

    /// Wraps base units.
    pub const fn units(units: U256) -> Self {
        Self(units)
    }

    /// Whole tokens. A `u64` of tokens always fits.
    pub fn tokens(tokens: u64) -> Self {
        Self(U256::from(u128::from(tokens) * u128::from(Self::ONE_TOKEN)))
    }

    /// The base units.
    pub const fn to_units(self) -> U256 {
        self.0
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Adds.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] past 2^256 - 1.
    pub fn checked_add(self, other: Self) -> Result<Self, Error> {
        self.0.checked_add(other.0).map(Self).ok_or_else(overflow)
    }

    /// Subtracts.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] when `other` is larger.
    pub fn checked_sub(self, other: Self) -> Result<Self, Error> {
        self.0.checked_sub(other.0).map(Self).ok_or_else(overflow)
    }

    /// `floor(self * numerator / denominator)`, exact through 512 bits.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] when the denominator is zero or the result exceeds 256 bits.
    pub fn mul_div(self, numerator: Self, denominator: Self) -> Result<Self, Error> {
        self.mul_div_rem(numerator, denominator).map(|(quotient, _)| quotient)
    }

    /// As [`mul_div`](Self::mul_div), with the remainder.
    ///
    /// # Errors
    /// As [`mul_div`](Self::mul_div).
    pub fn mul_div_rem(self, numerator: Self, denominator: Self) -> Result<(Self, Self), Error> {
        if denominator.is_zero() {
            return Err(Error::new(ErrorKind::Overflow, "amount divided by zero"));
        }
        if let Some(divided) = mul_div_rem_128(self.0, numerator.0, denominator.0) {
            return Ok(divided);
        }
        // Most other products fit, and half the width divides several times faster.
        if let Some(product) = self.0.checked_mul(numerator.0) {
            let (quotient, remainder) = product.div_rem(denominator.0);
            return Ok((Self(quotient), Self(remainder)));
        }
        let product: U512 = self.0.widening_mul(numerator.0);
        let (quotient, remainder) = product.div_rem(U512::from(denominator.0));
        let narrow = |wide: U512| U256::checked_from_limbs_slice(wide.as_limbs()).map(Self);
        match (narrow(quotient), narrow(remainder)) {
            (Some(quotient), Some(remainder)) => Ok((quotient, remainder)),
            _ => Err(overflow()),
        }
    }

    /// Sums, checked.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] past 2^256 - 1.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, Error> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// Parses decimal tokens such as `"12.5"`: digits, at most one point, at most 18 decimals.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for any other text, [`ErrorKind::Overflow`] past 2^256 - 1.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let malformed = || {
            Error::new(
                ErrorKind::Malformed,
                "amount is not decimal tokens with at most 18 decimals",
            )
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 18 || whole.len() > 80 {
            return Err(malformed());
        }
        let units = U256::from_str_radix(&format!("{whole}{fraction:0<18}"), 10);
        units.map(Self).map_err(|_| overflow())
    }
}

/// What processors divide themselves, and what ordinary pools and weights come to; `None` for anything wider.
fn mul_div_rem_128(a: U256, b: U256, denominator: U256) -> Option<(Amount, Amount)> {
    let product = u128::try_from(a).ok()?.checked_mul(u128::try_from(b).ok()?)?;
    let denominator = u128::try_from(denominator).ok()?;
    let quotient = product.checked_div(denominator)?;
    let remainder = product.checked_sub(quotient.checked_mul(denominator)?)?;
    Some((Amount(U256::from(quotient)), Amount(U256::from(remainder))))
}

fn overflow() -> Error {
    Error::new(ErrorKind::Overflow, "amount does not fit 256 bits without a sign")
}

impl From<u64> for Amount {
    /// Wraps base units.
    fn from(units: u64) -> Self {
        Self(U256::from(units))
    }
}

impl fmt::Display for Amount {
    /// Decimal tokens without trailing zeros: `12.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = self.0.div_rem(U256::from(Self::ONE_TOKEN));
        if fraction.is_zero() {
            return f.pad(&format!("{whole}"));
        }
        let digits = format!("{fraction:0>18}");
        f.pad(&format!("{whole}.{}", digits.trim_end_matches('0')))
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        format!("{amount}")
    }
}

impl TryFrom<String> for Amount {
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
    fn text_with_signs_exponents_or_nineteen_decimals_is_refused() {
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1.0000000000000000001", "1_0", " 1"] {
            assert!(Amount::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_largest_amount_survives_text() {
        assert_eq!(Amount::parse(&Amount::MAX.to_string()).unwrap(), Amount::MAX);
    }

    proptest! {
        #[test]
        fn mul_div_rem_is_exact(a: u64, b: u64, c in 1u64..) {
            let (q, r) = Amount::from(a).mul_div_rem(b.into(), c.into()).unwrap();
            let product = u128::from(a) * u128::from(b);
            prop_assert_eq!(q.to_units(), U256::from(product / u128::from(c)));
            prop_assert_eq!(r.to_units(), U256::from(product % u128::from(c)));
        }

        #[test]
        fn mul_div_rem_is_the_same_at_every_width(a: [u64; 4], b: [u64; 4], c: [u64; 4], wide in 1usize..=4) {
            let [a, b, c] = [a, b, c].map(|mut limbs| {
                limbs[wide..].fill(0);
                U256::from_limbs(limbs)
            });
            prop_assume!(!c.is_zero());
            let product: U512 = a.widening_mul(b);
            let (q, r) = product.div_rem(U512::from(c));
            let divided = Amount(a).mul_div_rem(Amount(b), Amount(c));
            match divided {
                Ok((quotient, remainder)) => {
                    prop_assert_eq!(U512::from(quotient.0), q);
                    prop_assert_eq!(U512::from(remainder.0), r);
                }
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::Overflow);
                    prop_assert!(q > U512::from(U256::MAX));
                }
            }
        }

        #[test]
        fn text_round_trips(limbs: [u64; 4]) {
            let amount = Amount::units(U256::from_limbs(limbs));
            prop_assert_eq!(Amount::parse(&amount.to_string()).unwrap(), amount);
        }
    }
}
