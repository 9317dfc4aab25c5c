//! How batches lie in a file: one frame for each group commit.
//!
//! ```text
//! file  = head frame* zeros
//! head  = 0xff "dps" | u32 format | u64 index of first batch | mark of the 16 bytes before
//! frame = 0xff "dpl" | u32 length of body | u64 index of first batch | u32 crc of body | mark of the 20 bytes before | body
//! mark  = first 8 bytes of SHA-256(key of the log | the bytes)
//! body  = record*                                                              integers are big endian, crc is CRC-32
//! record = [did, sequence, previous, received ms, covered sequence or null, covered hash or null, bytes]  (CBOR)
//! ```
//!
//! Devices choose much of what a frame holds, so what makes one good takes a [key](Key) that they do not
//! know: else a frame inside a torn one would look like damage. The head tells whose file it is.

use std::ops::Range;

use depin_core::{
    B256, Did, Error, ErrorKind, Result, Sequence, SignedBatch, Timestamp,
    cbor::{self, Decoder, Encoder},
    log::{ChainTip, NewBatch},
};
use sha2::{Digest, Sha256};

use super::disk::BLOCK;

pub(super) const MAGIC: [u8; 4] = *b"\xffdpl";
const HEADER: usize = 28;
const MARK: usize = 8;
pub(super) const FILE_MAGIC: [u8; 4] = *b"\xffdps";
/// Bytes before the first frame of a file.
pub(super) const HEAD: usize = 24;

/// Random and known to one log only: nobody else can make bytes that pass for a frame of it.
#[derive(Clone, Copy)]
pub(super) struct Key(pub(super) [u64; 2]);

impl Key {
    /// Of these fields of a header.
    fn mark(self, fields: &[u8]) -> [u8; MARK] {
        let secret = self.0.map(u64::to_be_bytes);
        let hash = Sha256::new().chain_update(secret.as_flattened()).chain_update(fields);
        let mut mark = [0; MARK];
        mark.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        mark
    }

    /// The first bytes of the file whose first batch has this index.
    pub(super) fn head(self, first: u64) -> [u8; HEAD] {
        let format = super::place::FORMAT as u32;
        let fields = [&FILE_MAGIC[..], &format.to_be_bytes(), &first.to_be_bytes()].concat();
        let mut head = [0; HEAD];
        let bytes = fields.iter().chain(&self.mark(&fields)).copied().collect::<Vec<_>>();
        head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        head
    }
}

/// Where the bytes of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Index of the first batch of the file.
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) crc: u32,
}

/// The end of what is stored: a file and a length of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// Where the last frame begins; the same as `offset` when there is none.
    pub(super) last: u64,
}

impl Tail {
    /// Where nothing is stored yet.
    pub(super) const fn start(segment: u64) -> Self {
        Self { segment, offset: 0, last: 0 }
    }
}

/// The records of one commit on their way to the disk.
pub(super) struct Frame {
    buffer: Vec<u8>,
    /// Where the block begins in which the file ends: blocks of the file lie at blocks of memory.
    block: usize,
    /// Where what goes to the end of the file begins.
    skip: usize,
    /// Where the frame begins: after the head of a new file.
    start: usize,
    first: u64,
    end: Tail,
}

impl Frame {
    /// For batches from index `first` on, at `end`, in a file whose last block begins with `edge`; what is in
    /// `buffer` goes, its space is used.
    pub(super) fn new(mut buffer: Vec<u8>, key: Key, first: u64, end: Tail, edge: &[u8]) -> Self {
        let block = (BLOCK - buffer.as_ptr().addr() % BLOCK) % BLOCK;
        buffer.clear();
        buffer.resize(block, 0);
        buffer.extend(edge);
        let skip = buffer.len();
        if end.offset == 0 {
            buffer.extend(key.head(end.segment));
        }
        let start = buffer.len();
        buffer.resize(start.saturating_add(HEADER), 0);
        Self { buffer, block, skip, start, first, end }
    }

