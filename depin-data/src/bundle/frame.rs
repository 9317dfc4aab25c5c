//! Frames: length, kind, content, checksum.

use std::io::{ErrorKind, Read, Write};

use super::BundleError;
use crate::{batch, epoch};

/// Bytes of an account and an amount.
pub(super) const ROW: usize = 20 + 32;
/// Most accounts in a frame.
pub(super) const ROWS: usize = 4096;
/// Bytes read at a time.
const PIECE: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Record = 1,
    Balances = 2,
    Batch = 3,
    End = 4,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Record, Self::Balances, Self::Batch, Self::End]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    const fn most(self) -> usize {
        match self {
            Self::Record => epoch::MAX_BYTES,
            Self::Balances => ROW * ROWS,
            Self::Batch => 8 + batch::MAX_BYTES,
            Self::End => 8,
        }
    }
}

pub(super) fn write(out: &mut dyn Write, kind: Kind, parts: &[&[u8]]) -> std::io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).map_err(std::io::Error::other)?;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&[kind as u8]);
    out.write_all(&length.to_be_bytes())?;
    out.write_all(&[kind as u8])?;
    for part in parts {
        checksum.update(part);
        out.write_all(part)?;
    }
    out.write_all(&checksum.finalize().to_be_bytes())
}

/// Frames on their way in.
#[derive(Debug)]
pub(super) struct Frames<R> {
    pub(super) input: R,
    /// Number of the next frame, and where it begins.
    pub(super) number: u64,
    pub(super) offset: u64,
}

impl<R: Read> Frames<R> {
    /// The next frame, of one of the kinds expected here. It is never larger than its kind may be, and memory
    /// grows with the bytes that are there, not with those announced.
    pub(super) fn next(&mut self, expected: &[Kind]) -> Result<(Kind, Vec<u8>), BundleError> {
        let mut content = Vec::new();
        let kind = self.pour(expected, &mut |piece| content.extend_from_slice(piece))?;
        Ok((kind, content))
    }

    /// As [`next`](Self::next), in pieces, of which the last ones came before a checksum that may not hold.
    pub(super) fn pour(
        &mut self,
        expected: &[Kind],
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<Kind, BundleError> {
        let [a, b, c, d, kind] = self.bytes()?;
        let length = u32::from_be_bytes([a, b, c, d]);
        let Some(kind) = Kind::of(kind).filter(|kind| expected.contains(kind)) else {
            return Err(self.wrong("no frame of this kind belongs here"));
        };
        if usize::try_from(length).is_ok_and(|length| length > kind.most()) {
            return Err(self.wrong("it is longer than a frame of this kind may be"));
        }
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&[kind as u8]);
        let (mut left, mut piece) = (length as usize, [0; PIECE]);
        while left > 0 {
            let room = piece.get_mut(..left.min(PIECE)).unwrap_or_default();
            let read = match self.input.read(room) {
                Ok(0) => return Err(self.wrong("the file ends in it")),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read?,
            };
            let read = room.get(..read).unwrap_or_default();
            checksum.update(read);
            each(read);
            left = left.saturating_sub(read.len());
        }
        if self.bytes()? != checksum.finalize().to_be_bytes() {
            return Err(self.wrong("its checksum does not hold"));
        }
        self.number += 1;
        self.offset += 9 + u64::from(length);
        Ok(kind)
    }

    /// That nothing follows.
    pub(super) fn end(&mut self) -> Result<(), BundleError> {
        match self.input.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(self.wrong("bytes follow the last frame")),
        }
    }

    pub(super) const fn wrong(&self, fault: &'static str) -> BundleError {
        BundleError::Frame { frame: self.number, offset: self.offset, fault }
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        let mut bytes = [0; N];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(self.wrong("the file ends in it"))
            }
            Err(error) => Err(error.into()),
        }
    }
}
