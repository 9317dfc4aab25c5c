//! Dead letters: what was refused, kept with its bytes, to be listed and judged again.

use std::{
    collections::BTreeMap,
    ops::{Range, RangeInclusive},
};

use depin_core::{
    Did, Error, ErrorKind, Result, Sequence, SignedBatch, Timestamp,
    log::RefusedBatch,
    transport::{Answer, RefusalCode},
};

use super::Ingest;
use crate::{
    batch::{self, Place},
    evidence::Fork,
};

/// Refusals read from the log at a time; each may have 64 KiB.
const STEP: usize = 16;
/// Most refusals that one call looks at.
const SCAN: u64 = 4096;
/// Letters read at a time to look beyond a page.
const PAGE: usize = 256;
/// Most letters that a replay looks for beyond its page.
const LOOK_AHEAD: usize = 1 << 16;

/// A refused batch in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Position among the refusals of the log, from 0.
    pub position: u64,
    /// What was refused, and why.
    pub refused: RefusedBatch,
    /// Where the batch is in the log by now, if it was taken later: nothing is left to do then.
    pub resolved: Option<u64>,
}

impl DeadLetter {
    /// Whether all bytes were kept. What was too large is cut, and can never be replayed.
    pub fn is_whole(&self) -> bool {
        SignedBatch::new(self.refused.bytes.clone()).hash() == self.refused.refusal.batch
    }

    /// Whether judging the bytes again can change anything.
    pub fn is_replayable(&self) -> bool {
        self.resolved.is_none() && self.is_whole()
    }
}

/// Which dead letters to look at; all unless said.
///
/// ```
/// use depin_core::transport::RefusalCode;
/// use depin_data::ingest::Letters;
///
/// let not_registered_yet = Letters::default().code(RefusalCode::NotRegistered).open();
/// # let _ = not_registered_yet;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Letters {
    code: Option<RefusalCode>,
    device: Option<Did>,
    received: Option<RangeInclusive<Timestamp>>,
    open: bool,
}

impl Letters {
    /// Those refused for this reason.
    pub const fn code(mut self, code: RefusalCode) -> Self {
        self.code = Some(code);
        self
    }

    /// Those that this device seems to have sent.
    pub fn device(mut self, did: Did) -> Self {
        self.device = Some(did);
        self
    }

    /// Those received between these moments, both included.
    pub const fn received(mut self, between: RangeInclusive<Timestamp>) -> Self {
        self.received = Some(between);
        self
    }

    /// Those whose batch is not in the log.
    pub const fn open(mut self) -> Self {
        self.open = true;
        self
    }

    fn admits(&self, refused: &RefusedBatch) -> bool {
        self.code.is_none_or(|code| code == refused.refusal.code)
            && self.device.as_ref().is_none_or(|did| refused.refusal.device.as_ref() == Some(did))
            && self.received.as_ref().is_none_or(|range| range.contains(&refused.received))
    }
}

/// Some dead letters, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LetterPage {
    /// In the order they were refused.
    pub letters: Vec<DeadLetter>,
    /// The position to go on from; `None` when there are no more. A page may be empty and have a next one.
    pub next: Option<u64>,
}

/// What a replay of many came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replays {
    /// Answers by position of the letter.
    pub answers: Vec<(u64, Answer)>,
    /// The position to go on from; `None` when there are no more.
    pub next: Option<u64>,
}

impl Ingest {
    /// Up to `limit` dead letters from position `from` on, of those that are kept.
    ///
    /// A call looks at 4,096 refusals at most and then says where to go on.
    ///
    /// # Errors
    /// As the log's [`refusals`](depin_core::log::BatchLog::refusals).
    pub async fn dead_letters(
        &self,
        which: &Letters,
        from: u64,
        limit: usize,
    ) -> Result<LetterPage> {
        let from = from.max(self.log().refusal_range().await?.start);
        let (mut letters, mut position) = (Vec::new(), from);
        while position < from.saturating_add(SCAN) {
            let read = self.log().refusals(position, STEP).await?;
            let last = read.len() < STEP;
            for refused in read {
                if letters.len() >= limit {
                    return Ok(LetterPage { letters, next: Some(position) });
                }
                if which.admits(&refused) {
                    let letter = self.letter(position, refused).await?;
                    let wanted = !which.open || letter.resolved.is_none();
                    letters.extend(wanted.then_some(letter));
                }
                position = position.saturating_add(1);
            }
            if last {
                return Ok(LetterPage { letters, next: None });
            }
        }
        Ok(LetterPage { letters, next: Some(position) })
    }

    /// Forgets dead letters beyond the `most` youngest, and the oldest ones in a row that were received before
    /// `since`; says which positions are kept. Whoever runs a network calls this now and then: letters are
    /// kept for ever otherwise, and anybody can send what is refused.
    ///
    /// Evidence goes with them: keep the [forks](Self::fork) that matter elsewhere before.
    ///
    /// # Errors
    /// As the log's [`forget_refusals`](depin_core::log::BatchLog::forget_refusals); what was forgotten before
    /// stays so, and to begin again is safe.
    pub async fn forget_dead_letters(&self, most: u64, since: Timestamp) -> Result<Range<u64>> {
        let kept = self.log().refusal_range().await?;
        let mut before = kept.start.max(kept.end.saturating_sub(most));
        while before < kept.end {
            let read = self.log().refusals(before, STEP).await?;
            let old = read.iter().take_while(|refused| refused.received < since).count();
            before = before.saturating_add(old as u64);
            if old < read.len() || read.is_empty() {
                break;
            }
        }
        self.log().forget_refusals(before).await?;
        self.log().refusal_range().await
    }

