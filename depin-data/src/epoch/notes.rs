//! What a check of the fleet noted of devices, until they are compared.
//!
//! The notes of all checks together are much, and each is needed once. So they wait in a file, and only those of the
//! check that compares are in memory.

use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use tempfile::SpooledTempFile;

/// Bytes of the notes of a check that need no file: small epochs touch no disk.
const IN_MEMORY: usize = 64 << 10;
/// Bytes written or read at once.
const TOGETHER: usize = 16 << 10;

/// The notes of one check. The file has no name, so that nothing of it is left however the process ends.
pub(super) struct Notes {
    file: BufWriter<SpooledTempFile>,
    end: u64,
    /// By place in the roster.
    kept: Vec<Kept>,
}

/// Where the last note of a member stands.
#[derive(Clone, Copy)]
struct Kept {
    member: usize,
    start: u64,
    length: usize,
}

impl Default for Notes {
    fn default() -> Self {
        let file = BufWriter::with_capacity(TOGETHER, SpooledTempFile::new(IN_MEMORY));
        Self { file, end: 0, kept: Vec::new() }
    }
}

impl Notes {
    /// Keeps the note of a member instead of the one before.
    pub(super) fn keep(&mut self, member: usize, note: &[u8]) -> io::Result<()> {
        self.file.write_all(note)?;
        let kept = Kept { member, start: self.end, length: note.len() };
        self.end = self.end.saturating_add(note.len() as u64);
        match self.kept.binary_search_by_key(&member, |kept| kept.member) {
            Ok(place) => self.kept.get_mut(place).into_iter().for_each(|it| *it = kept),
            Err(place) => self.kept.insert(place, kept),
        }
        Ok(())
    }

    /// The notes by rising place in the roster.
    pub(super) fn read(mut self) -> io::Result<Vec<(usize, Vec<u8>)>> {
        self.file.flush()?;
        self.file.get_mut().seek(SeekFrom::Start(0))?;
        let mut file = BufReader::with_capacity(TOGETHER, self.file.get_mut());
        let mut at = 0u64;
        let mut note = |Kept { member, start, length }: Kept| {
            file.seek_relative(start.wrapping_sub(at).cast_signed())?;
            let mut note = vec![0; length];
            file.read_exact(&mut note)?;
            at = start.saturating_add(length as u64);
            Ok((member, note))
        };
        self.kept.into_iter().map(&mut note).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes of a hundred members, some of them empty, taken twice of every seventh.
    fn filled(bytes: usize) -> Notes {
        let mut notes = Notes::default();
        for member in 0..100 {
            notes.keep(3 * member, &vec![1; bytes * (member % 5)]).unwrap();
        }
        for member in (0..100).step_by(7).rev() {
            notes.keep(3 * member, &vec![2; bytes + member]).unwrap();
        }
        notes
    }

    #[test]
    fn the_last_note_of_each_member_is_read_back_in_order_from_memory_and_from_a_file() {
        for bytes in [0, 1, 100, 10_000] {
            let read = filled(bytes).read().unwrap();
            assert_eq!(read.len(), 100);
            for (member, (place, note)) in read.into_iter().enumerate() {
                let again = member % 7 == 0;
                let length = if again { bytes + member } else { bytes * (member % 5) };
                assert_eq!((place, note), (3 * member, vec![1 + u8::from(again); length]));
            }
        }
    }

    #[test]
    fn notes_take_no_memory_until_they_are_read() {
        let held = |bytes| allocation_counter::measure(|| drop(filled(bytes))).bytes_max;
        let (few, many) = (held(1_000), held(100_000));
        assert!(many < few + 600_000, "{few} bytes, and {many} of a hundred times as much");
    }
}
