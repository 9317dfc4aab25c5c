//! What the registry said lately, in bounded memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use depin_core::{
    Did, NetworkId, Timestamp,
    registry::{DeviceRecord, DeviceStatus},
};

use crate::batch::BatchVerifier;

const FRESH: Duration = Duration::from_secs(10);
/// Devices per generation; two generations are kept.
const GENERATION: usize = 32_768;

/// What ingest needs of a device's record.
pub(super) struct Known {
    pub(super) verifier: BatchVerifier,
    pub(super) status: DeviceStatus,
}

impl Known {
    pub(super) fn new(network: &NetworkId, record: &DeviceRecord) -> Self {
        Self { verifier: BatchVerifier::new(network, &record.key), status: record.status }
    }
}

struct Entry {
    known: Arc<Known>,
    until: Timestamp,
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
        let entry = self.young.get(did).filter(|entry| now < entry.until)?;
        Some(Arc::clone(&entry.known))
    }

    /// Keeps an answer to a question asked at `moment`, unless something was forgotten since: then it may be
    /// the old answer.
    pub(super) fn keep(&mut self, did: &Did, known: Arc<Known>, now: Timestamp, moment: u64) {
        if moment == self.forgotten {
            self.insert(did, Entry { known, until: now.plus(FRESH) });
        }
    }

    pub(super) fn forget(&mut self, did: &Did) {
        self.young.remove(did);
        self.old.remove(did);
        self.forgotten = self.forgotten.wrapping_add(1);
    }

    fn insert(&mut self, did: &Did, entry: Entry) {
        if self.young.len() >= GENERATION {
            self.old = core::mem::take(&mut self.young);
        }
        self.young.insert(did.clone(), entry);
    }
}
