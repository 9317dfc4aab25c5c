//! What is burned in a period: any rule, as a function of the market and of what happened before.

use depin_core::{Amount, Error, ErrorKind, Result};

use super::Period;
use crate::shares::classes::{WHOLE, basis_points};

/// What is known when a period burns.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Market<'a> {
    /// The number of the period, from 0.
    pub number: u64,
    /// All periods before.
    pub before: &'a [Period],
    /// What exists, with what the emission of this period minted.
    pub supply: Amount,
    /// What the emission of this period minted.
    pub minted: Amount,
    /// What customers pay in this period, in millionths of the fiat unit.
    pub revenue: u64,
    /// What a whole token costs, in millionths of the fiat unit. Never zero.
    pub price: u64,
}

impl Market<'_> {
    /// Tokens that so many millionths of the fiat unit buy, rounded down.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] past 2^256 - 1.
    pub fn buys(&self, fiat: u64) -> Result<Amount> {
        Amount::from(fiat).mul_div(Amount::tokens(1), self.price.into())
    }
}

/// The rule of burn and mint: so many basis points of the revenue buy tokens at the price and burn them for
/// credits.
///
/// Other rules are closures, such as a part of what is minted:
///
/// ```
/// use depin_core::{Amount, Result};
/// use depin_payment::tokenomics::{Market, Policy, Scenario, Series, of_revenue, simulate};
///
/// let scenario = Scenario {
///     devices: Series::constant(10),
///     revenue: Series::constant(5_000_000), // 5 dollars
///     price: Series::constant(500_000),     // 50 cents
///     device_cost: 0,
///     running_cost: 0,
/// };
/// let policy = Policy { supply: Amount::ZERO, devices: 10_000, backstop: None };
/// let minted = |_, _: &[_]| Ok(Amount::tokens(100));
/// let table = simulate(&scenario, &policy, 1, minted, of_revenue(10_000))?;
/// assert_eq!(table[0].burned, Amount::tokens(10));
///
/// let tenth = |market: &Market<'_>| market.minted.mul_div(1.into(), 10.into());
/// let table = simulate(&scenario, &policy, 2, minted, tenth)?;
/// assert_eq!(table[1].supply, Amount::tokens(180));
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// What it returns fails with [`ErrorKind::Config`] for more than 10,000 basis points.
pub fn of_revenue(share: u16) -> impl FnMut(&Market<'_>) -> Result<Amount> {
    move |market| {
        if share > WHOLE {
            let text = "a share of the revenue is at most 10,000 basis points";
            return Err(Error::new(ErrorKind::Config, text).with("share", share));
        }
        let spent = basis_points(market.revenue.into(), share.into())?;
        spent.mul_div(Amount::tokens(1), market.price.into())
    }
}
