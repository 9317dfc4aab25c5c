//! The `DeviceRegistry` contract on an EVM chain.
//!
//! A device is an ERC-721 token with an ERC-6551 account; its DID is did:io. It consents with an EIP-712
//! signature that binds every argument, a nonce and a deadline, and the registrar (the account of the
//! [`Chain`]) pays. The chain stores two words per device; the rest is read from the event log and
//! believed only when it hashes to what is stored.

mod batch;
mod consent;
mod control;
mod delegation;
mod history;
mod read;
mod refusal;

pub use control::OwnerConsent;
pub use delegation::{Delegation, SignedDelegation};

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use depin_core::{
    Address, B256, Did, Error, PublicKey, Result, Signer,
    registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment},
};
use depin_evm::{
    Chain,
    alloy::{
        eips::BlockNumberOrTag,
        providers::{DynProvider, Provider},
        rpc::types::{TransactionReceipt, TransactionRequest},
    },
    bindings::{DeviceAccount, DeviceRegistry as Contract, ERC6551Registry},
};

use self::{
    consent::{Consent, check_uri, sign},
    read::{Accounts, Logged, Stored},
    refusal::explain,
};
use crate::methods::io;

/// A [`DeviceRegistry`] contract, through the account that may register devices in it.
///
/// Registering needs the contract's `REGISTRAR_ROLE`; reading needs nothing. Secp256k1 and P-256 devices
/// can register, Ed25519 ones have no address and cannot. When the answer to a registration was lost, ask
/// [`device`](DeviceRegistry::device) before trying again: the second try of a success is a conflict.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Algorithm, Signer, SoftwareKey};
/// use depin_devnet::Devnet;
/// use depin_evm::Chain;
/// use depin_identity::{methods::io, registry::{DeviceRegistry, Enrolment, evm::EvmRegistry}};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let registry = EvmRegistry::deploy(&chain, "Stations", "STN").await?;
///
/// let device = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
/// let did = io::did_io(device.public_key())?;
/// # let appraisal = depin_testkit::registry::enrolment(&did, device.public_key(), devnet.account(1).address()).appraisal;
/// // The appraisal is that of the device's hardware, see depin-hw.
/// let enrolment = Enrolment::new(appraisal, devnet.account(1).address());
/// let record = registry.register(&enrolment, &device).await?;
/// assert_eq!(record.did, did);
/// assert_eq!(registry.device(&did).await?, Some(record));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EvmRegistry {
    chain: Chain,
    address: Address,
    accounts: Arc<OnceLock<Accounts>>,
    create_accounts: bool,
}

impl EvmRegistry {
    /// The contract at `address`.
    pub fn new(chain: Chain, address: Address) -> Self {
        Self { chain, address, accounts: Arc::default(), create_accounts: false }
    }

    /// Deploys a registry with its ERC-6551 contracts, administered by the account of `chain`, which may
    /// also register devices. `name` and `symbol` are those of the collection of device tokens.
    ///
    /// # Errors
    /// As [`Chain::send`].
    pub async fn deploy(chain: &Chain, name: &str, symbol: &str) -> Result<Self> {
        let provider = chain.provider();
        let accounts = ERC6551Registry::deploy_builder(provider).into_transaction_request();
        let accounts = created(&chain.send(accounts).await?)?;
        let account = DeviceAccount::deploy_builder(provider).into_transaction_request();
        let account = created(&chain.send(account).await?)?;
        let (name, symbol) = (name.to_owned(), symbol.to_owned());
        let admin = chain.account();
        let deploy = Contract::deploy_builder(provider, name, symbol, admin, accounts, account);
        let address = created(&chain.send(deploy.into_transaction_request()).await?)?;
        let contract = Contract::new(address, provider);
        let role = chain.read(&contract.REGISTRAR_ROLE()).await?;
        chain.send(contract.grantRole(role, admin).into_transaction_request()).await?;
        Ok(Self::new(chain.clone(), address))
    }

    /// Also creates the ERC-6551 account of every device in [`register_all`](DeviceRegistry::register_all),
    /// one transaction each.
    ///
    /// Without it a batch is cheaper, accounts still have their address and can receive, and
    /// [`create_account`](Self::create_account) puts code there when an owner first wants to spend.
    /// [`register`](DeviceRegistry::register) always creates the account.
    #[must_use]
    pub const fn with_accounts(mut self) -> Self {
        self.create_accounts = true;
        self
    }

    /// Where the contract is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The chain it is on.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Creates the ERC-6551 account of a device, or does nothing when it exists.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown device, and as
    /// [`Chain::send`].
    pub async fn create_account(&self, did: &Did) -> Result<Address> {
        let device = self.known(did)?;
        self.send(self.contract().createAccount(device).into_transaction_request()).await?;
        Ok(self.accounts().await?.of(self, device))
    }

