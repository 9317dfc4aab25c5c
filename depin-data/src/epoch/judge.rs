//! What the readings of one device are worth.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use depin_core::{
    B256, Batch, Reading, Timestamp, Verified,
    quality::{Finding, FleetCheck, Sent},
};

use super::{
    COUNTED_BEFORE, Checks, EpochRecord, MAX_AHEAD, MAX_NOTES, Past, Submission, TOO_EARLY,
    TOO_LATE, chain,
    tally::{self, Place, Tally},
};
use crate::audit::AuditError;

/// What came out for one device.
pub(super) struct Outcome {
    /// Place in the roster.
    pub(super) member: usize,
    /// Readings, wherever they count.
    pub(super) readings: u64,
    /// What it did in each epoch.
    pub(super) tally: Tally,
    /// In chain order; those of the same reading in the order of the rounds and checks.
    pub(super) findings: Vec<Found>,
    pub(super) past: Option<Past>,
    pub(super) unverified: Vec<u64>,
    pub(super) beyond: u64,
    /// One for each check of the fleet, when there was something to note.
    pub(super) notes: Vec<Vec<u8>>,
}

/// A finding, and in which round it is made.
pub(super) struct Found {
    place: (usize, usize),
    pub(super) finding: Finding,
    pub(super) round: Round,
}

/// Which look at devices it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// At all of them, each by itself.
    First,
    /// At suspects of the checks of the fleet.
    Fleet,
    /// At suspects of those that judge what the others left.
    Left,
}

impl Round {
    /// Rounds of suspects.
    pub(crate) const AGAIN: [Self; 2] = [Self::Fleet, Self::Left];

    /// In which one a check of the fleet makes its findings.
    pub(super) fn of(check: &dyn FleetCheck) -> Self {
        if check.of_what_is_left() { Self::Left } else { Self::Fleet }
    }

    /// Whether its findings are known when a check takes notes for the last time.
    pub(super) fn is_noted_by(self, check: &dyn FleetCheck) -> bool {
        match self {
            Self::First => true,
            Self::Fleet => check.of_what_is_left(),
            Self::Left => false,
        }
    }
}

/// What the checks of the fleet suspect a device of: which check, and its bytes.
pub(super) type Suspicions = Vec<(usize, Vec<u8>)>;

/// What devices are judged by in a round.
pub(super) struct Look<'a> {
    pub(super) record: &'a EpochRecord,
    pub(super) checks: &'a Checks,
    pub(super) round: Round,
}

impl Look<'_> {
    /// Judges what a device sent; `by_first` is what [`chain::signed_by_first`] says of it.
    pub(super) fn judge(
        &self,
        submission: &Submission,
        by_first: &[bool],
        suspicions: &Suspicions,
    ) -> Result<Outcome, AuditError> {
        let Self { record, checks, .. } = self;
        let chain = chain::follow(record, submission, by_first)?;
        let member = record.roster().get(submission.member);
        let past = member.and_then(|member| member.past.as_ref());
        let batches: Vec<&Verified<Batch>> = chain.batches.iter().collect();
        let mut inspection = Inspection::of(&batches);
        inspection.counted_before(past);
        inspection.misplaced(record);
        for check in checks.of_each() {
            inspection.take(check.inspect(&batches), Round::First, || check.name())?;
        }
        let notes = self.fleet(&mut inspection, &chain.indices, suspicions)?;
        let findings = inspection.finish();
        let tally = tally(record, &batches, &findings);
        let open = tally::open_after(record, past, Some(&tally));
        let latest = latest(record, &batches, past);
        let tip = chain.tip.map(|tip| Past { tip, latest, key: chain.key, open });
        Ok(Outcome {
            member: submission.member,
            readings: batches.iter().map(|batch| batch.readings.len() as u64).sum(),
            tally,
            findings,
            past: tip,
            unverified: chain.unverified,
            beyond: chain.beyond,
            notes,
        })
    }

    /// Looks again for what checks of the fleet suspect, and gives their notes of a device that sent something.
    fn fleet(
        &self,
        inspection: &mut Inspection<'_>,
        indices: &[u64],
        suspicions: &Suspicions,
    ) -> Result<Vec<Vec<u8>>, AuditError> {
        let (batches, fleet) = (inspection.batches, self.checks.of_fleet());
        let Some(first) = batches.first() else { return Ok(Vec::new()) };
        let room = MAX_NOTES / self.record.roster().len().saturating_mul(fleet.len()).max(1);
        let sent = Sent::new(&first.device, batches, indices).room_for(room);
        let mut lost = inspection.lost();
        for round in Round::AGAIN {
            for (position, suspicion) in suspicions {
                let check = fleet.get(*position).filter(|check| Round::of(&***check) == round);
                let Some(check) = check else { continue };
                let found = check.inspect(suspicion, &sent.without(&lost));
                inspection.take(found, round, || check.name())?;
            }
            lost = inspection.lost();
        }
        let sent = sent.without(&lost);
        let note = |check: &Arc<dyn FleetCheck>| {
            if !self.round.is_noted_by(&**check) {
                return Ok(Vec::new());
            }
            let mut note = check.note(&sent);
            note.shrink_to_fit();
            let fits = note.len() <= sent.room();
            if fits { Ok(note) } else { Err(AuditError::Check { name: check.name() }) }
        };
        fleet.iter().map(note).collect()
    }
}

