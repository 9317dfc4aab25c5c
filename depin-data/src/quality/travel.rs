//! Movements that nothing on Earth makes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use depin_core::{
    B256, Batch, Decimal, Verified,
    quality::{Finding, QualityCheck},
};

use super::{Place, Repeat, stream};
use crate::geo::{LATITUDE, LONGITUDE, Position};

/// A device moves no faster than it can. Code `impossible-travel`.
///
/// A fix is a [latitude](LATITUDE) and a [longitude](LONGITUDE) of one moment; one without the other, or
/// off the globe, loses its point. Between two fixes the device may move by `speed` times the time between
/// them, and by `slack` that receivers err. Where consecutive fixes are further apart, the track is cut, and
/// of the pieces those are believed that can be travelled one after another and hold most fixes together.
/// All others lose their points, both readings of each fix. A piece follows on one of the eight latest, or of the
/// eight in which most fixes came together so far, so that a track costs at most seventeen distances for
/// each fix, however wild it is: seven false tracks may be woven into the true one, and between two parts of the longest
/// one any number of fixes may be false.
///
/// A stretch of fixes that [repeats](super::Repeat) an earlier one says nothing of where the device was: it
/// loses its points and is no reason to disbelieve the rest.
///
/// So a spoofed stretch loses all of its points and the drive around it none. With
/// [`all_or_nothing`](Self::all_or_nothing) a track of which too much is impossible is not believed at all.
///
/// Distances are [exact integers](Position::distance) on a sphere. The Earth's flattening makes up to 0.6 %
/// of them: choose the speed with that much to spare.
///
/// ```
/// use depin_core::{Decimal, quality::QualityCheck};
/// use depin_data::quality::Travel;
///
/// let check = Travel::new(Decimal::from(70), Decimal::from(50)).all_or_nothing(10);
/// assert_eq!(check.name(), "travel(70m/s, slack 50m, all lost above 10%)");
/// assert_eq!(Travel::stationary(Decimal::from(100)).name(), "travel(0m/s, slack 100m)");
/// ```
#[derive(Clone, Debug)]
pub struct Travel {
    speed: Decimal,
    slack: Decimal,
    most: Option<u8>,
}

/// How many of the latest pieces a piece may follow on, and how many of the heaviest chains.
const LATEST: usize = 8;
const HEAVIEST: usize = 8;

struct Fix<'a> {
    at: u64,
    position: Position,
    places: [Place<'a>; 2],
}

impl Travel {
    /// The device moves by at most `speed` metres a second, and its receiver errs by at most `slack` metres
    /// between two fixes. Signs do not matter.
    pub const fn new(speed: Decimal, slack: Decimal) -> Self {
        Self { speed, slack, most: None }
    }

    /// The device stays within `radius` metres of where it was.
    pub fn stationary(radius: Decimal) -> Self {
        Self::new(Decimal::default(), radius)
    }

    /// When more than this percentage of the fixes is impossible, none is believed.
    pub const fn all_or_nothing(self, percent: u8) -> Self {
        Self { most: Some(percent), ..self }
    }

    fn allows(&self, a: &Fix<'_>, b: &Fix<'_>) -> bool {
        // Millimetres a millisecond are metres a second; everything in 10^-12.
        let magnitude = |value: Decimal| value.abs_diff(Decimal::default());
        let time = u128::from(a.at.abs_diff(b.at));
        let reach = magnitude(self.speed).saturating_mul(time);
        let reach = reach.saturating_add(magnitude(self.slack).saturating_mul(1_000));
        // At most 2.1e10 mm by 10^12.
        u128::from(a.position.distance(b.position)) * 1_000_000_000_000 <= reach
    }
}

