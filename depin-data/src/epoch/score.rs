//! From batches to contributions: the only place where they become [`Verified`].
//!
//! Devices are judged one after the other, a few at a time, on all cores, and only what came out is kept.
//! So memory holds the record, which names every batch, one entry for each device, and the batches of [`WAVE`] bytes or
//! of the largest device. The notes of checks lie in files, of which those that compare hold some blocks, and of what
//! they read a few devices or a neighbourhood. Of this the record grows with the batches.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use depin_core::{
    Amount, Did, EpochId, Error, ErrorKind, Result, Unverified, Verified, Verifier,
    log::BatchLog,
    quality::{Contribution, Contributions, Finding},
    reward::Payout,
};

use super::{
    Checks, Correction, EpochRecord, Member, Past, Settled, Submission, chain,
    judge::{Look, Outcome, Round, Suspicions},
    notes::Taken,
    tally,
};
use crate::{
    audit::{self, AuditError},
    observe,
};

/// Code of readings that are not later than what earlier epochs counted. They earn nothing, whatever the
/// checks say: otherwise a device could be paid for the same time again and again.
pub const COUNTED_BEFORE: &str = "counted-before";
/// Most findings of one device that [`Scored`] lists.
pub const MAX_FINDINGS_OF_DEVICE: usize = 256;
/// Most findings that [`Scored`] lists.
pub const MAX_FINDINGS: usize = 1 << 16;

/// Bytes of signed batches that are judged together, unless one device has more.
pub(crate) const WAVE: usize = 1 << 20;
/// Batches whose signatures one thread verifies together, unless one device has more.
const GROUP: usize = 64;

/// What came out of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scored {
    /// One entry per device of the roster: what counts in this epoch.
    pub contributions: Verified<Contributions>,
    /// Readings in the epoch's range of the log, wherever they count.
    pub readings: u64,
    /// Late readings of earlier epochs, by device, then by epoch. Empty without [`Windows`](super::Windows).
    pub corrections: Vec<Correction>,
    /// The epoch that settles now, if one does.
    pub settled: Option<Settled>,
    /// Devices that were expected and had not passed the epoch's window when it closed.
    pub late: Vec<Did>,
    /// Why points were lost, and whose: by device, then in chain order. At most
    /// [`MAX_FINDINGS_OF_DEVICE`] of each device and [`MAX_FINDINGS`] in all; [`score_each`] gives every one.
    pub findings: Vec<(Did, Finding)>,
    /// How many findings there are beyond those listed.
    pub unlisted: u64,
    /// Where each device that sent something, or has work that is not settled, stands now: its past in the next
    /// epoch.
    pub pasts: BTreeMap<Did, Past>,
    /// Places in the log of batches that no key in the roster verifies which the device may still use: they
    /// earned nothing, and neither did they stop the epoch, or one device could stop all others.
    pub unverified: Vec<u64>,
    /// Devices that sent more than [`MAX_BYTES_OF_DEVICE`](super::MAX_BYTES_OF_DEVICE), with the number of
    /// batches that were beyond it and earned nothing.
    pub beyond: Vec<(Did, u64)>,
}

impl Scored {
    /// Notes in the pasts what devices were paid for the epoch: they are paid the rest when it settles.
    pub fn note_paid(&mut self, payouts: &[Payout]) {
        tally::note_paid(&mut self.pasts, self.contributions.epoch, payouts);
    }
}

/// Scores the batches that `record` names: every signature is verified again over the stored bytes.
///
/// The same as [`audit::replay`], over one's own log.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when the log does not hold what the record says, [`ErrorKind::Config`] when
/// the checks are not those of the record.
pub async fn score(log: &dyn BatchLog, record: &EpochRecord, checks: &Checks) -> Result<Scored> {
    score_each(log, record, checks, &mut |_, _| {}).await
}

