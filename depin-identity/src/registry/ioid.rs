//! IoTeX's ioID: the registry that exists already, with its weaknesses.
//!
//! A device of ioID has a did:io, a document named by hash and URI, an ERC-721 token and an ERC-6551
//! wallet that this token owns. Devices belong to projects, which pay for registrations and have a
//! collection of device tokens. [`IoId`] is the deployment with its projects, [`IoIdRegistry`] the
//! [`DeviceRegistry`](super::DeviceRegistry) of one project. Facts are those of the contracts as published in February 2025.
//!
//! # What ioID does not do
//!
//! Each is documented again at the call that has it.
//!
//! | weakness | consequence | what to do |
//! |---|---|---|
//! | One signed struct, `Permit(owner, nonce)`, stands for register, update, remove and migrate; document, token and deadline are unsigned | Whoever sees a permit can spend it on another action or document for the same owner | This adapter hands no permit out, has it name its own account (but for `migrate`), and reads back what came of it |
//! | `migrate` needs the device's signature only | A stolen device key takes the token and all that the wallet holds | Keep nothing of value in wallets of devices whose key is not in hardware |
//! | The DID is the key's hash | A key cannot be rotated: a stolen key stays the device's key for ever | Remove the device and register another |
//! | Removing needs the device's signature | The owner cannot throw out a stolen device | Keep a list of your own; see [`set_status`](super::DeviceRegistry::set_status) |
//! | There is no suspension and no place for an appraisal | [`DeviceStatus::Suspended`] is unsupported and `appraisal` is zero | Keep both beside ioID |
//! | Signatures are checked by `ecrecover` | P-256 devices, most secure elements, cannot register | Use [`evm`](super::evm) |
//! | A project's proxy believes its verifier's signature at every proxy, for ever | A removed device comes back, in any project with that verifier | One verifier key for each proxy |
//! | Version 2 (January 2026) has an operator write all records, without the device | Whoever has the operator's key registers anything | Not supported here |
//!
//! # Moving from ioID to the registry of this SDK
//!
//! Names stay: [`evm::EvmRegistry`](super::evm::EvmRegistry) gives secp256k1 and P-256 keys the same
//! did:io, so batches, logs and rewards of a device need no change.
//!
//! 1. Deploy an `EvmRegistry`, on IoTeX or elsewhere, beside ioID.
//! 2. For each of [`IoId::list_devices`], read the record here and attest the device anew. Its consent to the
//!    new registration covers every field, so the device has to be there, once.
//! 3. Read from the new registry and, for what it lacks, from this one, until all have moved.
//! 4. Have owners empty the ioID wallets. Then [`remove`](IoIdRegistry::remove) the devices, lest a stolen
//!    key lives on in ioID.
//!
//! What cannot move is history: ioID's token and wallet keep their addresses on ioID.

pub mod contracts;
mod deployment;
mod document;
mod enrol;
mod known;
mod permit;
mod project;
mod read;
mod refusal;
mod seam;

use std::{fmt, sync::Arc};

use depin_core::{
    Address, B256, Did, Error, ErrorKind, Result, Signer, U256,
    registry::{DeviceRecord, DeviceStatus},
};

pub use self::{
    deployment::{Addresses, IoId},
    document::{DocumentSource, HashedWith, verify_document},
    project::{Project, ProjectKind},
    read::Registration,
};
use self::{known::Known, permit::Signed, refusal::unknown};
use crate::{DidDocument, methods::io};

/// The devices of one project of ioID, through an account that may mint its device tokens.
///
/// Devices of other projects are unknown to it. Reading needs an account too, but no rights.
///
/// A record's `account` is the ioID wallet, its `appraisal` is zero, and its `registered` is zero when the
/// node does not serve the log and the key comes from [`with_documents`](Self::with_documents). For a
/// document that derives from the record ioID holds the hash of [`methods::io::document`](io::document).
#[derive(Clone, Debug)]
pub struct IoIdRegistry {
    ioid: IoId,
    project: U256,
    collection: Address,
    documents: Option<Arc<dyn DocumentSource>>,
    signers: Signers,
    since: u64,
    known: Arc<Known>,
}

impl IoId {
    /// The registry of a project that has its collection of device tokens.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the project has none yet; as
    /// [`Chain::read`](depin_evm::Chain::read).
    pub async fn registry_of(&self, project: U256) -> Result<IoIdRegistry> {
        let collection = self.chain.read(&self.store().projectDeviceContract(project)).await?;
        if collection.is_zero() {
            let text = "the project has no device contract; call IoId::set_device_contract first";
            return Err(Error::new(ErrorKind::Config, text).with("project", project));
        }
        Ok(IoIdRegistry {
            ioid: self.clone(),
            project,
            collection,
            documents: None,
            signers: Signers(None),
            since: 0,
            known: Arc::default(),
        })
    }
}

impl IoIdRegistry {
    /// Fetches documents from `source`: for [`document`](Self::document), and for a device's key where the
    /// node does not serve ioID's log.
    #[must_use]
    pub fn with_documents(mut self, source: Arc<dyn DocumentSource>) -> Self {
        self.documents = Some(source);
        self
    }

    /// Finds the signer of a device that can be reached, so that
    /// [`set_status`](super::DeviceRegistry::set_status) can revoke it: ioID removes no device without its
    /// signature.
    #[must_use]
    pub fn with_signers<F>(mut self, signers: F) -> Self
    where
        F: Fn(&Did) -> Option<Arc<dyn Signer>> + Send + Sync + 'static,
    {
        self.signers = Signers(Some(Arc::new(signers)));
        self
    }

