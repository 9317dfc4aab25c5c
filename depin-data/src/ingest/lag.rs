//! How far each source is behind.

use std::time::Duration;

use depin_core::{Did, Timestamp};

use super::{Ingest, lock};
use crate::observe;

/// How far the latest stored reading of a device is behind the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// The device.
    pub device: Did,
    /// Time of the latest reading that was stored since this ingest began.
    pub latest: Timestamp,
    /// How long ago that is; zero for readings ahead of the clock.
    pub behind: Duration,
}

impl Ingest {
    /// The devices that are furthest behind, the worst first, at most `most` of them. Of devices that
    /// stored nothing since this ingest began, or were not heard of for long, nothing is known here.
    pub fn lags(&self, most: usize) -> Vec<Lag> {
        let now = self.clock.now();
        let mut lags: Vec<_> = {
            let records = lock(&self.records);
            let latest = records
                .accounts()
                .filter_map(|(did, account)| account.latest().map(|latest| (latest, did)));
            let mut latest: Vec<_> = latest.collect();
            latest.sort_unstable();
            latest.truncate(most);
            latest.into_iter().map(|(latest, did)| (latest, did.clone())).collect()
        };
        let lag = |(latest, device)| Lag { device, latest, behind: now.since(latest) };
        lags.drain(..).map(lag).collect()
    }

    /// Sets the gauges that nobody's batch sets: the worst lags. For whoever scrapes, before each time.
    pub fn observe(&self) {
        observe::lags(&self.lags(observe::WORST));
    }
}
