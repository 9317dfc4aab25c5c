//! Records in a ring of sectors: written once, found again after power loss at any byte.
//!
//! ```text
//! sector = header, padded to a block; then records, each padded to a block, the last of which may go on
//!          after the header of the next sector
//! header = "depinbx2" owner(16) generation(8) checkpoint(115) crc32(4)
//! record = length(4) crc32(4) content(length)
//! ```
//!
//! All numbers are little-endian. Sector `generation % sectors` holds a generation, so the valid headers tell
//! which sectors belong to the ring and in which order. The checksum of a record also covers the generation
//! in which it begins, so that remains of an earlier round are none. Whatever is torn is skipped block by
//! block. A crate made for this, `sequential-storage`, keeps an item within one erase page (often 4 KiB; a
//! batch has up to 64) and shows the types of its flash traits.

use alloc::{boxed::Box, vec, vec::Vec};

use crc32fast::Hasher;
use depin_core::{Error, ErrorKind, Result};

use super::{Store, record::Checkpoint};
use crate::batch;

const MAGIC: &[u8; 8] = b"depinbx2";
/// Magic, owner, generation, checkpoint, checksum.
const HEADER: usize = 8 + 16 + 8 + Checkpoint::SIZE + 4;
/// Length and checksum.
const HEAD: usize = 8;
/// Longest content of a record: a batch and a few words.
const MAX_CONTENT: usize = batch::MAX_BYTES + 64;

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) generation: u64,
    offset: u32,
}

