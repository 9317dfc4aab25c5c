//! Registering: device token, approval, permit, registration, owner.

use depin_core::{
    Address, B256, Did, Error, ErrorKind, PublicKey, Result, Signer, Timestamp, U256,
    registry::{DeviceRecord, Enrolment},
};

use super::{
    IoIdRegistry,
    permit::{self, Signed},
    project::minted,
    read::{Origin, Registration},
    refusal::{EXISTS, says, unknown},
};
use crate::{document::document_hash, methods::io};

impl IoIdRegistry {
    pub(super) async fn enrol(
        &self,
        enrolment: &Enrolment,
        device: &dyn Signer,
    ) -> Result<DeviceRecord> {
        let address = check(enrolment, device)?;
        let did = io::from_address(address);
        self.refuse_known(&did, address, enrolment).await?;
        let nonce = self.ioid.chain.read(&self.ioid.registry().nonces(address)).await?;
        permit::consent(self.ioid.scope(), enrolment, device, nonce)?;

        let step = |name| format!("ioid/{}/{address}/{nonce}/{name}", self.ioid.addresses.registry);
        let token = self.mint(&step("mint")).await?;
        let block = self.admit(enrolment, device, address, token, nonce).await?;
        let registration = self.compared(&did, enrolment).await?;
        let registered = Timestamp::from_secs(self.ioid.time_of(block).await?);
        let origin = Origin { key: device.public_key().clone(), registered };
        self.known.remember(address, registration.token, &origin);
        self.hand_over(&did, enrolment.owner).await
    }

    /// Fails when the device has or had a registration, and says what to do about it.
    async fn refuse_known(&self, did: &Did, device: Address, wish: &Enrolment) -> Result<()> {
        let conflict = |text| Err(Error::new(ErrorKind::Conflict, text).with("did", did));
        let Some(found) = self.ioid.registration(did).await? else {
            let token = self.ioid.token();
            return match self.ioid.chain.read(&token.deviceProject(device)).await? {
                project if project.is_zero() => Ok(()),
                _ => conflict(
                    "the device was removed from ioID, which is for good here; give it another key",
                ),
            };
        };
        if found.owner != self.ioid.chain.account() || found.owner == wish.owner {
            return conflict("the device is registered already; read its record");
        }
        if same_document(&found, wish)? {
            return conflict(
                "the device is registered but still this account's; call IoIdRegistry::hand_over",
            );
        }
        conflict(INTERCEPTED)
    }

    /// A device token of this account. The same step gives the same token, so none is lost when a later
    /// step fails.
    async fn mint(&self, step: &str) -> Result<U256> {
        let account = self.ioid.chain.account();
        let call = self.ioid.collection(self.collection).mint(account).into_transaction_request();
        let receipt = self.ioid.chain.send_once(step, call).await;
        minted(&receipt.map_err(super::refusal::explain)?, self.collection, account)
    }

    /// Approves the token and registers with it; answers the block. The permit leaves this function in a
    /// transaction only.
    async fn admit(
        &self,
        enrolment: &Enrolment,
        device: &dyn Signer,
        address: Address,
        token: U256,
        nonce: U256,
    ) -> Result<u64> {
        let (ioid, registry) = (&self.ioid, self.ioid.addresses.registry);
        let tokens = ioid.collection(self.collection);
        ioid.send(tokens.approve(registry, token).into_transaction_request()).await?;
        let digest = ioid.scope().permit(ioid.chain.account(), nonce);
        let Signed { v, r, s } = permit::sign(device, digest)?;
        let (hash, uri) = (stored_hash(enrolment)?, enrolment.document_uri.clone());
        let value = self.fee().await?;
        let contract = ioid.registry();
        let call = contract.register_0(self.collection, token, address, hash, uri, v, r, s);
        let sent = ioid.chain.send(call.into_transaction_request().value(value)).await;
        let receipt = sent.map_err(|error| match says(&error, EXISTS) {
            true => {
                Error::new(ErrorKind::Conflict, INTERCEPTED).with("device", address).source(error)
            }
            false => super::refusal::explain(error),
        })?;
        receipt.block_number.ok_or_else(|| Error::unavailable("the receipt names no block"))
    }

