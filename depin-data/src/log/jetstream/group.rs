//! A message of the stream: what one writer adds to the log in one step.
//!
//! Deterministic CBOR, so that every replica reads the same or reads nothing:
//!
//! ```text
//! ["depin-log", 1, network, id,
//!   size of the log before, its root (32 bytes), number of refusals before,
//!   [*[did, sequence, previous (32 bytes), ms of receipt, signed bytes,
//!      of a gap marker: the last sequence and hash that it gives up]],
//!   [*refusal as it lies in the view],
//!   [*[epoch, record]]]
//! ```
//!
//! A message with [parts](super::parts) of a record, or the head of one, has version 2 and two lists more:
//!
//! ```text
//!   [*[SHA-256 of the record, count of its parts, place among them from 0, bytes]],
//!   [*[epoch, SHA-256 of the record, count of its parts, length]]
//! ```
//!
//! `id` is unlike that of any other message. Size and root tie the message to everything before it.

use depin_core::{
    B256, Bytes, Did, EpochId, Error, ErrorKind, NetworkId, Result, Sequence, SignedBatch,
    Timestamp,
    cbor::{self, Decoder, Encoder},
    log::{ChainTip, NewBatch, TreeHead},
};

use super::parts::{HEAD_WEIGHT, Head, MOST_BYTES, MOST_PARTS, PART_OVERHEAD, Part};

const MAGIC: &str = "depin-log";
const VERSION: u8 = 1;
const FIELDS: u64 = 10;
/// Of messages with parts or heads.
const VERSION_PARTS: u8 = 2;
const FIELDS_PARTS: u64 = 12;

/// Bytes of a message beside its records, at most: names, base, lengths.
pub(super) const OVERHEAD: usize = 512;

/// What is added, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) base: TreeHead,
    pub(super) refusals_before: u64,
    pub(super) batches: Vec<NewBatch>,
    pub(super) refusals: Vec<Vec<u8>>,
    pub(super) seals: Vec<(EpochId, Bytes)>,
    pub(super) parts: Vec<Part>,
    pub(super) heads: Vec<Head>,
}

/// Why a message is no group of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Nobody can read it: every replica passes over it.
    Foreign,
    /// A later version may read it: passing over it would part the replicas.
    Version(u8),
}

impl Group {
    pub(super) fn new(id: String, base: TreeHead, refusals_before: u64) -> Self {
        Self {
            id,
            base,
            refusals_before,
            batches: Vec::new(),
            refusals: Vec::new(),
            seals: Vec::new(),
            parts: Vec::new(),
            heads: Vec::new(),
        }
    }

    /// How many batches and refusals there are after it.
    pub(super) const fn end(&self) -> (u64, u64) {
        let (batches, refusals) = (self.batches.len() as u64, self.refusals.len() as u64);
        (self.base.size.saturating_add(batches), self.refusals_before.saturating_add(refusals))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
            && self.refusals.is_empty()
            && self.seals.is_empty()
            && !self.has_parts()
    }

    fn has_parts(&self) -> bool {
        !self.parts.is_empty() || !self.heads.is_empty()
    }

    pub(super) fn encode(&self, network: &NetworkId) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(OVERHEAD + self.weight());
        write(self, network, &mut Encoder::new(&mut bytes))
            .map_err(|_| Error::new(ErrorKind::Limit, "the records cannot be encoded"))?;
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &[u8], network: &NetworkId) -> Result<Self, Unread> {
        let mut d = Decoder::new(bytes);
        let ours = d.array().is_ok() && d.str().is_ok_and(|magic| magic == MAGIC);
        let version = ours.then(|| d.u8().ok()).flatten().ok_or(Unread::Foreign)?;
        if !matches!(version, VERSION | VERSION_PARTS) {
            return Err(Unread::Version(version));
        }
        cbor::check(bytes).map_err(|_| Unread::Foreign)?;
        read(bytes, network).map_err(|_| Unread::Foreign)
    }

    fn weight(&self) -> usize {
        self.batches.iter().map(batch_weight).sum::<usize>()
            + self.refusals.iter().map(|refusal| refusal_weight(refusal)).sum::<usize>()
            + self.seals.iter().map(|(_, record)| seal_weight(record)).sum::<usize>()
            + self.parts.iter().map(|part| part.bytes.len() + PART_OVERHEAD).sum::<usize>()
            + self.heads.len() * HEAD_WEIGHT
    }
}

