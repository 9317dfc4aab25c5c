//! Epochs as files: written by whoever runs the network, audited by anybody who can ask the chain.

use std::{collections::BTreeMap, fs::File, io::Seek, path::Path};

use depin_core::{
    Address, Amount, B256, EpochId, Error, ErrorKind, Result,
    registry::DeviceRegistry,
    reward::{Commitment, RewardDistributor, RewardPolicy},
};
use depin_data::{
    batch::claimed_signer,
    bundle::{self, Bundle, claimed_epoch},
    epoch::{Checks, EpochRecord},
};
use depin_payment::RewardTree;

use crate::{
    Audit, Network,
    audit::{after, check_left_out, owner},
    rules::pay,
};

impl Network {
    /// Writes everything that decided a closed epoch into one file, which [`audit_bundle`] takes. The log must
    /// still have its batches, and may [forget](depin_core::log::BatchLog::forget) them afterwards: what came out
    /// of the epoch it keeps. A file that is there is replaced in one step, and stays as it is when this fails.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] while the epoch is open or when its batches were forgotten,
    /// [`ErrorKind::Unavailable`] when the file cannot be written.
    pub async fn export_epoch(&self, id: EpochId, path: impl AsRef<Path>) -> Result<()> {
        let open = || Error::new(ErrorKind::NotFound, "the epoch is not closed").with("epoch", id);
        let epoch = self.epoch(id).await?.ok_or_else(open)?;
        let before = match id.value().checked_sub(1) {
            Some(before) => self.epoch(EpochId::new(before)).await?,
            None => None,
        };
        let balances = before.as_ref().map_or(&[][..], |before| before.tree().rows());
        bundle::store(&*self.0.log, epoch.record(), balances, path.as_ref()).await
    }
}

/// Recomputes an epoch from a [bundle](depin_data::bundle) and compares with the chain: no log and no server
/// is asked, only registry and ledger.
///
/// The record must be the one on chain, its devices those of the registry, what accounts had before must lead
/// to the root before, and signatures, checks and policy to the root after. What lies before the epoch is in no
/// bundle of it and taken from the record, whose hash is on chain: that the epoch begins in the log where the
/// one before ended, where each device stood, and with windows what devices did in epochs that are not settled
/// and were paid for it. The [`Audit`] counts what was taken; only of the first epoch it is nothing.
/// [`Network::audit`] recomputes all of it from the first epoch on.
///
/// # Errors
/// [`ErrorKind::Corrupt`] or [`ErrorKind::Malformed`] naming the first thing that differs,
/// [`ErrorKind::Config`] when checks or policy are not those of the record, [`ErrorKind::NotFound`] when the
/// epoch is not on chain.
pub async fn audit_bundle(
    path: impl AsRef<Path>,
    checks: &Checks,
    policy: &dyn RewardPolicy,
    registry: &dyn DeviceRegistry,
    distributor: &dyn RewardDistributor,
) -> Result<Audit> {
    let file = File::open(path.as_ref())
        .map_err(|error| Error::new(ErrorKind::NotFound, "there is no bundle").source(error))?;
    let epoch = claimed_epoch(&file)?;
    let on_chain = distributor.published(epoch).await?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "the epoch is not on chain").with("epoch", epoch)
    })?;
    (&file)
        .rewind()
        .map_err(|error| Error::unavailable("the bundle cannot be read").source(error))?;
    let mut bundle = Bundle::open(file, &on_chain.manifest)?;
    let record = bundle.record().clone();
    let policies = [Some(record.policy()), record.settled_policy()];
    if policies.into_iter().flatten().any(|name| name != policy.name()) {
        let message = "the epoch, or the one that settles with it, was sealed with another policy; audit it with that one, or by the network when there are two";
        return Err(Error::new(ErrorKind::Config, message)
            .with("policy", record.policy())
            .with("policy of the settled epoch", record.settled_policy().unwrap_or("none")));
    }
    check_beginning(&record)?;
    let believed_owners = check_devices(&record, registry).await?;
    let before = balances_before(&bundle, epoch, distributor).await?;
    let mut scored = bundle.audit(checks)?;
    check_unverified(&mut bundle, &scored.unverified, registry).await?;
    let readings = scored.readings;
    let recomputed = commit(before, &record, &pay(policy, policy, &record, &mut scored)?.payouts)?;
    if recomputed != on_chain {
        return Err(differs("the recomputed epoch is not the one on chain", epoch)
            .with("recomputed root", recomputed.root)
            .with("root on chain", on_chain.root));
    }
    let batches = record.range().end - record.range().start;
    let pasts = || record.roster().iter().filter_map(|member| member.past.as_ref());
    Ok(Audit {
        epoch,
        root: on_chain.root,
        batches,
        readings,
        believed_standings: pasts().count() as u64,
        believed_work: pasts().filter(|past| !past.open.is_empty()).count() as u64,
        believed_owners,
    })
}

