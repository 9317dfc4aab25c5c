//! Audit of a closed epoch: from the signed batches to the same score, or to the batch that differs.
//!
//! An auditor holds two things: the [`EpochRecord`], whose manifest is on chain, and a copy of the log
//! from anybody. The record names every batch by its hash, so a copy that was doctored in any way (a
//! byte flipped, a batch dropped, reordered, or replaced by another that the same device signed) is
//! caught at the first batch that differs, and the auditor can ask somebody else for that one. What the
//! record itself says is then checked without trust: each signature against the roster, each device's
//! chain, and the score. A batch that was recorded and that no key of its device verifies earns nothing and
//! stops nobody else; [`Scored::unverified`] names it. Whether the roster's keys and beneficiaries are those of the registry, and
//! whether the policy pays what the chain says, is for the caller, who has both.

use std::{collections::HashMap, fmt, sync::Arc};

use depin_core::{
    B256, Did, Error, ErrorKind, Sequence, SignedBatch,
    log::{BatchLog, ChainTip, LogEntry},
    quality::QualityCheck,
    transport::RefusalCode,
};

use crate::{
    batch::{self, BatchError, BatchVerifier, Claim, Link, claimed_signer, tip_after},
    epoch::{Chains, EpochRecord, Member, Scored, judge},
    merkle::leaf_hash,
};

/// Batches read from a log at once.
pub(crate) const PAGE: usize = 256;

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The log ends or has a hole here.
    #[error("it is missing")]
    Missing,
    /// Its format or signature does not hold.
    #[error("it is not what a device signed: {0}")]
    Broken(#[from] BatchError),
    /// Its signer is not in the roster of the epoch.
    #[error("{0} signed it and is not in the roster")]
    Stranger(Did),
    /// Validly signed, but not the batch that the record has here: dropped, reordered or replaced.
    #[error("it is validly signed, but another batch was recorded here")]
    Replaced,
    /// It does not continue its device's chain, though the record has it so.
    #[error("it breaks the chain of {device} at sequence {sequence}")]
    Chain {
        /// The device.
        device: Did,
        /// Where the batch says it stands.
        sequence: Sequence,
    },
}

/// Why an audit failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The first batch that differs from what was recorded.
    #[error("batch {index} of the log{}: {fault}", Hash(.batch))]
    Batch {
        /// Where it should be in the log.
        index: u64,
        /// Hash of what was found there.
        batch: Option<B256>,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The checks are not those that the record names.
    #[error("the record was scored with the checks {recorded:?}, not {given:?}")]
    Checks {
        /// In the record.
        recorded: Vec<String>,
        /// At hand.
        given: Vec<String>,
    },
    /// A check names a reading that it was not given.
    #[error(
        "the quality check {name} names a reading that it was not given; it breaks its contract"
    )]
    Check {
        /// The check.
        name: String,
    },
    /// The copy of the log could not be read.
    #[error(transparent)]
    Log(#[from] Error),
}

/// The hash in brackets, if there is one.
struct Hash<'a>(&'a Option<B256>);

impl fmt::Display for Hash<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hash| write!(f, " ({hash})"))
    }
}

