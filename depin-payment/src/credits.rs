//! Burn and mint: services are paid with credits at a fixed price in fiat, made by burning tokens.
//!
//! Who pays gets the lower bound of what the token is worth, so an uncertain price never makes credits too
//! cheap. [`Backstop`] gives a part of what was burned back to those who provide the service, within a
//! band around their revenue, and never more than [`SmoothedBurn`] released.
#![warn(clippy::arithmetic_side_effects)]

mod backstop;
mod price;

use std::time::Duration;

use alloy_primitives::U256;
use depin_core::{Amount, Error, ErrorKind, Result, Timestamp};

pub use backstop::{Backstop, Reissue, SmoothedBurn, Usage};
pub use price::{FixedPrice, Price, PriceSource};

/// Largest exponents, decimals and places: 10^76 is the last power of ten below 2^256.
const MOST_PLACES: u32 = 76;

/// What a credit costs: `10^-places` of the fiat unit.
///
/// ```
/// use std::time::Duration;
/// use depin_core::{Amount, Timestamp, U256};
/// use depin_payment::credits::{Credits, Price};
///
/// // A credit is 0.00001 dollars; the token has 18 decimals and costs 2.00 dollars, give or take 0.01.
/// let credits = Credits::new(18, 5, Duration::from_secs(60));
/// let now = Timestamp::from_secs(1_000);
/// let price = Price::new(2_00, 1, -2, now);
/// assert_eq!(credits.bought(Amount::tokens(1), &price, now)?, U256::from(198_000)); // at 1.98
/// assert_eq!(credits.cost(U256::from(198_000), &price, now)?, Amount::tokens(1));
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credits {
    decimals: u8,
    places: u8,
    max_age: Duration,
}

impl Credits {
    /// Credits of `10^-places` of the fiat unit, bought with a token of `decimals` decimals at prices that
    /// are at most `max_age` old.
    pub const fn new(decimals: u8, places: u8, max_age: Duration) -> Self {
        Self { decimals, places, max_age }
    }

    /// The credits for burning `amount`, at the lower bound of the price, rounded down.
    ///
    /// # Errors
    /// As [`Price::low`] and [`Price::fresh`]; [`ErrorKind::Malformed`] when price and decimals are more
    /// than 76 powers of ten apart, [`ErrorKind::Overflow`] past 2^256 - 1.
    pub fn bought(&self, amount: Amount, price: &Price, now: Timestamp) -> Result<U256> {
        price.fresh(now, self.max_age)?;
        let (times, over) = self.scale(price)?;
        let low = U256::from(price.low()?).checked_mul(times).ok_or_else(too_many)?;
        Ok(amount.mul_div(Amount::units(low), Amount::units(over))?.to_units())
    }

    /// What must be burned for `credits`, at the lower bound of the price, rounded up.
    ///
    /// # Errors
    /// As [`bought`](Self::bought).
    pub fn cost(&self, credits: U256, price: &Price, now: Timestamp) -> Result<Amount> {
        price.fresh(now, self.max_age)?;
        let (down, rest) = self.worth(credits, price.low()?, price)?;
        if rest { down.checked_add(1.into()) } else { Ok(down) }
    }

    /// Tokens that are worth so many credits when one costs `rate` in the price's exponent, rounded down,
    /// and whether something was cut off.
    fn worth(&self, credits: U256, rate: u64, price: &Price) -> Result<(Amount, bool)> {
        let (times, over) = self.scale(price)?;
        let rate = U256::from(rate).checked_mul(times).ok_or_else(too_many)?;
        let parts = (Amount::units(over), Amount::units(rate));
        let (amount, rest) = Amount::units(credits).mul_div_rem(parts.0, parts.1)?;
        Ok((amount, !rest.is_zero()))
    }

    /// Credits per base unit are the price times the first over the second; one of them is 1.
    fn scale(&self, price: &Price) -> Result<(U256, U256)> {
        let places = i32::from(self.places).saturating_sub(i32::from(self.decimals));
        let power = places.saturating_add(price.exponent());
        if power.unsigned_abs() > MOST_PLACES {
            let text = "price, token and credit are too many powers of ten apart";
            return Err(Error::new(ErrorKind::Malformed, text).with("exponent", price.exponent()));
        }
        let ten =
            U256::from(10).checked_pow(U256::from(power.unsigned_abs())).ok_or_else(too_many)?;
        Ok(if power < 0 { (U256::ONE, ten) } else { (ten, U256::ONE) })
    }
}

fn too_many() -> Error {
    Error::new(ErrorKind::Overflow, "the credits pass 2^256")
}
