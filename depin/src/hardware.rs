//! What a network needs to know of a device to enroll it.

use std::sync::Arc;

use depin_core::{Signer, evidence::Attester};
use depin_hw::SimulatedPebble;

/// The two things a device proves itself with: a key that signs and a root of trust that attests.
#[derive(Clone, Debug)]
pub struct Hardware {
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) attester: Arc<dyn Attester>,
}

impl Hardware {
    /// A device made of a key and a root of trust.
    pub fn new(signer: Arc<dyn Signer>, attester: Arc<dyn Attester>) -> Self {
        Self { signer, attester }
    }
}

impl From<SimulatedPebble> for Hardware {
    fn from(pebble: SimulatedPebble) -> Self {
        Self::new(pebble.signer(), pebble.attester())
    }
}
