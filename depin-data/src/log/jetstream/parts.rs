//! A record that no message holds: in parts, and a head that gives them effect.
//!
//! The writer puts the parts into the stream one after the other, each in a message of its own that names the
//! message with the part before it, and then a head: epoch, length and SHA-256 of the record, and the message
//! with the last part. So a head leads back through all parts, however far apart they lie, however they were
//! cut, and whoever wrote in between. Parts that no head leads to are bytes without effect.
//!
//! The rule that nothing rests on but the stream itself: **a head counts if and only if the parts that it
//! leads to lie in the stream before it, join without a hole, and have its hash.** Everybody reads that in
//! the stream when the head comes, also who put the parts there, and believes nothing that was seen before.
//! A server that loses something loses the end of the stream, so a head that is there keeps its parts.
//! Where parts are gone before the head comes, it counts for nobody, and the writer, whose seal is not
//! answered before its head has counted, puts those that lack and another head.

use std::future::Future;

use depin_core::{B256, Bytes, EpochId, Error, NetworkId, Result};
use sha2::{Digest, Sha256};
use tokio::task;

use super::{group::Group, wire::failed};

/// Longest record.
pub(super) const MOST_BYTES: u64 = 256 << 20;
/// Most parts of a record: everybody reads them one by one.
pub(super) const MOST_PARTS: usize = 4096;
/// Most bytes of a part, so that nobody waits long for one, and the longest record in a message of others.
pub(super) const PART: usize = 1 << 20;
/// Bytes of a part in a message beside its own, at most.
pub(super) const PART_OVERHEAD: usize = 64;
/// Bytes of a head in a message, at most.
pub(super) const HEAD_WEIGHT: usize = 80;
/// Heads without effect after which something other than the loss of a moment is wrong.
const HEADS: u32 = 4;

/// Where messages of the stream are read.
pub(super) trait Source {
    /// The message with this sequence, as the stream has it now.
    fn message(&self, sequence: u64) -> impl Future<Output = Result<Option<Bytes>>> + Send;
}

/// A piece of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// SHA-256 of the whole.
    pub(super) record: B256,
    /// Where in the record it begins.
    pub(super) start: u64,
    /// The message with the part before; 0 for the first.
    pub(super) previous: u64,
    pub(super) bytes: Bytes,
}

/// Seals an epoch with the record that was in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: EpochId,
    pub(super) record: B256,
    pub(super) length: u64,
    /// The message with the last part.
    pub(super) last: u64,
}

/// A record on its way into the stream.
#[derive(Clone)]
pub(super) struct Passage {
    pub(super) epoch: EpochId,
    pub(super) record: Bytes,
    hash: B256,
    /// Most bytes of a part.
    size: usize,
    placed: Placed,
    heads: u32,
}

/// The parts of a record that are in the stream.
#[derive(Clone, Default)]
pub(super) struct Placed {
    record: B256,
    /// Message of each, and where in the record it ends.
    ends: Vec<(u64, usize)>,
}

impl Passage {
    /// `None` for a record that is too long for messages of `most` bytes.
    pub(super) fn new(epoch: EpochId, record: Bytes, hash: B256, most: usize) -> Option<Self> {
        let size = most.checked_sub(PART_OVERHEAD).filter(|size| *size > 0)?.min(PART);
        let fits = record.len() as u64 <= MOST_BYTES && record.len().div_ceil(size) <= MOST_PARTS;
        let placed = Placed { record: hash, ends: Vec::new() };
        fits.then_some(Self { epoch, record, hash, size, placed, heads: 0 })
    }

    /// Goes on after parts that an earlier try has put there, if they are of this record.
    #[must_use]
    pub(super) fn after(mut self, placed: Placed) -> Self {
        if placed.record == self.hash {
            self.placed = placed;
        }
        self
    }

    pub(super) fn into_placed(self) -> Placed {
        self.placed
    }

    /// Its hash, and the record.
    pub(super) fn known(&self) -> (B256, Bytes) {
        (self.hash, self.record.clone())
    }

