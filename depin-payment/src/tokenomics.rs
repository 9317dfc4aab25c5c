//! What a policy would do: supply, burn, income per device and payback over years of a scenario.
//!
//! A simulation is a loop over periods in whole numbers: the same scenario gives the same table on every
//! machine, and every unit of the token is accounted for, which [`Period::supply`] shows. Money in fiat is
//! counted in millionths. Any emission and any burn can be tried, since they are functions of what happened before, and
//! any [reward policy](reward); the backstop is that of [`credits`](crate::credits). The feature `charts` draws the table.
#![warn(clippy::arithmetic_side_effects)]

mod burn;
#[cfg(feature = "charts")]
#[cfg_attr(docsrs, doc(cfg(feature = "charts")))]
pub mod charts;
mod fleet;
mod series;

use std::time::Duration;

use alloy_primitives::U256;
use depin_core::{Amount, Error, ErrorKind, Result, Timestamp};

use crate::{
    credits::{Backstop, Credits, Price, SmoothedBurn, Usage},
    shares::classes::{WHOLE, basis_points},
};

pub use burn::{Market, of_revenue};
pub use fleet::{Earning, Kind, MAX_DEVICES, Rewarded, reward};
pub use series::Series;

/// Most periods of a simulation: a century of weeks, or 27 years of days.
pub const MAX_PERIODS: usize = 10_000;
/// Millionths of the fiat unit.
const MICRO: i32 = 6;
/// Credits of a hundred-thousandth of the fiat unit.
const CREDIT_PLACES: u8 = 5;

/// The world outside: how many devices there are, what customers pay, what the token is worth.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a scenario says everything")]
pub struct Scenario {
    /// Devices in service.
    pub devices: Series,
    /// What all customers together pay per period, in millionths of the fiat unit.
    pub revenue: Series,
    /// What a whole token costs, in millionths of the fiat unit. Never zero.
    pub price: Series,
    /// What a device costs, in millionths of the fiat unit.
    pub device_cost: u64,
    /// What a device costs per period in energy and network, in millionths of the fiat unit.
    pub running_cost: u64,
}

/// The rules that a network chooses, besides what it emits and burns.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a policy says everything")]
pub struct Policy {
    /// What exists before the first period.
    pub supply: Amount,
    /// Basis points of what is minted that go to devices, the same to each.
    pub devices: u16,
    /// Over how many periods burns are smoothed, and the band within which they are given back.
    pub backstop: Option<(u64, Backstop)>,
}

/// What happened in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Period {
    /// The number of the period, from 0.
    pub number: u64,
    /// What exists at its end: what existed before, plus minted and reissued, less burned.
    pub supply: Amount,
    /// What the emission minted.
    pub minted: Amount,
    /// What of earlier burns was minted again.
    pub reissued: Amount,
    /// What was burned.
    pub burned: Amount,
    /// Devices in service.
    pub devices: u64,
    /// What each device earned, rounded down.
    pub income: Amount,
    /// The same in millionths of the fiat unit, rounded down.
    pub income_fiat: u64,
    /// After how many periods a device bought at the start of this one has earned its cost, running cost
    /// deducted; `None` when it does not until the end of the simulation.
    pub payback: Option<u64>,
}

