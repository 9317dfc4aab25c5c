//! The keys a device had, from the log.
//!
//! Whoever holds the live key can change the document as often as he pays for, so changes are followed back
//! one by one for a while only; then the log is asked for registration and rotations alone.

use depin_core::{
    Address, Error, ErrorKind, PublicKey, Result,
    registry::{OwnFault, next_key_commitment},
};
use depin_evm::{
    Logs,
    alloy::{
        rpc::types::{Filter, Log},
        sol_types::{SolEvent, SolStruct},
    },
    bindings::DeviceRegistry as Contract,
};

use super::{
    EvmRegistry,
    consent::{committed_key, public_key},
    read::{Logged, logged_in, missing},
};

type Registered = Contract::DeviceRegistered;

/// All keys of a device, oldest first.
pub(super) async fn keys(registry: &EvmRegistry, device: Address) -> Result<Vec<PublicKey>> {
    let Some(stored) = registry.stored(device).await? else { return Ok(Vec::new()) };
    let mut keys = vec![committed_key(&stored.logged.details)?];
    // Rotations and transfers count.
    if stored.record.generation.is_zero() {
        return first_is(device, keys);
    }
    let mut events = registry.changes(device, stored.record.changedBlock.into()).await?;
    // What is logged after the proven details is not theirs.
    while events.last().is_some_and(|log| !same(log, &stored.logged)) {
        events.pop();
    }
    let mut steps = 0_usize;
    loop {
        let Some(log) = events.pop() else { return Err(missing(device)) };
        if let Some(logged) = logged_in(&log) {
            precede(device, &mut keys, &logged)?;
        }
        let Some(block) = previous(&log) else { return first_is(device, keys) };
        if keys.len() == MAX_KEYS {
            return Err(too_many(device));
        }
        steps = steps.saturating_add(1);
        if steps == MAX_STEPS {
            events = rotations_before(registry, device, &log).await?;
        } else if steps < MAX_STEPS && log.block_number != Some(block) {
            // The changes of one block follow each other in it.
            events = registry.changes(device, block).await?;
        }
    }
}

/// Adds the key that an earlier event has, unless it is the same or did not commit to the one after it.
fn precede(device: Address, keys: &mut Vec<PublicKey>, logged: &Logged) -> Result<()> {
    let key = public_key(&logged.details)?;
    if keys.last() != Some(&key) {
        let promised = keys.last().map(next_key_commitment);
        if promised != Some(logged.details.nextKeyHash) {
            return Err(broken(device));
        }
        keys.push(key);
    }
    Ok(())
}

/// Where a device got a key before this event, oldest first.
async fn rotations_before(
    registry: &EvmRegistry,
    device: Address,
    event: &Log,
) -> Result<Vec<Log>> {
    let (Some(block), index) = (event.block_number, event.log_index) else {
        return Err(missing(device));
    };
    let filter = Filter::new()
        .address(registry.address)
        .event_signature(vec![Registered::SIGNATURE_HASH, Contract::KeyRotated::SIGNATURE_HASH])
        .topic1(device.into_word());
    // Few events, so of all blocks at once where the node answers that; else back to the registration.
    let windows = registry.chain.logs(filter, 0..=block).window(u64::MAX).newest_first();
    until_registered(windows, |log| (log.block_number, log.log_index) < (Some(block), index)).await
}

async fn until_registered(
    mut windows: Logs<'_>,
    is_before: impl Fn(&Log) -> bool,
) -> Result<Vec<Log>> {
    let mut found: Vec<Log> = Vec::new();
    while found.first().is_none_or(|log| log.topic0() != Some(&Registered::SIGNATURE_HASH))
        && let Some(window) = windows.next().await?
    {
        let logs = window.logs.into_iter().filter(&is_before);
        found.splice(..0, logs);
    }
    Ok(found)
}

fn first_is(device: Address, keys: Vec<PublicKey>) -> Result<Vec<PublicKey>> {
    let first = keys.last().and_then(PublicKey::to_address);
    if first == Some(device) { Ok(oldest_first(keys)) } else { Err(broken(device)) }
}

fn oldest_first(mut keys: Vec<PublicKey>) -> Vec<PublicKey> {
    keys.reverse();
    keys
}

fn same(log: &Log, logged: &Logged) -> bool {
    logged_in(log).is_some_and(|found| {
        found.version == logged.version
            && found.details.eip712_hash_struct() == logged.details.eip712_hash_struct()
    })
}

/// The block of the change before this one; none before the registration.
fn previous(log: &Log) -> Option<u64> {
    let updated = || Contract::DocumentUpdated::decode_log(&log.inner).ok();
    let rotated = || Contract::KeyRotated::decode_log(&log.inner).ok();
    let block =
        updated().map(|e| e.previousBlock).or_else(|| rotated().map(|e| e.previousBlock))?;
    u64::try_from(block).ok()
}

fn too_many(device: Address) -> Error {
    let text = "the device changed its key more than 65535 times; enrol it anew";
    Error::new(ErrorKind::Limit, text).with("device", device).source(OwnFault)
}

fn broken(device: Address) -> Error {
    let text =
        "the node's log has keys of the device that do not follow from each other; ask another";
    Error::unavailable(text).with("device", device)
}

/// Most keys of a device. Each cost a transaction that a committed key signed, so nobody gets here by accident,
/// and whoever does harms his own device alone: some keys and not others would let an audit take what was signed
/// with the missing ones for forged.
const MAX_KEYS: usize = 1 << 16;
/// How many changes are followed back, which every node can answer, before it is asked about all blocks.
const MAX_STEPS: usize = 64;
