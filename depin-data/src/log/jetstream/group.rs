//! A message of the stream: what one writer adds to the log in one step.
//!
//! Deterministic CBOR, so that every replica reads the same or reads nothing:
//!
//! ```text
//! ["depin-log", 4, network, id, SHA-256 of the message before in the stream, or zeros,
//!   number of batches before, root over them (32 bytes), number of refusals before, of sealed epochs before,
//!   [*[did, sequence, previous (32 bytes), ms of receipt, signed bytes,
//!      of a gap marker: the last sequence and hash that it gives up]],
//!   [*refusal as it lies in the view, empty for one whose bytes nobody had any more],
//!   [*[epoch, record]],
//!   [*[SHA-256 of a record, place of the first byte in it, message with the part before or 0, bytes]],
//!   [*[epoch, SHA-256 of the record, its length, message with its last part]]]
//! ```
//!
//! The last two lists are [parts](super::parts) of records that no message holds, and their heads. `id` is
//! unlike that of any other message. Numbers and root tie the message to everything before it; the hash of the message
//! before says that its writer had read that one, so that a message which a server that lost some takes in another
//! place is known by everybody for what it is.

use depin_core::{
    B256, Bytes, Did, EpochId, Error, ErrorKind, NetworkId, Result, Sequence, SignedBatch,
    Timestamp,
    cbor::{self, Decoder, Encoder},
    log::{ChainTip, NewBatch},
};

use super::parts::{HEAD_WEIGHT, Head, MOST_BYTES, PART_OVERHEAD, Part};

const MAGIC: &str = "depin-log";
const VERSION: u8 = 4;
const FIELDS: u64 = 14;

/// Bytes of a message beside its records, at most: names, base, lengths.
pub(super) const OVERHEAD: usize = 512;

/// How much of everything there is, each in an order of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) batches: u64,
    pub(super) refusals: u64,
    /// Sealed epochs.
    pub(super) seals: u64,
}

impl Counts {
    /// Whether there is more of anything.
    pub(super) const fn exceed(&self, other: &Self) -> bool {
        self.batches > other.batches || self.refusals > other.refusals || self.seals > other.seals
    }
}

