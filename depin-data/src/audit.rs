//! Audit of a closed epoch: from the signed batches to the same score, or to the batch that differs.
//!
//! An auditor holds two things: the [`EpochRecord`], whose manifest is on chain, and a copy of the log
//! from anybody. The record names every batch by its hash, so a copy that was doctored in any way (a
//! byte flipped, a batch dropped, reordered, or replaced by another that the same device signed) is
//! caught at the first batch that differs, and the auditor can ask somebody else for that one. What the
//! record itself says is then checked without trust: each signature against the roster, each device's
//! chain, and the score. A batch that was recorded and that no key of its device verifies earns nothing and
//! stops nobody else; [`Scored::unverified`] names it. Whether the roster's keys and beneficiaries are those of the registry, and
//! whether the policy pays what the chain says, is for the caller, who has both. That the epoch begins where the one
//! before it ended, [`Standings`](crate::epoch::Standings) say.

use std::{fmt, ops::Range};

use depin_core::{B256, Did, Error, ErrorKind, Sequence, SignedBatch, log::BatchLog};

use crate::{
    batch::{BatchError, claimed_signer},
    bundle::BundleError,
    epoch::{Checks, Each, EpochRecord, Round, Scored, Scorer, Submission, WAVE, difference},
    merkle::batch_leaf,
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
    /// A check of the fleet could not compare what it noted of devices.
    #[error("the quality check {name} could not compare devices: {source}")]
    Compare {
        /// The check.
        name: String,
        /// Why.
        source: Error,
    },
    /// The notes of checks of the fleet could not be kept until they are compared.
    #[error(
        "the notes of the checks could not be kept in a file: {0}; give the folder of temporary files room, or name another one (TMPDIR)"
    )]
    Notes(#[source] std::io::Error),
    /// The bundle is damaged.
    #[error(transparent)]
    Bundle(#[from] BundleError),
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
            AuditError::Bundle(error) => return error.into(),
            AuditError::Batch { .. } => ErrorKind::Corrupt,
            AuditError::Checks { .. } => ErrorKind::Config,
            AuditError::Check { .. } => ErrorKind::Rejected,
            AuditError::Compare { ref source, .. } => source.kind(),
            AuditError::Notes(_) => ErrorKind::Unavailable,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// Scores an epoch again from a copy of the log.
///
/// The copy is read twice: once in its order, to see that it is what was recorded, and once by device.
///
/// # Errors
/// Names the first batch that is not what was recorded, or says why the audit could not be made.
pub async fn replay(
    log: &dyn BatchLog,
    record: &EpochRecord,
    checks: &Checks,
) -> Result<Scored, AuditError> {
    replay_each(log, record, checks, &mut |_, _| {}).await
}

pub(crate) async fn replay_each(
    log: &dyn BatchLog,
    record: &EpochRecord,
    checks: &Checks,
    each: Each<'_>,
) -> Result<Scored, AuditError> {
    let mut scorer = Scorer::new(record, checks)?;
    let copy = Copy::read(log, record).await?;
    let mut all = copy.senders();
    while let Some(wave) = copy.wave(&mut all).await? {
        scorer.take(&wave, Round::First, each)?;
    }
    for round in Round::AGAIN {
        let mut again = scorer.suspects(round)?.into_iter();
        while let Some(wave) = copy.wave(&mut again).await? {
            scorer.take(&wave, round, each)?;
        }
    }
    scorer.finish()
}

/// A copy of a log whose batches are those of the record.
pub(crate) struct Copy<'a> {
    log: &'a dyn BatchLog,
    record: &'a EpochRecord,
    /// For each member of the roster, where its batches stand.
    places: Vec<Vec<u64>>,
}

impl<'a> Copy<'a> {
    /// Reads it in its order.
    pub(crate) async fn read(
        log: &'a dyn BatchLog,
        record: &'a EpochRecord,
    ) -> Result<Self, AuditError> {
        let Range { start: first, end } = record.range();
        let mut places = vec![Vec::new(); record.roster().len()];
        let mut index = first;
        while index < end {
            let due = usize::try_from(end - index).unwrap_or(PAGE).min(PAGE);
            let entries = log.read(index, due).await?;
            if entries.is_empty() {
                return Err(missing(index));
            }
            for entry in entries.iter().take(due) {
                if entry.index != index {
                    return Err(missing(index));
                }
                let member = recorded(record, index, &entry.batch)?;
                if let Some(places) = places.get_mut(member) {
                    places.push(index);
                }
                index += 1;
            }
        }
        Ok(Self { log, record, places })
    }

    /// Members that sent something, by rising place in the roster.
    pub(crate) fn senders(&self) -> impl Iterator<Item = usize> {
        let places = self.places.iter().enumerate();
        places.filter(|(_, places)| !places.is_empty()).map(|(member, _)| member)
    }

    /// What the next members sent, as much as is judged together.
    async fn wave(
        &self,
        members: &mut impl Iterator<Item = usize>,
    ) -> Result<Option<Vec<Submission>>, AuditError> {
        let (mut wave, mut bytes) = (Vec::new(), 0usize);
        while bytes < WAVE {
            let Some(member) = members.next() else { break };
            let mut submission = Submission::new(member);
            self.each(member, |index, batch| submission.take(self.record, index, batch)).await?;
            bytes = bytes.saturating_add(submission.bytes);
            wave.push(submission);
        }
        Ok(Some(wave).filter(|wave| !wave.is_empty()))
    }

    /// Gives what a member sent, a page at a time.
    pub(crate) async fn each<E: From<AuditError>>(
        &self,
        member: usize,
        mut take: impl FnMut(u64, SignedBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let places = self.places.get(member).map_or(&[][..], Vec::as_slice);
        let runs = places.chunk_by(|a, b| a.checked_add(1) == Some(*b));
        for run in runs.flat_map(|run| run.chunks(PAGE)) {
            let Some(first) = run.first() else { continue };
            let entries = self.log.read(*first, run.len()).await.map_err(AuditError::from)?;
            let mut entries = entries.into_iter();
            for index in run {
                let entry = entries.next().filter(|entry| entry.index == *index);
                take(*index, entry.ok_or_else(|| missing(*index))?.batch)?;
            }
        }
        Ok(())
    }
}

/// The sender's place in the roster, of a batch that is what was recorded at this index.
pub(crate) fn recorded(
    record: &EpochRecord,
    index: u64,
    batch: &SignedBatch,
) -> Result<usize, AuditError> {
    let wrong = |fault| AuditError::Batch { index, batch: Some(batch.hash()), fault };
    if record.leaf(index) != Some(batch_leaf(batch)) {
        return Err(wrong(difference(record, batch)));
    }
    let device = claimed_signer(batch.as_bytes(), record.network());
    let device = device.map_err(|error| wrong(error.into()))?;
    record.place(&device).ok_or_else(|| wrong(Fault::Stranger(device)))
}

pub(crate) const fn missing(index: u64) -> AuditError {
    AuditError::Batch { index, batch: None, fault: Fault::Missing }
}