    /// Adds the next piece to a message.
    pub(super) fn add_to(&self, group: &mut Group) {
        let (record, length) = (self.hash, self.record.len());
        let (previous, start) = self.placed.ends.last().copied().unwrap_or_default();
        if start >= length {
            let length = length as u64;
            group.heads.push(Head { epoch: self.epoch, record, length, last: previous });
        } else {
            let bytes = self.record.slice(start..self.next_end());
            group.parts.push(Part { record, start: start as u64, previous, bytes });
        }
    }

    /// The next piece is in the stream, in this message.
    pub(super) fn placed(&mut self, sequence: u64) {
        let start = self.placed.ends.last().map_or(0, |(_, end)| *end);
        if start >= self.record.len() {
            self.heads += 1;
        } else {
            let end = self.next_end();
            self.placed.ends.push((sequence, end));
        }
    }

    fn next_end(&self) -> usize {
        let start = self.placed.ends.last().map_or(0, |(_, end)| *end);
        start.saturating_add(self.size).min(self.record.len())
    }

    /// After a head that did not count: takes the parts for lost that are not in the stream any more.
    ///
    /// # Errors
    /// When heads go on counting for nothing.
    pub(super) async fn recall(
        &mut self,
        stream: &(impl Source + Sync),
        network: &NetworkId,
    ) -> Result<()> {
        if self.heads == 0 {
            return Ok(());
        }
        if self.heads >= HEADS {
            // Whoever tries again puts everything anew.
            self.placed.ends.clear();
            let why = "the stream does not keep the parts of the record; look at its server, then seal again";
            return Err(Error::unavailable(why).with("epoch", self.epoch));
        }
        // The stream may have lost its end while parts were put: some that came later are there, others not.
        let (mut there, mut before) = (0, 0);
        for (at, end) in &self.placed.ends {
            let part = part_at(*at, self.hash, *end as u64, stream, network).await?;
            if *at <= before || part.is_none_or(|part| part.previous != before) {
                break;
            }
            (there, before) = (there + 1, *at);
        }
        self.placed.ends.truncate(there);
        Ok(())
    }
}

impl Head {
    /// The record, if the head counts: read from the stream, where the head is message `sequence`. What is
    /// `known` to have this hash is not held twice.
    pub(super) async fn record(
        &self,
        sequence: u64,
        known: Option<Bytes>,
        stream: &(impl Source + Sync),
        network: &NetworkId,
    ) -> Result<Option<Bytes>> {
        if let Some(known) = known.filter(|known| known.len() as u64 == self.length) {
            let same = |start: usize, bytes: &[u8]| {
                known.get(start..).is_some_and(|rest| rest.starts_with(bytes))
            };
            let whole = self.follow(sequence, stream, network, same).await?;
            return Ok(whole.then_some(known));
        }
        // A head that leads nowhere costs nothing: zeros are no memory before they are written.
        let mut record = vec![0; usize::try_from(self.length).unwrap_or_default()];
        let fill = |start: usize, bytes: &[u8]| {
            let room = record.get_mut(start..).and_then(|rest| rest.get_mut(..bytes.len()));
            room.map(|room| room.copy_from_slice(bytes)).is_some()
        };
        let whole = self.follow(sequence, stream, network, fill).await?;
        let record = Bytes::from(record);
        Ok((whole && sha256(&record).await? == self.record).then_some(record))
    }

    /// Whether its parts join; each is given to `take` with its place, from the last to the first, as long as
    /// that says yes.
    async fn follow(
        &self,
        sequence: u64,
        stream: &(impl Source + Sync),
        network: &NetworkId,
        mut take: impl FnMut(usize, &[u8]) -> bool,
    ) -> Result<bool> {
        let (mut before, mut at, mut end) = (sequence, self.last, self.length);
        for _ in 0..MOST_PARTS {
            // The messages go down and the places too, so that nothing leads in a circle.
            if at == 0 || at >= before {
                return Ok(false);
            }
            let Some(part) = part_at(at, self.record, end, stream, network).await? else {
                return Ok(false);
            };
            if !usize::try_from(part.start).is_ok_and(|start| take(start, &part.bytes)) {
                return Ok(false);
            }
            (before, at, end) = (at, part.previous, part.start);
            if end == 0 {
                return Ok(at == 0);
            }
        }
        Ok(false)
    }
}

