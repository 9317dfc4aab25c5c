//! The keys a device had, from the log.

use depin_core::{Address, Error, ErrorKind, PublicKey, Result, registry::next_key_commitment};
use depin_evm::{
    alloy::{
        rpc::types::Log,
        sol_types::{SolEvent, SolStruct},
    },
    bindings::DeviceRegistry as Contract,
};

use super::{
    EvmRegistry,
    consent::public_key,
    read::{Logged, logged_in, missing},
};

/// Every key of a device, oldest first.
pub(super) async fn keys(registry: &EvmRegistry, device: Address) -> Result<Vec<PublicKey>> {
    let Some(stored) = registry.stored(device).await? else { return Ok(Vec::new()) };
    let mut keys = vec![public_key(&stored.logged.details)?];
    let mut later = stored.logged;
    let mut events = registry.changes(device, stored.record.changedBlock.into()).await?;
    // What is logged after the proven details is not theirs.
    while events.last().is_some_and(|log| !same(log, &later)) {
        events.pop();
    }
    for _ in 0..MAX_CHANGES {
        let Some(log) = events.pop() else { return Err(missing(device)) };
        if let Some(logged) = logged_in(&log)
            && logged.details.eip712_hash_struct() != later.details.eip712_hash_struct()
        {
            let key = public_key(&logged.details)?;
            if keys.last() != Some(&key) {
                let promised = keys.last().map(next_key_commitment);
                if promised != Some(logged.details.nextKeyHash) {
                    return Err(broken(device));
                }
                keys.push(key);
            }
            later = logged;
        }
        match previous(&log) {
            None => return first_is(device, keys),
            // The changes of one block follow each other in it.
            Some(block) if log.block_number != Some(block) => {
                events = registry.changes(device, block).await?;
            }
            Some(_) => {}
        }
    }
    let text = "the device changed its details more often than this library reads";
    Err(Error::new(ErrorKind::Limit, text).with("device", device).with("most", MAX_CHANGES))
}

fn first_is(device: Address, mut keys: Vec<PublicKey>) -> Result<Vec<PublicKey>> {
    keys.reverse();
    let first = keys.first().and_then(PublicKey::to_address);
    if first == Some(device) { Ok(keys) } else { Err(broken(device)) }
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

fn broken(device: Address) -> Error {
    let text =
        "the node's log has keys of the device that do not follow from each other; ask another";
    Error::unavailable(text).with("device", device)
}

/// How many changes are followed back.
const MAX_CHANGES: usize = 1024;
