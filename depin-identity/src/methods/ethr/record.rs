//! What a resolver remembers of a network: histories as far as they are final, and answers from them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use depin_core::{
    Did, Timestamp,
    document::{Material, Service, VerificationMethod},
    resolution::{Resolution, Version},
};

use super::{Change, History, Limits};

/// The history of one identity up to a final block.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Nothing in it can change.
    pub(super) history: Arc<History>,
    /// The final block up to which it is complete, and its time when that was asked.
    pub(super) through: u64,
    pub(super) through_time: Option<Timestamp>,
}

impl Record {
    /// Block of the newest change in it, or 0.
    pub(super) fn newest(&self) -> u64 {
        self.history.newest().unwrap_or(0)
    }
}

#[derive(Debug)]
struct Entry {
    record: Arc<Record>,
    answers: Vec<Answer>,
    /// Bytes of the history and the answers.
    bytes: usize,
    /// Turn of the last use.
    used: u64,
}

#[derive(Debug)]
struct Answer {
    version: Version,
    resolution: Arc<Resolution>,
    bytes: usize,
}

/// Bounded records by DID.
#[derive(Debug)]
pub(super) struct Records {
    limits: Limits,
    entries: HashMap<Did, Entry>,
    /// Changes in all entries.
    changes: usize,
    /// Bytes of all entries.
    bytes: usize,
    turn: u64,
    /// Times of final blocks without changes that somebody asked about.
    times: BTreeMap<u64, Timestamp>,
}

impl Records {
    pub(super) fn new(limits: Limits) -> Self {
        let (entries, times) = (HashMap::new(), BTreeMap::new());
        Self { limits, entries, changes: 0, bytes: 0, turn: 0, times }
    }

    /// An answer that was given before and still holds.
    pub(super) fn answer(&mut self, did: &Did, version: &Version) -> Option<Arc<Resolution>> {
        let entry = self.touch(did)?;
        let known = entry.answers.iter().find(|known| known.version == *version)?;
        Some(known.resolution.clone())
    }

    pub(super) fn record(&mut self, did: &Did) -> Option<Arc<Record>> {
        self.touch(did).map(|entry| entry.record.clone())
    }

    fn touch(&mut self, did: &Did) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(did)?;
        self.turn = self.turn.wrapping_add(1);
        entry.used = self.turn;
        Some(entry)
    }

    /// Keeps an answer that follows from `record`, unless a newer record took its place meanwhile.
    pub(super) fn keep_answer(
        &mut self,
        did: &Did,
        record: &Arc<Record>,
        version: &Version,
        answer: &Arc<Resolution>,
    ) {
        let document = &answer.document;
        let size = document.verification_method.len().saturating_add(document.service.len());
        let entry = self.entries.get_mut(did).filter(|entry| Arc::ptr_eq(&entry.record, record));
        let Some(entry) = entry.filter(|_| size <= LARGEST_ANSWER) else { return };
        if entry.answers.iter().any(|known| known.version == *version) {
            return;
        }
        if entry.answers.len() >= ANSWERS {
            let first = entry.answers.remove(0);
            entry.bytes = entry.bytes.saturating_sub(first.bytes);
            self.bytes = self.bytes.saturating_sub(first.bytes);
        }
        let bytes = bytes_of_answer(version, answer);
        entry.bytes = entry.bytes.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        entry.answers.push(Answer { version: version.clone(), resolution: answer.clone(), bytes });
        while self.bytes > self.limits.memory {
            let Some(oldest) = self.oldest() else { break };
            self.forget(&oldest);
        }
    }

    /// Keeps a record unless a longer one is there, and answers the one that is kept.
    pub(super) fn keep(&mut self, did: &Did, record: Record) -> Arc<Record> {
        if let Some(entry) = self.touch(did)
            && entry.record.through >= record.through
        {
            return entry.record.clone();
        }
        self.forget(did);
        let record = Arc::new(record);
        let size = record.history.changes();
        let bytes = bytes_of_history(&record.history);
        let Limits { identities, kept, memory, .. } = self.limits;
        if size > kept || bytes > memory || identities == 0 {
            return record;
        }
        while self.entries.len() >= identities
            || self.changes.saturating_add(size) > kept
            || self.bytes.saturating_add(bytes) > memory
        {
            let Some(oldest) = self.oldest() else { break };
            self.forget(&oldest);
        }
        self.turn = self.turn.wrapping_add(1);
        self.changes = self.changes.saturating_add(size);
        self.bytes = self.bytes.saturating_add(bytes);
        let entry = Entry { record: record.clone(), answers: Vec::new(), bytes, used: self.turn };
        self.entries.insert(did.clone(), entry);
        record
    }

    /// Drops what is known of a DID.
    pub(super) fn forget(&mut self, did: &Did) {
        if let Some(entry) = self.entries.remove(did) {
            self.changes = self.changes.saturating_sub(entry.record.history.changes());
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    /// Looks at all of them, which is little beside the requests that a new record cost.
    fn oldest(&self) -> Option<Did> {
        self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(did, _)| did.clone())
    }

    pub(super) fn time(&self, block: u64) -> Option<Timestamp> {
        self.times.get(&block).copied()
    }

    pub(super) fn keep_time(&mut self, block: u64, time: Timestamp) {
        if self.times.len() >= TIMES {
            self.times.pop_first();
        }
        self.times.insert(block, time);
    }
}

