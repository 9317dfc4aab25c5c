//! Delegations as the contract verifies them: signed with EIP-712, stored nowhere.

use depin_core::{Address, B256, Did, Error, ErrorKind, Result, Signer, Timestamp};
use depin_evm::{
    alloy::{
        primitives::Bytes,
        sol_types::{Eip712Domain, SolStruct},
    },
    bindings::DeviceRegistry as Contract,
};

use super::{
    EvmRegistry,
    consent::sign,
    control::account_signature,
    read::{Logged, Stored},
};

/// One link of a chain: `issuer` lets `subject` act for a device. Not signed yet.
///
/// The issuer of the first is the owner of the device; of every other one, the subject of the one before,
/// which may be the device itself. It gives at most the scopes and the time that its issuer has.
#[derive(Clone, Debug)]
pub struct Delegation {
    link: Contract::Delegation,
    domain: Eip712Domain,
}

/// A [`Delegation`] with its issuer's signature.
#[derive(Clone, Debug)]
pub struct SignedDelegation {
    delegation: Delegation,
    signature: Bytes,
}

impl Delegation {
    /// Its name: what the next one names as parent, and what is revoked.
    pub fn hash(&self) -> B256 {
        self.link.eip712_hash_struct()
    }

    /// The EIP-712 digest for its issuer to sign.
    pub fn digest(&self) -> B256 {
        self.link.eip712_signing_hash(&self.domain)
    }

    /// Who has to sign: an account, or the device with the key that it has now.
    pub const fn issuer(&self) -> Address {
        self.link.issuer
    }

    /// Who may act.
    pub const fn subject(&self) -> Address {
        self.link.subject
    }

    /// Signs with the key of the issuer.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the key is not that of the account that issues.
    pub fn sign(self, issuer: &dyn Signer) -> Result<SignedDelegation> {
        let signature = if self.link.issuer == self.link.device {
            let Contract::Signature { r, vs } = sign(&self.link, &self.domain, issuer)?;
            Bytes::from([r, vs].concat())
        } else {
            account_signature(self.digest(), self.link.issuer, issuer)?
        };
        Ok(SignedDelegation { delegation: self, signature })
    }

    /// With a signature that was made elsewhere: 65 bytes of an account, whatever a contract takes by
    /// ERC-1271, or 64 bytes `r || vs` of the device.
    pub fn signed(self, signature: Bytes) -> SignedDelegation {
        SignedDelegation { delegation: self, signature }
    }
}

impl SignedDelegation {
    /// What was signed.
    pub const fn delegation(&self) -> &Delegation {
        &self.delegation
    }

    /// What its subject passes on to `subject`, to be signed by him.
    ///
    /// The contract refuses more scopes or time than this one gives, and any at all without the scope to
    /// delegate.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when it begins or ends within a second.
    pub fn extend(
        &self,
        subject: Address,
        scopes: u64,
        not_before: Timestamp,
        expires: Timestamp,
    ) -> Result<Delegation> {
        let given = &self.delegation;
        let link = Contract::Delegation {
            device: given.link.device,
            issuer: given.link.subject,
            subject,
            scopes,
            notBefore: seconds(not_before)?,
            expiry: seconds(expires)?,
            parent: given.hash(),
            nonce: given.link.nonce,
        };
        Ok(Delegation { link, domain: given.domain.clone() })
    }
}

impl EvmRegistry {
    /// What the owner of a device lets `subject` do, from `not_before` on and no longer at `expires` (in
    /// whole seconds), to be signed by him. `scopes` are the bits of the network; bit 4 allows to pass on.
    ///
    /// It ends when the device is sold or rotates, and rests while it is suspended.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an unknown device, [`ErrorKind::Malformed`] when it begins or ends within a
    /// second.
    pub async fn delegate(
        &self,
        did: &Did,
        subject: Address,
        scopes: u64,
        not_before: Timestamp,
        expires: Timestamp,
    ) -> Result<Delegation> {
        let device = self.known(did)?;
        let Stored { record, .. } = self.current(device).await?;
        let link = Contract::Delegation {
            device,
            issuer: record.owner,
            subject,
            scopes,
            notBefore: seconds(not_before)?,
            expiry: seconds(expires)?,
            parent: B256::ZERO,
            nonce: record.generation.to(),
        };
        Ok(Delegation { link, domain: self.domain() })
    }

    /// Who may act for a device by a chain of delegations, and with which scopes, as the contract sees it
    /// now. That he is who asks is yours to check: of an account by its signature, of the device by a signature
    /// of its current key. A transaction from the device's address proves nothing: that is the account of its
    /// first key, which may have been stolen and replaced since.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] naming the link and its fault, when the chain does not hold or the device
    /// is not active; [`ErrorKind::NotFound`] for an unknown device.
    pub async fn verify_delegation(&self, chain: &[SignedDelegation]) -> Result<(Address, u64)> {
        let Some(first) = chain.first() else {
            return Err(Error::new(ErrorKind::Rejected, "a chain of delegations has at least one"));
        };
        let current = self.current(first.delegation.link.device).await?;
        let Logged { version, details } = current.logged;
        let links = chain.iter().map(|signed| signed.delegation.link.clone()).collect();
        let signatures = chain.iter().map(|signed| signed.signature.clone()).collect();
        let contract = self.contract();
        let call = contract.verifyDelegation(links, signatures, version, details);
        let answer = self.chain.read(&call).await.map_err(super::refusal::explain)?;
        Ok((answer.subject, answer.scopes))
    }

    /// Takes back a delegation by its [hash](Delegation::hash), as the account of the chain, which has to
    /// be its issuer or the owner of the device: of others the contract takes no notice.
    ///
    /// # Errors
    /// As [`Chain::send`](depin_evm::Chain::send).
    pub async fn revoke_delegation(&self, delegation: B256) -> Result<()> {
        let call = self.contract().revokeDelegation(delegation).into_transaction_request();
        self.send(call).await.map(drop)
    }

    /// Takes back a delegation with the key of its issuer, of the owner, or of the device if that issued
    /// it. Any account may pay.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the key is not that of `revoker`, [`ErrorKind::Conflict`] when the
    /// device changed hands or key since, which ended the delegation anyway.
    pub async fn revoke_delegation_signed(
        &self,
        delegation: &Delegation,
        revoker: Address,
        signer: &dyn Signer,
    ) -> Result<()> {
        let device = delegation.link.device;
        let Logged { version, details } = self.current(device).await?.logged;
        let revocation = Contract::DelegationRevocation {
            device,
            revoker,
            delegation: delegation.hash(),
            nonce: delegation.link.nonce,
            deadline: self.deadline().await?,
        };
        let signature = if revoker == device {
            let Contract::Signature { r, vs } = sign(&revocation, &self.domain(), signer)?;
            Bytes::from([r, vs].concat())
        } else {
            account_signature(revocation.eip712_signing_hash(&self.domain()), revoker, signer)?
        };
        let contract = self.contract();
        let call = contract.revokeDelegationWithSignature(revocation, version, details, signature);
        self.send(call.into_transaction_request()).await.map(drop)
    }
}

/// The contract counts whole seconds; rounding would sign another time than the one asked for.
fn seconds(moment: Timestamp) -> Result<u64> {
    let seconds = moment.secs();
    if Timestamp::from_secs(seconds) == moment {
        return Ok(seconds);
    }
    let text = "a delegation begins and ends at a whole second";
    Err(Error::new(ErrorKind::Malformed, text).with("moment", moment))
}
