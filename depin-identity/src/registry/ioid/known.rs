//! What can never change about a device, kept so that it is asked once.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use depin_core::{Address, U256};

use super::read::Origin;

/// Keys and times of registration, by device and ioID token.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<BTreeMap<(Address, U256), Origin>>);

impl Known {
    pub(super) fn origin(&self, device: Address, token: U256) -> Option<Origin> {
        self.lock().get(&(device, token)).cloned()
    }

    pub(super) fn remember(&self, device: Address, token: U256, origin: &Origin) {
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert((device, token), origin.clone());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Address, U256), Origin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A few megabytes at most.
const MAX_KNOWN: usize = 10_000;
