//! What the registry says of the devices in epochs, asked once for each.

use std::collections::{BTreeSet, HashMap};

use depin_core::{
    Address, Did, Error, ErrorKind, PublicKey, Result, SignedBatch,
    registry::{DeviceRegistry, OwnFault},
};
use depin_data::{
    batch::{BatchVerifier, claimed_signer},
    epoch::{EpochRecord, MAX_KEYS},
};

/// Devices as the registry knows them, for an audit.
#[derive(Debug)]
pub(crate) struct Roll<'a> {
    registry: &'a dyn DeviceRegistry,
    /// All keys that each ever had, oldest first, and who owns it now and its own account.
    devices: HashMap<Did, (Vec<PublicKey>, [Address; 2])>,
    /// Devices for which somebody else was paid.
    elsewhere: BTreeSet<Did>,
}

impl<'a> Roll<'a> {
    pub(crate) fn new(registry: &'a dyn DeviceRegistry) -> Self {
        Self { registry, devices: HashMap::new(), elsewhere: BTreeSet::new() }
    }

    /// For how many devices somebody was paid who neither owns them now nor is their own account.
    pub(crate) fn elsewhere(&self) -> u64 {
        self.elsewhere.len() as u64
    }

    /// That the devices of an epoch are those of the registry: whoever made the record could otherwise have
    /// invented some.
    pub(crate) async fn check(&mut self, record: &EpochRecord) -> Result<()> {
        for member in record.roster() {
            let device = &member.device;
            if !self.devices.contains_key(device) {
                match self.known(device).await {
                    Ok(known) => _ = self.devices.insert(device.clone(), known),
                    // It was left out, as it would be now; with keys it could be read then and should be again.
                    Err(error) if OwnFault::is_in(&error) && member.keys.is_empty() => continue,
                    Err(error) => return Err(error),
                }
            }
            let Some((history, accounts)) = self.devices.get(device) else { continue };
            if after(history, &member.keys).is_none() {
                let message =
                    "the epoch has a device that the registry does not know by these keys";
                return Err(Error::new(ErrorKind::Corrupt, message)
                    .with("epoch", record.epoch())
                    .with("did", device));
            }
            if !member.beneficiary.is_zero() && !accounts.contains(&member.beneficiary) {
                self.elsewhere.insert(device.clone());
            }
        }
        Ok(())
    }

    /// Asked anew after every failure: what a registry could not say once, it may say the next time.
    async fn known(&self, device: &Did) -> Result<(Vec<PublicKey>, [Address; 2])> {
        let keys = self.registry.keys(device).await?;
        let known = self.registry.device(device).await?;
        let accounts = known.map_or([Address::ZERO; 2], |known| {
            [known.owner, known.account.unwrap_or(known.owner)]
        });
        Ok((keys, accounts))
    }

    /// That a batch which counted for nothing because of its key is not signed with one that the device got later:
    /// whoever made the record could otherwise have left that key out, and with it what was signed under it.
    pub(crate) fn check_left_out(&self, record: &EpochRecord, batch: &SignedBatch) -> Result<()> {
        let device = claimed_signer(batch.as_bytes(), record.network())?;
        let history = self.devices.get(&device).map_or(&[][..], |(keys, _)| keys);
        let roster = record.member(&device).map_or(&[][..], |member| &member.keys);
        for key in after(history, roster).unwrap_or_default() {
            if BatchVerifier::new(record.network(), key).link(batch).is_ok() {
                let message = "the epoch leaves out a key that its device signed with";
                return Err(Error::new(ErrorKind::Corrupt, message)
                    .with("epoch", record.epoch())
                    .with("did", device)
                    .with("batch", batch.hash()));
            }
        }
        Ok(())
    }
}

/// The keys that a device got after those in a roster, which must be a run of its history that leaves out
/// none between and as few before as the roster has room for.
fn after<'a>(history: &'a [PublicKey], roster: &[PublicKey]) -> Option<&'a [PublicKey]> {
    if roster.is_empty() {
        return history.is_empty().then_some(history);
    }
    let fits = |start: &usize| {
        (*start == 0 || roster.len() == MAX_KEYS)
            && history.get(*start..).is_some_and(|rest| rest.starts_with(roster))
    };
    let start = (0..history.len()).find(fits)?;
    history.get(start.checked_add(roster.len())?..)
}
