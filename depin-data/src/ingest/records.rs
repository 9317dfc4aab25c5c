//! What the registry said lately, in bounded memory.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use depin_core::{
    Did, PublicKey, Timestamp,
    registry::{DeviceRecord, DeviceStatus},
};

use super::account::Account;

const FRESH: Duration = Duration::from_secs(10);
/// Devices per generation; two generations are kept.
const GENERATION: usize = 32_768;

/// What ingest needs of a device's record.
pub(super) struct Known {
    pub(super) key: PublicKey,
    pub(super) status: DeviceStatus,
    /// Outlives the record as long as the device is known here.
    pub(super) account: Arc<Account>,
    /// The last signature in its name did not hold: the next is verified alone, so that bad ones slow
    /// down nobody else.
    pub(super) suspect: AtomicBool,
}

struct Entry {
    known: Arc<Known>,
    asked: Timestamp,
    stale: bool,
}

/// Two generations: what is used moves to the young one, and when that is full the old one goes. So the
/// least recently used half is forgotten in one step. Absence is not kept: whoever floods us with
/// invented names would only push out real ones.
#[derive(Default)]
pub(super) struct Records {
    young: HashMap<Did, Entry>,
    old: HashMap<Did, Entry>,
    /// How often something was forgotten.
    forgotten: u64,
}

impl Records {
    /// Names the present, for [`keep`](Self::keep).
    pub(super) const fn moment(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn find(&mut self, did: &Did, now: Timestamp) -> Option<Arc<Known>> {
        if !self.young.contains_key(did) {
            let entry = self.old.remove(did)?;
            self.insert(did, entry);
        }
        // A clock that was set back would keep an old answer fresh for as long as it went back.
        let fresh = |e: &&Entry| !e.stale && e.asked <= now && now < e.asked.plus(FRESH);
        let entry = self.young.get(did).filter(fresh)?;
        Some(Arc::clone(&entry.known))
    }

    /// Whether the device was registered when it was last asked about.
    pub(super) fn contains(&self, did: &Did) -> bool {
        self.entry(did).is_some()
    }

    /// Keeps an answer to a question asked at `moment`, unless something was forgotten since: then it may be
    /// the old answer. What the device has taken so far stays on its account in any case.
    pub(super) fn keep(
        &mut self,
        did: &Did,
        record: &DeviceRecord,
        now: Timestamp,
        moment: u64,
    ) -> Arc<Known> {
        let account = self.entry(did).map(|entry| Arc::clone(&entry.known.account));
        let known = Arc::new(Known {
            key: record.key.clone(),
            status: record.status,
            account: account.unwrap_or_default(),
            suspect: AtomicBool::new(false),
        });
        let stale = moment != self.forgotten;
        self.insert(did, Entry { known: Arc::clone(&known), asked: now, stale });
        known
    }

    pub(super) fn forget(&mut self, did: &Did) {
        for entry in [self.young.get_mut(did), self.old.get_mut(did)].into_iter().flatten() {
            entry.stale = true;
        }
        self.forgotten = self.forgotten.wrapping_add(1);
    }

    /// Every device that is known here, with its account.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&Did, &Account)> {
        let all = self.young.iter().chain(&self.old);
        all.map(|(did, entry)| (did, &*entry.known.account))
    }

    fn entry(&self, did: &Did) -> Option<&Entry> {
        self.young.get(did).or_else(|| self.old.get(did))
    }

    fn insert(&mut self, did: &Did, entry: Entry) {
        if self.young.len() >= GENERATION {
            self.old = core::mem::take(&mut self.young);
        }
        self.young.insert(did.clone(), entry);
    }
}
