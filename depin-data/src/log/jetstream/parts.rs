//! A record that no message holds: in parts, and a head that gives them effect.
//!
//! The writer puts each part into a message of its own, then a head that names epoch, count of parts, length
//! and SHA-256 of the whole. A part says by that hash of which record it is, and means nothing alone: a
//! writer that dies between leaves bytes without effect. Whoever comes to a head has seen the parts lately, or
//! looks for them in the messages before it, and believes only what has the hash.

use std::collections::{BTreeMap, VecDeque};

use depin_core::{B256, Bytes, EpochId, Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

/// Longest record.
pub(super) const MOST_BYTES: u64 = 256 << 20;
/// Most parts of a record.
pub(super) const MOST_PARTS: u32 = 1 << 16;
/// Bytes of a part in a message beside its own, at most.
pub(super) const PART_OVERHEAD: usize = 64;
/// Bytes of a head in a message, at most.
pub(super) const HEAD_WEIGHT: usize = 80;
/// Bytes of parts that are remembered until their head comes.
const KEPT: usize = 64 << 20;

/// A piece of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// SHA-256 of the whole.
    pub(super) record: B256,
    /// In how many parts it was cut.
    pub(super) count: u32,
    pub(super) place: u32,
    pub(super) bytes: Bytes,
}

/// Seals an epoch with the record that was in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: EpochId,
    pub(super) record: B256,
    pub(super) count: u32,
    pub(super) length: u64,
}

impl Head {
    /// Whether this is the record that it names.
    fn names(&self, record: &[u8]) -> bool {
        record.len() as u64 == self.length && sha256(record) == self.record
    }
}

/// Cuts a record into parts of at most `most` bytes in a message; `None` when that cannot be.
pub(super) fn cut(epoch: EpochId, record: &[u8], most: usize) -> Option<(Head, Vec<Part>)> {
    let size = most.checked_sub(PART_OVERHEAD).filter(|size| *size > 0)?;
    let (hash, length) = (sha256(record), record.len() as u64);
    let count = u32::try_from(record.len().div_ceil(size)).ok()?;
    if length > MOST_BYTES || count > MOST_PARTS {
        return None;
    }
    let part =
        |(place, bytes)| Part { record: hash, count, place, bytes: Bytes::copy_from_slice(bytes) };
    let parts = (0..).zip(record.chunks(size)).map(part).collect();
    Some((Head { epoch, record: hash, count, length }, parts))
}

/// Parts whose head may come yet. What is forgotten here is in the stream.
#[derive(Default)]
pub(super) struct Recent {
    parts: VecDeque<Part>,
    bytes: usize,
}

impl Recent {
    pub(super) fn keep(&mut self, part: &Part) {
        self.bytes = self.bytes.saturating_add(part.bytes.len());
        self.parts.push_back(part.clone());
        while self.bytes > KEPT
            && let Some(oldest) = self.parts.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.bytes.len());
        }
    }

    /// The parts of a head, newest first; they are not remembered any longer.
    pub(super) fn take(&mut self, head: &Head) -> Assembly {
        let mut assembly = Assembly { head: *head, found: BTreeMap::new(), bytes: 0 };
        self.parts.iter().rev().for_each(|part| assembly.take(part));
        self.parts.retain(|part| part.record != head.record);
        self.bytes = self.parts.iter().map(|part| part.bytes.len()).sum();
        assembly
    }
}

/// A record that is put together.
pub(super) struct Assembly {
    head: Head,
    found: BTreeMap<u32, Bytes>,
    bytes: u64,
}

impl Assembly {
    /// Takes a part if it is one that lacks.
    pub(super) fn take(&mut self, part: &Part) {
        let Head { record, count, length, .. } = self.head;
        let bytes = self.bytes.saturating_add(part.bytes.len() as u64);
        let ours = part.record == record && part.count == count && part.place < count;
        if ours && bytes <= length && !self.found.contains_key(&part.place) {
            self.bytes = bytes;
            self.found.insert(part.place, part.bytes.clone());
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.found.len() as u64 == u64::from(self.head.count)
    }

    /// The record, if it is the one that the head names.
    pub(super) fn finish(self) -> Result<Bytes> {
        let record: Vec<u8> = self.found.into_values().flatten().collect();
        if self.head.names(&record) {
            return Ok(record.into());
        }
        let why = "the stream lacks parts of a sealed epoch, or holds others; begin with a copy of a \
                   view that has it";
        Err(Error::new(ErrorKind::Corrupt, why).with("epoch", self.head.epoch))
    }
}

fn sha256(bytes: &[u8]) -> B256 {
    B256::new(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_up(length: usize, most: usize) -> (Vec<u8>, Head, Vec<Part>) {
        let record: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
        let (head, parts) = cut(EpochId::new(3), &record, most).unwrap();
        (record, head, parts)
    }

    fn assemble<'a>(head: &Head, parts: impl IntoIterator<Item = &'a Part>) -> Result<Bytes> {
        let mut recent = Recent::default();
        parts.into_iter().for_each(|part| recent.keep(part));
        let assembly = recent.take(head);
        assert!(!assembly.is_whole() || assembly.found.len() as u32 == head.count);
        assembly.finish()
    }

    #[test]
    fn parts_in_any_order_and_twice_are_the_record() {
        for (length, most) in [(0, 65), (1, 65), (100, 65), (100, 164), (101, 164), (9000, 1000)] {
            let (record, head, parts) = cut_up(length, most);
            assert!(parts.iter().all(|part| part.bytes.len() + PART_OVERHEAD <= most));
            assert_eq!(assemble(&head, parts.iter().rev().chain(&parts)).unwrap(), record);
        }
    }

    #[test]
    fn a_lost_forged_or_foreign_part_is_no_record() {
        let (_, head, parts) = cut_up(1000, 264);
        let corrupt = |result: Result<Bytes>| result.unwrap_err().kind() == ErrorKind::Corrupt;
        for place in 0..parts.len() {
            let others = parts.iter().filter(|part| part.place != place as u32);
            assert!(corrupt(assemble(&head, others.clone())));
            let change = |change: &dyn Fn(&mut Part)| {
                let mut part = parts[place].clone();
                change(&mut part);
                let all: Vec<Part> = others.clone().cloned().chain([part]).collect();
                corrupt(assemble(&head, &all))
            };
            assert!(change(&|part| part.bytes = vec![0; part.bytes.len()].into()));
            assert!(change(&|part| part.bytes = vec![0; 1 << 20].into()));
            assert!(change(&|part| part.count += 1));
            assert!(change(&|part| part.place += 9));
            assert!(change(&|part| part.record = B256::ZERO));
        }
    }

    #[test]
    fn what_no_message_or_memory_holds_is_not_cut() {
        assert!(cut(EpochId::new(0), &[1], PART_OVERHEAD).is_none());
        let most = MOST_PARTS as usize;
        assert!(cut(EpochId::new(0), &vec![1; most], PART_OVERHEAD + 1).is_some());
        assert!(cut(EpochId::new(0), &vec![1; most + 1], PART_OVERHEAD + 1).is_none());
    }

    #[test]
    fn parts_without_a_head_do_not_fill_the_memory() {
        let mut recent = Recent::default();
        let part = Part { record: B256::ZERO, count: 9, place: 0, bytes: vec![0; 1 << 20].into() };
        (0..100).for_each(|_| recent.keep(&part));
        assert!(recent.bytes <= KEPT && recent.parts.len() << 20 <= KEPT);
    }
}
