//! What a network needs to know of a device to enroll it.

use std::{path::PathBuf, sync::Arc};

use depin_core::{PublicKey, Signer, evidence::Attester};
#[cfg(feature = "geo")]
use depin_data::privacy::{Coarsen, Discretion, Zone};
use depin_hw::SimulatedPebble;

/// The two things a device proves itself with: a key that signs and a root of trust that attests.
#[derive(Clone, Debug)]
pub struct Hardware {
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) attester: Arc<dyn Attester>,
    pub(crate) next_key: Option<PublicKey>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) is_salted: bool,
    #[cfg(feature = "geo")]
    pub(crate) discretion: Discretion,
}

impl Hardware {
    /// A device made of a key and a root of trust.
    pub fn new(signer: Arc<dyn Signer>, attester: Arc<dyn Attester>) -> Self {
        Self {
            signer,
            attester,
            next_key: None,
            folder: None,
            is_salted: false,
            #[cfg(feature = "geo")]
            discretion: Discretion::default(),
        }
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

    /// Tells cells in place of coordinates from now on: nothing finer is signed, kept in the folder or sent, whatever
    /// [`send`](crate::Device::send) is given. What an earlier start signed and kept is sent as it is: look at
    /// [`pending`](crate::Device::pending), and [`discard`](crate::Device::discard) it. Of two resolutions the coarser
    /// one counts.
    ///
    /// Send what was measured at one moment in one call. Half of a pair is not told.
    #[cfg(feature = "geo")]
    #[cfg_attr(docsrs, doc(cfg(feature = "geo")))]
    #[must_use]
    pub fn coarsened(mut self, to: Coarsen) -> Self {
        self.discretion = self.discretion.coarsened(to);
        self
    }

    /// Tells nothing from now on of what is measured in these [zones](depin_data::privacy::PrivacyZones): it is not
    /// signed, kept in the folder or sent. What an earlier start signed and kept is sent as it is, as with
    /// [`coarsened`](Self::coarsened). After a restart nothing is told before a place outside is known.
    #[cfg(feature = "geo")]
    #[cfg_attr(docsrs, doc(cfg(feature = "geo")))]
    #[must_use]
    pub fn silent_in(mut self, zones: impl IntoIterator<Item = Zone>) -> Self {
        self.discretion = self.discretion.silent_in(zones);
        self
    }
}

impl From<SimulatedPebble> for Hardware {
    fn from(pebble: SimulatedPebble) -> Self {
        Self::new(pebble.signer(), pebble.attester())
    }
}
