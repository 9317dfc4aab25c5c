//! From two stored words and an event to a record.

use depin_core::{
    Address, B256, Error, ErrorKind, Result, Timestamp, U256, keccak256,
    registry::{DeviceRecord, DeviceStatus, Enrolment},
};
use depin_evm::{
    alloy::{
        eips::BlockNumberOrTag,
        providers::Provider,
        rpc::types::{Filter, Log, TransactionReceipt},
        sol_types::{SolEvent, SolStruct},
    },
    bindings::DeviceRegistry as Contract,
};

use super::{
    EvmRegistry,
    consent::{Consent, public_key},
};
use crate::methods::io;

/// What every ERC-6551 account address of one registry is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accounts {
    factory: Address,
    implementation: Address,
}

impl Accounts {
    /// The CREATE2 address of a device's account, as ERC-6551 derives it with salt 0.
    pub(super) fn of(&self, registry: &EvmRegistry, device: Address) -> Address {
        let code = [
            CLONE_HEAD.as_slice(),
            self.implementation.as_slice(),
            &CLONE_TAIL,
            &[0; 32],
            &U256::from(registry.chain.id().value()).to_be_bytes::<32>(),
            registry.address.into_word().as_slice(),
            device.into_word().as_slice(),
        ]
        .concat();
        self.factory.create2(B256::ZERO, keccak256(code))
    }
}

impl EvmRegistry {
    /// What the chain holds about a device: the stored words and the details they commit to.
    pub(super) async fn stored(
        &self,
        device: Address,
    ) -> Result<Option<(Contract::Record, Contract::Details)>> {
        let stored = self.chain.read(&self.contract().record(device)).await?;
        if stored.status == NONE {
            return Ok(None);
        }
        let changes = self.changes(device, stored.changedBlock);
        let logs = self.chain.ask(self.chain.provider().get_logs(&changes)).await?;
        // Whoever serves the log may be mistaken or lie, so the hash decides and not the position.
        let details = logs
            .iter()
            .rev()
            .filter_map(details_in)
            .find(|details| details.eip712_hash_struct() == stored.detailsHash);
        details.map(|details| Some((stored, details))).ok_or_else(|| {
            let text = "the node's log lacks the details that the registry commits to; \
                        try again, or use an archive node";
            Error::unavailable(text).with("device", device)
        })
    }

    fn changes(&self, device: Address, block: u32) -> Filter {
        Filter::new()
            .address(self.address)
            .event_signature(vec![
                Contract::DeviceRegistered::SIGNATURE_HASH,
                Contract::DocumentUpdated::SIGNATURE_HASH,
            ])
            .topic1(device.into_word())
            .from_block(u64::from(block))
            .to_block(u64::from(block))
    }

    pub(super) async fn record(
        &self,
        device: Address,
        stored: &Contract::Record,
        details: Contract::Details,
    ) -> Result<DeviceRecord> {
        let key = public_key(&details)?;
        if key.to_address() != Some(device) {
            let text = "the registry holds a key that is not the device's; check its address";
            return Err(Error::new(ErrorKind::Corrupt, text).with("device", device));
        }
        Ok(DeviceRecord {
            did: io::from_address(device),
            key,
            next_key: None,
            nullifier: None,
            owner: stored.owner,
            account: Some(self.accounts().await?.of(self, device)),
            status: status(stored.status)?,
            document_hash: details.documentHash,
            document_uri: details.documentURI,
            appraisal: details.evidenceHash,
            registered: Timestamp::from_secs(stored.registeredAt.into()),
        })
    }

    /// The record of what a mined transaction has just registered.
    pub(super) async fn registered(
        &self,
        receipt: &TransactionReceipt,
        enrolment: &Enrolment,
        consent: &Consent,
    ) -> Result<DeviceRecord> {
        let block = receipt.block_number.map_or(BlockNumberOrTag::Latest, Into::into);
        let at = Timestamp::from_secs(self.time_of(block).await?);
        Ok(self.new_record(enrolment, consent, self.accounts().await?, at))
    }

    pub(super) fn new_record(
        &self,
        enrolment: &Enrolment,
        consent: &Consent,
        accounts: Accounts,
        registered: Timestamp,
    ) -> DeviceRecord {
        let device = consent.registration.device;
        DeviceRecord {
            account: Some(accounts.of(self, device)),
            ..DeviceRecord::registered(enrolment, registered)
        }
    }

    /// Immutable in the contract, so asked once.
    pub(super) async fn accounts(&self) -> Result<Accounts> {
        if let Some(known) = self.accounts.get() {
            return Ok(*known);
        }
        let contract = self.contract();
        let factory = self.chain.read(&contract.accountRegistry()).await?;
        let implementation = self.chain.read(&contract.accountImplementation()).await?;
        Ok(*self.accounts.get_or_init(|| Accounts { factory, implementation }))
    }
}

fn details_in(log: &Log) -> Option<Contract::Details> {
    let registered = || Contract::DeviceRegistered::decode_log(&log.inner).ok();
    let updated = || Contract::DocumentUpdated::decode_log(&log.inner).ok();
    registered()
        .map(|event| event.data.details)
        .or_else(|| updated().map(|event| event.data.details))
}

pub(super) fn status(number: u8) -> Result<DeviceStatus> {
    match number {
        ACTIVE => Ok(DeviceStatus::Active),
        SUSPENDED => Ok(DeviceStatus::Suspended),
        REVOKED => Ok(DeviceStatus::Revoked),
        _ => {
            let text = "the registry knows a status that this version does not; update it";
            Err(Error::new(ErrorKind::Unsupported, text).with("status", number))
        }
    }
}

/// `Status` of the contract.
const NONE: u8 = 0;
const ACTIVE: u8 = 1;
const SUSPENDED: u8 = 2;
const REVOKED: u8 = 3;

/// ERC-1167's minimal proxy, deployed by ten bytes that return the rest of the code (ERC-6551).
const CLONE_HEAD: [u8; 20] = [
    0x3d, 0x60, 0xad, 0x80, 0x60, 0x0a, 0x3d, 0x39, 0x81, 0xf3, 0x36, 0x3d, 0x3d, 0x37, 0x3d, 0x3d,
    0x3d, 0x36, 0x3d, 0x73,
];
const CLONE_TAIL: [u8; 15] =
    [0x5a, 0xf4, 0x3d, 0x82, 0x80, 0x3e, 0x90, 0x3d, 0x91, 0x60, 0x2b, 0x57, 0xfd, 0x5b, 0xf3];
