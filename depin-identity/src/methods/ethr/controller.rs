//! Writes to the registry: as the owner's account, or with what the owner signed.

use depin_core::{Address, Bytes, Error, ErrorKind, Result, Signer, U256};
use depin_evm::{
    Chain,
    alloy::{primitives::B256, providers::DynProvider, rpc::types::TransactionRequest},
    recoverable,
};

use super::{Edit, Network, chain::registry::Erc1056};

/// A change that the owner signed, for anybody to send.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedEdit {
    /// The change.
    pub edit: Edit,
    /// The owner's signature over [`Edit::digest`]: `r || s || v`.
    pub signature: Bytes,
}

/// Changes one identity of an ERC-1056 registry, through the account of a [`Chain`].
///
/// There is nothing to create: every address is an identity that owns itself. Either the account of the
/// chain is the owner and [`send`](Self::send)s, or the owner [`sign`](Self::sign)s, which needs no money
/// on the chain, and any account [`submit`](Self::submit)s.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use core::time::Duration;
/// use depin_core::Address;
/// use depin_devnet::Devnet;
/// use depin_evm::Chain;
/// use depin_identity::{ErrorKind, methods::ethr::{Edit, EthrController, Network}};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let me = chain.account();
/// let somewhere = Network::new("factory", chain.id()).at(Address::repeat_byte(9));
/// let controller = EthrController::new(chain, &somewhere, me)?;
/// let hub = Edit::set_attribute("did/svc/HubService", b"https://hub.example", Duration::from_secs(3600))?;
/// assert_eq!(controller.owner().await.unwrap_err().kind(), ErrorKind::NotFound); // no registry is there
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EthrController {
    chain: Chain,
    registry: Address,
    legacy_nonce: bool,
    identity: Address,
}

impl EthrController {
    /// Changes `identity` in the registry of `network`, which `chain` must be.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the chain has another id, or the network no known registry.
    pub fn new(chain: Chain, network: &Network, identity: Address) -> Result<Self> {
        if chain.id() != network.chain {
            let message = "the chain is not that of the did:ethr network; connect to the right one";
            return Err(Error::new(ErrorKind::Config, message).with("network", &network.name));
        }
        let registry = network.registry()?;
        Ok(Self { chain, registry, legacy_nonce: network.legacy_nonce, identity })
    }

    /// Who owns the identity now.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn owner(&self) -> Result<Address> {
        self.chain.read(&self.contract().identityOwner(self.identity)).await
    }

    /// Makes a change as the owner; answers the block it is in, which is the name of the new version.
    ///
    /// # Errors
    /// As [`Chain::send`]; [`ErrorKind::Rejected`] when the account of the chain is not the owner.
    pub async fn send(&self, edit: &Edit) -> Result<u64> {
        self.mined(self.request(edit)).await
    }

    /// Has the owner sign a change, as of the nonce that the registry has now.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the signer's key is not the owner's; as [`Chain::read`].
    pub async fn sign(&self, edit: Edit, owner: &dyn Signer) -> Result<SignedEdit> {
        let address = self.owner().await?;
        if owner.public_key().to_address() != Some(address) {
            let message = "the signer does not own the identity; sign with the owner's key";
            return Err(Error::new(ErrorKind::Rejected, message).with("owner", address));
        }
        let digest = edit.digest(self.registry, self.nonce(&edit, address).await?, self.identity);
        let signature = recoverable(&owner.sign_prehash(&digest.0)?, digest, address)?;
        Ok(SignedEdit { edit, signature: Bytes::from(signature.to_vec()) })
    }

    /// Sends what the owner signed; answers the block it is in.
    ///
    /// # Errors
    /// As [`Chain::send`]; [`ErrorKind::Rejected`] when the signature is not the owner's, or the nonce was
    /// used: have it signed again.
    pub async fn submit(&self, signed: &SignedEdit) -> Result<u64> {
        let (r, s, v) = split(&signed.signature)?;
        self.mined(self.signed_request(&signed.edit, v, r, s)).await
    }

    /// The number that the next signed change has to carry.
    async fn nonce(&self, edit: &Edit, owner: Address) -> Result<U256> {
        let of_identity = self.legacy_nonce && edit.is_of_attribute();
        let counted = if of_identity { self.identity } else { owner };
        self.chain.read(&self.contract().nonce(counted)).await
    }

    fn request(&self, edit: &Edit) -> TransactionRequest {
        let (contract, identity) = (self.contract(), self.identity);
        match edit.clone() {
            Edit::ChangeOwner { owner } => {
                contract.changeOwner(identity, owner).into_transaction_request()
            }
            Edit::AddDelegate { kind, delegate, validity } => {
                contract.addDelegate(identity, kind, delegate, validity).into_transaction_request()
            }
            Edit::RevokeDelegate { kind, delegate } => {
                contract.revokeDelegate(identity, kind, delegate).into_transaction_request()
            }
            Edit::SetAttribute { name, value, validity } => {
                contract.setAttribute(identity, name, value, validity).into_transaction_request()
            }
            Edit::RevokeAttribute { name, value } => {
                contract.revokeAttribute(identity, name, value).into_transaction_request()
            }
        }
    }

    fn signed_request(&self, edit: &Edit, v: u8, r: B256, s: B256) -> TransactionRequest {
        let (contract, who) = (self.contract(), self.identity);
        match edit.clone() {
            Edit::ChangeOwner { owner } => {
                contract.changeOwnerSigned(who, v, r, s, owner).into_transaction_request()
            }
            Edit::AddDelegate { kind, delegate, validity } => contract
                .addDelegateSigned(who, v, r, s, kind, delegate, validity)
                .into_transaction_request(),
            Edit::RevokeDelegate { kind, delegate } => contract
                .revokeDelegateSigned(who, v, r, s, kind, delegate)
                .into_transaction_request(),
            Edit::SetAttribute { name, value, validity } => contract
                .setAttributeSigned(who, v, r, s, name, value, validity)
                .into_transaction_request(),
            Edit::RevokeAttribute { name, value } => {
                contract.revokeAttributeSigned(who, v, r, s, name, value).into_transaction_request()
            }
        }
    }

    async fn mined(&self, tx: TransactionRequest) -> Result<u64> {
        let receipt = self.chain.send(tx).await.map_err(|error| {
            if error.kind() != ErrorKind::Rejected {
                return error;
            }
            let message = "the registry refused the change: the account does not own the identity, or the \
                           owner's signature does not hold for it";
            Error::new(ErrorKind::Rejected, message).with("identity", self.identity).source(error)
        })?;
        let missing =
            || Error::unavailable("the receipt names no block; ask for the version later");
        receipt.block_number.ok_or_else(missing)
    }

    fn contract(&self) -> Erc1056::Erc1056Instance<&DynProvider> {
        Erc1056::new(self.registry, self.chain.provider())
    }
}

fn split(signature: &[u8]) -> Result<(B256, B256, u8)> {
    let malformed =
        || Error::new(ErrorKind::Malformed, "a signature for the registry is 65 bytes, r, s and v");
    let (words, v) = signature.split_last_chunk::<1>().ok_or_else(malformed)?;
    let (r, s) = words.split_at_checked(32).ok_or_else(malformed)?;
    let word = |bytes: &[u8]| B256::try_from(bytes).map_err(|_| malformed());
    Ok((word(r)?, word(s)?, v[0]))
}