/// Which fixes, ordered by time, are believed, given whether one can be reached from another.
fn believed(fixes: &[Fix<'_>], mut allows: impl FnMut(&Fix<'_>, &Fix<'_>) -> bool) -> Vec<bool> {
    let pieces = pieces(fixes, &mut allows);
    let mut follows = |a: &Range<usize>, b: &Range<usize>| {
        let last = a.end.checked_sub(1).and_then(|last| fixes.get(last));
        last.zip(fixes.get(b.start)).is_some_and(|(last, first)| allows(last, first))
    };
    let mut chains: Vec<Chain> = Vec::with_capacity(pieces.len());
    // By falling weight, of equal ones the earlier first.
    let mut heaviest: Vec<usize> = Vec::with_capacity(HEAVIEST + 1);
    let weight = |chains: &[Chain], at: usize| chains.get(at).map_or(0, |chain| chain.weight);
    for (now, piece) in pieces.iter().enumerate() {
        let latest = now.saturating_sub(LATEST)..now;
        let mut before: Vec<usize> = latest.chain(heaviest.iter().copied()).collect();
        before.sort_unstable_by_key(|at| (Reverse(weight(&chains, *at)), *at));
        before.dedup();
        // The first that it can follow is the best.
        let best = before
            .into_iter()
            .find(|at| pieces.get(*at).is_some_and(|earlier| follows(earlier, piece)));
        let so_far = best.map_or(0, |best| weight(&chains, best));
        chains.push(Chain { weight: so_far + piece.len(), before: best });
        let rank = heaviest.partition_point(|at| weight(&chains, *at) >= weight(&chains, now));
        heaviest.insert(rank, now);
        heaviest.truncate(HEAVIEST);
    }
    let mut believed = vec![false; fixes.len()];
    let mut next = heaviest.first().copied();
    while let Some(at) = next {
        let piece = pieces.get(at).cloned().unwrap_or_default();
        believed.get_mut(piece).unwrap_or_default().fill(true);
        next = chains.get(at).and_then(|chain| chain.before);
    }
    believed
}

/// Pieces that can be travelled one after another, up to one of them.
struct Chain {
    /// How many fixes they hold.
    weight: usize,
    /// The piece before the last one.
    before: Option<usize>,
}

/// Stretches without an impossible step.
fn pieces(
    fixes: &[Fix<'_>],
    mut allows: impl FnMut(&Fix<'_>, &Fix<'_>) -> bool,
) -> Vec<Range<usize>> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    for (end, pair) in (1..).zip(fixes.windows(2)) {
        if let [a, b] = pair
            && !allows(a, b)
        {
            pieces.push(start..end);
            start = end;
        }
    }
    if start < fixes.len() {
        pieces.push(start..fixes.len());
    }
    pieces
}

impl QualityCheck for Travel {
    fn name(&self) -> String {
        let most = match self.most {
            Some(percent) => format!(", all lost above {percent}%"),
            None => String::new(),
        };
        format!("travel({}m/s, slack {}m{most})", self.speed, self.slack)
    }

    fn inspect(&self, batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let (fixes, mut findings) = fixes(batches);
        let repeated: BTreeSet<(B256, usize)> = Repeat::new([LATITUDE, LONGITUDE])
            .inspect(batches)
            .into_iter()
            .map(|finding| (finding.batch, finding.reading))
            .collect();
        let again = |fix: &Fix<'_>| {
            fix.places.iter().all(|place| repeated.contains(&(place.batch, place.position)))
        };
        let (repeated, fixes): (Vec<_>, Vec<_>) = fixes.into_iter().partition(again);
        for place in repeated.iter().flat_map(|fix| fix.places) {
            let detail = "part of a stretch that repeats an earlier one".into();
            findings.push(place.finding("impossible-travel", detail));
        }
        let believed = believed(&fixes, |a, b| self.allows(a, b));
        let impossible = believed.iter().filter(|believed| !**believed).count();
        let limit = self.most.map(|percent| usize::from(percent).saturating_mul(fixes.len()));
        let nothing = limit.is_some_and(|limit| impossible.saturating_mul(100) > limit);
        for (fix, believed) in fixes.iter().zip(&believed) {
            let detail = match (nothing, believed) {
                (true, _) => {
                    format!("{impossible} of {} fixes cannot have been travelled", fixes.len())
                }
                (false, false) => {
                    format!(
                        "{} cannot be reached at {} m/s from the rest of the track",
                        fix.position, self.speed
                    )
                }
                (false, true) => continue,
            };
            for place in fix.places {
                findings.push(place.finding("impossible-travel", detail.clone()));
            }
        }
        findings
    }
}

