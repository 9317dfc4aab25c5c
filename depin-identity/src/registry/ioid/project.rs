//! Projects: who may register devices, at which price, from which collection.

use std::collections::BTreeSet;

use depin_core::{Address, Did, Error, ErrorKind, Result, U256};
use depin_evm::alloy::{
    primitives::address, providers::DynProvider, rpc::types::TransactionReceipt,
};

use super::{
    contracts::{DeviceNFT, Project as ProjectToken, ProjectRegistry},
    deployment::IoId,
};
use crate::methods::io;

/// What a project registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProjectKind {
    /// Physical devices; slots can be bought in advance.
    Hardware,
    /// Software; every registration is paid by itself.
    Virtual,
}

/// A project of ioID.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Project {
    /// Its token.
    pub id: U256,
    /// Its name, unique in ioID.
    pub name: String,
    /// What it registers.
    pub kind: ProjectKind,
    /// Who owns the token.
    pub owner: Address,
    /// The ERC-721 collection whose tokens stand for its devices, once it is set.
    pub device_contract: Option<Address>,
    /// Registrations paid for so far.
    pub slots: U256,
    /// Registrations done so far.
    pub used: U256,
    /// Registrations that ioID counts. It counts none down when a device is removed.
    pub devices: U256,
}

impl IoId {
    /// Registers a project, owned by this account, and answers its id.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the name is taken; as [`Chain::send`](depin_evm::Chain::send).
    pub async fn register_project(&self, name: &str, kind: ProjectKind) -> Result<U256> {
        let kind = u8::from(kind == ProjectKind::Virtual);
        let contract = ProjectRegistry::new(self.addresses.project_registry, self.chain.provider());
        let call = contract.register(name.to_owned(), kind).into_transaction_request();
        let receipt = self.send(call).await?;
        minted(&receipt, self.addresses.project, self.chain.account())
    }

    /// Reads a project.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when there is none; as [`Chain::read`](depin_evm::Chain::read).
    pub async fn project(&self, id: U256) -> Result<Project> {
        let (chain, store) = (&self.chain, self.store());
        let token = ProjectToken::new(self.addresses.project, chain.provider());
        let kind = match chain.read(&token.projectType(id)).await? {
            0 => ProjectKind::Hardware,
            1 => ProjectKind::Virtual,
            other => {
                let text = "ioID knows a kind of project that this version does not; update it";
                return Err(Error::new(ErrorKind::Unsupported, text).with("kind", other));
            }
        };
        let device_contract = chain.read(&store.projectDeviceContract(id)).await?;
        Ok(Project {
            id,
            name: chain.read(&token.name(id)).await?,
            kind,
            owner: chain.read(&token.ownerOf(id)).await?,
            device_contract: Some(device_contract).filter(|contract| !contract.is_zero()),
            slots: chain.read(&store.projectAppliedAmount(id)).await?,
            used: chain.read(&store.projectActivedAmount(id)).await?,
            devices: chain.read(&self.token().projectDeviceCount(id)).await?,
        })
    }

    /// Buys `count` registrations for a hardware project, at the present price. Answers what was paid.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a virtual project; as [`Chain::send`](depin_evm::Chain::send).
    pub async fn apply_slots(&self, project: U256, count: u64) -> Result<U256> {
        let count = U256::from(count);
        let total = self.price().await?.checked_mul(count).ok_or_else(|| {
            Error::new(ErrorKind::Overflow, "the price of so many slots fits no number")
        })?;
        let call = self.store().applyIoIDs(project, count).into_transaction_request();
        self.send(call.value(total)).await?;
        Ok(total)
    }

    /// Names the ERC-721 collection of a project's devices. Its owner can do that once.
    ///
    /// # Errors
    /// As [`Chain::send`](depin_evm::Chain::send).
    pub async fn set_device_contract(&self, project: U256, collection: Address) -> Result<()> {
        let call = self.store().setDeviceContract(project, collection).into_transaction_request();
        self.send(call).await.map(drop)
    }

    /// Lets `minter` mint `count` more device tokens, as the owner of a collection of ioID's make.
    ///
    /// # Errors
    /// As [`Chain::send`](depin_evm::Chain::send).
    pub async fn allow_minting(
        &self,
        collection: Address,
        minter: Address,
        count: u64,
    ) -> Result<()> {
        let contract = self.collection(collection);
        let call = contract.configureMinter(minter, U256::from(count)).into_transaction_request();
        self.send(call).await.map(drop)
    }

    /// The devices that were ever registered in a project, the latest first.
    ///
    /// Removed ones stay in ioID's list. When the very first device of a project was removed and
    /// registered again, the list runs in a circle; it is followed once.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when there are more than `limit`; as
    /// [`Chain::read`](depin_evm::Chain::read).
    pub async fn list_devices(&self, project: U256, limit: usize) -> Result<Vec<Did>> {
        let token = self.token();
        let (mut devices, mut seen, mut start) = (Vec::new(), BTreeSet::new(), HEAD);
        loop {
            let page = self.chain.read(&token.projectIDs(project, start, U256::from(PAGE))).await?;
            for device in &page.page {
                if !seen.insert(*device) {
                    return Ok(devices);
                }
                if devices.len() == limit {
                    let text = "the project has more devices than asked for; raise the limit";
                    return Err(Error::new(ErrorKind::Limit, text).with("limit", limit));
                }
                devices.push(io::from_address(*device));
            }
            // The contract's `next` is not in the page; the page goes on behind its last entry.
            match page.page.last() {
                Some(last) if !page.next.is_zero() && page.next != HEAD => start = *last,
                _ => return Ok(devices),
            }
        }
    }

    pub(super) fn collection(&self, at: Address) -> DeviceNFT::DeviceNFTInstance<&DynProvider> {
        DeviceNFT::new(at, self.chain.provider())
    }
}

/// The token of `collection` that a transaction minted for `owner`.
pub(super) fn minted(
    receipt: &TransactionReceipt,
    collection: Address,
    owner: Address,
) -> Result<U256> {
    let logs = receipt.logs().iter().filter(|log| log.address() == collection);
    let mut transfers =
        logs.filter_map(|log| log.log_decode_validate::<DeviceNFT::Transfer>().ok());
    let fresh = transfers
        .find(|transfer| transfer.inner.data.from.is_zero() && transfer.inner.data.to == owner);
    fresh.map(|transfer| transfer.inner.data.tokenId).ok_or_else(|| {
        let text = "the contract minted no token for this account; check its address";
        Error::new(ErrorKind::Malformed, text).with("contract", collection)
    })
}

/// Where ioID's lists begin.
const HEAD: Address = address!("0000000000000000000000000000000000000001");

/// Entries asked for at a time.
const PAGE: u64 = 50;
