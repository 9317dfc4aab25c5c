//! Many devices in few transactions.

use depin_core::{
    Error, Result, Signer, Timestamp,
    registry::{DeviceRecord, Enrolment},
};
use depin_evm::alloy::{eips::BlockNumberOrTag, providers::Provider};

use super::{
    EvmRegistry,
    consent::{Consent, P256},
};

pub(super) async fn register(
    registry: &EvmRegistry,
    enrolments: &[(Enrolment, &dyn Signer)],
) -> Result<Vec<DeviceRecord>> {
    if enrolments.is_empty() {
        return Ok(Vec::new());
    }
    let (domain, deadline) = (registry.domain(), registry.deadline().await?);
    let mut consents = Vec::with_capacity(enrolments.len());
    for (enrolment, device) in enrolments {
        consents.push((enrolment, Consent::ask(enrolment, *device, &domain, deadline)?));
    }
    let mut records = Vec::with_capacity(consents.len());
    for batch in batches(&consents, room(registry).await?) {
        let sent = send(registry, batch).await;
        records.extend(sent.map_err(|error| error.with("registered before", records.len()))?);
    }
    if registry.create_accounts {
        for record in &records {
            let created = registry.create_account(&record.did).await;
            created.map_err(|error| error.with("registered, without account", &record.did))?;
        }
    }
    Ok(records)
}

async fn send(
    registry: &EvmRegistry,
    batch: &[(&Enrolment, Consent)],
) -> Result<Vec<DeviceRecord>> {
    let Some((_, Consent { registration: first, .. })) = batch.first() else {
        return Ok(Vec::new());
    };
    let (devices, signatures) = batch
        .iter()
        .map(|(_, consent)| (consent.registration.details.clone(), consent.signature.clone()))
        .unzip();
    let contract = registry.contract();
    let call = contract.registerBatch(first.owner, devices, signatures, first.deadline);
    let call = call.into_transaction_request();
    let receipt = registry.send(call).await?;
    let block = receipt.block_number.map_or(BlockNumberOrTag::Latest, Into::into);
    let at = Timestamp::from_secs(registry.time_of(block).await?);
    let accounts = registry.accounts().await?;
    let record = |(enrolment, consent): &(&Enrolment, Consent)| {
        registry.new_record(enrolment, consent, accounts, at)
    };
    Ok(batch.iter().map(record).collect())
}

/// Gas that one batch may need: half a block, so that it finds room beside other transactions.
async fn room(registry: &EvmRegistry) -> Result<u64> {
    let latest = registry.chain.provider().get_block_by_number(BlockNumberOrTag::Latest);
    let latest = registry.chain.ask(latest).await?;
    let missing = || Error::unavailable("the node has no latest block; try again");
    Ok((latest.ok_or_else(missing)?.header.gas_limit / 2).min(MAX_GAS))
}

/// Cuts into runs that have one owner and stay within the gas and what nodes accept as one transaction.
fn batches<'a>(
    consents: &'a [(&'a Enrolment, Consent)],
    room: u64,
) -> Vec<&'a [(&'a Enrolment, Consent)]> {
    let mut runs = Vec::new();
    let (mut start, mut gas, mut bytes) = (0, 0_u64, 0_u64);
    for (at, (_, consent)) in consents.iter().enumerate() {
        let (more_gas, more_bytes) = cost(consent);
        let full = gas.saturating_add(more_gas) > room || bytes + more_bytes > MAX_BYTES;
        let owner = consent.registration.owner;
        let other = consents.get(start).is_none_or(|(_, first)| first.registration.owner != owner);
        if (full || other) && at > start {
            runs.extend(consents.get(start..at));
            (start, gas, bytes) = (at, 0, 0);
        }
        gas = gas.saturating_add(more_gas);
        bytes += more_bytes;
    }
    runs.extend(consents.get(start..).filter(|run| !run.is_empty()));
    runs
}

/// An upper bound of gas and bytes of one registration in a batch.
fn cost(consent: &Consent) -> (u64, u64) {
    // A uri has at most 1024 bytes by now.
    let uri = u64::try_from(consent.registration.details.documentURI.len()).unwrap_or(u64::MAX);
    let verify = if consent.registration.details.algorithm == P256 { P256_GAS } else { 0 };
    let gas = DEVICE_GAS + verify + uri.saturating_mul(URI_BYTE_GAS);
    (gas, DEVICE_BYTES.saturating_add(uri))
}

/// 90,000 measured on a Cancun chain: storage, signature by the ecrecover precompile, event.
const DEVICE_GAS: u64 = 130_000;
/// 225,000 measured for a P-256 signature without a precompile, in Solidity; its cost varies.
const P256_GAS: u64 = 400_000;
/// Calldata, memory and log of one byte of a document's URI.
const URI_BYTE_GAS: u64 = 40;
/// ABI encoding of one registration and signature, rounded up.
const DEVICE_BYTES: u64 = 800;
/// Nodes refuse transactions of more than 128 KiB.
const MAX_BYTES: u64 = 120_000;
/// Just under the cap of EIP-7825, which newer chains have.
const MAX_GAS: u64 = 16_000_000;
