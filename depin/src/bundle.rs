//! Epochs as files: written by whoever runs the network, audited by anybody who can ask the chain.

use std::path::Path;

use depin_core::{
    EpochId, Error, ErrorKind, Result,
    registry::DeviceRegistry,
    reward::{RewardDistributor, RewardPolicy},
};
use depin_data::{bundle, epoch::Checks};

use crate::{Audit, Network, RowAudit};

impl Network {
    /// Writes everything that decided a closed epoch into one file, which [`audit_bundle`] takes. The log must
    /// still have its batches, and may [forget](depin_core::log::BatchLog::forget) them afterwards: what came out
    /// of the epoch it keeps. A file that is there is replaced in one step, and stays as it is when this fails.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] while the epoch is open or when its batches were forgotten,
    /// [`ErrorKind::Unavailable`] when the file cannot be written.
    pub async fn export_epoch(&self, id: EpochId, path: impl AsRef<Path>) -> Result<()> {
        let open = || Error::new(ErrorKind::NotFound, "the epoch is not closed").with("epoch", id);
        let epoch = self.epoch(id).await?.ok_or_else(open)?;
        let before = match id.value().checked_sub(1) {
            Some(before) => self.epoch(EpochId::new(before)).await?,
            None => None,
        };
        let balances = before.as_ref().map_or(&[][..], |before| before.tree().rows());
        bundle::store(&*self.0.log, epoch.record(), balances, path.as_ref()).await
    }
}

/// Recomputes an epoch from one [bundle](depin_data::bundle) and compares with the chain: a
/// [row](RowAudit) of one.
///
/// What lies before the epoch is in no bundle of it and taken from the record, whose hash is on chain: that the epoch
/// begins in the log where the one before ended, where each device stood, and with windows what devices did in epochs
/// that are not settled and were paid for it. The [`Audit`] counts what was taken; only of the first epoch it is
/// nothing. With the bundles of the epochs before, [`audit_row`](crate::audit_row) recomputes all of it.
///
/// # Errors
/// As [`RowAudit::next`].
pub async fn audit_bundle(
    path: impl AsRef<Path>,
    checks: &Checks,
    policy: &dyn RewardPolicy,
    registry: &dyn DeviceRegistry,
    distributor: &dyn RewardDistributor,
) -> Result<Audit> {
    RowAudit::new(checks, &[policy], registry, distributor).next(path).await
}
