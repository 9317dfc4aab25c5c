//! What devices of different kinds earn under a reward policy, and when they have paid for themselves.
//!
//! The policy is the one that a network would pay by: it is given a contribution per device and period, and
//! decides. What it emits is an emission for [`simulate`](super::simulate), which then says what becomes of supply
//! and burn.

use std::collections::BTreeMap;

use depin_core::{
    Address, Amount, Did, EpochId, Error, ErrorKind, Result, Unverified, Verifier,
    quality::{Contribution, Contributions},
    reward::RewardPolicy,
};

use super::{Series, check_periods, fiat, paybacks};

/// Most devices in a period.
pub const MAX_DEVICES: u64 = 100_000;

/// Devices that are alike.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a kind says everything")]
pub struct Kind {
    /// How many are in service.
    pub devices: Series,
    /// What each of them scores per period.
    pub score: Series,
    /// What one costs, in millionths of the fiat unit.
    pub device_cost: u64,
    /// What one costs per period in energy and network, in millionths of the fiat unit.
    pub running_cost: u64,
}

/// What a period paid under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewarded {
    /// What was paid to all devices together.
    pub emission: Amount,
    /// What the policy offered and nobody earned.
    pub unallocated: Amount,
    /// What the devices of each kind earned, in the order of the kinds.
    pub kinds: Vec<Earning>,
}

/// What the devices of a kind earned in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Earning {
    /// Devices in service.
    pub devices: u64,
    /// What they earned together.
    pub paid: Amount,
    /// What each earned, rounded down.
    pub income: Amount,
    /// The same in millionths of the fiat unit, rounded down.
    pub income_fiat: u64,
    /// After how many periods a device bought at the start of this one has earned its cost, running cost
    /// deducted; `None` when it does not until the end of the simulation.
    pub payback: Option<u64>,
}

