//! Questions to the registry: few enough at a time, and none of them in the way of the fleet.
//!
//! Anybody can write any name into a batch. A name that was never heard of costs one of a share of its own,
//! so that a flood of them delays those that are new, and nobody else.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use depin_core::{Did, Error, Result};

use super::admit::TURN;
use crate::observe;

/// Questions about one known device at a time.
const SAME: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Lookups(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    strangers: usize,
    /// By device, and all together.
    known: HashMap<Did, usize>,
    count: usize,
}

/// A question under way; ends when dropped.
#[derive(Debug)]
pub(super) struct Lookup<'a> {
    lookups: &'a Lookups,
    /// `None` for a stranger.
    known: Option<&'a Did>,
}

impl Lookups {
    /// Half of `concurrency` is for devices that are known, a quarter for names that are not; the rest of ingest
    /// is left to those who need not ask.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) while there is no room.
    pub(super) fn enter<'a>(
        &'a self,
        did: &'a Did,
        known: bool,
        concurrency: usize,
    ) -> Result<Lookup<'a>> {
        let open = &mut *self.open();
        let room = if known {
            open.count < (concurrency / 2).max(1)
                && open.known.get(did).is_none_or(|same| *same < SAME)
        } else {
            open.strangers < (concurrency / 4).max(1)
        };
        if !room {
            observe::throttled("registry");
            let why = "ingest is saturated; send the batch again later";
            return Err(Error::unavailable(why).retry_in(TURN));
        }
        if known {
            *open.known.entry(did.clone()).or_default() += 1;
            open.count += 1;
        } else {
            open.strangers += 1;
        }
        Ok(Lookup { lookups: self, known: known.then_some(did) })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lookup<'_> {
    fn drop(&mut self) {
        let open = &mut *self.lookups.open();
        let Some(did) = self.known else {
            open.strangers = open.strangers.saturating_sub(1);
            return;
        };
        open.count = open.count.saturating_sub(1);
        if let Some(same) = open.known.get_mut(did) {
            *same = same.saturating_sub(1);
            if *same == 0 {
                open.known.remove(did);
            }
        }
    }
}
