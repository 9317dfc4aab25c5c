//! Reward policies: from verified work to an exact allocation.
//!
//! Both split the pool of an epoch, fixed or along a schedule of [`emission`](crate::emission), with
//! [`LargestRemainder`] in DID order, so the result depends on nothing but the policy's name, the epoch and the
//! set of contributions. Devices whose beneficiary is the zero
//! address have nobody who could be paid and take no part.
#![warn(clippy::arithmetic_side_effects)]

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Arc,
};

use alloy_primitives::Address;
use depin_core::{
    Amount, EpochId, Error, ErrorKind, Result, U256, Verified,
    quality::{Contribution, Contributions},
    reward::{Allocation, Payout, RewardPolicy},
};

use crate::{
    LargestRemainder,
    emission::Schedule,
    settlement::ALL,
    shares::{
        Split,
        bounded::{self, Recipient},
    },
};

/// What an epoch offers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pool {
    Fixed(Amount),
    Along(Schedule),
    /// What the epoch is granted, once that is known.
    Granted(Option<Amount>),
}

impl Pool {
    fn of(&self, epoch: EpochId) -> Result<Amount> {
        match self {
            Self::Fixed(amount) | Self::Granted(Some(amount)) => Ok(*amount),
            Self::Along(schedule) => schedule.at(epoch.value()),
            Self::Granted(None) => {
                let message =
                    "the policy offers what the epoch is granted; close it with its grant";
                Err(Error::new(ErrorKind::Config, message).with("epoch", epoch))
            }
        }
    }

    fn granted(&self, grant: Amount) -> Option<Self> {
        matches!(self, Self::Granted(None)).then_some(Self::Granted(Some(grant)))
    }
}

/// The grant in the name of a policy.
fn grant_in(name: &str) -> Option<Amount> {
    let (_, rest) = name.split_once("(pool=granted ")?;
    Amount::parse(rest.split_once(',')?.0).ok()
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(amount) => amount.fmt(f),
            Self::Along(schedule) => schedule.fmt(f),
            Self::Granted(None) => f.write_str("granted"),
            Self::Granted(Some(amount)) => write!(f, "granted {amount}"),
        }
    }
}

/// Pays the pool of an epoch in proportion to the score.
///
/// ```
/// use depin_core::{Amount, reward::RewardPolicy};
/// use depin_payment::ProRata;
///
/// let policy = ProRata::per_epoch(Amount::tokens(1_000));
/// assert_eq!(policy.name(), "pro-rata(pool=1000, rounding=largest-remainder)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProRata {
    pool: Pool,
    bounds: Option<(Amount, Amount)>,
    reserve: u16,
}

impl ProRata {
    /// Offers `pool` in every epoch.
    pub const fn per_epoch(pool: Amount) -> Self {
        Self { pool: Pool::Fixed(pool), bounds: None, reserve: 0 }
    }

    /// Offers in epoch n what the schedule allows in period n: with epochs as long as the periods of the
    /// network's emission controller and numbered alike, no more than that mints.
    ///
    /// ```
    /// use depin_core::{Amount, Timestamp, reward::RewardPolicy};
    /// use depin_payment::{ProRata, emission::{Curve, Schedule}};
    ///
    /// // A thousand tokens a day, half as many after every year; never more than 500,000.
    /// let (start, curve) = (Timestamp::from_secs(1_700_000_000), Curve::halving(Amount::tokens(1_000), 365)?);
    /// let policy = ProRata::along(Schedule::new(start, 86_400, Amount::tokens(500_000), curve)?);
    /// assert!(policy.name().starts_with("pro-rata(pool=decay(initial=1000, every=365, times=1/2) up to 500000"));
    /// # Ok::<(), depin_core::Error>(())
    /// ```
    pub const fn along(schedule: Schedule) -> Self {
        Self { pool: Pool::Along(schedule), bounds: None, reserve: 0 }
    }

    /// Offers in every epoch what that is granted when it closes, for emission that follows a measure
    /// ([`Targeted`](crate::emission::Targeted)). The grant is part of the name, and so of the epoch's record. What a
    /// reserve, or work that comes late, leaves of it is still the epoch's until that settles.
    ///
    /// ```
    /// use depin_core::{Amount, reward::RewardPolicy};
    /// use depin_payment::ProRata;
    ///
    /// let policy = ProRata::as_granted();
    /// let of_epoch = policy.granted(Amount::parse("812.5")?).unwrap();
    /// assert_eq!(of_epoch.name(), "pro-rata(pool=granted 812.5, rounding=largest-remainder)");
    /// assert_eq!(policy.named(&of_epoch.name()).unwrap().name(), of_epoch.name());
    /// # Ok::<(), depin_core::Error>(())
    /// ```
    pub const fn as_granted() -> Self {
        Self { pool: Pool::Granted(None), bounds: None, reserve: 0 }
    }