/// The fixes by time, and what is wrong with readings that make none.
fn fixes<'a>(batches: &'a [&Verified<Batch>]) -> (Vec<Fix<'a>>, Vec<Finding>) {
    let (mut fixes, mut findings) = (Vec::new(), Vec::new());
    let mut halves: BTreeMap<u64, Half<'a>> = BTreeMap::new();
    for place in stream(batches) {
        let quantity = place.reading.quantity();
        let north = (quantity.name(), quantity.unit()) == LATITUDE;
        if !north && (quantity.name(), quantity.unit()) != LONGITUDE {
            continue;
        }
        let at = place.reading.at().millis();
        match halves.remove(&at) {
            Some(half) if half.north != north => {
                let (latitude, longitude) =
                    if north { (place, half.place) } else { (half.place, place) };
                match Position::of(latitude.reading.value(), longitude.reading.value()) {
                    Ok(position) => fixes.push(Fix { at, position, places: [latitude, longitude] }),
                    Err(error) => findings.extend(
                        [latitude, longitude]
                            .map(|place| place.finding("impossible-travel", error.to_string())),
                    ),
                }
            }
            other => {
                findings.extend(other.map(Half::alone));
                halves.insert(at, Half { north, place });
            }
        }
    }
    findings.extend(halves.into_values().map(Half::alone));
    fixes.sort_by_key(|fix: &Fix<'_>| fix.at);
    (fixes, findings)
}

/// One coordinate that waits for the other.
struct Half<'a> {
    north: bool,
    place: Place<'a>,
}

impl Half<'_> {
    fn alone(self) -> Finding {
        let missing = if self.north { LONGITUDE.0 } else { LATITUDE.0 };
        let detail = format!("no {missing} of the same moment");
        self.place.finding("impossible-travel", detail)
    }
}

#[cfg(test)]
mod tests {
    use depin_core::{Decimal, Reading, Timestamp, reading::Quantity};

    use super::*;

    /// Which fixes of a track are believed, and how many distances that took.
    fn judged(track: &[(u64, i32)]) -> (Vec<bool>, usize) {
        let reading = Reading::new(
            Quantity::new(LATITUDE.0, LATITUDE.1),
            Decimal::default(),
            Timestamp::EPOCH,
        );
        let place = Place { batch: B256::ZERO, nth: 0, position: 0, reading: &reading };
        let fix = |(second, north): &(u64, i32)| Fix {
            at: 1_000 * second,
            position: Position::try_new(*north, 0).unwrap(),
            places: [place, place],
        };
        let fixes: Vec<Fix<'_>> = track.iter().map(fix).collect();
        let (travel, mut distances) = (Travel::new(Decimal::from(70), Decimal::from(50)), 0);
        let believed = believed(&fixes, |a, b| {
            distances += 1;
            travel.allows(a, b)
        });
        (believed, distances)
    }

    #[test]
    fn an_impossible_track_costs_a_few_distances_a_fix() {
        // Nothing can be reached from anything near in time.
        let wild =
            |second: u64| (second, (second * 7_919 % 1_700) as i32 * 1_000_000 - 850_000_000);
        let track: Vec<_> = (0..5_000).map(wild).collect();
        let (_, distances) = judged(&track);
        assert!(distances <= (1 + LATEST + HEAVIEST) * track.len(), "{distances}");
        // A drive that jumps away and back at every second fix.
        let torn =
            |second: u64| (second, second as i32 * 1_000 + (second % 2) as i32 * 500_000_000);
        let track: Vec<_> = (0..5_000).map(torn).collect();
        let (believed, distances) = judged(&track);
        assert_eq!(believed.iter().filter(|believed| **believed).count(), 2_500);
        assert!(distances <= (1 + LATEST + HEAVIEST) * track.len(), "{distances}");
    }

    #[test]
    fn a_drive_goes_on_after_thousands_of_impossible_fixes() {
        let drive = |second: u64| (second, second as i32 * 1_000);
        let mut track: Vec<_> = (0..3_000).map(drive).collect();
        for (second, north) in &mut track[1_000..2_900] {
            *north = 300_000_000 + (*second % 300) as i32 * 1_000_000;
        }
        let (believed, _) = judged(&track);
        let lost: Vec<usize> = (0..3_000).filter(|at| !believed[*at]).collect();
        assert_eq!(lost, (1_000..2_900).collect::<Vec<_>>());
    }

    #[test]
    fn many_false_tracks_may_be_woven_into_the_true_one() {
        // Seven other cars, of which nobody is longer than the true one.
        let fix = |second: u64| match second % 16 {
            car @ 1..8 => (second, car as i32 * 100_000_000 + second as i32 * 100),
            _ => (second, second as i32 * 1_000),
        };
        let track: Vec<_> = (0..2_000).map(fix).collect();
        let (believed, _) = judged(&track);
        assert!(
            track
                .iter()
                .zip(&believed)
                .all(|((_, north), believed)| (*north < 50_000_000) == *believed)
        );
    }
}