/// As [`score`], and gives every finding to `each`: first those of checks of one device, by device, then
/// those of checks of the fleet, by device, and last those of checks that judge what is left, by device.
///
/// # Errors
/// As [`score`].
#[tracing::instrument(level = "debug", name = "score", skip_all, fields(epoch = %record.epoch()))]
pub async fn score_each(
    log: &dyn BatchLog,
    record: &EpochRecord,
    checks: &Checks,
    each: &mut (dyn FnMut(&Did, &Finding) + Send),
) -> Result<Scored> {
    let timer = observe::Timer::start();
    let mut findings = 0_u64;
    let mut each = |device: &Did, finding: &Finding| {
        observe::found(finding);
        findings += 1;
        each(device, finding);
    };
    let scored = audit::replay_each(log, record, checks, &mut each).await?;
    observe::scored(record.epoch(), scored.readings, findings, timer);
    Ok(scored)
}

/// Takes all findings as they are made.
pub(crate) type Each<'a> = &'a mut (dyn FnMut(&Did, &Finding) + Send);

/// An epoch that is being scored. Submissions come by rising place in the roster, each member's in one.
pub(crate) struct Scorer<'a> {
    record: &'a EpochRecord,
    checks: &'a Checks,
    threads: usize,
    /// One for each member that sent something.
    outcomes: BTreeMap<usize, Outcome>,
    suspicions: BTreeMap<usize, Suspicions>,
    /// One for each check of the fleet.
    notes: Vec<Taken>,
    listed: usize,
    found: u64,
}