/// What accounts had earned before, which must be what the chain says.
async fn balances_before(
    bundle: &Bundle<File>,
    epoch: EpochId,
    distributor: &dyn RewardDistributor,
) -> Result<BTreeMap<Address, Amount>> {
    let rows = bundle.balances().to_vec();
    let published = match epoch.value().checked_sub(1) {
        Some(before) => distributor.published(EpochId::new(before)).await?,
        None => None,
    };
    let same = match published {
        Some(before) => {
            let sum = Amount::sum(rows.iter().map(|(_, amount)| *amount))?;
            before.root == RewardTree::build(rows.clone())?.root() && before.cumulative == sum
        }
        None => epoch.value() == 0 && rows.is_empty(),
    };
    if same {
        return Ok(rows.into_iter().collect());
    }
    Err(differs("what accounts had earned before the epoch is not what is on chain", epoch))
}

/// Nothing is before the first epoch.
fn check_beginning(record: &EpochRecord) -> Result<()> {
    let first = record.epoch().value() == 0;
    let begins = record.range().start == 0 && record.roster().iter().all(|m| m.past.is_none());
    if first && !begins {
        return Err(differs("the first epoch does not begin with an empty log", record.epoch()));
    }
    Ok(())
}

/// Whoever made the record could otherwise have left out a key, and with it what was signed under it.
async fn check_unverified(
    bundle: &mut Bundle<File>,
    unverified: &[u64],
    registry: &dyn DeviceRegistry,
) -> Result<()> {
    let record = bundle.record().clone();
    let mut batches = Vec::new();
    bundle
        .look_at(&unverified.iter().copied().collect(), &mut |batch| batches.push(batch.clone()))?;
    for batch in &batches {
        let device = claimed_signer(batch.as_bytes(), record.network())?;
        let history = registry.keys(&device).await?;
        check_left_out(&record, &device, &history, batch)?;
    }
    Ok(())
}

/// Whoever made the record could otherwise have invented devices. Answers for how many somebody is paid who does not
/// own them now.
async fn check_devices(record: &EpochRecord, registry: &dyn DeviceRegistry) -> Result<u64> {
    let mut elsewhere = 0_u64;
    for member in record.roster() {
        let history = registry.keys(&member.device).await?;
        if after(&history, &member.keys).is_none() {
            let message = "the epoch has a device that the registry does not know by these keys";
            return Err(differs(message, record.epoch()).with("did", &member.device));
        }
        let is_paid = !member.beneficiary.is_zero();
        if is_paid && owner(registry, &member.device).await? != member.beneficiary {
            elsewhere = elsewhere.saturating_add(1);
        }
    }
    Ok(elsewhere)
}

fn commit(
    mut balances: BTreeMap<Address, Amount>,
    record: &EpochRecord,
    payouts: &[depin_core::reward::Payout],
) -> Result<Commitment> {
    for payout in payouts {
        let balance = balances.entry(payout.beneficiary).or_default();
        *balance = balance.checked_add(payout.amount)?;
    }
    let cumulative = Amount::sum(balances.values().copied())?;
    let root: B256 = RewardTree::build(balances.into_iter().collect())?.root();
    Ok(Commitment { epoch: record.epoch(), root, cumulative, manifest: record.manifest() })
}

fn differs(message: &'static str, epoch: EpochId) -> Error {
    Error::new(ErrorKind::Corrupt, message).with("epoch", epoch)
}
