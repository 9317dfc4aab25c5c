//! What a network needs to know of a device to enroll it.

use std::sync::Arc;

use depin_core::{PublicKey, Signer, evidence::Attester};
use depin_hw::SimulatedPebble;

/// The two things a device proves itself with: a key that signs and a root of trust that attests.
#[derive(Clone, Debug)]
pub struct Hardware {
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) attester: Arc<dyn Attester>,
    pub(crate) next_key: Option<PublicKey>,
}

impl Hardware {
    /// A device made of a key and a root of trust.
    pub fn new(signer: Arc<dyn Signer>, attester: Arc<dyn Attester>) -> Self {
        Self { signer, attester, next_key: None }
    }

    /// Commits to the key that the device may change to, should the present one be stolen. Its private half
    /// belongs somewhere else than on the device. Nobody learns the key before it is used.
    #[must_use]
    pub fn with_next_key(mut self, next: &PublicKey) -> Self {
        self.next_key = Some(next.clone());
        self
    }
}

impl From<SimulatedPebble> for Hardware {
    fn from(pebble: SimulatedPebble) -> Self {
        Self::new(pebble.signer(), pebble.attester())
    }
}
