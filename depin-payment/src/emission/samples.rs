//! Questions with answers, for whoever implements the rules again: the contract, other languages.

use depin_core::{Amount, Result, U256};

use super::{Curve, Direction, Targeted};

/// A curve, a range of periods and the exact sum over it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the question and its answer, nothing else")]
pub struct Sample {
    /// The curve.
    pub curve: Curve,
    /// The first period.
    pub from: u64,
    /// The period after the last.
    pub to: u64,
    /// The sum of the allowances.
    pub span: Amount,
}

/// A target, reports in order, and what was granted after each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the question and its answer, nothing else")]
pub struct TargetSample {
    /// The curve.
    pub curve: Curve,
    /// The measure at which the whole curve, or only the floor, is granted.
    pub target: Amount,
    /// The floor in basis points.
    pub floor: u16,
    /// Which way emission goes when the measure rises.
    pub direction: Direction,
    /// The cap.
    pub cap: Amount,
    /// Period, measure, and what is granted after the report.
    pub reports: Vec<(u64, Amount, Amount)>,
}

/// Every kind of curve, over ranges at the borders of eras and far from them.
///
/// ```
/// for sample in depin_payment::emission::samples()? {
///     assert_eq!(sample.curve.span(sample.from, sample.to)?, sample.span);
/// }
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// None that is known; the answers are computed here.
pub fn samples() -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for curve in curves()? {
        let interval = curve.era().map_or(52, |(_, interval)| interval);
        let [before, after] = [interval.saturating_sub(1), interval.saturating_add(1)];
        let [three, forty] = [3, 40].map(|eras| interval.saturating_mul(eras));
        let ends = [0, 1, 2, before, interval, after, three, forty, 5_219];
        for from in ends {
            for to in ends.into_iter().filter(|to| *to >= from) {
                let span = curve.span(from, to)?;
                samples.push(Sample { curve: curve.clone(), from, to, span });
            }
        }
    }
    Ok(samples)
}

/// Targets in both directions with measures below, at and above them, and periods nobody reported.
///
/// # Errors
/// None that is known; the answers are computed here.
pub fn target_samples() -> Result<Vec<TargetSample>> {
    let mut samples = Vec::new();
    let (target, cap) = (Amount::tokens(7_001), Amount::tokens(30_000_000));
    for curve in curves()?.into_iter().take(4) {
        for (floor, direction) in [
            (0, Direction::Rising),
            (2_000, Direction::Rising),
            (10_000, Direction::Rising),
            (0, Direction::Falling),
            (3_333, Direction::Falling),
        ] {
            let mut state = Targeted::new(target, floor, direction, cap)?;
            let mut reports = Vec::new();
            for (period, measure) in
                [(0, 0), (1, 3_500), (2, 7_000), (5, 7_001), (6, 1), (60, 9_999_999)]
            {
                let measure = Amount::tokens(measure);
                state.report(&curve, period, measure, u64::MAX)?;
                reports.push((period, measure, state.granted()));
            }
            samples.push(TargetSample {
                curve: curve.clone(),
                target,
                floor,
                direction,
                cap,
                reports,
            });
        }
    }
    Ok(samples)
}

fn curves() -> Result<Vec<Curve>> {
    let odd = Amount::units(U256::from(1_000_000_000_000_000_000_007_u128));
    let largest = Amount::units(U256::from(u128::MAX));
    Ok(vec![
        Curve::geometric(Amount::tokens(1_105_000), 52, 85, 100)?,
        Curve::halving(odd, 1_461)?,
        Curve::flat(Amount::tokens(1_000))?,
        Curve::exponential(odd, 365)?,
        Curve::exponential(largest, 1)?,
        Curve::geometric(largest, 7, 2, 3)?,
        Curve::geometric(odd, 3, 0, 1)?,
        Curve::geometric(largest, 1, 1 << 64, 1 << 64)?,
        Curve::table([(0, Amount::tokens(5))])?,
        Curve::table([(0, largest), (1, odd), (53, Amount::ZERO), (2_080, Amount::from(1))])?,
    ])
}