    /// The first block in which a device of this project can have been registered. Nodes that serve only
    /// part of the log at a time need it.
    #[must_use]
    pub const fn since(mut self, block: u64) -> Self {
        self.since = block;
        self
    }

    /// The deployment it is part of.
    pub const fn ioid(&self) -> &IoId {
        &self.ioid
    }

    /// The project.
    pub const fn project(&self) -> U256 {
        self.project
    }

    /// The ERC-721 collection of device tokens.
    pub const fn collection(&self) -> Address {
        self.collection
    }

    /// The document of a registered device: from its URI, when it is the one whose hash ioID holds, or
    /// the one that follows from its key, when it has no URI.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] without [`with_documents`](Self::with_documents); [`ErrorKind::NotFound`] for
    /// a device that is not in this project; those of the source and of [`verify_document`].
    pub async fn document(&self, did: &Did) -> Result<DidDocument> {
        let found = self.registered(did).await?;
        if !found.document_uri.is_empty() {
            return self.fetch(&found).await;
        }
        let record = self.find(did).await?.ok_or_else(|| unknown(did))?;
        io::document_of(&record)
    }

    /// Replaces hash and URI of a device's document, with its permit for this account.
    ///
    /// The permit says neither hash nor URI, but only this account can spend it on an update, so nobody
    /// else chooses the document. Others can burn it, which fails this call and changes nothing: try
    /// again. Afterwards the record is read back and compared.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a device that is not in this project, [`ErrorKind::Rejected`] when the
    /// permit was burnt, [`ErrorKind::Conflict`] when ioID holds another document afterwards.
    pub async fn update(&self, device: &dyn Signer, hash: B256, uri: &str) -> Result<DeviceRecord> {
        let (address, permit) = self.permit(device, self.ioid.chain.account()).await?;
        let Signed { v, r, s } = permit;
        let call = self
            .ioid
            .registry()
            .update(address, hash, uri.to_owned(), v, r, s)
            .into_transaction_request();
        self.ioid.send(call).await?;
        let found = self.registered(&io::from_address(address)).await?;
        if found.document_hash != hash || found.document_uri != uri {
            let text = "the device has another document than it was just given; update it again";
            return Err(Error::new(ErrorKind::Conflict, text).with("did", found.did));
        }
        self.current(address).await
    }

    /// Removes a device from ioID, with its permit for this account.
    ///
    /// ioID forgets the document and whose the wallet is. It keeps the token with its owner and wallet,
    /// the device in the project's list and count, and `registeredNFT` of the device token. It also lets
    /// the device register again with another device token, through another client than this one; then
    /// this project would list it as active again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a device that is not in this project, [`ErrorKind::Rejected`] when the
    /// permit was burnt: try again.
    pub async fn remove(&self, device: &dyn Signer) -> Result<()> {
        let (address, Signed { v, r, s }) = self.permit(device, self.ioid.chain.account()).await?;
        let call = self.ioid.registry().remove(address, v, r, s).into_transaction_request();
        self.ioid.send(call).await.map(drop)
    }

    /// Moves a device's ioID token to another owner with nothing but the device's permit.
    ///
    /// Prefer [`hand_over`](Self::hand_over). The contract does not ask the present owner: whoever steals
    /// the device's key, or only borrows the device's signature, takes the token and all its wallet holds.
    /// This adapter refuses unless its account is the present owner. The permit names `owner`, who can
    /// spend it on an update or removal instead before it is mined; the record is compared afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a device that is not in this project, [`ErrorKind::Rejected`] when this
    /// account does not own it, [`ErrorKind::Conflict`] when ioID holds something else afterwards.
    pub async fn migrate(&self, device: &dyn Signer, owner: Address) -> Result<DeviceRecord> {
        let before = self.current(permit::address(device.public_key())?).await?;
        if before.owner != self.ioid.chain.account() {
            let text = "this account does not own the device; have its owner hand it over";
            return Err(Error::new(ErrorKind::Rejected, text).with("owner", before.owner));
        }
        let (address, Signed { v, r, s }) = self.permit(device, owner).await?;
        let call = self.ioid.registry().migrate(address, owner, v, r, s).into_transaction_request();
        self.ioid.send(call).await?;
        let record = self.current(address).await?;
        if record != (DeviceRecord { owner, ..before }) {
            let text = "the device is not as it was, with another owner; read its record";
            return Err(Error::new(ErrorKind::Conflict, text).with("did", record.did));
        }
        Ok(record)
    }

    /// The device's permit for `owner`, good for its next action.
    async fn permit(&self, device: &dyn Signer, owner: Address) -> Result<(Address, Signed)> {
        let address = permit::address(device.public_key())?;
        self.registered(&io::from_address(address)).await?;
        let nonce = self.ioid.chain.read(&self.ioid.registry().nonces(address)).await?;
        Ok((address, permit::sign(device, self.ioid.scope().permit(owner, nonce))?))
    }

    async fn current(&self, device: Address) -> Result<DeviceRecord> {
        let did = io::from_address(device);
        let found = self.find(&did).await?;
        let active = found.filter(|record| record.status == DeviceStatus::Active);
        active.ok_or_else(|| unknown(&did))
    }
}

/// Finds signers of devices.
#[derive(Clone)]
struct Signers(Option<Arc<Finder>>);

type Finder = dyn Fn(&Did) -> Option<Arc<dyn Signer>> + Send + Sync;

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Signers(..)" } else { "Signers(none)" })
    }
}
