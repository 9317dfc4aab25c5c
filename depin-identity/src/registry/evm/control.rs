//! Who controls a device: rotation to the committed key, and what its owner signs.

use depin_core::{
    Address, B256, Did, PublicKey, Result, Signer, U256,
    registry::{DeviceRecord, next_key_commitment},
};
use depin_evm::{
    alloy::{primitives::Bytes, sol_types::SolStruct},
    bindings::DeviceRegistry as Contract,
    recoverable,
};

use super::{
    EvmRegistry,
    consent::{parts, sign},
    read::{Logged, Stored},
    refusal,
};
use crate::methods::io;

/// What an owner is asked to sign, wherever his key is. Whoever has the signature may
/// [`submit`](EvmRegistry::submit) it, until the hour is over or the device changed hands or key.
#[derive(Clone, Debug)]
pub struct OwnerConsent {
    owner: Address,
    digest: B256,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Transfer(Contract::OwnershipTransfer),
    Revoke(Contract::Revocation),
}

impl OwnerConsent {
    /// Whose signature it needs: an account with a key, or a contract by ERC-1271.
    pub const fn owner(&self) -> Address {
        self.owner
    }

    /// The 32 bytes to sign, the EIP-712 digest, bare and without a prefix.
    pub const fn digest(&self) -> B256 {
        self.digest
    }

    /// Signs with a secp256k1 key: 65 bytes, as [`submit`](EvmRegistry::submit) takes them.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the key is not the owner's.
    pub fn sign(&self, owner: &dyn Signer) -> Result<Bytes> {
        account_signature(self.digest, self.owner, owner)
    }
}

/// The 65 bytes with which an account with a key signs a digest.
pub(super) fn account_signature(
    digest: B256,
    account: Address,
    signer: &dyn Signer,
) -> Result<Bytes> {
    let signature = signer.sign_prehash(&digest.0)?;
    recoverable(&signature, digest, account).map(|bytes| Bytes::from(bytes.to_vec()))
}

impl EvmRegistry {
    /// See [`DeviceRegistry::rotate`](depin_core::registry::DeviceRegistry::rotate).
    pub(super) async fn change_key(
        &self,
        did: &Did,
        next: &dyn Signer,
        following: Option<&PublicKey>,
    ) -> Result<DeviceRecord> {
        let device = self.known(did)?;
        let (algorithm, x, y) = parts(next.public_key())?;
        let Stored { record, logged: Logged { version, details } } = self.current(device).await?;
        if details.nextKeyHash != next_key_commitment(next.public_key()) {
            return Err(refusal::not_the_next_key(did));
        }
        if following == Some(next.public_key()) {
            return Err(refusal::next_key_is_live(did));
        }
        let rotation = Contract::Rotation {
            device,
            algorithm,
            publicKeyX: x,
            publicKeyY: y,
            nextKeyHash: following.map(next_key_commitment).unwrap_or_default(),
            nonce: record.generation.to(),
            deadline: self.deadline().await?,
        };
        let signature = sign(&rotation, &self.domain(), next)?;
        let contract = self.contract();
        let call = contract.rotate(rotation, version, details, signature);
        self.send(call.into_transaction_request()).await?;
        self.found(did).await
    }

    /// What the owner of a device signs to pass it on to `to`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown device.
    pub async fn consent_to_transfer(&self, did: &Did, to: Address) -> Result<OwnerConsent> {
        let device = self.known(did)?;
        let Stored { record, .. } = self.current(device).await?;
        let transfer = Contract::OwnershipTransfer {
            device,
            from: record.owner,
            to,
            nonce: record.generation.to(),
            deadline: self.deadline().await?,
        };
        let digest = transfer.eip712_signing_hash(&self.domain());
        Ok(OwnerConsent { owner: record.owner, digest, action: Action::Transfer(transfer) })
    }

    /// What the owner of a device signs to take it out of service for ever.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown device.
    pub async fn consent_to_revocation(&self, did: &Did) -> Result<OwnerConsent> {
        let device = self.known(did)?;
        let Stored { record, .. } = self.current(device).await?;
        let (nonce, deadline) = (record.generation.to::<U256>(), self.deadline().await?);
        let revocation = Contract::Revocation { device, nonce, deadline };
        let digest = revocation.eip712_signing_hash(&self.domain());
        Ok(OwnerConsent { owner: record.owner, digest, action: Action::Revoke(revocation) })
    }

    /// Does what an owner signed. Any account may pay.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the signature is not the owner's or too late,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when the device changed hands or key since.
    pub async fn submit(&self, consent: &OwnerConsent, signature: Bytes) -> Result<()> {
        let contract = self.contract();
        let call = match consent.action.clone() {
            Action::Transfer(transfer) => {
                contract.transferWithSignature(transfer, signature).into_transaction_request()
            }
            Action::Revoke(revocation) => {
                contract.revokeWithSignature(revocation, signature).into_transaction_request()
            }
        };
        self.send(call).await.map(drop)
    }

    /// Passes a device on, with the key of its owner at hand.
    ///
    /// # Errors
    /// As [`consent_to_transfer`](Self::consent_to_transfer) and [`submit`](Self::submit).
    pub async fn transfer(
        &self,
        did: &Did,
        to: Address,
        owner: &dyn Signer,
    ) -> Result<DeviceRecord> {
        let consent = self.consent_to_transfer(did, to).await?;
        self.submit(&consent, consent.sign(owner)?).await?;
        self.found(did).await
    }

    pub(super) fn known(&self, did: &Did) -> Result<Address> {
        io::address(did).map_err(|error| refusal::foreign(did, error))
    }
}
