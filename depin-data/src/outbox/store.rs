//! Where an outbox keeps its bytes: the seam to flash, a file or memory, and the one in memory.

use alloc::{boxed::Box, vec, vec::Vec};
use core::fmt;

use depin_core::{Error, ErrorKind, Result};

/// Bytes that survive power loss, in sectors that are erased as a whole.
///
/// This is what NOR flash does; everything else can do it too. The ring of an outbox writes each sector from
/// its start to its end, erases the oldest when it needs room, and touches no block twice in between.
///
/// # Contract
/// 1. There are at least four sectors; their size is a multiple of the block.
/// 2. After `erase` every byte of the sector reads as `0xff`. So do bytes that were never written.
/// 3. What was written before a `sync` that succeeded survives power loss.
/// 4. Power loss may leave anything in the blocks that were written since the last `sync` and in a sector
///    whose `erase` had begun, and changes nothing else.
/// 5. Nobody else writes: what is opened twice would fork the chain.
pub trait Store: Send + fmt::Debug {
    /// How many sectors there are.
    fn sectors(&self) -> u32;

    /// Bytes in each sector.
    fn sector_size(&self) -> u32;

    /// Bytes of the smallest piece that one write may damage: of a disk its physical sector, of flash what
    /// is programmed together.
    fn block(&self) -> u32;

    /// Fills `into` with what lies at `offset` of a sector.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the medium does not answer.
    fn read(&mut self, sector: u32, offset: u32, into: &mut [u8]) -> Result<()>;

    /// Writes whole blocks that were erased before.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the medium fails or is full.
    fn write(&mut self, sector: u32, offset: u32, bytes: &[u8]) -> Result<()>;

    /// Erases a sector.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn erase(&mut self, sector: u32) -> Result<()>;

    /// Waits until everything written survives power loss.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn sync(&mut self) -> Result<()>;
}

/// A [`Store`] in memory: for devices without storage of their own, and for tests. Sectors take memory when
/// they are first written.
///
/// ```
/// use depin_data::outbox::{RamStore, Store};
///
/// let mut store = RamStore::new(8, 4096);
/// store.write(3, 64, &[5; 64])?;
/// let mut bytes = [0; 2];
/// store.read(3, 127, &mut bytes)?;
/// assert_eq!(bytes, [5, 0xff]);
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone)]
pub struct RamStore {
    sectors: Vec<Option<Box<[u8]>>>,
    size: u32,
}

impl RamStore {
    /// So many sectors of so many bytes.
    pub fn new(sectors: u32, size: u32) -> Self {
        Self { sectors: (0..sectors).map(|_| None).collect(), size }
    }

    fn sector(&mut self, sector: u32) -> Result<&mut Option<Box<[u8]>>> {
        let found = usize::try_from(sector).ok().and_then(|sector| self.sectors.get_mut(sector));
        found.ok_or_else(outside)
    }
}

impl Store for RamStore {
    fn sectors(&self) -> u32 {
        u32::try_from(self.sectors.len()).unwrap_or(u32::MAX)
    }

    fn sector_size(&self) -> u32 {
        self.size
    }

    fn block(&self) -> u32 {
        64
    }

    fn read(&mut self, sector: u32, offset: u32, into: &mut [u8]) -> Result<()> {
        into.fill(0xff);
        let Some(bytes) = self.sector(sector)? else { return Ok(()) };
        let bytes = span(offset, into.len()).and_then(|range| bytes.get(range));
        into.copy_from_slice(bytes.ok_or_else(outside)?);
        Ok(())
    }

    fn write(&mut self, sector: u32, offset: u32, bytes: &[u8]) -> Result<()> {
        let size = self.size as usize;
        let into = self.sector(sector)?.get_or_insert_with(|| vec![0xff; size].into());
        let into = span(offset, bytes.len()).and_then(|range| into.get_mut(range));
        into.ok_or_else(outside)?.copy_from_slice(bytes);
        Ok(())
    }

    fn erase(&mut self, sector: u32) -> Result<()> {
        *self.sector(sector)? = None;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

impl fmt::Debug for RamStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RamStore({} sectors of {})", self.sectors.len(), self.size)
    }
}

fn span(offset: u32, length: usize) -> Option<core::ops::Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(length)?)
}

fn outside() -> Error {
    Error::new(ErrorKind::Limit, "the store has no such sector or byte")
}