    /// What ioID takes for the next registration. It keeps what is paid beside a slot.
    async fn fee(&self) -> Result<U256> {
        let (chain, store) = (&self.ioid.chain, self.ioid.store());
        let slots = chain.read(&store.projectAppliedAmount(self.project)).await?;
        let used = chain.read(&store.projectActivedAmount(self.project)).await?;
        if slots == used { self.ioid.price().await } else { Ok(U256::ZERO) }
    }

    /// Reads the registration back: what was sent is not always what was registered.
    async fn compared(&self, did: &Did, wish: &Enrolment) -> Result<Registration> {
        let found = self.ioid.registration(did).await?;
        match found {
            Some(found) if same_document(&found, wish)? => Ok(found),
            _ => Err(Error::new(ErrorKind::Conflict, INTERCEPTED).with("did", did)),
        }
    }

    /// Gives the ioID token of a device, and with it the device's wallet, to `owner`.
    ///
    /// This is the safe way to change the owner: it needs the account of the present one, and nothing from
    /// the device. Does nothing when `owner` has it already.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a device that is not in this project, [`ErrorKind::Rejected`] when this
    /// account may not give it away or `owner` is a contract that takes no tokens.
    pub async fn hand_over(&self, did: &Did, owner: Address) -> Result<DeviceRecord> {
        let found = self.registered(did).await?;
        if found.owner != owner {
            let ioid = self.ioid.token();
            let call = ioid.safeTransferFrom(found.owner, owner, found.token);
            self.ioid.send(call.into_transaction_request()).await?;
        }
        self.find(did).await?.ok_or_else(|| unknown(did))
    }

    /// What ioID holds about a device of this project.
    pub(super) async fn registered(&self, did: &Did) -> Result<Registration> {
        let found = self.ioid.registration(did).await?;
        let ours = found.filter(|found| found.project == self.project);
        ours.ok_or_else(|| unknown(did))
    }
}

/// What ioID would refuse or misread, before anybody pays; answers the device's address.
fn check(enrolment: &Enrolment, device: &dyn Signer) -> Result<Address> {
    let challenge = &enrolment.appraisal.challenge;
    let fail = |kind, text| Err(Error::new(kind, text).with("did", &challenge.did));
    if *device.public_key() != challenge.key {
        let text = "the signer has another key than the appraisal; attest with the key that signs";
        return fail(ErrorKind::Rejected, text);
    }
    let address = permit::address(&challenge.key)?;
    if io::from_address(address) != challenge.did {
        let text = "ioID names devices by did:io; attest as methods::io::did_io(key)";
        return fail(ErrorKind::Rejected, text);
    }
    if enrolment.next_key.is_some() || enrolment.nullifier.is_some() {
        let text =
            "ioID keeps neither next keys nor nullifiers; enrol without them, or use registry::evm";
        return fail(ErrorKind::Unsupported, text);
    }
    if enrolment.owner.is_zero() {
        return fail(ErrorKind::Rejected, "the zero address cannot own a device; name a person's");
    }
    if enrolment.document_hash.is_zero() && !enrolment.document_uri.is_empty() {
        let text =
            "ioID takes the zero hash for no device; enrol with the hash of the device's document";
        return fail(ErrorKind::Rejected, text);
    }
    if enrolment.document_uri.len() > MAX_URI_LEN {
        return fail(ErrorKind::Limit, "the document uri has more than 1024 bytes; shorten it");
    }
    Ok(address)
}

fn same_document(found: &Registration, wish: &Enrolment) -> Result<bool> {
    Ok(found.document_hash == stored_hash(wish)? && found.document_uri == wish.document_uri)
}

/// ioID takes no zero for a document that follows from the key, so that document's hash stands for it.
fn stored_hash(enrolment: &Enrolment) -> Result<B256> {
    if enrolment.document_hash.is_zero() {
        return derived_hash(&enrolment.appraisal.challenge.key);
    }
    Ok(enrolment.document_hash)
}

/// The hash of the document that follows from a device's key.
pub(super) fn derived_hash(key: &PublicKey) -> Result<B256> {
    io::document(key).map(|document| document_hash(&document))
}

const INTERCEPTED: &str = "this account registered the device with another document; unless you did, \
                           somebody took the permit from the mempool: call IoIdRegistry::update";

/// As in the registry contract of this SDK; ioID itself has no bound.
const MAX_URI_LEN: usize = 1024;
