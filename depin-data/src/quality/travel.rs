//! Movements that nothing on Earth makes.

use std::collections::{BTreeMap, BTreeSet};

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
/// All others lose their points, both readings of each fix.
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

/// How many pieces back a piece may follow on, which bounds the time that a wild track takes.
const LOOK_BACK: usize = 256;

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

    /// Which fixes, ordered by time, are believed.
    fn believed(&self, fixes: &[Fix<'_>]) -> Vec<bool> {
        let pieces = self.pieces(fixes);
        let mut chains: Vec<(usize, Option<usize>)> = Vec::with_capacity(pieces.len());
        for (now, piece) in pieces.iter().enumerate() {
            let from = now.saturating_sub(LOOK_BACK);
            let mut best = (0, None);
            for before in from..now {
                let (Some(earlier), Some((weight, _))) = (pieces.get(before), chains.get(before))
                else {
                    continue;
                };
                if *weight > best.0 && self.follows(fixes, earlier, piece) {
                    best = (*weight, Some(before));
                }
            }
            chains.push((best.0 + piece.len(), best.1));
        }
        let mut believed = vec![false; fixes.len()];
        let heaviest =
            (0..chains.len()).rev().max_by_key(|at| chains.get(*at).map(|chain| chain.0));
        let mut next = heaviest;
        while let Some(at) = next {
            for fix in pieces.get(at).cloned().unwrap_or_default() {
                if let Some(believed) = believed.get_mut(fix) {
                    *believed = true;
                }
            }
            next = chains.get(at).and_then(|chain| chain.1);
        }
        believed
    }

    /// Stretches without an impossible step.
    fn pieces(&self, fixes: &[Fix<'_>]) -> Vec<std::ops::Range<usize>> {
        let (mut pieces, mut start) = (Vec::new(), 0);
        for (end, pair) in (1..).zip(fixes.windows(2)) {
            if let [a, b] = pair
                && !self.allows(a, b)
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

    fn follows(
        &self,
        fixes: &[Fix<'_>],
        a: &std::ops::Range<usize>,
        b: &std::ops::Range<usize>,
    ) -> bool {
        let last = a.end.checked_sub(1).and_then(|last| fixes.get(last));
        let first = fixes.get(b.start);
        last.zip(first).is_some_and(|(last, first)| self.allows(last, first))
    }
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
        let believed = self.believed(&fixes);
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
