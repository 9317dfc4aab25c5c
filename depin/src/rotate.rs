//! Rotation: a device goes on with the key that it committed to.

use std::sync::Arc;

use depin_core::{NetworkEvent, PublicKey, Result, Signer};

use crate::{Device, Network};

impl Network {
    /// Changes the key of a device to the one it committed to when it was enrolled, for example after a
    /// theft: identity, account, owner and rewards stay, and this network's ingest takes nothing under the old
    /// key from now on. Other processes that take batches for the same log learn of it within 10 s.
    /// `following` is the key that it may change to next.
    ///
    /// Use the device that is returned from now on. Batches without a receipt are signed anew, so nothing
    /// measured is lost.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) for a key that the device did not commit to,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) when the registry cannot change keys.
    pub async fn rotate(
        &self,
        device: &Device,
        next: Arc<dyn Signer>,
        following: Option<&PublicKey>,
    ) -> Result<Device> {
        let did = device.did().clone();
        let record = self.0.ledgers.registry.rotate(&did, &*next, following).await?;
        self.0.ingest.forget(&did);
        self.0.ledgers.checkpoint().await?;
        self.emit(NetworkEvent::KeyRotated { did: did.clone(), key: record.key.clone() });
        let tip = self.0.log.latest_tip(&did).await?;
        device.clone().rekeyed(next, record, tip).await
    }
}
