//! Great-circle distance in fixed point: the haversine formula with 62 fractional bits.
//!
//! `hav = sin²(Δφ/2) + cos φ1 cos φ2 sin²(Δλ/2)`, `distance = 2 R asin √hav`. All sines are of angles from
//! 0 to 90 degrees, where their Taylor series need no reduction. Every number below is at most 1 in units
//! of 2^-62 (products in 2^-124), so nothing overflows 128 bits.

use super::Position;

/// 1 in fixed point.
const ONE: u128 = 1 << BITS;
const BITS: u32 = 62;
/// Pi in fixed point, rounded.
const PI: u128 = 14_488_038_916_154_245_685;
/// Mean radius of the Earth (IUGG) in millimetres.
const RADIUS: u128 = 6_371_008_800;
/// 90 and 360 degrees in 10^-7 degrees.
const RIGHT: u64 = 900_000_000;
const ROUND: u64 = 3_600_000_000;

pub(super) fn millimetres(a: Position, b: Position) -> u64 {
    let latitude = u64::from(a.latitude().abs_diff(b.latitude()));
    let east = u64::from(a.longitude().abs_diff(b.longitude()));
    let longitude = east.min(ROUND.saturating_sub(east));
    let north = sine_of_half(latitude);
    // The square root of both cosines together, so that short distances keep their digits.
    let narrow = (cosine(a.latitude()) * cosine(b.latitude())).isqrt();
    let across = (narrow * sine_of_half(longitude)) >> BITS;
    let half_chord = (north * north + across * across).isqrt().min(ONE);
    let metres = (2 * RADIUS * arc_sine(half_chord) + ONE / 2) >> BITS;
    u64::try_from(metres).unwrap_or(u64::MAX)
}

/// Sine of half an angle of 0 to 180 degrees.
fn sine_of_half(steps: u64) -> u128 {
    sine(u128::from(steps) * PI / u128::from(ROUND))
}

/// Cosine of a latitude.
fn cosine(latitude: i32) -> u128 {
    let rest = RIGHT.saturating_sub(u64::from(latitude.unsigned_abs()));
    sine(u128::from(rest) * PI / u128::from(ROUND / 2))
}

/// Sine of 0 to pi/2: `x - x^3/3! + x^5/5! - …` until the terms vanish.
fn sine(x: u128) -> u128 {
    let square = (x * x) >> BITS;
    let (mut term, mut plus, mut minus) = (x, x, 0);
    for n in 1..16u128 {
        term = ((term * square) >> BITS) / (2 * n * (2 * n + 1));
        if n % 2 == 1 {
            minus += term;
        } else {
            plus += term;
        }
    }
    plus.saturating_sub(minus).min(ONE)
}

/// Arc sine of 0 to 1; above one half by `asin x = pi/2 - 2 asin √((1 - x)/2)`.
fn arc_sine(x: u128) -> u128 {
    if x <= ONE / 2 {
        return arc_sine_series(x);
    }
    let rest = (((ONE - x) << BITS) / 2).isqrt();
    (PI / 2).saturating_sub(2 * arc_sine_series(rest))
}

/// `x + x^3/(2·3) + 3 x^5/(2·4·5) + …`; up to one half each term is less than a quarter of the one before.
fn arc_sine_series(x: u128) -> u128 {
    let square = (x * x) >> BITS;
    let (mut power, mut sum) = (x, x);
    for n in 1..32u128 {
        power = ((power * square) >> BITS) * (2 * n - 1) / (2 * n);
        sum += power / (2 * n + 1);
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn haversine(a: Position, b: Position) -> f64 {
        let radians = |steps: i32| (f64::from(steps) / 1e7).to_radians();
        let (p, q) = (radians(a.latitude()), radians(b.latitude()));
        let (north, east) =
            ((q - p) / 2.0, (radians(b.longitude()) - radians(a.longitude())) / 2.0);
        let square = north.sin().powi(2) + p.cos() * q.cos() * east.sin().powi(2);
        2.0 * 6_371_008_800.0 * square.sqrt().min(1.0).asin()
    }

    fn place() -> impl Strategy<Value = Position> {
        (-900_000_000..=900_000_000, -1_800_000_000..=1_800_000_000)
            .prop_map(|(latitude, longitude)| Position::try_new(latitude, longitude).unwrap())
    }

    #[test]
    fn a_quarter_and_a_half_of_the_globe_have_their_lengths() {
        let at = |latitude, longitude| Position::try_new(latitude, longitude).unwrap();
        let quarter = 10_007_557_221;
        assert_eq!(at(0, 0).distance(at(900_000_000, 0)).abs_diff(quarter), 0);
        assert_eq!(at(0, 0).distance(at(0, 900_000_000)).abs_diff(quarter), 0);
        assert!(at(0, 0).distance(at(0, 1_800_000_000)).abs_diff(2 * quarter) <= 1);
        assert_eq!(at(0, 1_800_000_000).distance(at(0, -1_800_000_000)), 0);
        assert_eq!(at(0, 1_799_999_999).distance(at(0, -1_799_999_999)), 22);
        assert_eq!(at(900_000_000, 0).distance(at(900_000_000, 1_234_567_890)), 0);
    }

    proptest! {
        #[test]
        fn integers_agree_with_the_formula_in_floats(a in place(), b in place()) {
            let (exact, float) = (a.distance(b), haversine(a, b));
            // Near the antipode the float's arc sine has lost half of its digits.
            let bound = if exact > 19_000_000_000 { 2_000.0 } else { 2.0 };
            prop_assert!((exact as f64 - float).abs() <= bound, "{exact} {float}");
            prop_assert_eq!(exact, b.distance(a));
        }

        #[test]
        fn short_distances_are_as_exact(a in place(), north in -1_000i32..=1_000, east in -1_000i32..=1_000) {
            let latitude = (a.latitude() + north).clamp(-900_000_000, 900_000_000);
            let longitude = (a.longitude() + east).clamp(-1_800_000_000, 1_800_000_000);
            let b = Position::try_new(latitude, longitude).unwrap();
            prop_assert!((a.distance(b) as f64 - haversine(a, b)).abs() <= 1.0);
        }
    }
}
