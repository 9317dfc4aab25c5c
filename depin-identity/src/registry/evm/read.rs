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
        sol_types::{SolEvent, SolStruct, SolValue},
    },
    bindings::DeviceRegistry as Contract,
};

use super::{
    EvmRegistry,
    consent::{Consent, committed_key},
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

/// What the registry holds about a device, the details proven by what is stored.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) record: Contract::Record,
    pub(super) logged: Logged,
}

/// Details as an event has them.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    pub(super) version: U256,
    pub(super) details: Contract::Details,
}

impl Logged {
    fn commitment(&self, device: Address) -> B256 {
        keccak256((device, self.version, self.details.eip712_hash_struct()).abi_encode())
    }
}

impl EvmRegistry {
    /// What the chain holds about a device: the record and the details that it commits to.
    pub(super) async fn stored(&self, device: Address) -> Result<Option<Stored>> {
        let contract = self.contract();
        let record = self.chain.read(&contract.record(device)).await?;
        if record.status == NONE {
            return Ok(None);
        }
        let logs = self.changes(device, record.changedBlock.into()).await?;
        // Whoever serves the log may be mistaken or lie, so the hash decides and not the position. The
        // nullifier says where it is; it never changes, so honest logs have one.
        let mut places: Vec<(B256, B256)> = Vec::new();
        for logged in logs.iter().rev().filter_map(logged_in) {
            let nullifier = logged.details.nullifier;
            let known = places.iter().find(|(place, _)| *place == nullifier).map(|(_, hash)| *hash);
            let committed = match known {
                Some(hash) => hash,
                None if places.len() == MAX_PLACES => break,
                None => {
                    let hash = self.chain.read(&contract.commitment(device, nullifier)).await?;
                    places.push((nullifier, hash));
                    hash
                }
            };
            if logged.commitment(device) == committed {
                return Ok(Some(Stored { record, logged }));
            }
        }
        Err(missing(device))
    }

    /// Every event of a block that has details of the device, oldest first.
    pub(super) async fn changes(&self, device: Address, block: u64) -> Result<Vec<Log>> {
        let filter = Filter::new()
            .address(self.address)
            .event_signature(vec![
                Contract::DeviceRegistered::SIGNATURE_HASH,
                Contract::DocumentUpdated::SIGNATURE_HASH,
                Contract::KeyRotated::SIGNATURE_HASH,
            ])
            .topic1(device.into_word())
            .from_block(block)
            .to_block(block);
        self.chain.ask(self.chain.provider().get_logs(&filter)).await
    }

    pub(super) async fn record(&self, device: Address, stored: Stored) -> Result<DeviceRecord> {
        let Stored { record, logged: Logged { version, details } } = stored;
        let key = committed_key(&details)?;
        // The contract checks that too. Later keys follow from the details before them.
        if version.is_zero() && key.to_address() != Some(device) {
            let text = "the registry holds a key that is not the device's; check its address";
            return Err(Error::new(ErrorKind::Corrupt, text).with("device", device));
        }
        Ok(DeviceRecord {
            did: io::from_address(device),
            key,
            next_key: given(details.nextKeyHash),
            nullifier: given(details.nullifier),
            owner: record.owner,
            account: Some(self.accounts().await?.of(self, device)),
            status: status(record.status)?,
            document_hash: details.documentHash,
            document_uri: details.documentURI,
            appraisal: details.evidenceHash,
            registered: Timestamp::from_secs(record.registeredAt.into()),
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

/// The details in an event of the registry.
pub(super) fn logged_in(log: &Log) -> Option<Logged> {
    let registered = || Contract::DeviceRegistered::decode_log(&log.inner).ok();
    let updated = || Contract::DocumentUpdated::decode_log(&log.inner).ok();
    let rotated = || Contract::KeyRotated::decode_log(&log.inner).ok();
    let registered = registered().map(|e| Logged { version: U256::ZERO, details: e.data.details });
    registered
        .or_else(|| updated().map(|e| Logged { version: e.version, details: e.data.details }))
        .or_else(|| rotated().map(|e| Logged { version: e.version, details: e.data.details }))
}

pub(super) fn missing(device: Address) -> Error {
    let text = "the node's log lacks the details that the registry commits to; \
                try again, or use an archive node";
    Error::unavailable(text).with("device", device)
}

fn given(word: B256) -> Option<B256> {
    (!word.is_zero()).then_some(word)
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

/// How many nullifiers of one device a node may claim.
const MAX_PLACES: usize = 4;

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