/// What is added, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: String,
    /// Hash of the message before it in the stream, zero when there is none.
    pub(super) after: B256,
    pub(super) before: Counts,
    /// Over the batches before.
    pub(super) root: B256,
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
    pub(super) fn new(id: String, before: Counts, root: B256) -> Self {
        Self {
            id,
            after: B256::ZERO,
            before,
            root,
            batches: Vec::new(),
            refusals: Vec::new(),
            seals: Vec::new(),
            parts: Vec::new(),
            heads: Vec::new(),
        }
    }

    /// How much there is after its batches, refusals and small seals; heads may add to that.
    pub(super) const fn end(&self) -> Counts {
        let Counts { batches, refusals, seals } = self.before;
        Counts {
            batches: batches.saturating_add(self.batches.len() as u64),
            refusals: refusals.saturating_add(self.refusals.len() as u64),
            seals: seals.saturating_add(self.seals.len() as u64),
        }
    }

    /// Whether its writer had read the message that lies before it in the stream, where there is one.
    pub(super) fn follows(&self, before: Option<B256>) -> bool {
        before.is_none_or(|before| before == self.after)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
            && self.refusals.is_empty()
            && self.seals.is_empty()
            && self.parts.is_empty()
            && self.heads.is_empty()
    }

    pub(super) fn encode(&self, network: &NetworkId) -> Result<Bytes> {
        let mut bytes = Vec::with_capacity(OVERHEAD + self.weight());
        write(self, network, &mut Encoder::new(&mut bytes))
            .map_err(|_| Error::new(ErrorKind::Limit, "the records cannot be encoded"))?;
        Ok(bytes.into())
    }

    pub(super) fn decode(bytes: &[u8], network: &NetworkId) -> Result<Self, Unread> {
        let mut d = Decoder::new(bytes);
        let ours = d.array().is_ok() && d.str().is_ok_and(|magic| magic == MAGIC);
        let version = ours.then(|| d.u8().ok()).flatten().ok_or(Unread::Foreign)?;
        if version != VERSION {
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
    let Counts { batches, refusals, seals } = group.before;
    e.array(FIELDS)?.str(MAGIC)?.u8(VERSION)?.str(network.as_str())?.str(&group.id)?;
    e.bytes(group.after.as_slice())?
        .u64(batches)?
        .bytes(group.root.as_slice())?
        .u64(refusals)?
        .u64(seals)?;
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
    write_parts(group, e)
}

fn write_parts(group: &Group, e: &mut Encoder<&mut Vec<u8>>) -> Written {
    e.array(group.parts.len() as u64)?;
    for Part { record, start, previous, bytes } in &group.parts {
        e.array(4)?.bytes(record.as_slice())?.u64(*start)?.u64(*previous)?.bytes(bytes)?;
    }
    e.array(group.heads.len() as u64)?;
    for Head { epoch, record, length, last } in &group.heads {
        e.array(4)?.u64(epoch.value())?.bytes(record.as_slice())?.u64(*length)?.u64(*last)?;
    }
    Ok(())
}

type Read<T> = Result<T, cbor::decode::Error>;

fn read(bytes: &[u8], network: &NetworkId) -> Read<Group> {
    let d = &mut Decoder::new(bytes);
    let (fields, _magic, _version) = (d.array()?, d.str()?, d.u8()?);
    if fields != Some(FIELDS) {
        return Err(shape("a group"));
    }
    if d.str()? != network.as_str() {
        return Err(shape("the network"));
    }
    let id = d.str()?.to_owned();
    let (after, batches, root) = (hash(d)?, d.u64()?, hash(d)?);
    Ok(Group {
        id,
        after,
        before: Counts { batches, refusals: d.u64()?, seals: d.u64()? },
        root,
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
        parts: list(d, part)?,
        heads: list(d, head)?,
    })
}

fn part(d: &mut Decoder<'_>) -> Read<Part> {
    array_of(d, 4)?;
    let (record, start, previous) = (hash(d)?, d.u64()?, d.u64()?);
    Ok(Part { record, start, previous, bytes: d.bytes()?.to_vec().into() })
}

fn head(d: &mut Decoder<'_>) -> Read<Head> {
    array_of(d, 4)?;
    let (epoch, record) = (EpochId::new(d.u64()?), hash(d)?);
    let (length, last) = (d.u64()?, d.u64()?);
    if length > MOST_BYTES {
        return Err(shape("a head"));
    }
    Ok(Head { epoch, record, length, last })
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
            before: [u64; 3],
            after: [u8; 32],
            root: [u8; 32],
            refusals in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3),
            seals in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)), 0..3),
            parts in prop::collection::vec((any::<[u8; 32]>(), any::<u64>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)), 0..3),
            heads in prop::collection::vec((any::<u64>(), any::<[u8; 32]>(), 0..=MOST_BYTES, any::<u64>()), 0..3),
        ) -> Group {
            let seals = seals.into_iter().map(|(epoch, record)| (EpochId::new(epoch), record.into()));
            let [before, refused, sealed] = before;
            let before = Counts { batches: before, refusals: refused, seals: sealed };
            let parts = parts.into_iter().map(|(record, start, previous, bytes)| Part {
                record: B256::new(record), start, previous, bytes: bytes.into(),
            });
            let heads = heads.into_iter().map(|(epoch, record, length, last)| Head {
                epoch: EpochId::new(epoch), record: B256::new(record), length, last,
            });
            let (seals, parts, heads) = (seals.collect(), parts.collect(), heads.collect());
            Group { id: "x.1".into(), after: B256::new(after), before, root: B256::new(root), batches, refusals, seals, parts, heads }
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
            let ours = [b"\x8e\x69depin-log\x04".as_slice(), &bytes].concat();
            let _ = Group::decode(&ours, &network());
        }
    }

    #[test]
    fn another_version_is_told_from_noise() {
        assert_eq!(Group::decode(b"\x8e\x69depin-log\x05", &network()), Err(Unread::Version(5)));
    }
}