/// At most what a batch takes in a message.
pub(super) fn batch_weight(new: &NewBatch) -> usize {
    new.batch.as_bytes().len() + new.device.as_str().len() + 128
}

/// At most what an encoded refusal takes in a message.
pub(super) const fn refusal_weight(refusal: &[u8]) -> usize {
    refusal.len() + 16
}

/// At most what a seal takes in a message.
pub(super) fn seal_weight(record: &Bytes) -> usize {
    record.len() + 24
}

type Written = Result<(), cbor::encode::Error<core::convert::Infallible>>;

fn write(group: &Group, network: &NetworkId, e: &mut Encoder<&mut Vec<u8>>) -> Written {
    let (fields, version) = match group.has_parts() {
        true => (FIELDS_PARTS, VERSION_PARTS),
        false => (FIELDS, VERSION),
    };
    e.array(fields)?.str(MAGIC)?.u8(version)?.str(network.as_str())?.str(&group.id)?;
    e.u64(group.base.size)?.bytes(group.base.root.as_slice())?.u64(group.refusals_before)?;
    e.array(group.batches.len() as u64)?;
    for new in &group.batches {
        e.array(5 + 2 * u64::from(new.covers.is_some()))?
            .str(new.device.as_str())?
            .u64(new.sequence.value())?;
        e.bytes(new.previous.as_slice())?.u64(new.received.millis())?;
        e.bytes(new.batch.as_bytes())?;
        if let Some(covers) = &new.covers {
            e.u64(covers.sequence.value())?.bytes(covers.hash.as_slice())?;
        }
    }
    e.array(group.refusals.len() as u64)?;
    for refusal in &group.refusals {
        e.bytes(refusal)?;
    }
    e.array(group.seals.len() as u64)?;
    for (epoch, record) in &group.seals {
        e.array(2)?.u64(epoch.value())?.bytes(record)?;
    }
    if group.has_parts() {
        write_parts(group, e)?;
    }
    Ok(())
}

fn write_parts(group: &Group, e: &mut Encoder<&mut Vec<u8>>) -> Written {
    e.array(group.parts.len() as u64)?;
    for Part { record, count, place, bytes } in &group.parts {
        e.array(4)?.bytes(record.as_slice())?.u32(*count)?.u32(*place)?.bytes(bytes)?;
    }
    e.array(group.heads.len() as u64)?;
    for Head { epoch, record, count, length } in &group.heads {
        e.array(4)?.u64(epoch.value())?.bytes(record.as_slice())?.u32(*count)?.u64(*length)?;
    }
    Ok(())
}

type Read<T> = Result<T, cbor::decode::Error>;

fn read(bytes: &[u8], network: &NetworkId) -> Read<Group> {
    let d = &mut Decoder::new(bytes);
    let (fields, _magic, version) = (d.array()?, d.str()?, d.u8()?);
    let has_parts = version == VERSION_PARTS;
    if fields != Some(if has_parts { FIELDS_PARTS } else { FIELDS }) {
        return Err(shape("a group"));
    }
    if d.str()? != network.as_str() {
        return Err(shape("the network"));
    }
    let id = d.str()?.to_owned();
    let base = TreeHead { size: d.u64()?, root: hash(d)? };
    Ok(Group {
        id,
        base,
        refusals_before: d.u64()?,
        batches: list(d, |d| {
            let marker = match d.array()? {
                Some(5) => false,
                Some(7) => true,
                _ => return Err(shape("a batch")),
            };
            Ok(NewBatch {
                device: Did::parse(d.str()?).map_err(|_| shape("a did"))?,
                sequence: Sequence::new(d.u64()?),
                previous: hash(d)?,
                received: Timestamp::from_millis(d.u64()?),
                batch: SignedBatch::new(d.bytes()?.to_vec()),
                covers: if marker {
                    Some(ChainTip { sequence: Sequence::new(d.u64()?), hash: hash(d)? })
                } else {
                    None
                },
            })
        })?,
        refusals: list(d, |d| Ok(d.bytes()?.to_vec()))?,
        seals: list(d, |d| {
            array_of(d, 2)?;
            Ok((EpochId::new(d.u64()?), d.bytes()?.to_vec().into()))
        })?,
        parts: if has_parts { list(d, part)? } else { Vec::new() },
        heads: if has_parts { list(d, head)? } else { Vec::new() },
    })
}

