//! A simulated device: what a newcomer enrolls before any hardware is on the desk.

use alloc::sync::Arc;

use depin_core::{Algorithm, Signer, SoftwareKey, evidence::Attester};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::root::SoftwareRoot;

/// A device in software: its own key, and a [`SoftwareRoot`] that attests it.
///
/// The same seed gives the same device, so a seed is no secret worth the name: networks refuse these
/// devices unless their policy allows simulated roots.
///
/// ```
/// use depin_core::{Algorithm, Signer};
/// use depin_hw::SimulatedPebble;
///
/// let pebble = SimulatedPebble::new(7);
/// assert_eq!(pebble.signer().public_key(), SimulatedPebble::new(7).signer().public_key());
/// assert_ne!(pebble.signer().public_key(), SimulatedPebble::new(8).signer().public_key());
/// assert_eq!(pebble.signer().public_key().algorithm(), Algorithm::Es256k);
/// ```
#[derive(Clone, Debug)]
pub struct SimulatedPebble {
    signer: Arc<SoftwareKey>,
    attester: Arc<SoftwareRoot>,
}

impl SimulatedPebble {
    /// A device that signs with secp256k1.
    pub fn new(seed: u64) -> Self {
        Self::with_algorithm(seed, Algorithm::Es256k)
    }

    /// A device that signs with the key of another algorithm.
    pub fn with_algorithm(seed: u64, algorithm: Algorithm) -> Self {
        Self {
            signer: Arc::new(SoftwareKey::from_seed(algorithm, *derive(seed, "device"))),
            attester: Arc::new(SoftwareRoot::from_seed(*derive(seed, "attestation"))),
        }
    }

    /// The device key.
    pub fn signer(&self) -> Arc<dyn Signer> {
        self.signer.clone()
    }

    /// The root of trust.
    pub fn attester(&self) -> Arc<dyn Attester> {
        self.attester.clone()
    }
}

fn derive(seed: u64, role: &str) -> Zeroizing<[u8; 32]> {
    let hash = Sha256::new_with_prefix(b"depin/simulated-pebble/v1");
    Zeroizing::new(hash.chain_update(seed.to_be_bytes()).chain_update(role).finalize().into())
}