/// Runs a scenario under a policy. `emission` decides what is minted from the number of the period and all
/// periods before; `burning` decides what is burned after that, as [`of_revenue`] does. What they say is done.
///
/// ```
/// use depin_core::Amount;
/// use depin_payment::{emission::Curve, tokenomics::{Policy, Scenario, Series, of_revenue, simulate}};
///
/// let scenario = Scenario {
///     devices: Series::growing(1_000, 50_000, 10_000), // 5 % a week, up to 10,000
///     revenue: Series::steps([(0, 0), (26, 5_000_000_000)]), // 5,000 dollars a week after half a year
///     price: Series::constant(100_000), // 10 cents
///     device_cost: 150_000_000,
///     running_cost: 200_000,
/// };
/// let policy = Policy { supply: Amount::ZERO, devices: 8_000, backstop: None };
/// let curve = Curve::exponential(Amount::tokens(1_000_000), 104)?;
/// let table = simulate(&scenario, &policy, 156, |period, _| curve.at(period), of_revenue(10_000))?;
/// assert_eq!(table[0].income, Amount::tokens(800));
/// assert_eq!(table[0].payback, Some(2)); // 80 dollars a week and falling
/// assert_eq!(table[26].burned, Amount::tokens(50_000));
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Limit`] past [`MAX_PERIODS`], [`ErrorKind::Config`] for a share of the policy above 10,000
/// basis points, [`ErrorKind::Rejected`] when the price is zero or more is
/// burned than exists, what `emission` and `burning` return, and [`ErrorKind::Overflow`] past 2^256 - 1.
pub fn simulate(
    scenario: &Scenario,
    policy: &Policy,
    periods: usize,
    mut emission: impl FnMut(u64, &[Period]) -> Result<Amount>,
    mut burning: impl FnMut(&Market<'_>) -> Result<Amount>,
) -> Result<Vec<Period>> {
    check_periods(periods)?;
    if policy.devices > WHOLE {
        let text = "a share of the policy is at most 10,000 basis points";
        return Err(Error::new(ErrorKind::Config, text).with("devices", policy.devices));
    }
    let outside = |series: &Series| series.values().take(periods).collect::<Vec<_>>();
    let [devices, revenue, prices] =
        [&scenario.devices, &scenario.revenue, &scenario.price].map(outside);
    let mut smoothed = policy.backstop.map(|(over, _)| SmoothedBurn::over(over)).transpose()?;
    let (mut supply, mut burned_before) = (policy.supply, Amount::ZERO);
    let mut table: Vec<Period> = Vec::with_capacity(periods);
    for (((number, devices), revenue), price) in (0..).zip(devices).zip(revenue).zip(prices) {
        if price == 0 {
            let text = "a scenario's price of the token is zero";
            return Err(Error::new(ErrorKind::Rejected, text).with("period", number));
        }
        let minted = emission(number, &table)?;
        supply = supply.checked_add(minted)?;
        let market = Market { number, before: &table, supply, minted, revenue, price };
        let burned = burning(&market)?;
        let reissued = match (&mut smoothed, policy.backstop) {
            (Some(smoothed), Some((_, band))) => {
                // What a period burns can be given back from the next one on.
                let smoothed_burn = smoothed.period(burned_before)?;
                reissue(&band, smoothed_burn, (burned, price), minted)?
            }
            _ => Amount::ZERO,
        };
        burned_before = burned;
        let issued = minted.checked_add(reissued)?;
        supply = supply.checked_add(reissued)?.checked_sub(burned).map_err(|error| {
            let text = "more is burned than exists; start with more supply or emission";
            Error::new(ErrorKind::Rejected, text).with("period", number).source(error)
        })?;
        let income = match devices {
            0 => Amount::ZERO,
            _ => basis_points(issued, u32::from(policy.devices))?
                .mul_div(1.into(), devices.into())?,
        };
        let income_fiat = fiat(income, price)?;
        let period = Period {
            number,
            supply,
            minted,
            reissued,
            burned,
            devices,
            income,
            income_fiat,
            payback: None,
        };
        table.push(period);
    }
    pay_back(scenario, &mut table);
    Ok(table)
}

fn check_periods(periods: usize) -> Result<()> {
    if periods <= MAX_PERIODS {
        return Ok(());
    }
    let text = "a simulation has at most 10,000 periods; make them longer";
    Err(Error::new(ErrorKind::Limit, text).with("periods", periods))
}

/// What tokens are worth, in millionths, rounded down.
fn fiat(tokens: Amount, price: u64) -> Result<u64> {
    let worth = tokens.mul_div(price.into(), Amount::tokens(1))?;
    Ok(u64::try_from(worth.to_units()).unwrap_or(u64::MAX))
}

fn reissue(
    band: &Backstop,
    smoothed_burn: Amount,
    (burned, price): (Amount, u64),
    emission: Amount,
) -> Result<Amount> {
    // Rounded up: what was spent, if the tokens that it bought were rounded down.
    let (spent, rest) = burned.mul_div_rem(price.into(), Amount::tokens(1))?;
    let spent = if rest.is_zero() { spent } else { spent.checked_add(1.into())? };
    // The simulation knows the price exactly and at once.
    let now = Timestamp::default();
    let price =
        Price::new(i64::try_from(price).unwrap_or(i64::MAX), 0, MICRO.saturating_neg(), now);
    let credits = spent.to_units().checked_div(U256::from(10)).unwrap_or_default();
    let usage = Usage { credits, smoothed_burn, emission };
    let rules = Credits::new(Amount::DECIMALS, CREDIT_PLACES, Duration::ZERO);
    let reissue = band.reissue(&rules, &usage, &price, now)?;
    reissue.re_emission.checked_add(reissue.top_up)
}

/// Fills in after how many periods a device has paid for itself.
fn pay_back(scenario: &Scenario, table: &mut [Period]) {
    let incomes: Vec<_> = table.iter().map(|period| period.income_fiat).collect();
    let paybacks = paybacks(&incomes, scenario.running_cost, scenario.device_cost);
    for (period, payback) in table.iter_mut().zip(paybacks) {
        period.payback = payback;
    }
}

/// For a device bought at the start of each period, after how many it has earned its cost.
fn paybacks(incomes: &[u64], running_cost: u64, device_cost: u64) -> Vec<Option<u64>> {
    let gain = |income: &u64| i128::from(*income).saturating_sub(i128::from(running_cost));
    let gains: Vec<i128> = incomes.iter().map(gain).collect();
    let payback = |start| {
        let mut left = i128::from(device_cost);
        gains.iter().skip(start).zip(1..).find_map(|(gain, periods)| {
            left = left.saturating_sub(*gain);
            (left <= 0).then_some(periods)
        })
    };
    (0..gains.len()).map(payback).collect()
}