    /// Adds a batch and says where its bytes will be.
    pub(super) fn push(&mut self, new: &NewBatch) -> Result<Span> {
        let too_large = || Error::new(ErrorKind::Limit, "the batch cannot be encoded");
        let signed = new.batch.as_bytes();
        let covers = new.covers.as_ref();
        Encoder::new(&mut self.buffer)
            .array(7)
            .and_then(|e| e.str(new.device.as_str())?.u64(new.sequence.value()))
            .and_then(|e| e.bytes(new.previous.as_slice())?.u64(new.received.millis()))
            .and_then(|e| e.encode(covers.map(|tip| tip.sequence.value())))
            .and_then(|e| match covers {
                Some(tip) => e.bytes(tip.hash.as_slice()),
                None => e.null(),
            })
            .and_then(|e| e.bytes(signed))
            .map_err(|_| too_large())?;
        let start = self.len().saturating_sub(signed.len()) as u64;
        Ok(Span {
            segment: self.end.segment,
            offset: self.end.offset.saturating_add(start),
            length: u32::try_from(signed.len()).map_err(|_| too_large())?,
            crc: crc32fast::hash(signed),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len().saturating_sub(self.skip)
    }

    /// Completes the frame.
    pub(super) fn seal(mut self, key: Key) -> Result<Sealed> {
        let (_, frame) = self.buffer.split_at_mut(self.start);
        if let Some((header, body)) = frame.split_first_chunk_mut::<HEADER>() {
            let length = u32::try_from(body.len())
                .map_err(|_| Error::new(ErrorKind::Limit, "a commit takes at most 4 GiB"))?;
            *header = header_bytes(key, length, self.first, crc32fast::hash(body));
        }
        let Self { mut buffer, block, skip, start, end, .. } = self;
        let at = |place: usize| end.offset.saturating_add(place.saturating_sub(skip) as u64);
        let (stop, last) = (buffer.len(), at(start));
        let end = Tail { segment: end.segment, offset: at(stop), last };
        buffer.resize(block.saturating_add((stop - block).next_multiple_of(BLOCK)), 0);
        Ok(Sealed { buffer, block, frame: skip..stop, end })
    }

    /// Gives the buffer back.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

/// A frame that is complete.
pub(super) struct Sealed {
    buffer: Vec<u8>,
    block: usize,
    frame: Range<usize>,
    end: Tail,
}

impl Sealed {
    /// What goes to the end of the file.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.frame.clone()).unwrap_or_default()
    }

    /// The same as whole blocks of the file: what lies before it in its first block, and zeros after it.
    pub(super) fn blocks(&self) -> &[u8] {
        self.buffer.get(self.block..).unwrap_or_default()
    }

    /// The end of the file when it holds the frame.
    pub(super) const fn end(&self) -> Tail {
        self.end
    }

    /// What the last block of the file then begins with.
    pub(super) fn edge(&self) -> &[u8] {
        let place = place_in_block(self.end.offset);
        let stop = self.frame.end;
        self.buffer.get(stop.saturating_sub(place)..stop).unwrap_or_default()
    }

    /// Gives the buffer back.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

/// Bytes between the start of a block of the file and this place.
pub(super) const fn place_in_block(offset: u64) -> usize {
    (offset % BLOCK as u64) as usize
}

fn header_bytes(key: Key, length: u32, first: u64, crc: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let parts = [&MAGIC[..], &length.to_be_bytes(), &first.to_be_bytes(), &crc.to_be_bytes()];
    header.iter_mut().zip(parts.concat()).for_each(|(to, from)| *to = from);
    let (fields, mark) = header.split_at_mut(HEADER - MARK);
    mark.copy_from_slice(&key.mark(fields));
    header
}

/// A good frame in the bytes of a file.
pub(super) struct Found<'a> {
    /// Index of its first batch.
    pub(super) first: u64,
    body: &'a [u8],
}

impl<'a> Found<'a> {
    /// The frame at the start of `bytes`, if a good one is there.
    pub(super) fn at_start(key: Key, bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let (_, fields) = header.split_first_chunk::<4>()?;
        let (length, fields) = fields.split_first_chunk::<4>()?;
        let (first, fields) = fields.split_first_chunk::<8>()?;
        let (crc, _) = fields.split_first_chunk::<4>()?;
        let first = u64::from_be_bytes(*first);
        let (length, crc) = (u32::from_be_bytes(*length), u32::from_be_bytes(*crc));
        let body = rest.get(..usize::try_from(length).ok()?)?;
        let good = header_bytes(key, length, first, crc) == *header && crc32fast::hash(body) == crc;
        good.then_some(Self { first, body })
    }

    /// Bytes of the whole frame.
    pub(super) const fn len(&self) -> usize {
        HEADER + self.body.len()
    }

    /// What it holds, when it begins at `offset` of the file; `None` when that cannot be read.
    pub(super) fn records(&self, segment: u64, offset: u64) -> Option<Vec<(NewBatch, Span)>> {
        let mut decoder = Decoder::new(self.body);
        let mut records = Vec::new();
        while decoder.position() < self.body.len() {
            let new = record(&mut decoder).ok()?;
            let signed = new.batch.as_bytes();
            let start = decoder.position().checked_sub(signed.len())?.checked_add(HEADER)?;
            let span = Span {
                segment,
                offset: offset.checked_add(start as u64)?,
                length: u32::try_from(signed.len()).ok()?,
                crc: crc32fast::hash(signed),
            };
            records.push((new, span));
        }
        Some(records)
    }
}

fn record(d: &mut Decoder<'_>) -> Result<NewBatch, cbor::decode::Error> {
    let wrong = |_| cbor::decode::Error::message("not a record");
    d.array()?;
    let device = Did::parse(d.str()?).map_err(|_| cbor::decode::Error::message("not a did"))?;
    let sequence = Sequence::new(d.u64()?);
    let previous = B256::try_from(d.bytes()?).map_err(wrong)?;
    let received = Timestamp::from_millis(d.u64()?);
    let (end, hash): (Option<u64>, _) = (d.decode()?, d.datatype()?);
    let hash = match hash {
        cbor::Type::Null => d.null().map(|()| None)?,
        _ => Some(B256::try_from(d.bytes()?).map_err(wrong)?),
    };
    let covers = end.zip(hash).map(|(end, hash)| ChainTip { sequence: Sequence::new(end), hash });
    let batch = SignedBatch::new(d.bytes()?.to_vec());
    Ok(NewBatch { device, sequence, previous, covers, received, batch })
}
