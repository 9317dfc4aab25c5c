//! Without places nothing has to be judged together: every reading joins the batch at once.

use depin_core::{B256, Reading, Result, Signer, Timestamp};

use super::Collector;

impl Collector {
    pub(super) fn take(
        &mut self,
        reading: Reading,
        now: Timestamp,
        signer: &dyn Signer,
    ) -> Result<Option<B256>> {
        self.take_at_once(reading, now, signer)
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with places")]
    pub(super) const fn poll_moment(&self, _: Timestamp, _: &dyn Signer) -> Result<Option<B256>> {
        Ok(None)
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with places")]
    pub(super) const fn end_moment(&self, _: &dyn Signer) -> Result<Option<B256>> {
        Ok(None)
    }

    #[expect(clippy::unused_self, reason = "as with places")]
    pub(super) const fn moment_due(&self) -> Option<Timestamp> {
        None
    }
}
