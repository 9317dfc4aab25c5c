//! The seam to the ledger of devices: who takes part, who owns it, whether it is in good standing.

use alloc::{boxed::Box, string::String};
use core::fmt;

use alloy_primitives::{Address, B256, keccak256};
use async_trait::async_trait;

use crate::{
    Algorithm, Did, Error, ErrorKind, PublicKey, Result, Signer, Timestamp, Verified,
    evidence::Appraisal,
};

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
    /// The key it signs with now; after a rotation another than the one its identity was made from.
    pub key: PublicKey,
    /// [Commitment](next_key_commitment) to the key it may rotate to; without one it never rotates.
    pub next_key: Option<B256>,
    /// What its hardware is called in this network, without saying which hardware it is.
    pub nullifier: Option<B256>,
    /// Who owns it and is paid for it.
    pub owner: Address,
    /// Its own account (ERC-6551), where the registry gives one.
    pub account: Option<Address>,
    /// Its standing.
    pub status: DeviceStatus,
    /// Hash of the DID document; zero, with no uri, when the document derives from this record.
    pub document_hash: B256,
    /// Where the document is, if not derived from the record.
    pub document_uri: String,
    /// Hash of the hardware appraisal at registration.
    pub appraisal: B256,
    /// When it was registered.
    pub registered: Timestamp,
}

impl DeviceRecord {
    /// The record of a device that was registered as wished, active and without an account.
    pub fn registered(enrolment: &Enrolment, at: Timestamp) -> Self {
        let challenge = &enrolment.appraisal.challenge;
        Self {
            did: challenge.did.clone(),
            key: challenge.key.clone(),
            next_key: enrolment.next_key,
            nullifier: enrolment.nullifier,
            owner: enrolment.owner,
            account: None,
            status: DeviceStatus::Active,
            document_hash: enrolment.document_hash,
            document_uri: enrolment.document_uri.clone(),
            appraisal: enrolment.appraisal.hash(),
            registered: at,
        }
    }
}

/// A wish to register. The appraisal proves that DID and key were checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Enrolment {
    /// The verified appraisal of the device.
    pub appraisal: Verified<Appraisal>,
    /// Who will own it.
    pub owner: Address,
    /// Hash of its DID document; zero, with no uri, when it derives from the record.
    pub document_hash: B256,
    /// Where the document is, a URI in ASCII (RFC 3986); empty when it derives from the record. A registry may
    /// refuse others with [`ErrorKind::Malformed`].
    pub document_uri: String,
    /// [Commitment](next_key_commitment) to the key that the device may rotate to, kept elsewhere than
    /// the key it signs with. Without one it never rotates.
    pub next_key: Option<B256>,
    /// What the hardware is called in this network: a secret hash of its identity, the same each time.
    /// A registry admits each once. Not zero.
    pub nullifier: Option<B256>,
}

impl Enrolment {
    /// Of a device whose document derives from its record, that never rotates and whose hardware may
    /// come again.
    pub const fn new(appraisal: Verified<Appraisal>, owner: Address) -> Self {
        Self {
            appraisal,
            owner,
            document_hash: B256::ZERO,
            document_uri: String::new(),
            next_key: None,
            nullifier: None,
        }
    }

    /// With the document of this hash, at `uri`.
    #[must_use]
    pub fn document(mut self, hash: B256, uri: impl Into<String>) -> Self {
        self.document_hash = hash;
        self.document_uri = uri.into();
        self
    }

    /// Lets the device rotate to this key, and to no other.
    #[must_use]
    pub fn next_key(mut self, key: &PublicKey) -> Self {
        self.next_key = Some(next_key_commitment(key));
        self
    }

    /// One identity for this hardware.
    #[must_use]
    pub const fn nullifier(mut self, nullifier: B256) -> Self {
        self.nullifier = Some(nullifier);
        self
    }
}

/// The commitment to a next key, which shows nothing of it: Keccak-256 of the algorithm's number (0
/// secp256k1, 1 P-256, 2 Ed25519) as 32 bytes and of the key, `x || y` or the 32 bytes of Ed25519.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey, registry::next_key_commitment};
///
/// let next = SoftwareKey::from_seed(Algorithm::Es256k, [2; 32]);
/// let other = SoftwareKey::from_seed(Algorithm::Es256, [2; 32]);
/// assert_ne!(next_key_commitment(next.public_key()), next_key_commitment(other.public_key()));
/// ```
pub fn next_key_commitment(key: &PublicKey) -> B256 {
    let number = match key.algorithm() {
        Algorithm::Es256k => 0,
        Algorithm::Es256 => 1,
        Algorithm::EdDsa => 2,
    };
    let mut bytes = alloc::vec![0; 31];
    bytes.push(number);
    match key.to_uncompressed() {
        Some(point) => bytes.extend(point),
        None => bytes.extend(key.to_bytes()),
    }
    keccak256(bytes)
}

