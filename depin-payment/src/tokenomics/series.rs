//! Numbers over periods: constant, in steps, growing, and with noise that a seed decides.

use crate::shares::classes::WHOLE;

/// A deterministic function of the period.
///
/// ```
/// use depin_payment::tokenomics::Series;
///
/// let doubling = Series::growing(10, 1_000_000, 50);
/// assert!(doubling.values().take(4).eq([10, 20, 40, 50]));
/// let price = Series::constant(1_000).noisy(7, 500); // give or take 5 %
/// assert!(price.values().take(100).all(|value| (950..=1_050).contains(&value)));
/// assert!(price.values().take(9).eq(price.values().take(9)), "the same every time");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    shape: Shape,
    /// Seed and largest deviation in basis points.
    noise: Option<(u64, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Steps(Vec<(u64, u64)>),
    Growing { from: u64, per_million: i32, limit: u64 },
}

impl Series {
    /// Always the same.
    pub fn constant(value: u64) -> Self {
        Self::steps([(0, value)])
    }

    /// Each value holds from its period on; before the first it is zero.
    pub fn steps(steps: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut steps: Vec<_> = steps.into_iter().collect();
        steps.sort_unstable();
        Self { shape: Shape::Steps(steps), noise: None }
    }

    /// Begins with `from` and changes by so many millionths each period as far as `limit`, the highest when it
    /// grows, the lowest when it shrinks. Values are rounded down; what that leaves counts on, to a millionth.
    pub const fn growing(from: u64, per_million: i32, limit: u64) -> Self {
        Self { shape: Shape::Growing { from, per_million, limit }, noise: None }
    }

    /// Deviates from the value by at most so many basis points, evenly in both directions.
    #[must_use]
    pub fn noisy(self, seed: u64, basis_points: u16) -> Self {
        Self { noise: Some((seed, basis_points.min(WHOLE))), ..self }
    }

    /// The values from period 0 on, without end.
    pub fn values(&self) -> impl Iterator<Item = u64> {
        let mut grown = None;
        (0..).map(move |period| {
            let value = match &self.shape {
                Shape::Steps(steps) => {
                    let next = steps.partition_point(|(from, _)| *from <= period);
                    next.checked_sub(1).and_then(|at| steps.get(at)).map_or(0, |(_, value)| *value)
                }
                Shape::Growing { from, per_million, limit } => {
                    let first = u128::from(*from).saturating_mul(MILLION);
                    let value = grown.map_or(first, |value| grow(value, *per_million, *limit));
                    grown = Some(value);
                    u64::try_from(value / MILLION).unwrap_or(u64::MAX)
                }
            };
            self.noise.map_or(value, |(seed, most)| deviate(value, most, mix(seed, period)))
        })
    }
}

const MILLION: u128 = 1_000_000;

/// The next value, in millionths.
fn grow(value: u128, per_million: i32, limit: u64) -> u128 {
    let limit = u128::from(limit).saturating_mul(MILLION);
    let change = value.saturating_mul(u128::from(per_million.unsigned_abs())) / MILLION;
    match per_million < 0 {
        true => value.saturating_sub(change).max(limit.min(value)),
        false => value.saturating_add(change).min(limit.max(value)),
    }
}

/// The value times something between `1 - most` and `1 + most`.
fn deviate(value: u64, most: u16, random: u64) -> u64 {
    let room = u64::from(most).saturating_mul(2).saturating_add(1);
    let shift = random.checked_rem(room).unwrap_or_default();
    let factor = u64::from(WHOLE).saturating_sub(u64::from(most)).saturating_add(shift);
    let scaled =
        u128::from(value).saturating_mul(u128::from(factor)).saturating_add(5_000) / 10_000;
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// SplitMix64 of the seed and the period: well mixed, and the same in every language.
fn mix(seed: u64, period: u64) -> u64 {
    let step = period.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut z = seed.wrapping_add(step);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
