//! Who had which windows first.

use std::collections::BTreeMap;

use depin_core::{Result, quality::Notes};

use super::{
    LEAST,
    notes::{DIGEST, Original, Window, read},
};

/// Devices that a window is looked for in: the first ones, or a fleet of copies takes quadratic time.
const MOST_HOLDERS: usize = 64;
/// About how many digests are looked at together, of more in several turns: of very many more in so many.
const TOGETHER: usize = 1 << 18;
const MOST_TURNS: usize = 16;

/// What is held against each device: what others had first.
pub(super) fn originals(notes: &dyn Notes) -> Result<Vec<Vec<Original>>> {
    let shared = shared(notes)?;
    let (mut samples, mut compared) = (Vec::new(), Vec::new());
    for at in 0..notes.len() {
        let mut windows = read(&notes.read(at)?);
        compared.push(windows.iter().map(|window| window.digest).max().unwrap_or_default());
        windows.retain(|window| shared.binary_search(&window.digest).is_ok());
        windows.shrink_to_fit();
        samples.push(windows);
    }
    let holders = Holders::of(&samples);
    // Device by device, or a farm of copies would fill the memory with its pairs.
    let mut common = vec![0; notes.len()];
    let of = |(windows, own): (&Vec<Window>, &u64)| -> Vec<Original> {
        let firsts = holders.firsts(windows, &mut common);
        let original = |(device, windows)| {
            let theirs: Option<&u64> = compared.get(device);
            Original { compared: theirs.map_or(*own, |theirs| *own.min(theirs)), windows }
        };
        firsts.into_iter().map(original).collect()
    };
    Ok(samples.iter().zip(&compared).map(of).collect())
}

/// Digests that several devices have, in rising order: of an honest fleet next to none, and nothing else is held
/// against anybody.
fn shared(notes: &dyn Notes) -> Result<Vec<u64>> {
    let mut all = 0;
    for at in 0..notes.len() {
        all += notes.read(at)?.len() / DIGEST;
    }
    let turns = (all / TOGETHER + 1).min(MOST_TURNS) as u64;
    let (mut shared, mut digests) = (Vec::new(), Vec::with_capacity(all.min(TOGETHER)));
    for turn in 0..turns {
        digests.clear();
        for at in 0..notes.len() {
            let windows = read(&notes.read(at)?).into_iter().map(|window| window.digest);
            digests.extend(windows.filter(|digest| digest % turns == turn));
        }
        digests.sort_unstable();
        let runs = digests.chunk_by(|a, b| a == b).filter(|run| run.len() > 1);
        shared.extend(runs.filter_map(|run| run.first().copied()));
    }
    shared.sort_unstable();
    Ok(shared)
}

/// All windows of a fleet: digest, where in the log it ends, and of which device.
struct Holders(Vec<(u64, u64, usize)>);

impl Holders {
    fn of(samples: &[Vec<Window>]) -> Self {
        let of = |(device, windows): (usize, &Vec<Window>)| -> Vec<(u64, u64, usize)> {
            windows.iter().map(|window| (window.digest, window.index, device)).collect()
        };
        let mut all = Vec::with_capacity(samples.iter().map(Vec::len).sum());
        all.extend(samples.iter().enumerate().flat_map(of));
        all.sort_unstable();
        Self(all)
    }

    /// For each window in common where another device had it first: of several that with which most are in common. By that
    /// device; `common` has a zero for each device, and again after.
    fn firsts(&self, windows: &[Window], common: &mut [usize]) -> BTreeMap<usize, Vec<Window>> {
        let count = |common: &mut [usize], by: fn(usize) -> usize| {
            for (_, device) in windows.iter().flat_map(|window| self.before(*window)) {
                if let Some(common) = common.get_mut(device) {
                    *common = by(*common);
                }
            }
        };
        count(common, |common| common + 1);
        let mut firsts: BTreeMap<usize, Vec<Window>> = BTreeMap::new();
        for window in windows {
            let counted = self.before(*window).map(|(index, device)| {
                (common.get(device).copied().unwrap_or_default(), index, device)
            });
            let most = counted
                .filter(|(common, ..)| *common >= LEAST)
                .reduce(|most, other| if other.0 > most.0 { other } else { most });
            if let Some((_, index, device)) = most {
                let windows = firsts.entry(device).or_default();
                windows.push(Window { digest: window.digest, index });
            }
        }
        count(common, |_| 0);
        firsts
    }

    /// Where devices had a window before, and which, of which the first ones count.
    fn before(&self, window: Window) -> impl Iterator<Item = (u64, usize)> {
        let Window { digest, index } = window;
        let start = self.0.partition_point(|(other, ..)| *other < digest);
        let holders = self.0.get(start..).unwrap_or_default().iter().take(MOST_HOLDERS);
        let before = holders.take_while(move |held| (held.0, held.1) < (digest, index));
        before.map(|(_, index, device)| (*index, *device))
    }
}