/// The part of a record that ends at `end` and lies in this message of the stream, if it does.
async fn part_at(
    at: u64,
    record: B256,
    end: u64,
    stream: &(impl Source + Sync),
    network: &NetworkId,
) -> Result<Option<Part>> {
    let message = stream.message(at).await?;
    let group = message.and_then(|message| Group::decode(&message, network).ok());
    let ends = |part: &Part| part.start.checked_add(part.bytes.len() as u64) == Some(end);
    let ours = |part: &Part| part.record == record && !part.bytes.is_empty() && ends(part);
    Ok(group.and_then(|group| group.parts.into_iter().find(ours)))
}

/// Of a long record, which others need not wait for.
pub(super) async fn sha256(record: &Bytes) -> Result<B256> {
    let record = record.clone();
    let hash = task::spawn_blocking(move || B256::new(Sha256::digest(&record).into()));
    hash.await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use depin_core::ErrorKind;
    use proptest::prelude::*;

    use super::{super::group::Counts, *};

    /// A stream in memory.
    #[derive(Clone, Default)]
    struct Messages(BTreeMap<u64, Bytes>);

    impl Source for Messages {
        async fn message(&self, sequence: u64) -> Result<Option<Bytes>> {
            Ok(self.0.get(&sequence).cloned())
        }
    }

    fn network() -> NetworkId {
        NetworkId::parse("climate").expect("a network")
    }

    fn group() -> Group {
        Group::new("x.1".into(), Counts::default(), B256::ZERO)
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(future)
    }

    fn bytes(length: usize) -> Bytes {
        (0..length).map(|i| (i * 7 + length) as u8).collect::<Vec<_>>().into()
    }

    fn passage(length: usize, size: usize) -> Passage {
        let record = bytes(length);
        let hash = run(sha256(&record)).unwrap();
        Passage::new(EpochId::new(3), record, hash, size + PART_OVERHEAD).unwrap()
    }

    impl Messages {
        /// Puts a group at the end, which lies `apart` messages on.
        fn put(&mut self, group: &Group, apart: u64) -> u64 {
            let at = self.0.last_key_value().map_or(0, |(last, _)| *last) + apart;
            self.0.insert(at, group.encode(&network()).unwrap());
            at
        }

        /// Goes on until a head is there.
        fn take(&mut self, passage: &mut Passage, apart: u64) -> (u64, Head) {
            loop {
                let mut next = group();
                passage.add_to(&mut next);
                let at = self.put(&next, apart);
                passage.placed(at);
                if let Some(head) = next.heads.first() {
                    return (at, *head);
                }
            }
        }

        fn part(&self, at: u64) -> Part {
            Group::decode(&self.0[&at], &network()).unwrap().parts.remove(0)
        }

        fn read(&self, (at, head): (u64, Head), known: Option<Bytes>) -> Option<Bytes> {
            run(head.record(at, known, self, &network())).unwrap()
        }
    }

    proptest! {
        #[test]
        fn a_head_leads_to_the_record_however_it_was_cut_and_whoever_wrote_between(
            length in 1usize..2000, size in 1usize..700, other in 1usize..700, apart in 1u64..1_000_000, known: bool,
        ) {
            prop_assume!(length.div_ceil(size.min(other)) <= MOST_PARTS);
            let (mut stream, mut passage) = (Messages::default(), passage(length, size));
            // Begun by a process with a server of other limits.
            let mut next = group();
            passage.add_to(&mut next);
            passage.placed(stream.put(&next, apart));
            let (hash, record) = passage.known();
            let again = Passage::new(passage.epoch, record.clone(), hash, other + PART_OVERHEAD).unwrap();
            let mut passage = again.after(passage.into_placed());
            let head = stream.take(&mut passage, apart);
            prop_assert_eq!(stream.read(head, known.then(|| record.clone())), Some(record));
            for sequence in [head.1.last, 1] {
                prop_assert_eq!(stream.read((sequence, head.1), None), None, "parts come before their head");
            }
        }
    }

    #[test]
    fn a_head_whose_parts_are_lost_forged_or_of_others_counts_for_nobody() {
        let (mut stream, mut passage) = (Messages::default(), passage(1000, 200));
        let head = stream.take(&mut passage, 3);
        let known = Some(passage.record.clone());
        let counts = |stream: &Messages, head| {
            let read = [None, known.clone()].map(|known| stream.read(head, known).is_some());
            assert_eq!(read[0], read[1], "for who has the record as for who has not");
            read[0]
        };
        assert!(counts(&stream, head));
        for at in [3, 6, 9, 12, 15] {
            let change = |change: &dyn Fn(&mut Part)| {
                let (mut changed, mut forged) = (stream.clone(), group());
                let mut part = stream.part(at);
                change(&mut part);
                forged.parts.push(part);
                changed.0.insert(at, forged.encode(&network()).unwrap());
                assert!(!counts(&changed, head));
            };
            change(&|part| part.bytes = vec![0; part.bytes.len()].into());
            change(&|part| part.bytes = Bytes::new());
            change(&|part| part.bytes = vec![0; 1 << 20].into());
            change(&|part| part.start += 1);
            change(&|part| part.start = u64::MAX);
            change(&|part| part.previous = at);
            change(&|part| part.previous = u64::MAX);
            change(&|part| part.record = B256::ZERO);
            let mut lost = stream.clone();
            lost.0.remove(&at);
            assert!(!counts(&lost, head));
        }
        let (at, whole) = head;
        let heads = [
            Head { length: 999, ..whole },
            Head { length: MOST_BYTES, ..whole },
            Head { last: 0, ..whole },
            Head { last: at, ..whole },
            Head { record: B256::ZERO, ..whole },
            Head { length: 0, ..whole },
        ];
        assert!(heads.iter().all(|head| !counts(&stream, (at, *head))));
    }

    #[test]
    fn what_the_stream_lost_is_put_again_and_nothing_else() {
        for (kept, put) in (0..5).flat_map(|kept| (kept..=6).map(move |put| (kept, put))) {
            let (mut stream, mut passage) = (Messages::default(), passage(1000, 200));
            for _ in 0..put {
                let mut next = group();
                passage.add_to(&mut next);
                passage.placed(stream.put(&next, 1));
            }
            // The server loses the end, and others write there, less or more than was there.
            for others in [3, 20] {
                let (mut stream, mut passage) = (stream.clone(), passage.clone());
                stream.0.retain(|at, _| *at <= kept);
                for _ in 0..others {
                    let _ = stream.put(&group(), 1);
                }
                let head = stream.take(&mut passage, 1);
                assert_eq!(stream.read(head, None).is_some(), put == kept);
                run(passage.recall(&stream, &network())).unwrap();
                let before = stream.0.len() as u64;
                let head = stream.take(&mut passage, 1);
                assert_eq!(stream.read(head, None), Some(bytes(1000)));
                let again = if put == kept { 0 } else { 5 - kept };
                assert_eq!(stream.0.len() as u64 - before, again + 1);
            }
        }
    }

    #[test]
    fn heads_that_never_count_end_in_an_error() {
        let (mut stream, mut passage) = (Messages::default(), passage(1000, 200));
        let recalls = (0..9).map(|_| {
            stream.0.clear();
            let _ = stream.take(&mut passage, 1);
            stream.0.clear();
            run(passage.recall(&stream, &network()))
        });
        let results: Vec<_> = recalls.collect();
        assert!(results[0].is_ok());
        assert_eq!(results[8].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn what_no_message_or_memory_holds_is_not_cut() {
        let cut = |length: usize, most| {
            Passage::new(EpochId::new(0), vec![1; length].into(), B256::ZERO, most).is_some()
        };
        assert!(!cut(1, PART_OVERHEAD));
        assert!(cut(MOST_PARTS, PART_OVERHEAD + 1));
        assert!(!cut(MOST_PARTS + 1, PART_OVERHEAD + 1));
    }
}