    /// Replaces the document of an active device, with the device's consent. Any account may pay.
    ///
    /// `hash` is that of the new document as [`document_hash`](crate::document::document_hash) makes it,
    /// `uri` says where it is, in ASCII (RFC 3986); empty when it derives from the key.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown device,
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) for an inactive one,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when it changed meanwhile: try again,
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) for a `uri` that is not ASCII,
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) for one of more than 1024 bytes.
    pub async fn update_document(
        &self,
        did: &Did,
        device: &dyn Signer,
        hash: B256,
        uri: &str,
    ) -> Result<DeviceRecord> {
        let address = self.known(did)?;
        check_uri(did, uri)?;
        let Logged { version, details: current } = self.current(address).await?.logged;
        let update = Contract::DocumentUpdate {
            device: address,
            documentHash: hash,
            documentURI: uri.to_owned(),
            nonce: version,
            deadline: self.deadline().await?,
        };
        let signature = sign(&update, &self.domain(), device)?;
        let contract = self.contract();
        let call = contract.updateDocument(update, current, signature).into_transaction_request();
        self.send(call).await?;
        self.found(did).await
    }

    /// The record of a device that is known to be there.
    async fn found(&self, did: &Did) -> Result<DeviceRecord> {
        let address = io::address(did).map_err(|error| refusal::foreign(did, error))?;
        self.device(did).await?.ok_or_else(|| refusal::unknown(address))
    }

    async fn current(&self, device: Address) -> Result<Stored> {
        self.stored(device).await?.ok_or_else(|| refusal::unknown(device))
    }

    fn contract(&self) -> Contract::DeviceRegistryInstance<&DynProvider> {
        Contract::new(self.address, self.chain.provider())
    }

    async fn send(&self, tx: TransactionRequest) -> Result<TransactionReceipt> {
        self.chain.send(tx).await.map_err(explain)
    }

    /// Until when a signature made now may be used, by the clock of the chain.
    async fn deadline(&self) -> Result<depin_core::U256> {
        let now = self.time_of(BlockNumberOrTag::Latest).await?;
        Ok(depin_core::U256::from(now.saturating_add(CONSENT_SECONDS)))
    }

    /// Time of a block in seconds since the Unix epoch.
    async fn time_of(&self, block: BlockNumberOrTag) -> Result<u64> {
        let found = self.chain.ask(self.chain.provider().get_block_by_number(block)).await?;
        let missing = || Error::unavailable("the node lacks the block; try again");
        found.map(|block| block.header.timestamp).ok_or_else(missing)
    }
}

#[async_trait]
impl DeviceRegistry for EvmRegistry {
    async fn register(&self, enrolment: &Enrolment, device: &dyn Signer) -> Result<DeviceRecord> {
        let consent = Consent::ask(enrolment, device, &self.domain(), self.deadline().await?)?;
        let Consent { registration, signature } = consent.clone();
        let contract = self.contract();
        let call = contract.register(registration, signature).into_transaction_request();
        let receipt = self.send(call).await?;
        self.registered(&receipt, enrolment, &consent).await
    }

    /// Sends batches of as many devices as fit well into a block, one after the other. All consents are
    /// checked before the first is sent. A batch is all or none.
    async fn register_all(
        &self,
        enrolments: &[(Enrolment, &dyn Signer)],
    ) -> Result<Vec<DeviceRecord>> {
        batch::register(self, enrolments).await
    }

    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>> {
        // What is no did:io cannot have been registered here.
        let Ok(address) = io::address(did) else { return Ok(None) };
        match self.stored(address).await? {
            Some(stored) => self.record(address, stored).await.map(Some),
            None => Ok(None),
        }
    }

    /// Read from the log, back to the registration when the key ever changed. The first key is proven by
    /// the DID and the last by the stored commitment; those between are what the node says. A device that changed
    /// its key more than 65,535 times has no history any more: [`ErrorKind::Limit`](depin_core::ErrorKind::Limit).
    ///
    /// After more than 64 changes of the document since a rotation, the node is asked about all blocks at once, or, if
    /// it refuses that, window by window back to the registration: a node that answers for 10,000 blocks is asked 1,600
    /// times about a year of blocks of two seconds.
    async fn keys(&self, did: &Did) -> Result<Vec<PublicKey>> {
        let Ok(address) = io::address(did) else { return Ok(Vec::new()) };
        history::keys(self, address).await
    }

    /// Any account may pay. Whatever the old key signed is void, every delegation ends, and the document
    /// derives from the new key until the device sets another.
    ///
    /// Whoever stole the old key cannot do this, and cannot make it fail for long: he can change the
    /// document in the same moment, then try again. Suspending the device first stops that too.
    ///
    /// Whoever sells a device keeps its next key, and may rotate what he sold. So before a buyer pays, two
    /// rotations: to the seller's next key with the buyer's as `following`, then to that, with another of
    /// the buyer's. And he looks what the device's account approved: allowances of tokens outlive a sale.
    async fn rotate(
        &self,
        did: &Did,
        next: &dyn Signer,
        following: Option<&PublicKey>,
    ) -> Result<DeviceRecord> {
        self.change_key(did, next, following).await
    }

    async fn set_status(&self, did: &Did, status: DeviceStatus) -> Result<()> {
        let device = io::address(did).map_err(|error| refusal::foreign(did, error))?;
        let contract = self.contract();
        let tx = match status {
            DeviceStatus::Active => contract.resume(device).into_transaction_request(),
            DeviceStatus::Suspended => contract.suspend(device).into_transaction_request(),
            DeviceStatus::Revoked => contract.revoke(device).into_transaction_request(),
            _ => return Err(refusal::unknown_status()),
        };
        match self.send(tx).await {
            Err(error) if refusal::is_so_already(&error, status) => Ok(()),
            sent => sent.map(drop),
        }
    }
}

fn created(receipt: &TransactionReceipt) -> Result<Address> {
    let missing = || Error::unavailable("the receipt of the deployment names no contract");
    receipt.contract_address.ok_or_else(missing)
}

/// How long a consent is good for. It is sent at once; an hour covers slow chains and wrong clocks.
const CONSENT_SECONDS: u64 = 3600;
