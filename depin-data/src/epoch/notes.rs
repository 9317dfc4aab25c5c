//! What a check of the fleet noted of devices, until they are compared.
//!
//! The notes of a fleet are much. So they wait in a file, and the check that compares reads them from there: what it takes
//! in memory grows with the number of devices alone, by the few bytes that say where a note stands.

use std::{
    borrow::Cow,
    cell::RefCell,
    io::{self, BufWriter, Write},
};

use depin_core::{Did, Error, ErrorKind, Result, quality::Notes};
use tempfile::SpooledTempFile;

use super::{Member, blocks::Blocks};

/// Bytes of the notes of a check that need no file: small epochs touch no disk.
const IN_MEMORY: usize = 64 << 10;
/// Bytes written at once.
const TOGETHER: usize = 16 << 10;

/// The notes of one check, as they are taken. The file has no name, so that nothing of it is left however the process
/// ends.
pub(super) struct Taken {
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

impl Default for Taken {
    fn default() -> Self {
        let file = BufWriter::with_capacity(TOGETHER, SpooledTempFile::new(IN_MEMORY));
        Self { file, end: 0, kept: Vec::new() }
    }
}

impl Taken {
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

    /// All of them, of members of this roster, to be compared.
    pub(super) fn of(self, roster: &[Member]) -> io::Result<Compared<'_>> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Compared { roster, kept: self.kept, file: RefCell::new(Blocks::new(file)) })
    }
}

/// The notes that a check compares, by place in the roster, which is by DID.
pub(super) struct Compared<'a> {
    roster: &'a [Member],
    kept: Vec<Kept>,
    file: RefCell<Blocks<SpooledTempFile>>,
}

impl Compared<'_> {
    /// Whether there is one of this member.
    pub(super) fn has(&self, member: usize) -> bool {
        self.kept.binary_search_by_key(&member, |kept| kept.member).is_ok()
    }
}

impl Notes for Compared<'_> {
    fn len(&self) -> usize {
        self.kept.len()
    }

    fn device(&self, place: usize) -> Option<&Did> {
        let member = self.roster.get(self.kept.get(place)?.member)?;
        Some(&member.device)
    }

    fn read(&self, place: usize) -> Result<Cow<'_, [u8]>> {
        let kept = self.kept.get(place).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no note at this place").with("place", place)
        })?;
        let note = self.file.borrow_mut().read(kept.start, kept.length);
        note.map(Cow::Owned).map_err(|e| {
            let message = "a note cannot be read back; see to the disk of temporary files (TMPDIR) and close the epoch again";
            Error::unavailable(message).source(e)
        })
    }
}

#[cfg(test)]
mod tests {
    use depin_core::Address;

    use super::*;

    fn roster() -> Vec<Member> {
        let member = |number| Member {
            device: Did::parse(&format!("did:example:{number:04}")).unwrap(),
            keys: Vec::new(),
            beneficiary: Address::ZERO,
            past: None,
        };
        (0..300).map(member).collect()
    }

    /// Notes of a hundred members, some of them empty, taken twice of every seventh.
    fn filled(bytes: usize) -> Taken {
        let mut notes = Taken::default();
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
        let roster = roster();
        for bytes in [0, 1, 100, 10_000] {
            let notes = filled(bytes).of(&roster).unwrap();
            assert_eq!(notes.len(), 100);
            for member in (0..100).chain((0..100).rev()) {
                let again = member % 7 == 0;
                let length = if again { bytes + member } else { bytes * (member % 5) };
                assert_eq!(*notes.read(member).unwrap(), vec![1 + u8::from(again); length]);
                assert_eq!(notes.device(member), Some(&roster[3 * member].device));
                assert!(notes.has(3 * member) && !notes.has(3 * member + 1));
            }
            assert_eq!(notes.read(100).unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(notes.device(100), None);
        }
    }

    #[test]
    fn notes_take_no_memory_before_they_are_compared_and_little_after() {
        let roster = roster();
        let held = |bytes| {
            let work = || {
                let notes = filled(bytes).of(&roster).unwrap();
                (0..100).for_each(|place| drop(notes.read(place).unwrap()));
            };
            allocation_counter::measure(work).bytes_max
        };
        let (few, many) = (held(50_000), held(200_000));
        // The longest note, which is written and read.
        let most = few + 2 * 4 * 150_000;
        assert!(many < most, "{few} bytes, and {many} of four times as much");
    }
}
