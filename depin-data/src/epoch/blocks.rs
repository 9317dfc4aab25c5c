//! A file that is read here and there, of which a few blocks are in memory.
//!
//! Whoever compares devices reads one note after the other, or those of a neighbourhood again and again. Blocks make the
//! first cheap; that as many stay as [`Blocks::HELD`] makes the second cheap, too, and is all that reading takes.

use std::io::{self, Read, Seek, SeekFrom};

/// The blocks of a file that were read last, each in the one place where it may be held.
pub(super) struct Blocks<F> {
    file: F,
    held: Vec<Option<(u64, Vec<u8>)>>,
}

impl<F: Read + Seek> Blocks<F> {
    /// Bytes of a block.
    pub(super) const SIZE: usize = 16 << 10;
    /// Most blocks in memory: 4 MiB.
    pub(super) const HELD: usize = 256;

    pub(super) fn new(file: F) -> Self {
        Self { file, held: Vec::new() }
    }

    /// So many bytes from a place on.
    pub(super) fn read(&mut self, start: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = start.saturating_add(bytes.len() as u64);
            let block = self.block(at / Self::SIZE as u64)?;
            let from = (at % Self::SIZE as u64) as usize;
            let rest = block.get(from..).filter(|rest| !rest.is_empty());
            let rest = rest.ok_or(io::ErrorKind::UnexpectedEof)?;
            let part = rest.len().min(length - bytes.len());
            bytes.extend(rest.iter().take(part));
        }
        Ok(bytes)
    }

    fn block(&mut self, number: u64) -> io::Result<&[u8]> {
        let place = (number % Self::HELD as u64) as usize;
        if self.held.len() <= place {
            self.held.resize(place + 1, None);
        }
        let held = self.held.get_mut(place).ok_or(io::ErrorKind::OutOfMemory)?;
        let (of, block) = held.get_or_insert_with(|| (u64::MAX, Vec::with_capacity(Self::SIZE)));
        if *of != number {
            *of = u64::MAX;
            block.clear();
            self.file.seek(SeekFrom::Start(number.saturating_mul(Self::SIZE as u64)))?;
            self.file.by_ref().take(Self::SIZE as u64).read_to_end(block)?;
            *of = number;
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    const BLOCK: usize = Blocks::<Cursor<Vec<u8>>>::SIZE;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn every_part_is_read_as_it_is(
            length in 1..6_000_000usize,
            parts in prop::collection::vec((any::<prop::sample::Index>(), 0..3 * BLOCK), 1..200),
        ) {
            let file: Vec<u8> = (0..length).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
            let mut blocks = Blocks::new(Cursor::new(file.clone()));
            for (start, length) in parts {
                let start = start.index(file.len());
                let read = blocks.read(start as u64, length);
                match file.get(start..start + length) {
                    Some(part) => prop_assert_eq!(read.unwrap(), part),
                    None => prop_assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof),
                }
            }
        }
    }

    #[test]
    fn a_longer_file_takes_no_more_memory() {
        let peak = |blocks: usize| {
            let file = Cursor::new(vec![7; blocks * BLOCK]);
            let mut blocks = Blocks::new(file);
            let read = || {
                for at in (0..blocks.file.get_ref().len()).step_by(3_000) {
                    let _ = blocks.read(at as u64, 3_000);
                }
            };
            allocation_counter::measure(read).bytes_max
        };
        let (few, many) = (peak(300), peak(3_000));
        assert!(many <= few + BLOCK as u64, "{few} bytes, and {many} of ten times as much");
    }
}