    /// Pays each device that scored at least `floor` and at most `cap`, as [`bounded::share`] defines it.
    /// What the caps leave over is unallocated.
    ///
    /// ```
    /// use depin_core::{Amount, reward::RewardPolicy};
    /// use depin_payment::ProRata;
    ///
    /// let policy = ProRata::per_epoch(Amount::tokens(1_000)).within(Amount::ZERO, Amount::tokens(50));
    /// assert_eq!(
    ///     policy.name(),
    ///     "pro-rata(pool=1000, each=0..50, rounding=water-level, largest-remainder)"
    /// );
    /// ```
    #[must_use]
    pub const fn within(mut self, floor: Amount, cap: Amount) -> Self {
        self.bounds = Some((floor, cap));
        self
    }

    /// Keeps so many basis points of every payout until its epoch settles, for work that comes late; more
    /// than 10,000 are 10,000.
    #[must_use]
    pub const fn reserve(mut self, basis_points: u16) -> Self {
        self.reserve = at_most_all(basis_points);
        self
    }
}

impl RewardPolicy for ProRata {
    fn name(&self) -> String {
        let reserve = named(self.reserve);
        let (each, rounding) = match self.bounds {
            None => (String::new(), LargestRemainder::NAME),
            Some((floor, cap)) => (format!("each={floor}..{cap}, "), bounded::NAME),
        };
        format!("pro-rata(pool={}, {each}{reserve}rounding={rounding})", self.pool)
    }

    fn reserve(&self) -> u16 {
        self.reserve
    }

    fn granted(&self, grant: Amount) -> Option<Arc<dyn RewardPolicy>> {
        let pool = self.pool.granted(grant)?;
        Some(Arc::new(Self { pool, ..self.clone() }))
    }

    fn named(&self, name: &str) -> Option<Arc<dyn RewardPolicy>> {
        self.granted(grant_in(name)?).filter(|policy| policy.name() == name)
    }

    fn pool(&self, epoch: EpochId) -> Result<Option<Amount>> {
        self.pool.of(epoch).map(Some)
    }

    fn allocate(&self, work: &Verified<Contributions>) -> Result<Allocation> {
        let score = |contribution: &Contribution| U256::from(contribution.score);
        let pool = self.pool.of(work.epoch)?;
        let Some((floor, cap)) = self.bounds else { return allocate(pool, work, score) };
        allocate_with(pool, work, score, |weights| {
            let bound = |(index, weight): (usize, &U256)| {
                let recipient = Recipient::new(index, *weight).at_most(cap);
                if weight.is_zero() { recipient } else { recipient.at_least(floor) }
            };
            let split = bounded::share(pool, weights.iter().enumerate().map(bound).collect())?;
            let shares = split.shares.into_iter().map(|(_, share)| share).collect();
            Ok(Split { shares, unallocated: split.unallocated })
        })
    }
}

/// Pays the pool of an epoch in proportion to the score times the multiplier of its band.
///
/// A score belongs to the highest band that starts at or below it; below the lowest band it earns
/// nothing. That rewards stations that deliver, without paying for a handful of readings.
///
/// ```
/// use depin_core::{Amount, reward::RewardPolicy};
/// use depin_payment::Banded;
///
/// // Fewer than 50 points: nothing. 50 to 199: weight as scored. From 200 on: a quarter more.
/// let policy = Banded::per_epoch(Amount::tokens(1_000), [(50, 10_000), (200, 12_500)]);
/// assert_eq!(
///     policy.name(),
///     "banded(pool=1000, 50:10000bps, 200:12500bps, rounding=largest-remainder)"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banded {
    pool: Pool,
    /// Multipliers in basis points by the score from which they hold.
    bands: BTreeMap<u64, u32>,
    reserve: u16,
}

impl Banded {
    /// Offers `pool` in every epoch. A band `(from, basis_points)` lets scores of at least `from` weigh
    /// `basis_points` / 10,000 per point, up to the next band; of two with the same start the last holds.
    pub fn per_epoch(pool: Amount, bands: impl IntoIterator<Item = (u64, u32)>) -> Self {
        Self { pool: Pool::Fixed(pool), bands: bands.into_iter().collect(), reserve: 0 }
    }

