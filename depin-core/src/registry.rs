//! The seam to the ledger of devices: who takes part, who owns it, whether it is in good standing.

use alloc::{boxed::Box, string::String};
use core::fmt;

use alloy_primitives::{Address, B256};
use async_trait::async_trait;

use crate::{Did, PublicKey, Result, Signer, Timestamp, Verified, evidence::Appraisal};

/// Whether a device may take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum DeviceStatus {
    /// In good standing.
    Active,
    /// Stopped for now; may resume.
    Suspended,
    /// Out for good.
    Revoked,
}

/// What a registry knows about a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its identity.
    pub did: Did,
    /// The key it signs with.
    pub key: PublicKey,
    /// Who owns it and is paid for it.
    pub owner: Address,
    /// Its own account (ERC-6551), where the registry gives one.
    pub account: Option<Address>,
    /// Its standing.
    pub status: DeviceStatus,
    /// Hash of the DID document.
    pub document_hash: B256,
    /// Where the document is, if not derived from the record.
    pub document_uri: String,
    /// Hash of the hardware appraisal at registration.
    pub appraisal: B256,
    /// When it was registered.
    pub registered: Timestamp,
}

/// A wish to register. The appraisal proves that DID and key were checked.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The verified appraisal of the device.
    pub appraisal: Verified<Appraisal>,
    /// Who will own it.
    pub owner: Address,
    /// Hash of its DID document.
    pub document_hash: B256,
    /// Where the document is; empty when it derives from the record.
    pub document_uri: String,
}

/// The ledger of devices of one network.
///
/// # Contract
/// 1. After `register` returns, `device` MUST find the record, also after a restart.
/// 2. `register` MUST fail with [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when the device is
///    registered already, and change nothing.
/// 3. `register` MUST prove the device's consent with a signature of the key in the appraisal that
///    covers every field; a signer with another key MUST be refused.
/// 4. A device that was never registered MUST be `None`, not an error.
/// 5. `set_status` away from [`DeviceStatus::Revoked`] MUST fail.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a device registry",
    note = "implement `depin_core::registry::DeviceRegistry`"
)]
pub trait DeviceRegistry: Send + Sync + fmt::Debug {
    /// Registers a device with its consent.
    ///
    /// # Errors
    /// See the contract; [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the ledger does
    /// not answer now.
    async fn register(&self, enrolment: &Enrolment, device: &dyn Signer) -> Result<DeviceRecord>;

    /// Registers several devices; cheaper where the ledger can batch. Either all or none is registered,
    /// or the error says how many were.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    async fn register_all(
        &self,
        enrolments: &[(Enrolment, &dyn Signer)],
    ) -> Result<alloc::vec::Vec<DeviceRecord>> {
        let mut records = alloc::vec::Vec::with_capacity(enrolments.len());
        for (enrolment, device) in enrolments {
            let record = self.register(enrolment, *device).await;
            records.push(record.map_err(|error| error.with("registered before", records.len()))?);
        }
        Ok(records)
    }

    /// The record of a device, if it was ever registered.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the ledger does not answer now.
    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>>;

    /// Every key the device ever signed with, oldest first; the last is the one in its record. Empty when it
    /// was never registered.
    ///
    /// Batches that were signed before a key changed are verified with the key of their time. A registry
    /// without key rotation need not implement this.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    async fn keys(&self, did: &Did) -> Result<alloc::vec::Vec<PublicKey>> {
        let record = self.device(did).await?;
        Ok(record.map(|record| record.key).into_iter().collect())
    }

    /// Suspends, resumes or revokes a device.
    ///
    /// # Errors
    /// See the contract; [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown device.
    async fn set_status(&self, did: &Did, status: DeviceStatus) -> Result<()>;
}