impl From<AuditError> for Error {
    fn from(error: AuditError) -> Self {
        let kind = match error {
            AuditError::Log(error) => return error,
            AuditError::Batch { .. } => ErrorKind::Corrupt,
            AuditError::Checks { .. } => ErrorKind::Config,
            AuditError::Check { .. } => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// Scores an epoch again from a copy of the log.
///
/// # Errors
/// Names the first batch that is not what was recorded, or says why the audit could not be made.
pub async fn replay(
    log: &dyn BatchLog,
    record: &EpochRecord,
    checks: &[Arc<dyn QualityCheck>],
) -> Result<Scored, AuditError> {
    let mut replay = Replay::new(record, checks)?;
    loop {
        let due = usize::try_from(replay.due()).unwrap_or(PAGE).min(PAGE);
        if due == 0 {
            return replay.finish();
        }
        let entries = log.read(replay.next, due).await?;
        if entries.is_empty() {
            return replay.finish();
        }
        for entry in entries.iter().take(due) {
            replay.push(entry)?;
        }
    }
}

/// An audit in progress, for copies of a log that come from elsewhere than a [`BatchLog`].
///
/// Takes the entries of the record's range in order and keeps the readings of one epoch.
#[derive(Debug)]
pub struct Replay<'a> {
    record: &'a EpochRecord,
    checks: &'a [Arc<dyn QualityCheck>],
    next: u64,
    tips: HashMap<Did, ChainTip>,
    /// Which of its keys signed the last batch of a device that has several.
    keys: HashMap<Did, usize>,
    chains: Chains,
    unverified: Vec<u64>,
}

impl<'a> Replay<'a> {
    /// Begins the audit of an epoch.
    ///
    /// # Errors
    /// [`AuditError::Checks`] when the checks are not those of the record, in their order.
    pub fn new(
        record: &'a EpochRecord,
        checks: &'a [Arc<dyn QualityCheck>],
    ) -> Result<Self, AuditError> {
        let given: Vec<String> = checks.iter().map(|check| check.name()).collect();
        if given != record.checks() {
            return Err(AuditError::Checks { recorded: record.checks().to_vec(), given });
        }
        let (next, tips, chains) = (record.range().start, HashMap::new(), Chains::new());
        let (keys, unverified) = (HashMap::new(), Vec::new());
        Ok(Self { record, checks, next, tips, keys, chains, unverified })
    }

    /// How many entries are still to come.
    pub fn due(&self) -> u64 {
        self.record.range().end.saturating_sub(self.next)
    }

    /// Takes the next entry; one after the end of the range is ignored.
    ///
    /// # Errors
    /// [`AuditError::Batch`] when it is not what was recorded.
    pub fn push(&mut self, entry: &LogEntry) -> Result<(), AuditError> {
        if self.due() == 0 {
            return Ok(());
        }
        let index = self.next;
        if entry.index != index {
            return Err(AuditError::Batch { index, batch: None, fault: Fault::Missing });
        }
        let checked = self.check(entry).map_err(|fault| {
            let batch = Some(entry.batch.hash());
            AuditError::Batch { index, batch, fault }
        })?;
        match checked {
            Some(Link::Batch(batch)) => {
                self.chains.entry(batch.device.clone()).or_default().push(batch);
            }
            // A gap moves the tip and earns nothing.
            Some(Link::Gap(_)) => {}
            None => self.unverified.push(index),
        }
        self.next += 1;
        Ok(())
    }

    /// Judges the epoch.
    ///
    /// # Errors
    /// [`AuditError::Batch`] when entries are missing, [`AuditError::Check`] when a check breaks its
    /// contract.
    pub fn finish(self) -> Result<Scored, AuditError> {
        if self.due() > 0 {
            let missing = Fault::Missing;
            return Err(AuditError::Batch { index: self.next, batch: None, fault: missing });
        }
        let Self { record, checks, tips, chains, unverified, .. } = self;
        judge(record, checks, chains, &tips, unverified)
    }

    /// Verifies with the key that signed the device's batch before, or with a later one.
    fn verify(&mut self, member: &Member, batch: &SignedBatch) -> Result<Link, BatchError> {
        let network = self.record.network();
        let verify = |key| BatchVerifier::new(network, key).link(batch);
        let first = self.keys.get(&member.device).copied().unwrap_or_default();
        let mut keys = (first..).zip(member.keys.iter().skip(first));
        let Some((_, key)) = keys.next() else { return Err(BatchError::unsigned()) };
        let refused = match verify(key) {
            Err(error) if error.code() == RefusalCode::BadSignature => error,
            other => return other,
        };
        for (position, key) in keys {
            if let Ok(link) = verify(key) {
                self.keys.insert(member.device.clone(), position);
                return Ok(link);
            }
        }
        Err(refused)
    }

    /// The batch or gap, or nothing when it is what was recorded and no key of its device verifies it.
    fn check(&mut self, entry: &LogEntry) -> Result<Option<Link>, Fault> {
        let bytes = entry.batch.as_bytes();
        let device = claimed_signer(bytes, self.record.network())?;
        let Some(member) = self.record.member(&device) else {
            return Err(Fault::Stranger(device));
        };
        let verdict = self.verify(member, &entry.batch);
        let position = usize::try_from(entry.index - self.record.range().start).ok();
        let recorded = position.and_then(|position| self.record.leaves().get(position));
        if recorded != Some(&leaf_hash(bytes)) {
            // What is wrong with the signature tells more about what happened than that it is another batch.
            return Err(verdict.err().map_or(Fault::Replaced, Fault::Broken));
        }
        let tip = self.tips.get(&device).copied().or(member.past.map(|past| past.tip));
        let (link, sequence, reached) = match verdict {
            Ok(link) => {
                let (sequence, reached) = (link.sequence(), link.tip_after(tip));
                (Some(link), sequence, reached)
            }
            Err(error) if error.code() == RefusalCode::BadSignature => {
                let Claim { sequence, previous, covers, .. } =
                    batch::claim(bytes, self.record.network())?;
                (None, sequence, tip_after(tip, sequence, previous, entry.batch.hash(), covers))
            }
            Err(error) => return Err(error.into()),
        };
        let reached = reached.ok_or_else(|| Fault::Chain { device: device.clone(), sequence })?;
        self.tips.insert(device, reached);
        Ok(link)
    }
}
