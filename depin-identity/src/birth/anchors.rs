//! The manufacturers that a verifier trusts, and the model keys it no longer does.

use alloc::{collections::BTreeSet, vec::Vec};

use depin_core::{B256, PublicKey, envelope::Envelope};

use super::{Birth, BirthError, links};
use crate::{Did, Period};

/// Trusted manufacturers with their keys. Starts empty and then trusts nobody.
///
/// A manufacturer who changes his key is trusted twice, with the time of each key.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    trusted: Vec<Anchor>,
    revoked: BTreeSet<B256>,
}

#[derive(Clone, Debug)]
struct Anchor {
    did: Did,
    key: PublicKey,
    valid: Period,
}

impl Anchors {
    /// Nobody.
    pub const fn new() -> Self {
        Self { trusted: Vec::new(), revoked: BTreeSet::new() }
    }

    /// Trusts models whose keys `manufacturer` certified with `key`, as far as they are valid within
    /// `valid`.
    #[must_use]
    pub fn trust(mut self, manufacturer: Did, key: PublicKey, valid: Period) -> Self {
        self.trusted.push(Anchor { did: manufacturer, key, valid });
        self
    }

    /// No longer trusts a model's link, named by its [hash](super::ModelCertificate::hash), nor any
    /// device it certified: the remedy when a model's key is stolen.
    #[must_use]
    pub fn revoke(mut self, model_link: B256) -> Self {
        self.revoked.insert(model_link);
        self
    }

    /// Whether a trusted manufacturer certified the model in his time.
    pub(super) fn check(&self, link: &Envelope<'_>, birth: &Birth) -> Result<(), BirthError> {
        let mut verdict = Err(BirthError::Manufacturer(birth.manufacturer.clone()));
        for anchor in self.trusted.iter().filter(|anchor| anchor.did == birth.manufacturer) {
            match link.open(&anchor.key) {
                Ok(_) if anchor.valid.covers(&birth.model.valid()) => {
                    verdict = Ok(());
                    break;
                }
                Ok(_) => verdict = Err(BirthError::ModelPeriod),
                Err(error) if verdict != Err(BirthError::ModelPeriod) => {
                    verdict = Err(links::failed(links::MODEL)(error));
                }
                Err(_) => {}
            }
        }
        verdict?;
        if self.revoked.contains(&birth.model_link) { Err(BirthError::Revoked) } else { Ok(()) }
    }
}