/// What a device did in each epoch, given the findings in the order of their places.
fn tally(record: &EpochRecord, batches: &[&Verified<Batch>], findings: &[Found]) -> Tally {
    let mut tally = Tally::default();
    let epoch_of = |reading: &Reading| match record.place_of(reading.at()) {
        Place::Epoch(epoch) => Some(epoch),
        Place::TooLate | Place::TooEarly => None,
    };
    for batch in batches {
        for run in batch.readings.chunk_by(|a, b| epoch_of(a) == epoch_of(b)) {
            if let Some(epoch) = run.first().and_then(epoch_of) {
                tally.count(epoch, run.len() as u64);
            }
        }
    }
    for found in findings.chunk_by(|a, b| a.place == b.place).filter_map(<[Found]>::first) {
        let (batch, reading) = found.place;
        let reading = batches.get(batch).and_then(|batch| batch.readings.get(reading));
        if let Some(epoch) = reading.and_then(epoch_of) {
            tally.lose(epoch);
        }
    }
    tally
}

/// Up to when a device's readings were counted. One that lies too far ahead to count stands in nobody's way.
fn latest(record: &EpochRecord, batches: &[&Verified<Batch>], past: Option<&Past>) -> Timestamp {
    let times = batches.iter().flat_map(|batch| batch.readings.iter().map(Reading::at));
    let times = times.filter(|at| record.place_of(*at) != Place::TooEarly);
    times.chain(past.map(|past| past.latest)).max().unwrap_or(Timestamp::EPOCH)
}

/// Findings on their way to an order.
struct Inspection<'a> {
    batches: &'a [&'a Verified<Batch>],
    places: HashMap<B256, usize>,
    found: Vec<Found>,
}

impl<'a> Inspection<'a> {
    fn of(batches: &'a [&'a Verified<Batch>]) -> Self {
        let places = (0..).zip(batches).map(|(place, batch)| (batch.hash, place)).collect();
        Self { batches, places, found: Vec::new() }
    }

    /// Takes what a check found.
    fn take(
        &mut self,
        findings: Vec<Finding>,
        round: Round,
        name: impl Fn() -> String,
    ) -> Result<(), AuditError> {
        for finding in findings {
            let batch = self.places.get(&finding.batch).copied();
            let length = batch.and_then(|place| self.batches.get(place)).map(|b| b.readings.len());
            match batch.filter(|_| length.is_some_and(|length| finding.reading < length)) {
                Some(place) => {
                    let place = (place, finding.reading);
                    self.found.push(Found { place, finding, round });
                }
                None => return Err(AuditError::Check { name: name() }),
            }
        }
        Ok(())
    }

    /// Readings that are not later than what earlier epochs counted.
    fn counted_before(&mut self, past: Option<&Past>) {
        let Some(Past { latest, .. }) = past else { return };
        self.each(|at| {
            let before = at.cmp(latest) != Ordering::Greater;
            let detail =
                || format!("{at} is not later than {latest}, up to which an earlier epoch counted");
            before.then(|| (COUNTED_BEFORE, detail()))
        });
    }

    /// Readings of epochs that take none.
    fn misplaced(&mut self, record: &EpochRecord) {
        if record.windows().is_none() {
            return;
        }
        let epoch = record.epoch();
        self.each(|at| match record.place_of(at) {
            Place::Epoch(_) => None,
            Place::TooLate => {
                Some((TOO_LATE, format!("{at} is in no epoch that is open when {epoch} closes")))
            }
            Place::TooEarly => {
                Some((TOO_EARLY, format!("{at} is more than {MAX_AHEAD} epochs ahead of {epoch}")))
            }
        });
    }

    /// Takes what a rule says of the time of each reading.
    fn each(&mut self, rule: impl Fn(Timestamp) -> Option<(&'static str, String)>) {
        for (batch_place, batch) in self.batches.iter().enumerate() {
            for (reading, at) in batch.readings.iter().map(Reading::at).enumerate() {
                if let Some((code, detail)) = rule(at) {
                    let finding = Finding { batch: batch.hash, reading, code: code.into(), detail };
                    let place = (batch_place, reading);
                    self.found.push(Found { place, finding, round: Round::First });
                }
            }
        }
    }

    /// The readings that something was found in, in order.
    fn lost(&self) -> Vec<(usize, usize)> {
        let mut lost: Vec<_> = self.found.iter().map(|found| found.place).collect();
        lost.sort_unstable();
        lost.dedup();
        lost
    }

    fn finish(self) -> Vec<Found> {
        let mut found = self.found;
        found.sort_by_key(|found| found.place);
        found
    }
}