/// The source of an error about a device that is its own doing: its owner recorded what nobody can read, or more
/// than anybody can.
///
/// Whoever needs all devices leaves such a one out and goes on, since no waiting helps and its owner could otherwise
/// stop everybody. Any other error (a node that is away, lies, or lacks a method) says nothing about the device, and
/// whoever went on would take away what is its due.
///
/// ```
/// use depin_core::{Error, ErrorKind, registry::OwnFault};
///
/// let unreadable = Error::new(ErrorKind::Malformed, "the device's key is no point").source(OwnFault);
/// assert!(OwnFault::is_in(&unreadable));
/// assert!(!OwnFault::is_in(&Error::unavailable("the node does not answer")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is recorded of the device is at fault, and nothing else")]
#[expect(clippy::exhaustive_structs, reason = "a mark and nothing else")]
pub struct OwnFault;

impl OwnFault {
    /// Whether an error is a device's own doing.
    pub fn is_in(error: &Error) -> bool {
        core::iter::successors(core::error::Error::source(error), |cause| cause.source())
            .any(|cause| cause.is::<Self>())
    }
}

/// The ledger of devices of one network.
///
/// # Contract
/// 1. After `register` returns, `device` MUST find the record, also after a restart.
/// 2. `register` MUST fail with [`ErrorKind::Conflict`] when the device is
///    registered already, and change nothing.
/// 3. `register` MUST prove the device's consent with a signature of the key in the appraisal that
///    covers every field; a signer with another key MUST be refused.
/// 4. A device that was never registered MUST be `None`, not an error.
/// 5. `set_status` away from [`DeviceStatus::Revoked`] MUST fail.
/// 6. `register` with a nullifier that any device has, revoked ones too, MUST fail with
///    [`ErrorKind::Conflict`] and change nothing.
/// 7. A registry that cannot keep a nullifier or a next key MUST refuse an enrolment that has one with
///    [`ErrorKind::Unsupported`], and not drop it.
/// 8. `rotate` MUST refuse every key but the one that the record commits to, and MUST prove with a signature
///    of that key, over every field, that it is held; a signature of the present key MUST NOT suffice.
///    After it returns, `device` has the new key and the new commitment, and `keys` the old key too.
/// 9. An error of `device` or `keys` that is the device's own doing MUST have [`OwnFault`] among its sources, and no
///    other error may: a ledger that does not answer, or answers what cannot be, is nobody's fault that takes part.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a device registry",
    note = "implement `depin_core::registry::DeviceRegistry`"
)]
pub trait DeviceRegistry: Send + Sync + fmt::Debug {
    /// Registers a device with its consent.
    ///
    /// # Errors
    /// See the contract; [`ErrorKind::Unavailable`] when the ledger does
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
    /// [`ErrorKind::Unavailable`] when the ledger does not answer now.
    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>>;

    /// Every key the device ever signed with, oldest first; the last is the one in its record. Empty when it
    /// was never registered. All of them or an error: an audit takes what an unknown key signed for forged.
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

    /// Changes the key of a device to the one that it committed to, by that key's signature; its identity
    /// stays. `following` is the key that it may change to after that; without one this change is the last.
    ///
    /// # Errors
    /// See the contract; [`ErrorKind::Unsupported`] when this ledger keeps no
    /// commitments, [`ErrorKind::NotFound`] for an unknown device.
    async fn rotate(
        &self,
        did: &Did,
        next: &dyn Signer,
        following: Option<&PublicKey>,
    ) -> Result<DeviceRecord> {
        let _ = (next, following);
        let message = "this registry cannot change a device's key; revoke it and enroll a new one";
        Err(Error::new(ErrorKind::Unsupported, message).with("did", did))
    }

    /// Suspends, resumes or revokes a device.
    ///
    /// # Errors
    /// See the contract; [`ErrorKind::NotFound`] for an unknown device.
    async fn set_status(&self, did: &Did, status: DeviceStatus) -> Result<()>;
}
