//! Who has how many of the places that all share: nobody more than a part of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// One topic may have a place in so many, at least one.
const PARTS: usize = 16;

/// Places that are taken, by the hash of what they are taken for.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    taken: Mutex<HashMap<u64, usize>>,
}

/// A place out of somebody's share; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    of: u64,
}

impl Shares {
    /// Of so many places.
    pub(super) fn of(places: usize) -> Arc<Self> {
        Arc::new(Self { most: (places / PARTS).max(1), taken: Mutex::default() })
    }

    /// A place for `of`, unless it has its share.
    pub(super) fn take(self: &Arc<Self>, of: u64) -> Option<Share> {
        let mut all = self.taken();
        let taken = all.entry(of).or_default();
        if *taken >= self.most {
            return None;
        }
        *taken = taken.saturating_add(1);
        drop(all);
        Some(Share { shares: Arc::clone(self), of })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.shares.taken();
        if let Some(taken) = all.get_mut(&self.of) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                all.remove(&self.of);
            }
        }
    }
}
