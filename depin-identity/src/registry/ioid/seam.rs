//! ioID behind the seams of the SDK.

use async_trait::async_trait;
use depin_core::{
    Did, Error, ErrorKind, Result, Signer,
    registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment},
    resolution::{DidResolver, Freshness, Resolution, Version},
};

use super::{IoIdRegistry, refusal::unknown};

#[async_trait]
impl DeviceRegistry for IoIdRegistry {
    /// Mints a device token, approves it, registers and hands the ioID token over: three transactions, and
    /// a fourth when `owner` is not this account.
    ///
    /// The device signs twice. First every field, which ioID cannot check and this adapter does, so that a
    /// signature lent from another enrolment is worth nothing here. Then ioID's permit, which covers
    /// this account and a counter. It is for this account and nobody else, and the token is approved right
    /// before; all the same, whoever sees the transaction waiting can register the device with **another
    /// document** first, since the permit does not cover it and the contract lets anybody send it. Then
    /// this call fails with [`ErrorKind::Conflict`] and the remedy: [`update`](IoIdRegistry::update)
    /// corrects the document and cannot be intercepted. A node or relay that hides pending transactions
    /// closes the gap.
    ///
    /// The appraisal is checked and not recorded: ioID has no place for it. A removed device is refused,
    /// which ioID would not do. When a step fails, calling again goes on with the same device token.
    async fn register(&self, enrolment: &Enrolment, device: &dyn Signer) -> Result<DeviceRecord> {
        self.enrol(enrolment, device).await
    }

    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>> {
        self.find(did).await
    }

    /// Revokes by removing, when [`with_signers`](IoIdRegistry::with_signers) finds the device's signer.
    ///
    /// A device that does not cooperate cannot be removed, not even by its owner: that is ioID's rule, and
    /// the answer is [`ErrorKind::Unsupported`]. ioID knows no suspension.
    async fn set_status(&self, did: &Did, status: DeviceStatus) -> Result<()> {
        let found = self.find(did).await?;
        let record = found.ok_or_else(|| unknown(did))?;
        if record.status == status {
            return Ok(());
        }
        let refuse = |kind, text| Err(Error::new(kind, text).with("did", did));
        match (record.status, status) {
            (DeviceStatus::Revoked, _) => {
                refuse(ErrorKind::Rejected, "the device was removed, which is for good")
            }
            (_, DeviceStatus::Revoked) => {
                let signer = self.signers.0.as_ref().and_then(|find| find(&record.did));
                match signer {
                    Some(device) => self.remove(device.as_ref()).await,
                    None => refuse(
                        ErrorKind::Unsupported,
                        "ioID removes a device with its own signature only; call IoIdRegistry::remove \
                         with its signer, or keep a list of revoked devices yourself",
                    ),
                }
            }
            _ => refuse(
                ErrorKind::Unsupported,
                "ioID knows no suspension; keep a list of suspended devices yourself, or use registry::evm",
            ),
        }
    }
}

/// Answers the documents that [`with_documents`](IoIdRegistry::with_documents) fetches.
#[async_trait]
impl DidResolver for IoIdRegistry {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        crate::methods::io::address(did)?;
        if *version != Version::Latest {
            let text = "ioID keeps no versions of documents; ask for the present one";
            return Err(Error::new(ErrorKind::Unsupported, text).with("did", did));
        }
        let mut document = self.document(did).await?;
        // Verified to be the same address; devices spell it in three ways.
        document.id = did.clone();
        Ok(Resolution::new(document, Freshness::Once))
    }
}
