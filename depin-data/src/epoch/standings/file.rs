//! Standings as bytes, which are also what their root is over.
//!
//! ```text
//! standings = "depin standings v1\n" head device* root
//! head      = length u32 big-endian, and as many bytes of deterministic CBOR:
//!             [network tstr, next epoch uint, batches in the log uint, root of the log bstr .size 32,
//!              windows: null / [start, length, lateness, settling, first epoch] as in a record,
//!              [*320 [epoch uint, policy tstr]] by rising epoch, those that are not settled,
//!              devices uint]
//! device    = length u32 big-endian, and as many bytes: [did tstr, past as in a record], by rising DID
//! root      = 32 bytes: RFC 9162 root over head and devices, without their lengths; nothing follows
//! ```

use std::io::{self, Read, Write};

use depin_core::{
    B256, Did, EpochId, Error, ErrorKind, NetworkId,
    cbor::{self, Decoder, Encoder},
};

use super::{EpochError, Past, Standings};
use crate::{
    epoch::{MAX_NAME, MAX_SETTLING, codec},
    merkle::{Accumulator, leaf_hash},
};

const MAGIC: &[u8; 19] = b"depin standings v1\n";
/// Most policies that epochs which are not settled were sealed with.
const MAX_POLICIES: usize = MAX_SETTLING as usize + 64;
/// Most bytes of a head.
const MAX_HEAD: usize = MAX_POLICIES * (MAX_NAME + 16);
/// Most bytes of a device: its DID and works in [`MAX_OPEN`](crate::epoch::MAX_OPEN) epochs.
const MAX_DEVICE: usize = 64 << 10;

/// Why bytes are no standings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StandingsError {
    /// They begin otherwise.
    #[error("the file does not hold standings of version 1; check what was downloaded")]
    Magic,
    /// They end too early, or go on.
    #[error("the standings end within an entry, or go on after their root; download them again")]
    Length,
    /// An entry is not as it should be.
    #[error("entry {entry} of the standings: {fault}; download them again")]
    Entry {
        /// Which one: 0 is the head.
        entry: u64,
        /// What is wrong with it.
        fault: EpochError,
    },
    /// They were changed or damaged.
    #[error("the standings do not lead to the root at their end; download them again")]
    Root,
    /// These are not all: they were taken from records.
    #[error(
        "standings that were taken from records are not all, and cannot be kept; audit from the first epoch on"
    )]
    Partial,
    /// They could not be read or written.
    #[error("the standings cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