fn part(d: &mut Decoder<'_>) -> Read<Part> {
    array_of(d, 4)?;
    let (record, count, place) = (hash(d)?, d.u32()?, d.u32()?);
    Ok(Part { record, count, place, bytes: d.bytes()?.to_vec().into() })
}

fn head(d: &mut Decoder<'_>) -> Read<Head> {
    array_of(d, 4)?;
    let (epoch, record) = (EpochId::new(d.u64()?), hash(d)?);
    let (count, length) = (d.u32()?, d.u64()?);
    if count > MOST_PARTS || length > MOST_BYTES {
        return Err(shape("a head"));
    }
    Ok(Head { epoch, record, count, length })
}

/// The check before has bounded every count by the bytes that follow.
fn list<T>(d: &mut Decoder<'_>, mut item: impl FnMut(&mut Decoder<'_>) -> Read<T>) -> Read<Vec<T>> {
    let count = d.array()?.ok_or_else(|| shape("a list"))?;
    (0..count).map(|_| item(d)).collect()
}

fn array_of(d: &mut Decoder<'_>, count: u64) -> Read<()> {
    if d.array()? == Some(count) { Ok(()) } else { Err(shape("a record")) }
}

fn hash(d: &mut Decoder<'_>) -> Read<B256> {
    B256::try_from(d.bytes()?).map_err(|_| shape("a hash"))
}

fn shape(what: &'static str) -> cbor::decode::Error {
    cbor::decode::Error::message(what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network() -> NetworkId {
        NetworkId::parse("climate").expect("a network")
    }

    prop_compose! {
        fn batches()(parts in prop::collection::vec(
            (any::<u64>(), any::<[u8; 32]>(), any::<Option<u64>>(), prop::collection::vec(any::<u8>(), 0..80)), 0..5,
        )) -> Vec<NewBatch> {
            parts.into_iter().map(|(sequence, previous, covers, bytes)| NewBatch {
                device: Did::parse("did:example:a").expect("a did"),
                sequence: Sequence::new(sequence),
                previous: B256::new(previous),
                received: Timestamp::from_millis(sequence / 2),
                batch: SignedBatch::new(bytes),
                covers: covers.map(|end| ChainTip { sequence: Sequence::new(end), hash: B256::new(previous) }),
            }).collect()
        }
    }

    prop_compose! {
        fn groups()(
            batches in batches(),
            size: u64,
            root: [u8; 32],
            refusals_before: u64,
            refusals in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3),
            seals in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)), 0..3),
            parts in prop::collection::vec((any::<[u8; 32]>(), any::<u32>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)), 0..3),
            heads in prop::collection::vec((any::<u64>(), any::<[u8; 32]>(), 0..=MOST_PARTS, 0..=MOST_BYTES), 0..3),
        ) -> Group {
            let seals = seals.into_iter().map(|(epoch, record)| (EpochId::new(epoch), record.into()));
            let base = TreeHead { size, root: B256::new(root) };
            let parts = parts.into_iter().map(|(record, count, place, bytes)| Part {
                record: B256::new(record), count, place, bytes: bytes.into(),
            });
            let heads = heads.into_iter().map(|(epoch, record, count, length)| Head {
                epoch: EpochId::new(epoch), record: B256::new(record), count, length,
            });
            let (parts, heads) = (parts.collect(), heads.collect());
            Group { id: "x.1".into(), base, refusals_before, batches, refusals, seals: seals.collect(), parts, heads }
        }
    }

    proptest! {
        #[test]
        fn groups_come_back_and_their_beginnings_are_foreign(group in groups()) {
            let bytes = group.encode(&network()).expect("encodes");
            prop_assert!(bytes.len() <= OVERHEAD + group.weight());
            prop_assert_eq!(Group::decode(&bytes, &network()), Ok(group));
            for length in 0..bytes.len() {
                prop_assert_eq!(Group::decode(&bytes[..length], &network()), Err(Unread::Foreign));
            }
            let other = NetworkId::parse("energy").expect("a network");
            prop_assert_eq!(Group::decode(&bytes, &other), Err(Unread::Foreign));
        }

        #[test]
        fn noise_never_panics(bytes: Vec<u8>) {
            let _ = Group::decode(&bytes, &network());
            let ours = [b"\x8a\x69depin-log\x01".as_slice(), &bytes].concat();
            let _ = Group::decode(&ours, &network());
        }
    }

    #[test]
    fn another_version_is_told_from_noise() {
        assert_eq!(Group::decode(b"\x8a\x69depin-log\x03", &network()), Err(Unread::Version(3)));
    }
}