    /// Offers in every epoch what that is granted when it closes, as [`ProRata::as_granted`]; bands as in
    /// [`per_epoch`](Self::per_epoch).
    pub fn as_granted(bands: impl IntoIterator<Item = (u64, u32)>) -> Self {
        Self { pool: Pool::Granted(None), bands: bands.into_iter().collect(), reserve: 0 }
    }

    /// Offers in epoch n what the schedule allows in period n, as [`ProRata::along`]; bands as in
    /// [`per_epoch`](Self::per_epoch).
    pub fn along(schedule: Schedule, bands: impl IntoIterator<Item = (u64, u32)>) -> Self {
        Self { pool: Pool::Along(schedule), bands: bands.into_iter().collect(), reserve: 0 }
    }

    /// Keeps so many basis points of every payout until its epoch settles, for work that comes late; more
    /// than 10,000 are 10,000.
    #[must_use]
    pub const fn reserve(mut self, basis_points: u16) -> Self {
        self.reserve = at_most_all(basis_points);
        self
    }

    fn weight(&self, score: u64) -> U256 {
        let multiplier = self.bands.range(..=score).next_back().map_or(0, |(_, bps)| *bps);
        // 64 by 32 bits.
        U256::from(u128::from(score).saturating_mul(u128::from(multiplier)))
    }
}

impl RewardPolicy for Banded {
    fn name(&self) -> String {
        let bands = self.bands.iter().fold(String::new(), |mut text, (from, basis_points)| {
            let _ = write!(text, "{from}:{basis_points}bps, ");
            text
        });
        let (reserve, rounding) = (named(self.reserve), LargestRemainder::NAME);
        format!("banded(pool={}, {bands}{reserve}rounding={rounding})", self.pool)
    }

    fn reserve(&self) -> u16 {
        self.reserve
    }

    fn granted(&self, grant: Amount) -> Option<Arc<dyn RewardPolicy>> {
        let pool = self.pool.granted(grant)?;
        Some(Arc::new(Self { pool, ..self.clone() }))
    }

    fn named(&self, name: &str) -> Option<Arc<dyn RewardPolicy>> {
        self.granted(grant_in(name)?).filter(|policy| policy.name() == name)
    }

    fn pool(&self, epoch: EpochId) -> Result<Option<Amount>> {
        self.pool.of(epoch).map(Some)
    }

    fn allocate(&self, work: &Verified<Contributions>) -> Result<Allocation> {
        allocate(self.pool.of(work.epoch)?, work, |contribution| self.weight(contribution.score))
    }
}

const fn at_most_all(basis_points: u16) -> u16 {
    if basis_points < ALL { basis_points } else { ALL }
}

/// How a reserve appears in the name of a policy.
fn named(reserve: u16) -> String {
    if reserve == 0 { String::new() } else { format!("reserve={reserve}bps, ") }
}

/// Splits `pool` by weight in DID order.
fn allocate(
    pool: Amount,
    work: &Contributions,
    weight: impl Fn(&Contribution) -> U256,
) -> Result<Allocation> {
    allocate_with(pool, work, weight, |weights| LargestRemainder::split(pool, weights))
}

/// As [`allocate`], with another rule.
fn allocate_with(
    pool: Amount,
    work: &Contributions,
    weight: impl Fn(&Contribution) -> U256,
    rule: impl Fn(&[U256]) -> Result<Split>,
) -> Result<Allocation> {
    let mut entries: Vec<&Contribution> = work.entries.iter().collect();
    entries.sort_unstable_by(|a, b| a.device.cmp(&b.device));
    if let Some([first, _]) = entries.array_windows().find(|[a, b]| a.device == b.device) {
        return Err(Error::new(
            ErrorKind::Conflict,
            "a device contributes twice; merge its entries",
        )
        .with("did", &first.device));
    }
    let weights: Vec<U256> = entries
        .iter()
        .map(|entry| if entry.beneficiary == Address::ZERO { U256::ZERO } else { weight(entry) })
        .collect();
    let split = rule(&weights)?;
    let payouts = entries.iter().zip(&split.shares).filter(|(_, share)| !share.is_zero()).map(
        |(entry, share)| Payout {
            device: entry.device.clone(),
            beneficiary: entry.beneficiary,
            amount: *share,
        },
    );
    Ok(Allocation {
        epoch: work.epoch,
        emission: pool.checked_sub(split.unallocated)?,
        unallocated: split.unallocated,
        payouts: payouts.collect(),
    })
}