impl<'a> Scorer<'a> {
    pub(crate) fn new(record: &'a EpochRecord, checks: &'a Checks) -> Result<Self, AuditError> {
        let given = checks.names();
        if given != record.checks() {
            return Err(AuditError::Checks { recorded: record.checks().to_vec(), given });
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (outcomes, suspicions) = (BTreeMap::new(), BTreeMap::new());
        let notes = checks.of_fleet().iter().map(|_| Taken::default()).collect();
        Ok(Self { record, checks, threads, outcomes, suspicions, notes, listed: 0, found: 0 })
    }

    /// Judges some devices.
    pub(crate) fn take(
        &mut self,
        wave: &[Submission],
        round: Round,
        each: Each<'_>,
    ) -> Result<(), AuditError> {
        for outcome in self.judge(wave, round) {
            let mut outcome = outcome?;
            self.keep_notes(&mut outcome, round).map_err(AuditError::Notes)?;
            self.keep(outcome, round, each);
        }
        Ok(())
    }

    /// Compares the devices and says which to look at again in this round. The notes for it are gone then.
    pub(crate) fn suspects(&mut self, round: Round) -> Result<BTreeSet<usize>, AuditError> {
        let mut suspects = BTreeSet::new();
        for (position, check) in self.checks.of_fleet().iter().enumerate() {
            if Round::of(&**check) != round {
                continue;
            }
            let notes = self.notes.get_mut(position).map(std::mem::take).unwrap_or_default();
            let notes = notes.of(self.record.roster()).map_err(AuditError::Notes)?;
            let suspicions = check.compare(&notes);
            let suspicions =
                suspicions.map_err(|source| AuditError::Compare { name: check.name(), source })?;
            let broken = || AuditError::Check { name: check.name() };
            if !suspicions.is_sorted_by(|a, b| a.0 < b.0) {
                return Err(broken());
            }
            for (device, suspicion) in suspicions {
                let member = self.record.place(&device).filter(|member| notes.has(*member));
                let member = member.ok_or_else(broken)?;
                suspects.insert(member);
                self.suspicions.entry(member).or_default().push((position, suspicion));
            }
        }
        Ok(suspects)
    }

    /// The end: all devices were judged.
    pub(crate) fn finish(self) -> Result<Scored, AuditError> {
        let Self { record, outcomes, listed, found, .. } = self;
        let count = |epoch| Unverified::new(&outcomes).verify(&Count { record, epoch });
        let contributions = count(record.epoch())?;
        let settled = match record.settles() {
            Some(epoch) => {
                Some(Settled { contributions: count(epoch)?, paid: paid(record, epoch) })
            }
            None => None,
        };
        let corrections = corrections(record, &outcomes);
        let pasts = pasts(record, &outcomes);
        let late = late(record, &pasts);
        let mut findings = Vec::with_capacity(listed);
        let (mut unverified, mut beyond, mut readings) = (Vec::new(), Vec::new(), 0u64);
        for (place, outcome) in outcomes {
            let Some(member) = record.roster().get(place) else { continue };
            let listed = outcome.findings.into_iter();
            findings.extend(listed.map(|found| (member.device.clone(), found.finding)));
            unverified.extend(outcome.unverified);
            if outcome.beyond > 0 {
                beyond.push((member.device.clone(), outcome.beyond));
            }
            readings = readings.saturating_add(outcome.readings);
        }
        unverified.sort_unstable();
        let unlisted = found.saturating_sub(findings.len() as u64);
        Ok(Scored {
            contributions,
            readings,
            corrections,
            settled,
            late,
            findings,
            unlisted,
            pasts,
            unverified,
            beyond,
        })
    }

    /// Puts the notes that were taken in this round where they take no memory.
    fn keep_notes(&mut self, outcome: &mut Outcome, round: Round) -> io::Result<()> {
        let notes = std::mem::take(&mut outcome.notes);
        let checks = self.checks.of_fleet();
        for ((kept, note), check) in self.notes.iter_mut().zip(notes).zip(checks) {
            if round.is_noted_by(&**check) {
                kept.keep(outcome.member, &note)?;
            }
        }
        Ok(())
    }

    /// Lists as many findings as fit and counts the others.
    fn keep(&mut self, mut outcome: Outcome, round: Round, each: Each<'_>) {
        let Some(member) = self.record.roster().get(outcome.member) else { return };
        let fresh = outcome.findings.iter().filter(|found| found.round == round);
        for found in fresh {
            self.found += 1;
            each(&member.device, &found.finding);
        }
        let before = self.outcomes.get(&outcome.member).map_or(0, |before| before.findings.len());
        self.listed -= before;
        let room = MAX_FINDINGS.saturating_sub(self.listed).min(MAX_FINDINGS_OF_DEVICE);
        outcome.findings.truncate(room);
        outcome.findings.shrink_to_fit();
        self.listed += outcome.findings.len();
        self.outcomes.insert(outcome.member, outcome);
    }

    /// Judges a wave on all cores; the answers are in its order.
    fn judge(&self, wave: &[Submission], round: Round) -> Vec<Result<Outcome, AuditError>> {
        let groups = groups(wave);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let Some(group) = groups.get(turn) else { return done };
                done.push((turn, self.judge_group(group, round)));
            }
        };
        let mut done = std::thread::scope(|scope| {
            let others = 1..self.threads.min(groups.len());
            let others: Vec<_> = others.map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            done
        });
        done.sort_unstable_by_key(|(turn, _)| *turn);
        done.into_iter().flat_map(|(_, outcomes)| outcomes).collect()
    }

    fn judge_group(&self, group: &[Submission], round: Round) -> Vec<Result<Outcome, AuditError>> {
        let verdicts = chain::signed_by_first(self.record, group);
        let (mut rest, nothing) = (verdicts.as_slice(), Suspicions::new());
        let look = Look { record: self.record, checks: self.checks, round };
        let outcome = |submission: &Submission| {
            let (mine, others) = rest.split_at(submission.batches.len().min(rest.len()));
            rest = others;
            let suspicions = self.suspicions.get(&submission.member).unwrap_or(&nothing);
            look.judge(submission, mine, suspicions)
        };
        group.iter().map(outcome).collect()
    }
}

