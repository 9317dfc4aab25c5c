//! Notes of a fleet, read one at a time: all of them together are more than belongs into memory.

use alloc::{borrow::Cow, vec::Vec};

use crate::{Did, Error, ErrorKind, Result};

/// What a [`FleetCheck`](super::FleetCheck) noted of the devices that sent something in an epoch.
///
/// They lie wherever the epoch keeps them, which is in a file as soon as they are many. A check reads those that it
/// compares, as often as it needs, and holds few of them at a time: then an epoch takes no more memory, however
/// much devices send.
///
/// # Contract
/// 1. Places MUST be `0..len()`, one for each device that sent something, by rising DID.
/// 2. `read` MUST give the bytes that were noted last of a device, the same ones each time.
/// 3. `read` MUST NOT keep more in memory the more notes are read.
///
/// ```
/// use depin_core::{Did, quality::Notes};
///
/// let notes = vec![(Did::parse("did:example:a")?, vec![1, 2]), (Did::parse("did:example:b")?, vec![3])];
/// let notes: &dyn Notes = &notes;
/// assert_eq!((notes.len(), notes.device(1).map(Did::as_str)), (2, Some("did:example:b")));
/// assert_eq!(notes.read(0)?, [1, 2].as_slice());
/// assert!(notes.read(2).is_err());
/// let longest = notes.iter().map(|note| note.map(|(_, note)| note.len())).try_fold(0, |most, length| {
///     Ok::<usize, depin_core::Error>(length?.max(most))
/// })?;
/// assert_eq!(longest, 2);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` holds no notes of a fleet",
    note = "use a `Vec<(Did, Vec<u8>)>`, or implement `depin_core::quality::Notes`"
)]
pub trait Notes {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether nobody sent anything.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of which device the note at a place is.
    fn device(&self, place: usize) -> Option<&Did>;

    /// The note at a place.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none, [`ErrorKind::Unavailable`] when it cannot be read back.
    fn read(&self, place: usize) -> Result<Cow<'_, [u8]>>;
}

impl dyn Notes + '_ {
    /// Each in turn, by rising DID.
    pub fn iter(&self) -> impl Iterator<Item = Result<(&Did, Cow<'_, [u8]>)>> {
        let device = |place| self.device(place).ok_or_else(|| no_note(place));
        (0..self.len()).map(move |place| Ok((device(place)?, self.read(place)?)))
    }
}

/// Notes that are few enough to be in memory, by rising DID.
impl Notes for Vec<(Did, Vec<u8>)> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn device(&self, place: usize) -> Option<&Did> {
        self.get(place).map(|(device, _)| device)
    }

    fn read(&self, place: usize) -> Result<Cow<'_, [u8]>> {
        let (_, note) = self.get(place).ok_or_else(|| no_note(place))?;
        Ok(Cow::Borrowed(note))
    }
}

fn no_note(place: usize) -> Error {
    let message = "there is no note at this place; places are less than the number of notes";
    Error::new(ErrorKind::NotFound, message).with("place", place)
}