/// What is found in the ring, oldest first.
pub(super) enum Found {
    /// What was known when a sector was begun.
    Checkpoint(Checkpoint),
    Record(Place, Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Ring {
    store: Box<dyn Store>,
    owner: [u8; 16],
    sectors: u64,
    size: u32,
    block: u32,
    /// The oldest generation of the ring, and where the next record begins; nothing while it is empty.
    span: Option<(u64, Place)>,
}

impl Ring {
    /// Finds what is in the store, oldest first, if it is the owner's.
    pub(super) fn open(store: Box<dyn Store>, owner: [u8; 16]) -> Result<(Self, Vec<Found>)> {
        let (sectors, size, block) = (store.sectors(), store.sector_size(), store.block().max(1));
        let fits = sectors >= 4 && size.is_multiple_of(block) && block as usize <= MAX_CONTENT;
        let mut ring = Self { store, owner, sectors: sectors.into(), size, block, span: None };
        if !fits || ring.start().is_none_or(|start| start >= size) {
            let why = "a store has at least four sectors of some blocks; give it more";
            return Err(Error::new(ErrorKind::Config, why));
        }
        let found = ring.recover()?;
        Ok((ring, found))
    }

    /// First generation that is still there.
    pub(super) fn oldest(&self) -> u64 {
        self.span.map_or(0, |(oldest, _)| oldest)
    }

    /// First generation that is still there after a record of `length` bytes is written.
    pub(super) fn oldest_after(&self, length: usize) -> u64 {
        let Some((oldest, next)) = self.span else { return 0 };
        let record = (HEAD + length).next_multiple_of(self.block as usize);
        let more = record.saturating_sub(self.size.saturating_sub(next.offset) as usize);
        let room = (self.size - self.start().unwrap_or_default()).max(1) as usize;
        let newest = next.generation + more.div_ceil(room) as u64;
        oldest.max((newest + 1).saturating_sub(self.sectors))
    }

    pub(super) fn sync(&mut self) -> Result<()> {
        self.store.sync()
    }

    /// Writes a record at the end; the oldest sectors go where there is no room. Durable after
    /// [`sync`](Self::sync). After an error the ring goes on behind whatever was written.
    pub(super) fn append(&mut self, content: &[u8], checkpoint: &Checkpoint) -> Result<Place> {
        if content.len() > self.largest() {
            let why = "the batch is too large for the store; put fewer readings into it";
            return Err(Error::new(ErrorKind::Limit, why).with("bytes", content.len()));
        }
        let place = match self.span {
            Some((_, next)) if next.offset < self.size => next,
            _ => self.begin_sector(checkpoint)?,
        };
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
        let crc = checksum(place.generation, content).to_le_bytes();
        let mut bytes = [&length, &crc, content].concat();
        bytes.resize(bytes.len().next_multiple_of(self.block as usize), 0xff);
        let (mut at, mut rest) = (place, bytes.as_slice());
        loop {
            let room = (self.size - at.offset) as usize;
            let (piece, more) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            let end = at.offset + u32::try_from(piece.len()).unwrap_or_default();
            if let Some((_, next)) = &mut self.span {
                next.offset = end;
            }
            self.store.write(self.sector(at.generation), at.offset, piece)?;
            if more.is_empty() {
                return Ok(place);
            }
            (at, rest) = (self.begin_sector(checkpoint)?, more);
        }
    }

    /// Most bytes of a record's content: all but two sectors may be its own.
    pub(super) fn largest(&self) -> usize {
        let most = (self.sectors - 2) * u64::from(self.size - self.start().unwrap_or(self.size));
        usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(HEAD).min(MAX_CONTENT)
    }

    /// The content of a record that was found or written before.
    pub(super) fn read(&mut self, place: Place) -> Result<Vec<u8>> {
        let newest = self.span.map_or(0, |(_, next)| next.generation);
        let found = self.record(place, newest)?.map(|(content, _)| content);
        found.ok_or_else(|| Error::new(ErrorKind::Corrupt, "a kept batch is damaged"))
    }

    /// Erases the next sector, which may be the oldest, and writes its header.
    fn begin_sector(&mut self, checkpoint: &Checkpoint) -> Result<Place> {
        let (oldest, generation) = match self.span {
            Some((oldest, next)) => (oldest, next.generation + 1),
            None => (0, 0),
        };
        let kept = oldest.max((generation + 1).saturating_sub(self.sectors));
        if let Some((oldest, _)) = &mut self.span {
            // Also when what follows fails, the erased sector is gone.
            *oldest = kept;
        }
        let mut header = Vec::with_capacity(self.block as usize);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&self.owner);
        header.extend_from_slice(&generation.to_le_bytes());
        header.extend_from_slice(&checkpoint.to_bytes());
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        header.resize(header.len().next_multiple_of(self.block as usize), 0xff);
        let sector = self.sector(generation);
        self.store.erase(sector)?;
        self.store.write(sector, 0, &header)?;
        let next = Place { generation, offset: u32::try_from(header.len()).unwrap_or(u32::MAX) };
        self.span = Some((kept, next));
        Ok(next)
    }

    fn recover(&mut self) -> Result<Vec<Found>> {
        let mut generations = Vec::new();
        for sector in 0..self.sectors {
            generations.extend(self.header(sector)?.map(|(generation, _)| generation));
        }
        let Some(newest) = generations.iter().copied().max() else { return Ok(Vec::new()) };
        let mut oldest = newest;
        while let Some(before) = oldest.checked_sub(1).filter(|before| generations.contains(before))
        {
            oldest = before;
        }
        let (mut found, mut seen) = (Vec::new(), None);
        let start = self.start().unwrap_or(self.size);
        let mut at = Place { generation: oldest, offset: start };
        let mut end = at;
        while at.generation <= newest {
            if at.offset >= self.size {
                at = Place { generation: at.generation + 1, offset: start };
                continue;
            }
            self.checkpoints(&mut seen, at.generation, &mut found)?;
            if end.generation < at.generation {
                end = at;
            }
            if let Some((content, after)) = self.record(at, newest)? {
                self.checkpoints(&mut seen, after.generation, &mut found)?;
                found.push(Found::Record(at, content));
                (at, end) = (after, after);
            } else {
                let blank = self.is_blank(at)?;
                at.offset += self.block;
                // Nothing is written over what is left of a torn record.
                end = if blank { end } else { at };
            }
        }
        self.span = Some((oldest, end));
        Ok(found)
    }

    /// Tells the checkpoints of sectors up to `generation` that were not told yet.
    fn checkpoints(
        &mut self,
        seen: &mut Option<u64>,
        generation: u64,
        found: &mut Vec<Found>,
    ) -> Result<()> {
        let first = seen.map_or(generation, |seen| seen + 1);
        for generation in first..=generation {
            let header = self.header(generation % self.sectors)?;
            found.extend(header.map(|(_, checkpoint)| Found::Checkpoint(checkpoint)));
            *seen = Some(generation);
        }
        Ok(())
    }

    fn header(&mut self, sector: u64) -> Result<Option<(u64, Checkpoint)>> {
        let mut bytes = [0; HEADER];
        self.store.read(u32::try_from(sector).unwrap_or(u32::MAX), 0, &mut bytes)?;
        let Some((signed, crc)) = bytes.split_last_chunk::<4>() else { return Ok(None) };
        let Some((magic, rest)) = signed.split_first_chunk::<8>() else { return Ok(None) };
        let Some((owner, rest)) = rest.split_first_chunk::<16>() else { return Ok(None) };
        let Some((generation, checkpoint)) = rest.split_first_chunk() else { return Ok(None) };
        let generation = u64::from_le_bytes(*generation);
        let whole = magic == MAGIC
            && crc32fast::hash(signed).to_le_bytes() == *crc
            && generation % self.sectors == sector;
        if whole && *owner != self.owner {
            let why = "the store is that of another device or network; give each its own";
            return Err(Error::new(ErrorKind::Conflict, why));
        }
        Ok(Checkpoint::from_bytes(checkpoint).filter(|_| whole).map(|known| (generation, known)))
    }

    /// The record at a place, and where it ends; nothing when there is none or it is damaged.
    fn record(&mut self, place: Place, newest: u64) -> Result<Option<(Vec<u8>, Place)>> {
        let mut at = place;
        let mut head = [0; HEAD];
        if !self.take(&mut at, &mut head, newest)? {
            return Ok(None);
        }
        let [a, b, c, d, crc @ ..] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > MAX_CONTENT {
            return Ok(None);
        }
        let mut content = vec![0; length];
        let whole = self.take(&mut at, &mut content, newest)?
            && checksum(place.generation, &content).to_le_bytes() == crc;
        at.offset = at.offset.next_multiple_of(self.block);
        Ok(whole.then_some((content, at)))
    }

    /// Reads on from `at`, over the headers between sectors; false past the end of the ring.
    fn take(&mut self, at: &mut Place, mut into: &mut [u8], newest: u64) -> Result<bool> {
        while !into.is_empty() {
            if at.offset >= self.size {
                let start = self.start().unwrap_or(self.size);
                *at = Place { generation: at.generation + 1, offset: start };
            }
            if at.generation > newest {
                return Ok(false);
            }
            let room = (self.size - at.offset) as usize;
            let length = into.len().min(room);
            let (now, later) = into.split_at_mut(length);
            self.store.read(self.sector(at.generation), at.offset, now)?;
            at.offset += u32::try_from(length).unwrap_or_default();
            into = later;
        }
        Ok(true)
    }

    fn is_blank(&mut self, at: Place) -> Result<bool> {
        let mut bytes = vec![0; self.block as usize];
        self.store.read(self.sector(at.generation), at.offset, &mut bytes)?;
        Ok(bytes.iter().all(|byte| *byte == 0xff))
    }

    /// Where records begin after a header.
    fn start(&self) -> Option<u32> {
        u32::try_from(HEADER).ok()?.checked_next_multiple_of(self.block)
    }

    fn sector(&self, generation: u64) -> u32 {
        u32::try_from(generation % self.sectors).unwrap_or(u32::MAX)
    }
}

fn checksum(generation: u64, content: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}