/// Cuts a wave into pieces of about [`GROUP`] batches.
fn groups(wave: &[Submission]) -> Vec<&[Submission]> {
    let (mut groups, mut start, mut batches) = (Vec::new(), 0, 0);
    for (end, submission) in (1..).zip(wave) {
        batches += submission.batches.len();
        if batches >= GROUP || end == wave.len() {
            groups.extend(wave.get(start..end));
            (start, batches) = (end, 0);
        }
    }
    groups
}

type Outcomes = BTreeMap<usize, Outcome>;

/// Late readings of earlier epochs.
fn corrections(record: &EpochRecord, outcomes: &Outcomes) -> Vec<Correction> {
    let of = |(place, outcome): (&usize, &Outcome)| {
        let device = record.roster().get(*place).map(|member| member.device.clone())?;
        let late = outcome.tally.iter().filter(|(epoch, ..)| *epoch < record.epoch());
        let correction = |(epoch, readings, score)| Correction {
            device: device.clone(),
            epoch,
            readings,
            score,
        };
        Some(late.map(correction).collect::<Vec<_>>())
    };
    outcomes.iter().filter_map(of).flatten().collect()
}

/// What was paid for an epoch when it closed.
fn paid(record: &EpochRecord, epoch: EpochId) -> BTreeMap<Did, Amount> {
    let of = |member: &Member| {
        let paid = member.past.as_ref()?.work(epoch)?.paid;
        (!paid.is_zero()).then(|| (member.device.clone(), paid))
    };
    record.roster().iter().filter_map(of).collect()
}

/// Where devices stand now.
fn pasts(record: &EpochRecord, outcomes: &Outcomes) -> BTreeMap<Did, Past> {
    let of = |(place, member): (usize, &Member)| {
        let past = match outcomes.get(&place) {
            Some(outcome) => outcome.past.clone()?,
            None => {
                let past = member.past.as_ref().filter(|past| !past.open.is_empty())?;
                Past { open: tally::open_after(record, Some(past), None), ..past.clone() }
            }
        };
        Some((member.device.clone(), past))
    };
    record.roster().iter().enumerate().filter_map(of).collect()
}

/// Devices that were expected and had not passed the window.
fn late(record: &EpochRecord, pasts: &BTreeMap<Did, Past>) -> Vec<Did> {
    let expected = record.windows().and_then(|windows| {
        Some(windows.expected_since(record.epoch())?..windows.window(record.epoch())?.end)
    });
    let Some(expected) = expected else { return Vec::new() };
    let latest = |member: &Member| {
        let past = pasts.get(&member.device).or(member.past.as_ref());
        past.is_some_and(|past| expected.contains(&past.latest))
    };
    let late = record.roster().iter().filter(|member| latest(member));
    late.map(|member| member.device.clone()).collect()
}

/// Counts what was judged, for one epoch.
struct Count<'a> {
    record: &'a EpochRecord,
    epoch: EpochId,
}

impl Verifier<&Outcomes> for Count<'_> {
    type Output = Contributions;
    type Error = Error;

    fn check(&self, outcomes: &&Outcomes) -> Result<Contributions> {
        let Self { record, epoch } = *self;
        let mut entries = Vec::with_capacity(record.roster().len());
        for (place, member) in record.roster().iter().enumerate() {
            let work = member.past.as_ref().and_then(|past| past.work(epoch));
            let before = work.map_or((0, 0), |work| (work.readings, work.score));
            let here = outcomes.get(&place).map_or((0, 0), |outcome| outcome.tally.of(epoch));
            let sum = |a: u64, b: u64| a.checked_add(b).ok_or_else(miscounted);
            entries.push(Contribution {
                device: member.device.clone(),
                beneficiary: member.beneficiary,
                readings: sum(before.0, here.0)?,
                score: sum(before.1, here.1)?,
            });
        }
        Ok(Contributions { epoch, entries })
    }
}

fn miscounted() -> Error {
    Error::new(ErrorKind::Corrupt, "a device has more readings than can be counted")
}
