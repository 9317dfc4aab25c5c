//! What a network needs to know of a device to enroll it.

use std::{path::PathBuf, sync::Arc};

use depin_core::{PublicKey, Signer, evidence::Attester};
use depin_hw::SimulatedPebble;

/// The two things a device proves itself with: a key that signs and a root of trust that attests.
#[derive(Clone, Debug)]
pub struct Hardware {
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) attester: Arc<dyn Attester>,
    pub(crate) next_key: Option<PublicKey>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) is_salted: bool,
}

impl Hardware {
    /// A device made of a key and a root of trust.
    pub fn new(signer: Arc<dyn Signer>, attester: Arc<dyn Attester>) -> Self {
        Self { signer, attester, next_key: None, folder: None, is_salted: false }
    }

    /// Commits to the key that the device may change to, should the present one be stolen. Its private half
    /// belongs somewhere else than on the device. Nobody learns the key before it is used.
    #[must_use]
    pub fn with_next_key(mut self, next: &PublicKey) -> Self {
        self.next_key = Some(next.clone());
        self
    }

    /// Keeps what the device has signed and has no receipt for in a file of this folder, up to 4 MiB: a device that
    /// is [resumed](crate::Network::resume) with the same folder sends it then. Otherwise it lies in memory, and a
    /// restart takes it. One folder may serve many devices; each file belongs to one [`Device`](crate::Device) at a
    /// time.
    #[must_use]
    pub fn kept_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Gives every batch [salted leaves](depin_data::batch::SaltSeed), so that some of its readings can be shown to a
    /// consumer without the others.
    #[must_use]
    pub const fn salted(mut self) -> Self {
        self.is_salted = true;
        self
    }
}

impl From<SimulatedPebble> for Hardware {
    fn from(pebble: SimulatedPebble) -> Self {
        Self::new(pebble.signer(), pebble.attester())
    }
}
