//! Comparing a birth with an appraisal: the one it was made from, or a later one of the same chip.

use depin_core::{Verified, evidence::Appraisal};

use super::{Birth, BirthError, NAMESPACE};
use crate::sybil::Nullifier;

impl Birth {
    /// Whether it was made from this very appraisal, of this DID and key.
    ///
    /// # Errors
    /// [`BirthError::Appraisal`] says what is another.
    pub fn matches(&self, appraisal: &Verified<Appraisal>) -> Result<(), BirthError> {
        let asked = &appraisal.challenge;
        let differs = [
            (asked.did != self.did, "did"),
            (asked.key != self.key, "key"),
            (!self.same_hardware(appraisal), "chip"),
            (appraisal.hash() != self.appraisal, "question or time"),
        ];
        match differs.into_iter().find(|(differs, _)| *differs) {
            Some((_, what)) => Err(BirthError::Appraisal(what)),
            None => Ok(()),
        }
    }

    /// Whether an appraisal, made at any time and for any network and key, is of the chip that was born.
    ///
    /// A network asks its own question when a device enrolls, so its appraisal is never the factory's;
    /// the chip is, also after the device rotated its key.
    pub fn same_hardware(&self, appraisal: &Verified<Appraisal>) -> bool {
        Nullifier::within(NAMESPACE, appraisal).is_ok_and(|unit| unit == self.unit)
    }
}
