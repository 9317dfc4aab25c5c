//! From ioID's state, its log and a device's permit to a record.
//!
//! The contracts keep neither the key of a device nor when it was registered. But the transaction that
//! registered it carries a permit, and a permit gives away the key that made it: whether that is the
//! device's is plain from its address, so no node can invent one. Where the log is out of reach, the DID
//! document tells the key.

use depin_core::{
    Address, B256, Did, Error, ErrorKind, PublicKey, Result, Timestamp, U256,
    registry::{DeviceRecord, DeviceStatus, OwnFault},
};
use depin_evm::alloy::{
    consensus::Transaction as _,
    providers::Provider,
    rpc::types::{Filter, Log},
    sol_types::{SolCall, SolEvent},
};

use super::{
    IoIdRegistry,
    contracts::{IoID, IoIDRegistry, VerifyingProxy},
    deployment::IoId,
    document::{key_of, verify_document},
    enrol::derived_hash,
    permit::{Signed, recover},
    refusal::{MISSING, says},
};
use crate::{DidDocument, methods::io};

/// What ioID's contracts hold about a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// Its identity.
    pub did: Did,
    /// The ioID token, which owns the wallet.
    pub token: U256,
    /// Who owns the token.
    pub owner: Address,
    /// The ERC-6551 account of the token.
    pub wallet: Address,
    /// The project it was registered in.
    pub project: U256,
    /// Hash of the DID document, of unknown make; see [`verify_document`].
    pub document_hash: B256,
    /// Where the document is.
    pub document_uri: String,
}

/// What the state of the contracts does not tell.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) key: PublicKey,
    pub(super) registered: Timestamp,
}

impl IoId {
    /// What ioID holds about a device, in whichever project; `None` when it is not registered, or not
    /// any more.
    ///
    /// # Errors
    /// As [`Chain::read`](depin_evm::Chain::read); [`ErrorKind::Unavailable`] when it changes meanwhile.
    pub async fn registration(&self, did: &Did) -> Result<Option<Registration>> {
        let Ok(device) = io::address(did) else { return Ok(None) };
        if !self.chain.read(&self.registry().exists(device)).await? {
            return Ok(None);
        }
        self.read(device).await.map(Some).map_err(|error| match says(&error, MISSING) {
            true => Error::unavailable("the device was removed while it was read; ask again"),
            false => error,
        })
    }

    async fn read(&self, device: Address) -> Result<Registration> {
        let (chain, registry, ioid) = (&self.chain, self.registry(), self.token());
        let token = chain.read(&registry.deviceTokenId(device)).await?;
        Ok(Registration {
            did: io::from_address(device),
            token,
            owner: chain.read(&ioid.ownerOf(token)).await?,
            wallet: chain.read(&ioid.wallet_0(token)).await?.account,
            project: chain.read(&ioid.deviceProject(device)).await?,
            document_hash: chain.read(&registry.documentHash(device)).await?,
            document_uri: chain.read(&registry.documentURI(device)).await?,
        })
    }
}

