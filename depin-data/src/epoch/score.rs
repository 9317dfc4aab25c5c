//! From verified batches to contributions: the only place where they become [`Verified`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use depin_core::{
    B256, Batch, Did, Error, ErrorKind, Reading, Result, Timestamp, Unverified, Verified, Verifier,
    log::{BatchLog, ChainTip},
    quality::{Contribution, Contributions, Finding, QualityCheck},
};

use super::{EpochRecord, Past};
use crate::audit::{self, AuditError};

/// Code of readings that are not later than what earlier epochs counted. They earn nothing, whatever the
/// checks say: otherwise a device could be paid for the same time again and again.
pub const COUNTED_BEFORE: &str = "counted-before";

/// What came out of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scored {
    /// One entry per device of the roster.
    pub contributions: Verified<Contributions>,
    /// Why points were lost, and whose: by device, then in chain order.
    pub findings: Vec<(Did, Finding)>,
    /// Where each device that sent something stands now: its past in the next epoch.
    pub pasts: BTreeMap<Did, Past>,
    /// Places in the log of batches that no key in the roster verifies: they earned nothing, and neither did
    /// they stop the epoch, or one device could stop all others.
    pub unverified: Vec<u64>,
}

/// Scores the batches that `record` names: every signature is verified again over the stored bytes.
///
/// The same as [`audit::replay`], over one's own log.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when the log does not hold what the record says, [`ErrorKind::Config`] when
/// the checks are not those of the record.
pub async fn score(
    log: &dyn BatchLog,
    record: &EpochRecord,
    checks: &[Arc<dyn QualityCheck>],
) -> Result<Scored> {
    Ok(audit::replay(log, record, checks).await?)
}

/// The batches of each device, in chain order.
pub(crate) type Chains = BTreeMap<Did, Vec<Verified<Batch>>>;

/// Judges all chains of an epoch.
pub(crate) fn judge(
    record: &EpochRecord,
    checks: &[Arc<dyn QualityCheck>],
    chains: Chains,
    tips: &HashMap<Did, ChainTip>,
    unverified: Vec<u64>,
) -> Result<Scored, AuditError> {
    let mut findings = Vec::new();
    let mut pasts = BTreeMap::new();
    for (device, tip) in tips {
        let past = record.member(device).and_then(|member| member.past);
        let batches = chains.get(device).map_or(&[][..], Vec::as_slice);
        pasts.insert(device.clone(), Past { tip: *tip, latest: latest(batches, past) });
    }
    for (device, batches) in &chains {
        let past = record.member(device).and_then(|member| member.past);
        let found = inspect(checks, batches, past)?;
        findings.extend(found.into_iter().map(|finding| (device.clone(), finding)));
    }
    let flagged = findings.iter().map(|(_, finding)| (finding.batch, finding.reading)).collect();
    let contributions = Unverified::new(chains).verify(&Judge { record, flagged })?;
    Ok(Scored { contributions, findings, pasts, unverified })
}

/// Up to when a device's readings were counted.
fn latest(batches: &[Verified<Batch>], past: Option<Past>) -> Timestamp {
    let times = batches.iter().flat_map(|batch| batch.readings.iter().map(Reading::at));
    times.chain(past.map(|past| past.latest)).max().unwrap_or(Timestamp::EPOCH)
}

/// Readings that are not later than what earlier epochs counted.
fn counted_before(batches: &[Verified<Batch>], past: Option<Past>) -> Vec<Finding> {
    let Some(Past { latest, .. }) = past else { return Vec::new() };
    let readings = batches.iter().flat_map(|batch| {
        batch
            .readings
            .iter()
            .enumerate()
            .map(move |(position, reading)| (batch.hash, position, reading.at()))
    });
    let old = readings.filter(|(_, _, at)| *at <= latest);
    old.map(|(batch, reading, at)| Finding {
        batch,
        reading,
        code: COUNTED_BEFORE.into(),
        detail: format!("{at} is not later than {latest}, up to which an earlier epoch counted"),
    })
    .collect()
}

/// The findings of all checks on one device, in chain order.
fn inspect(
    checks: &[Arc<dyn QualityCheck>],
    batches: &[Verified<Batch>],
    past: Option<Past>,
) -> Result<Vec<Finding>, AuditError> {
    let given: Vec<&Verified<Batch>> = batches.iter().collect();
    let places: HashMap<B256, (usize, usize)> = (0..)
        .zip(batches)
        .map(|(position, batch)| (batch.hash, (position, batch.readings.len())))
        .collect();
    let mut findings = Vec::new();
    for finding in counted_before(batches, past) {
        if let Some((position, _)) = places.get(&finding.batch) {
            findings.push(((*position, finding.reading), finding));
        }
    }
    for check in checks {
        for finding in check.inspect(&given) {
            let place = places.get(&finding.batch);
            let Some((position, _)) = place.filter(|(_, length)| finding.reading < *length) else {
                return Err(AuditError::Check { name: check.name() });
            };
            findings.push(((*position, finding.reading), finding));
        }
    }
    findings.sort_by_key(|(place, _)| *place);
    Ok(findings.into_iter().map(|(_, finding)| finding).collect())
}

/// Counts what verified batches are worth.
struct Judge<'a> {
    record: &'a EpochRecord,
    /// Batch and position of every reading that a finding names.
    flagged: HashSet<(B256, usize)>,
}

impl Verifier<Chains> for Judge<'_> {
    type Output = Contributions;
    type Error = Error;

    fn check(&self, chains: &Chains) -> Result<Contributions> {
        let mut entries = Vec::with_capacity(self.record.roster().len());
        for member in self.record.roster() {
            let batches = chains.get(&member.device).map_or(&[][..], Vec::as_slice);
            let readings = batches.iter().map(|batch| batch.readings.len() as u64).sum();
            let lost = batches.iter().map(|batch| self.lost(batch)).sum();
            entries.push(Contribution {
                device: member.device.clone(),
                beneficiary: member.beneficiary,
                readings,
                score: readings.checked_sub(lost).ok_or_else(miscounted)?,
            });
        }
        Ok(Contributions { epoch: self.record.epoch(), entries })
    }
}

impl Judge<'_> {
    fn lost(&self, batch: &Batch) -> u64 {
        let flagged = |reading: &usize| self.flagged.contains(&(batch.hash, *reading));
        (0..batch.readings.len()).filter(flagged).count() as u64
    }
}

fn miscounted() -> Error {
    Error::new(ErrorKind::Corrupt, "more readings lost their point than there are")
}