    /// The dead letter at a position.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none, or as the log's
    /// [`refusals`](depin_core::log::BatchLog::refusals).
    pub async fn dead_letter(&self, position: u64) -> Result<DeadLetter> {
        let refused = self.log().refusals(position, 1).await?.into_iter().next();
        let none = || {
            Error::new(ErrorKind::NotFound, "no dead letter has this position; list them")
                .with("position", position)
        };
        self.letter(position, refused.ok_or_else(none)?).await
    }

    async fn letter(&self, position: u64, refused: RefusedBatch) -> Result<DeadLetter> {
        let batch = SignedBatch::new(refused.bytes.clone());
        let resolved = self.stored_before(&batch).await?;
        Ok(DeadLetter { position, refused, resolved })
    }

    /// The fork that a dead letter is evidence of, whatever became of the log since: for
    /// [`ForkVerifier`](crate::evidence::ForkVerifier) to check and for others to see.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the letter is no fork, or when the log had forgotten the bytes that it
    /// contradicts; else as [`dead_letter`](Self::dead_letter).
    pub async fn fork(&self, position: u64) -> Result<Fork> {
        let RefusedBatch { refusal, bytes, against, .. } =
            self.dead_letter(position).await?.refused;
        let against = against.filter(|_| refusal.code == RefusalCode::Fork);
        let none = || {
            Error::new(ErrorKind::NotFound, "the dead letter is no evidence of a fork")
                .with("code", refusal.code)
        };
        Ok(Fork::new(SignedBatch::new(against.ok_or_else(none)?), SignedBatch::new(bytes)))
    }

    /// Judges the bytes of a dead letter again, as they were received then: readings are compared with the
    /// moment of that receipt, everything else with the present.
    ///
    /// What is taken gets its receipt and counts once, whether it is replayed twice or the device sends it
    /// again meanwhile; the letter is resolved then. What is refused again stays the letter that it is.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the bytes were cut, [`ErrorKind::NotFound`] when there is no such
    /// letter, or as [`accept`](Self::accept).
    pub async fn replay(&self, position: u64) -> Result<Answer> {
        let letter = self.dead_letter(position).await?;
        if !letter.is_whole() {
            let why = "the bytes were cut when they were refused; only the device has the batch";
            return Err(Error::new(ErrorKind::Rejected, why).with("position", position));
        }
        self.judge_again(&letter.refused).await
    }

    /// Replays up to `limit` open letters from position `from` on, each device's in the order of its chain, however
    /// they were refused: where the log misses batches before one of them, they are looked for among all later
    /// letters and replayed first, beyond `limit`, with their answers among the others. So once over all pages is
    /// enough.
    ///
    /// # Errors
    /// As [`replay`](Self::replay); what was replayed before stays so, and to begin again is safe.
    pub async fn replay_all(&self, which: &Letters, from: u64, limit: usize) -> Result<Replays> {
        let which = which.clone().open();
        let page = self.dead_letters(&which, from, limit).await?;
        let (steps, mut answers) = (self.steps(page.letters), BTreeMap::new());
        self.replay_in_order(steps.clone(), &mut answers).await?;
        let is_stuck = |step: &Step| {
            let answer = answers.get(&step.position);
            matches!(answer, Some(Answer::Refusal(it)) if it.code == RefusalCode::SequenceGap)
        };
        let mut stuck: Vec<_> = steps.into_iter().filter(is_stuck).collect();
        if let Some(next) = page.next.filter(|_| !stuck.is_empty()) {
            stuck.extend(self.missing(&which, next, &stuck).await?);
            self.replay_in_order(stuck, &mut answers).await?;
        }
        Ok(Replays { answers: answers.into_iter().collect(), next: page.next })
    }

    /// Letters from position `from` on that lie before one of `stuck` in its chain.
    async fn missing(&self, which: &Letters, from: u64, stuck: &[Step]) -> Result<Vec<Step>> {
        let mut tips = BTreeMap::new();
        for place in stuck.iter().filter_map(|step| step.place.as_ref()) {
            let tip = tips.entry(&place.device).or_insert(place.sequence);
            *tip = place.sequence.max(*tip);
        }
        let is_before = |step: &Step| {
            let place = step.place.as_ref();
            place.is_some_and(|it| tips.get(&it.device).is_some_and(|tip| it.sequence < *tip))
        };
        let (mut found, mut next) = (Vec::new(), Some(from));
        while let Some(from) = next.filter(|_| found.len() < LOOK_AHEAD) {
            let page = self.dead_letters(which, from, PAGE).await?;
            found.extend(self.steps(page.letters).into_iter().filter(is_before));
            next = page.next;
        }
        Ok(found)
    }

    /// Those that can be replayed.
    fn steps(&self, letters: Vec<DeadLetter>) -> Vec<Step> {
        let letters = letters.into_iter().filter(DeadLetter::is_replayable);
        let place = |letter: &DeadLetter| batch::place(&letter.refused.bytes, self.network());
        letters.map(|letter| Step { place: place(&letter), position: letter.position }).collect()
    }

    async fn replay_in_order(
        &self,
        mut steps: Vec<Step>,
        answers: &mut BTreeMap<u64, Answer>,
    ) -> Result<()> {
        steps.sort_by(|a, b| a.order().cmp(&b.order()));
        for Step { position, .. } in steps {
            let answer = self.replay(position).await?;
            answers.insert(position, answer);
        }
        Ok(())
    }
}

/// A letter on its way to be replayed.
#[derive(Clone)]
struct Step {
    position: u64,
    /// Where its bytes claim to stand; noise claims nothing.
    place: Option<Place>,
}

impl Step {
    /// Device by device along their chains; of rivals for a place the one that came first.
    fn order(&self) -> (Option<(&Did, Sequence)>, u64) {
        (self.place.as_ref().map(|place| (&place.device, place.sequence)), self.position)
    }
}