/// Pays kinds of devices for so many periods, each an epoch of that number, at a price of the token in millionths
/// of the fiat unit. What a policy keeps in reserve counts as paid at once.
///
/// ```
/// use depin_core::Amount;
/// use depin_payment::{Banded, tokenomics::{Kind, Policy, Scenario, Series, of_revenue, reward, simulate}};
///
/// // Ninety stations that deliver, and ten that are asleep most of the time.
/// let kind = |devices, score| Kind {
///     devices: Series::constant(devices),
///     score: Series::constant(score),
///     device_cost: 150_000_000, // 150 dollars
///     running_cost: 200_000,
/// };
/// let rewards = Banded::per_epoch(Amount::tokens(9_000), [(50, 10_000)]); // nothing below 50 points
/// let price = Series::constant(100_000); // 10 cents
/// let weeks = reward(&[kind(90, 200), kind(10, 20)], &price, &rewards, 52)?;
/// let [good, bad] = [weeks[0].kinds[0], weeks[0].kinds[1]];
/// assert_eq!((good.income, good.payback), (Amount::tokens(100), Some(16))); // 9.80 dollars a week
/// assert_eq!((bad.income, bad.payback), (Amount::ZERO, None));
///
/// let scenario = Scenario {
///     devices: Series::constant(100),
///     revenue: Series::constant(400_000_000),
///     price,
///     device_cost: 150_000_000,
///     running_cost: 200_000,
/// };
/// let policy = Policy { supply: Amount::ZERO, devices: 10_000, backstop: None };
/// let emitted = |week: u64, _: &[_]| Ok(weeks.get(week as usize).map_or(Amount::ZERO, |week| week.emission));
/// let table = simulate(&scenario, &policy, 52, emitted, of_revenue(10_000))?;
/// assert_eq!(table[0].supply, Amount::tokens(5_000)); // 9,000 paid, 4,000 burned
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Limit`] past [`MAX_PERIODS`](super::MAX_PERIODS) or [`MAX_DEVICES`], and what the policy returns.
pub fn reward(
    kinds: &[Kind],
    price: &Series,
    rewards: &dyn RewardPolicy,
    periods: usize,
) -> Result<Vec<Rewarded>> {
    check_periods(periods)?;
    let series: Vec<Vec<(u64, u64)>> = kinds
        .iter()
        .map(|kind| kind.devices.values().zip(kind.score.values()).take(periods).collect())
        .collect();
    let mut table = Vec::with_capacity(periods);
    for ((number, price), at) in (0..).zip(price.values()).zip(0..periods) {
        let now: Vec<_> = series.iter().filter_map(|kind| kind.get(at).copied()).collect();
        table.push(period(EpochId::new(number), &now, price, rewards)?);
    }
    for (at, kind) in kinds.iter().enumerate() {
        pay_back(at, kind, &mut table);
    }
    Ok(table)
}

/// Pays kinds of so many devices that score so much.
fn period(
    epoch: EpochId,
    kinds: &[(u64, u64)],
    price: u64,
    rewards: &dyn RewardPolicy,
) -> Result<Rewarded> {
    let all = kinds.iter().fold(0_u64, |sum, (devices, _)| sum.saturating_add(*devices));
    if all > MAX_DEVICES {
        let text = "a period has at most 100,000 devices; let one stand for several";
        return Err(Error::new(ErrorKind::Limit, text).with("epoch", epoch).with("devices", all));
    }
    let (mut entries, mut kind_of) = (Vec::new(), BTreeMap::new());
    for (kind, (devices, score)) in kinds.iter().enumerate() {
        for number in 0..*devices {
            let device = Did::parse(&format!("did:example:{kind:05}-{number:06}"))?;
            kind_of.insert(device.clone(), kind);
            let number = kind_of.len().to_be_bytes();
            let beneficiary = Address::left_padding_from(&number);
            entries.push(Contribution { device, beneficiary, readings: *score, score: *score });
        }
    }
    let work = Unverified::new(Contributions { epoch, entries }).verify(&Supposed)?;
    let allocation = rewards.allocate(&work)?;
    let mut paid = vec![Amount::ZERO; kinds.len()];
    for payout in &allocation.payouts {
        let kind = kind_of.get(&payout.device).and_then(|kind| paid.get_mut(*kind));
        let kind = kind.ok_or_else(|| {
            let text = "the policy pays a device that did no work";
            Error::new(ErrorKind::Rejected, text).with("did", &payout.device)
        })?;
        *kind = kind.checked_add(payout.amount)?;
    }
    let earning = |((devices, _), paid): (&(u64, u64), &Amount)| {
        let income = match *devices {
            0 => Amount::ZERO,
            some => paid.mul_div(1.into(), some.into())?,
        };
        let income_fiat = fiat(income, price)?;
        Ok(Earning { devices: *devices, paid: *paid, income, income_fiat, payback: None })
    };
    Ok(Rewarded {
        emission: allocation.emission,
        unallocated: allocation.unallocated,
        kinds: kinds.iter().zip(&paid).map(earning).collect::<Result<_>>()?,
    })
}

/// Fills in after how many periods a device of a kind has paid for itself.
fn pay_back(at: usize, kind: &Kind, table: &mut [Rewarded]) {
    let incomes: Vec<_> =
        table.iter().filter_map(|period| Some(period.kinds.get(at)?.income_fiat)).collect();
    let paybacks = paybacks(&incomes, kind.running_cost, kind.device_cost);
    for (period, payback) in table.iter_mut().zip(paybacks) {
        if let Some(earning) = period.kinds.get_mut(at) {
            earning.payback = payback;
        }
    }
}

/// Nobody did this work, so there is nothing to verify.
struct Supposed;

impl Verifier<Contributions> for Supposed {
    type Output = Contributions;
    type Error = Error;

    fn check(&self, work: &Contributions) -> Result<Contributions> {
        Ok(work.clone())
    }
}