impl IoIdRegistry {
    /// The record of a device of this project, removed ones included.
    pub(super) async fn find(&self, did: &Did) -> Result<Option<DeviceRecord>> {
        let Ok(device) = io::address(did) else { return Ok(None) };
        if let Some(registration) = self.ioid.registration(did).await? {
            if registration.project != self.project {
                return Ok(None);
            }
            let origin = self.origin(device, &registration).await?;
            return record(registration, origin, DeviceStatus::Active).map(Some);
        }
        // ioID forgets the document of a removed device, but not that it had a project.
        let token = self.ioid.token();
        match self.ioid.chain.read(&token.deviceProject(device)).await? {
            project if project == self.project => self.removed(device).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn removed(&self, device: Address) -> Result<DeviceRecord> {
        let history = self.history(device).await?;
        let origin = self.traced(device, &history).await?;
        let (document_hash, document_uri) =
            history.iter().rev().find_map(document_in).ok_or_else(|| lost(device))?;
        let token = self.token_of(device, &history).await?;
        let ioid = self.ioid.token();
        let registration = Registration {
            did: io::from_address(device),
            token,
            owner: self.ioid.chain.read(&ioid.ownerOf(token)).await?,
            wallet: self.ioid.chain.read(&ioid.wallet_0(token)).await?.account,
            project: self.project,
            document_hash,
            document_uri,
        };
        record(registration, origin, DeviceStatus::Revoked)
    }

    async fn origin(&self, device: Address, registration: &Registration) -> Result<Origin> {
        if let Some(known) = self.known.origin(device, registration.token) {
            return Ok(known);
        }
        let traced = match self.history(device).await {
            Ok(history) => self.traced(device, &history).await,
            Err(error) => Err(error),
        };
        match traced {
            Ok(origin) => {
                self.known.remember(device, registration.token, &origin);
                Ok(origin)
            }
            // Not remembered: the time is missing and the log may be there next time.
            Err(cause) if self.documents.is_none() => Err(cause),
            Err(cause) => match self.documented(device, registration).await {
                // It hid its permit, and wrote a document that tells nothing.
                Err(error) if OwnFault::is_in(&cause) && !error.is_retryable() => {
                    Err(cause.with("document", error))
                }
                documented => documented,
            },
        }
    }

    async fn documented(&self, device: Address, registration: &Registration) -> Result<Origin> {
        let document = self.fetch(registration).await?;
        Ok(Origin { key: key_of(&document, device)?, registered: Timestamp::EPOCH })
    }

    pub(super) async fn fetch(&self, registration: &Registration) -> Result<DidDocument> {
        let Some(source) = &self.documents else {
            let text = "nobody fetches documents; give IoIdRegistry::with_documents a source";
            return Err(Error::new(ErrorKind::Config, text).with("did", &registration.did));
        };
        let Registration { did, document_uri, document_hash, .. } = registration;
        let json = source.fetch(did, document_uri).await?;
        verify_document(did, *document_hash, &json).map(|(document, _)| document)
    }

    /// The events that gave the device its documents, the earliest first.
    async fn history(&self, device: Address) -> Result<Vec<Log>> {
        let filter = Filter::new()
            .address(self.ioid.addresses.registry)
            .event_signature(vec![
                IoIDRegistry::NewDevice::SIGNATURE_HASH,
                IoIDRegistry::UpdateDevice::SIGNATURE_HASH,
            ])
            .topic1(device.into_word());
        let chain = &self.ioid.chain;
        let newest = chain.ask(chain.provider().get_block_number()).await?;
        let logs = chain.logs(filter, self.since..=newest).window(u64::MAX).all().await;
        logs.map_err(|error| {
            let text = "the node does not serve ioID's log that far back, which tells a device's key; give \
                        IoIdRegistry::with_documents a source, IoIdRegistry::since a later block, or use an archive node";
            Error::unavailable(text).with("since", self.since).source(error)
        })
    }

    /// Key and time of the last registration in `history`.
    async fn traced(&self, device: Address, history: &[Log]) -> Result<Origin> {
        let (log, owner) = creation(history).ok_or_else(|| lost(device))?;
        let (Some(hash), Some(block)) = (log.transaction_hash, log.block_number) else {
            return Err(lost(device));
        };
        let chain = &self.ioid.chain;
        let tx = chain.ask(chain.provider().get_transaction_by_hash(hash)).await?;
        let tx = tx.ok_or_else(|| lost(device))?;
        let nonces = chain.read(&self.ioid.registry().nonces(device)).await?;
        let signed = signed_in(tx.input());
        let key = signed.and_then(|s| recover(self.ioid.scope(), &s, owner, device, nonces));
        let key = key.ok_or_else(|| {
            let text = "the device was registered through a contract that hides its permit; \
                        give IoIdRegistry::with_documents a source of its document";
            Error::new(ErrorKind::Unsupported, text).with("transaction", hash).source(OwnFault)
        })?;
        let registered = Timestamp::from_secs(self.ioid.time_of(block).await?);
        Ok(Origin { key, registered })
    }

    /// The ioID token that the last registration in `history` minted.
    async fn token_of(&self, device: Address, history: &[Log]) -> Result<U256> {
        let hash = creation(history).and_then(|(log, _)| log.transaction_hash);
        let hash = hash.ok_or_else(|| lost(device))?;
        let chain = &self.ioid.chain;
        let receipt = chain.ask(chain.provider().get_transaction_receipt(hash)).await?;
        let receipt = receipt.ok_or_else(|| lost(device))?;
        let name = io::from_address(device).to_string();
        let logs = receipt.logs().iter().filter(|log| log.address() == self.ioid.addresses.ioid);
        let mut created = logs.filter_map(|log| IoID::CreateIoID::decode_log(&log.inner).ok());
        created.find(|event| event.did == name).map(|event| event.id).ok_or_else(|| lost(device))
    }
}

fn record(from: Registration, origin: Origin, status: DeviceStatus) -> Result<DeviceRecord> {
    let derives = from.document_uri.is_empty() && from.document_hash == derived_hash(&origin.key)?;
    Ok(DeviceRecord {
        did: from.did,
        key: origin.key,
        // ioID has no place for these two, nor for the appraisal.
        next_key: None,
        nullifier: None,
        owner: from.owner,
        account: Some(from.wallet),
        status,
        document_hash: if derives { B256::ZERO } else { from.document_hash },
        document_uri: from.document_uri,
        appraisal: B256::ZERO,
        registered: origin.registered,
    })
}

/// The last event that registered the device, and for whom.
fn creation(history: &[Log]) -> Option<(&Log, Address)> {
    history.iter().rev().find_map(|log| {
        let event = IoIDRegistry::NewDevice::decode_log(&log.inner).ok()?;
        Some((log, event.owner))
    })
}

fn document_in(log: &Log) -> Option<(B256, String)> {
    let new = || IoIDRegistry::NewDevice::decode_log(&log.inner).ok();
    let update = || IoIDRegistry::UpdateDevice::decode_log(&log.inner).ok();
    new()
        .map(|event| (event.data.hash, event.data.uri))
        .or_else(|| update().map(|event| (event.data.hash, event.data.uri)))
}

/// The permit in a call of either `register`, or in that of a project's own proxy.
fn signed_in(input: &[u8]) -> Option<Signed> {
    if let Ok(call) = IoIDRegistry::register_0Call::abi_decode(input) {
        return Some(Signed { v: call.v, r: call.r, s: call.s });
    }
    if let Ok(call) = IoIDRegistry::register_1Call::abi_decode(input) {
        return Some(Signed { v: call.v, r: call.r, s: call.s });
    }
    let call = VerifyingProxy::registerCall::abi_decode(input).ok()?;
    Some(Signed { v: call.v, r: call.r, s: call.s })
}

fn lost(device: Address) -> Error {
    let text = "the node's log lacks the device's registration; use an archive node, or give IoIdRegistry::since \
                an earlier block, or IoIdRegistry::with_documents a source";
    Error::unavailable(text).with("device", device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_permit_is_found_in_every_way_to_register() {
        let (r, s) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let wanted = Some(Signed { v: 28, r, s });
        let (a, hash, uri) = (Address::ZERO, B256::ZERO, String::new());
        let direct = IoIDRegistry::register_0Call {
            deviceContract: a,
            tokenId: U256::ZERO,
            device: a,
            hash,
            uri: uri.clone(),
            v: 28,
            r,
            s,
        };
        let named = IoIDRegistry::register_1Call {
            deviceContract: a,
            tokenId: U256::ZERO,
            user: a,
            device: a,
            hash,
            uri: uri.clone(),
            v: 28,
            r,
            s,
        };
        let proxied = VerifyingProxy::registerCall {
            verifySignature: vec![0; 65].into(),
            hash,
            uri,
            owner: a,
            device: a,
            v: 28,
            r,
            s,
        };
        for input in [direct.abi_encode(), named.abi_encode(), proxied.abi_encode()] {
            assert_eq!(signed_in(&input), wanted);
            for end in 0..input.len() {
                signed_in(&input[..end]);
            }
        }
        assert_eq!(signed_in(&[0; 400]), None);
    }
}