/// What a history takes, about: somebody else chose the values of its attributes.
fn bytes_of_history(history: &History) -> usize {
    let changes = history.blocks().iter().flat_map(|block| &block.changes);
    let bytes = changes.map(|change| match change {
        Change::Attribute { value, .. } => value.len(),
        Change::Owner(_) | Change::Delegate { .. } => 0,
    });
    let values = bytes.fold(0, usize::saturating_add);
    values.saturating_add(history.changes().saturating_mul(size_of::<Change>()))
}

/// What an answer takes, about.
fn bytes_of_answer(version: &Version, answer: &Resolution) -> usize {
    let document = &answer.document;
    let did = document.id.as_str().len();
    let named = match version {
        Version::Id(id) => id.len(),
        _ => 0,
    };
    let methods = document.verification_method.iter().map(|method| {
        let value = match &method.material {
            Material::Foreign { member, value } => member.len().saturating_add(value.len()),
            _ => 0,
        };
        // The DID stands in its name and as its controller.
        value.saturating_add(size_of::<VerificationMethod>()).saturating_add(did.saturating_mul(2))
    });
    let services = document.service.iter().map(|service| {
        let own = service.kind.len().saturating_add(service.endpoint.len());
        own.saturating_add(size_of::<Service>()).saturating_add(did)
    });
    let bytes = methods.chain(services).fold(size_of::<Resolution>(), usize::saturating_add);
    bytes.saturating_add(named).saturating_add(did)
}

/// Answers kept per DID.
const ANSWERS: usize = 16;
/// Most keys and services of an answer that is kept.
const LARGEST_ANSWER: usize = 256;
/// Block times kept per network.
const TIMES: usize = 4096;

#[cfg(test)]
mod tests {
    use depin_core::{Address, B256, document::DidDocument, resolution::Freshness};

    use super::*;
    use crate::methods::ethr::{Block, Change};

    fn did(number: u8) -> Did {
        crate::methods::ethr::from_address("", Address::repeat_byte(number)).unwrap()
    }

    fn record(changes: usize, through: u64) -> Record {
        let changes = vec![Change::Owner(Address::ZERO); changes];
        let blocks = vec![Block::new(1, Timestamp::EPOCH, changes)];
        let history = Arc::new(History::new(blocks).unwrap());
        Record { history, through, through_time: None }
    }

    #[test]
    fn the_least_used_make_room() {
        let mut records = Records::new(Limits { identities: 2, kept: 10, ..Limits::default() });
        records.keep(&did(1), record(1, 9));
        records.keep(&did(2), record(1, 9));
        assert!(records.record(&did(1)).is_some());
        records.keep(&did(3), record(1, 9));
        assert!(records.record(&did(2)).is_none());
        records.keep(&did(4), record(10, 9));
        assert_eq!(records.entries.len(), 1);
        assert_eq!(records.changes, 10);
        records.keep(&did(5), record(11, 9));
        assert!(records.record(&did(5)).is_none(), "more than all the room there is");
        records.forget(&did(4));
        assert_eq!(records.changes, 0);
    }

    #[test]
    fn a_shorter_record_does_not_replace_a_longer_one() {
        let mut records = Records::new(Limits::default());
        records.keep(&did(1), record(2, 9));
        assert_eq!(records.keep(&did(1), record(1, 8)).history.changes(), 2);
        assert_eq!(records.keep(&did(1), record(3, 10)).history.changes(), 3);
        assert_eq!(records.changes, 3);
    }

    fn heavy(bytes: usize) -> Record {
        let value = vec![7; bytes].into();
        let hub = Change::Attribute { name: B256::ZERO, value, valid_to: u64::MAX };
        let blocks = vec![Block::new(1, Timestamp::EPOCH, vec![hub])];
        let history = Arc::new(History::new(blocks).unwrap());
        Record { history, through: 9, through_time: None }
    }

    fn long(did: &Did, bytes: usize) -> Arc<Resolution> {
        let mut document = DidDocument::new(did.clone());
        let id = format!("{did}#service-1").parse().unwrap();
        document.service = vec![Service { id, kind: "Hub".into(), endpoint: "x".repeat(bytes) }];
        Arc::new(Resolution::new(document, Freshness::Forever))
    }

    #[test]
    fn few_but_long_histories_and_answers_make_room_too() {
        let memory = 100_000;
        let mut records = Records::new(Limits { memory, ..Limits::default() });
        for number in 0..50 {
            records.keep(&did(number), heavy(30_000));
            assert!(records.bytes <= memory && records.entries.len() <= 3);
        }
        assert!(records.record(&did(49)).is_some());
        records.keep(&did(50), heavy(100_001));
        assert!(records.record(&did(50)).is_none(), "more than all the room there is");
        let record = records.record(&did(49)).unwrap();
        for version in 0..50 {
            let version = Version::Id(format!("{version}"));
            records.touch(&did(49));
            records.keep_answer(&did(49), &record, &version, &long(&did(49), 3_000));
            assert!(records.answer(&did(49), &version).is_some());
            assert!(records.bytes <= memory);
        }
        assert_eq!(records.entries.len(), 1, "its answers took the room of the others");
        let huge = Version::Id("huge".into());
        records.keep_answer(&did(49), &record, &huge, &long(&did(49), 100_000));
        assert_eq!((records.entries.len(), records.bytes, records.changes), (0, 0, 0));
    }

    #[test]
    fn times_are_bounded() {
        let mut records = Records::new(Limits::default());
        (0..10_000).for_each(|block| records.keep_time(block, Timestamp::EPOCH));
        assert_eq!(records.times.len(), TIMES);
    }
}
