//! Events of batches that are on their way into the log: each is told once, also when nobody waits any more for the
//! answer that comes with it. Then the attempt that finds the batch stored tells it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use depin_core::{B256, Did, NetworkEvent, Sequence};

use super::lock;

/// Most batches that are remembered; the oldest go, and are told only if somebody waits for them still.
const MOST: usize = 4096;

/// What an event says beside where the batch is.
#[derive(Debug)]
pub(super) struct Note {
    did: Did,
    sequence: Sequence,
    batch: B256,
    readings: u64,
    told: AtomicBool,
}

impl Note {
    pub(super) const fn new(did: Did, sequence: Sequence, batch: B256, readings: u64) -> Self {
        Self { did, sequence, batch, readings, told: AtomicBool::new(false) }
    }

    /// The event, for the first who asks.
    fn event(&self, index: u64) -> Option<NetworkEvent> {
        let (did, sequence, batch) = (self.did.clone(), self.sequence, self.batch);
        let event =
            NetworkEvent::BatchAccepted { did, sequence, batch, index, readings: self.readings };
        (!self.told.swap(true, Ordering::AcqRel)).then_some(event)
    }
}

/// The notes of batches that were handed to the log and whose answer nobody has seen.
#[derive(Default)]
pub(super) struct Due(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    by_batch: HashMap<B256, (u64, Arc<Note>)>,
    by_age: BTreeMap<u64, B256>,
    next: u64,
}

impl Notes {
    fn put(&mut self, note: &Arc<Note>) {
        self.by_batch.insert(note.batch, (self.next, Arc::clone(note)));
        self.by_age.insert(self.next, note.batch);
        self.next = self.next.wrapping_add(1);
        if self.by_batch.len() > MOST
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_batch.remove(&oldest);
        }
    }

    fn take(&mut self, batch: B256) -> Option<Arc<Note>> {
        let (age, note) = self.by_batch.remove(&batch)?;
        self.by_age.remove(&age);
        Some(note)
    }
}

impl Due {
    /// Keeps a note, or finds that of an earlier attempt.
    pub(super) fn note(&self, note: Note) -> Attempt<'_> {
        let mut notes = lock(&self.0);
        let batch = note.batch;
        if let Some((_, earlier)) = notes.by_batch.get(&batch) {
            return Attempt { due: self, note: Arc::clone(earlier), is_first: false };
        }
        let note = Arc::new(note);
        notes.put(&note);
        Attempt { due: self, note, is_first: true }
    }

    /// The event of a batch that was found in the log, if it was not told.
    pub(super) fn found(&self, batch: B256, index: u64) -> Option<NetworkEvent> {
        let note = lock(&self.0).take(batch);
        note.and_then(|note| note.event(index))
    }
}

/// One attempt to append a batch. Dropped without an end it leaves the note to the next.
pub(super) struct Attempt<'a> {
    due: &'a Due,
    note: Arc<Note>,
    is_first: bool,
}

impl Attempt<'_> {
    /// The event, if it was not told.
    pub(super) fn stored(self, index: u64) -> Option<NetworkEvent> {
        self.over();
        self.note.event(index)
    }

    /// The event, if an earlier attempt left it untold: what was stored before that is no news.
    pub(super) fn was_stored(self, index: u64) -> Option<NetworkEvent> {
        self.over();
        if self.is_first { None } else { self.note.event(index) }
    }

    /// It is not in the log and will not be.
    pub(super) fn over(&self) {
        lock(&self.due.0).take(self.note.batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(number: u64) -> Note {
        let mut batch = [0; 32];
        batch[..8].copy_from_slice(&number.to_be_bytes());
        let did = Did::parse("did:example:a").expect("a did");
        Note::new(did, Sequence::new(number), B256::new(batch), 1)
    }

    #[test]
    fn two_attempts_tell_one_event_whoever_ends_first() {
        let due = Due::default();
        for stored_first in [true, false] {
            let (one, other) = (due.note(note(0)), due.note(note(0)));
            let told = if stored_first {
                [one.stored(0), other.was_stored(0)]
            } else {
                let other = other.was_stored(0);
                [other, one.stored(0)]
            };
            assert!(told[0].is_some() && told[1].is_none());
        }
        assert!(due.note(note(1)).was_stored(0).is_none(), "stored before anybody looked");
        drop(due.note(note(2)));
        assert!(due.note(note(2)).was_stored(0).is_some(), "left by whoever gave up");
        drop(due.note(note(3)));
        let batch = note(3).batch;
        assert!(due.found(batch, 0).is_some() && due.found(batch, 0).is_none());
    }

    #[test]
    fn notes_are_bounded_and_a_pushed_out_one_is_told_by_whoever_waits() {
        let due = Due::default();
        let waits = due.note(note(0));
        (1..=2 * MOST as u64).for_each(|number| drop(due.note(note(number))));
        {
            let notes = lock(&due.0);
            assert_eq!((notes.by_batch.len(), notes.by_age.len()), (MOST, MOST));
        }
        assert!(waits.stored(0).is_some());
    }
}