impl From<StandingsError> for Error {
    fn from(error: StandingsError) -> Self {
        let kind = match error {
            StandingsError::Io(_) => ErrorKind::Unavailable,
            StandingsError::Root => ErrorKind::Corrupt,
            StandingsError::Partial => ErrorKind::Rejected,
            _ => ErrorKind::Malformed,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

impl Standings {
    /// Writes them; one encoding for the same standings.
    ///
    /// # Errors
    /// [`StandingsError::Partial`] for those that are not all, [`StandingsError::Io`] when `out` fails.
    pub fn write(&self, mut out: impl Write) -> Result<(), StandingsError> {
        if self.partial {
            return Err(StandingsError::Partial);
        }
        let mut tree = Accumulator::new();
        out.write_all(MAGIC)?;
        self.each(&mut |leaf| {
            tree.push(leaf_hash(leaf));
            let length = u32::try_from(leaf.len()).map_err(io::Error::other)?;
            out.write_all(&length.to_be_bytes())?;
            out.write_all(leaf)
        })?;
        out.write_all(tree.root().as_slice())?;
        Ok(out.flush()?)
    }

    /// Reads them. Memory grows with the bytes that are there, not with those announced.
    ///
    /// # Errors
    /// Says what is wrong with the bytes.
    pub fn read(input: impl Read) -> Result<Self, StandingsError> {
        let mut entries = Entries { input, number: 0, tree: Accumulator::new() };
        let magic = entries.bytes::<19>().map_err(|error| match error {
            StandingsError::Length => StandingsError::Magic,
            error => error,
        })?;
        if magic != *MAGIC {
            return Err(StandingsError::Magic);
        }
        let (mut standings, devices) = entries.next(MAX_HEAD, head)?;
        for _ in 0..devices {
            let (did, past) = entries.next(MAX_DEVICE, device)?;
            if standings.devices.last_key_value().is_some_and(|(last, _)| *last >= did) {
                return Err(entries.wrong("devices are not ordered by did, or repeat"));
            }
            standings.devices.insert(did, past);
        }
        let root = entries.bytes::<32>()?;
        if entries.input.read(&mut [0])? != 0 {
            return Err(StandingsError::Length);
        }
        if entries.tree.root() != root { Err(StandingsError::Root) } else { Ok(standings) }
    }

    /// Gives the bytes of the head and of each device.
    pub(super) fn each(&self, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(512);
        let written = self.write_head(&mut Encoder::new(&mut bytes)).is_ok();
        debug_assert!(written, "writing to a vector cannot fail");
        take(&bytes)?;
        for (did, past) in &self.devices {
            bytes.clear();
            let mut e = Encoder::new(&mut bytes);
            let written = e.array(2).and_then(|e| e.str(did.as_str())).is_ok()
                && codec::write_past(&mut e, Some(past)).is_ok();
            debug_assert!(written, "writing to a vector cannot fail");
            take(&bytes)?;
        }
        Ok(())
    }

    fn write_head(&self, e: &mut Encoder<&mut Vec<u8>>) -> codec::Written {
        e.array(7)?.str(self.network.as_str())?.u64(self.next.value())?.u64(self.size)?;
        e.bytes(self.root.as_slice())?;
        codec::write_windows(e, self.windows.as_ref())?;
        e.array(self.policies.len() as u64)?;
        for (epoch, policy) in &self.policies {
            e.array(2)?.u64(epoch.value())?.str(policy)?;
        }
        e.u64(self.devices.len() as u64)?;
        Ok(())
    }
}

/// Entries on their way in.
struct Entries<R> {
    input: R,
    number: u64,
    tree: Accumulator,
}

impl<R: Read> Entries<R> {
    fn next<T>(
        &mut self,
        most: usize,
        read: fn(&mut Decoder<'_>) -> Option<T>,
    ) -> Result<T, StandingsError> {
        let length = u32::from_be_bytes(self.bytes()?) as usize;
        if length > most {
            return Err(self.wrong("it is longer than it may be"));
        }
        let mut bytes = Vec::new();
        (&mut self.input).take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(StandingsError::Length);
        }
        if let Err(error) = cbor::check(&bytes) {
            return Err(StandingsError::Entry { entry: self.number, fault: error.into() });
        }
        let mut d = Decoder::new(&bytes);
        let shape = "it is not a head, or a device with where it stands";
        let entry = read(&mut d).ok_or_else(|| self.wrong(shape))?;
        self.tree.push(leaf_hash(&bytes));
        self.number = self.number.saturating_add(1);
        Ok(entry)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], StandingsError> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => StandingsError::Length,
            _ => error.into(),
        })?;
        Ok(bytes)
    }

    const fn wrong(&self, fault: &'static str) -> StandingsError {
        StandingsError::Entry { entry: self.number, fault: EpochError::Format(fault) }
    }
}

/// The head and how many devices follow.
fn head(d: &mut Decoder<'_>) -> Option<(Standings, u64)> {
    if d.array().ok()? != Some(7) {
        return None;
    }
    let mut standings = Standings::new(NetworkId::parse(d.str().ok()?).ok()?);
    standings.next = EpochId::new(d.u64().ok()?);
    standings.size = d.u64().ok()?;
    standings.root = B256::try_from(d.bytes().ok()?).ok()?;
    standings.windows = codec::windows(d)?;
    let policies = d.array().ok()??;
    if policies > MAX_POLICIES as u64 {
        return None;
    }
    for _ in 0..policies {
        let epoch = (d.array().ok()? == Some(2)).then(|| d.u64().ok().map(EpochId::new))??;
        let name = d.str().ok().filter(|name| name.len() <= MAX_NAME)?;
        let after = standings.policies.last_key_value().is_none_or(|(last, _)| *last < epoch);
        let known = after && epoch < standings.next;
        known.then(|| standings.policies.insert(epoch, name.to_owned()))?;
    }
    Some((standings, d.u64().ok()?))
}

fn device(d: &mut Decoder<'_>) -> Option<(Did, Past)> {
    if d.array().ok()? != Some(2) {
        return None;
    }
    let did = Did::parse(d.str().ok()?).ok()?;
    let past = codec::past(d)??;
    past.open.is_sorted_by(|a, b| a.epoch < b.epoch).then_some((did, past))
}
