//! A store in one file of fixed size.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use depin_core::{Error, ErrorKind, Result};

use super::Store;

/// Bytes of a sector of a file.
const SECTOR: u32 = 64 * 1024;
/// Physical sectors of today's disks.
const BLOCK: u32 = 4096;

/// A [`Store`] in a file, written in place and flushed with `fdatasync`.
///
/// All its bytes are written when it is made, so that a disk which fills up later does not stop the device.
/// The file is locked as long as it is open.
///
/// Once a write or a flush failed, everything is refused with [`ErrorKind::Unavailable`] until the file is
/// opened again: systems report a failed flush once, and the next one succeeds without what was lost. Open it
/// when the cause is removed; the system may answer from memory with what the disk never got until the machine
/// starts again.
///
/// ```
/// use depin_data::outbox::FileStore;
///
/// let folder = tempfile::tempdir().unwrap();
/// let store = FileStore::open(folder.path().join("outbox"), 1 << 20)?;
/// assert!(FileStore::open(folder.path().join("outbox"), 1 << 20).is_err(), "it is in use");
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Debug)]
pub struct FileStore {
    file: File,
    path: PathBuf,
    sectors: u32,
    /// A write or a flush failed.
    broken: bool,
}

impl FileStore {
    /// Opens the file or makes it, for about `bytes` bytes (at least 256 KiB, in steps of 64 KiB). A file that
    /// exists keeps its size.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when somebody else has it open, [`ErrorKind::Corrupt`] when it is no such file,
    /// [`ErrorKind::Unavailable`] when the disk does not let us.
    pub fn open(path: impl AsRef<Path>, bytes: u64) -> Result<Self> {
        let path = path.as_ref().to_owned();
        if !path.exists() {
            make(&path, bytes).map_err(|error| failed(&path, error))?;
        }
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let file = opened.map_err(|error| failed(&path, error))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                Error::new(ErrorKind::Conflict, "the outbox's file is in use; close it first")
                    .with("path", path.display())
            }
            TryLockError::Error(error) => failed(&path, error),
        })?;
        let length = file.metadata().map_err(|error| failed(&path, error))?.len();
        let sectors = u32::try_from(length / u64::from(SECTOR)).ok();
        match sectors.filter(|_| length.is_multiple_of(SECTOR.into())) {
            Some(sectors) => Ok(Self { file, path, sectors, broken: false }),
            None => Err(Error::new(ErrorKind::Corrupt, "the file is no outbox; name another")
                .with("path", path.display())),
        }
    }

    /// Whether all that was written may still be believed.
    fn sound(&self) -> Result<()> {
        if !self.broken {
            return Ok(());
        }
        let why = "a write to the outbox's file failed before; repair the disk and open it again";
        Err(Error::unavailable(why).with("path", self.path.display()))
    }

    fn wrote(&mut self, result: io::Result<()>) -> Result<()> {
        self.broken |= result.is_err();
        result.map_err(|error| failed(&self.path, error))
    }

    fn at(&mut self, sector: u32, offset: u32) -> io::Result<&mut File> {
        let place = u64::from(sector) * u64::from(SECTOR) + u64::from(offset);
        self.file.seek(SeekFrom::Start(place))?;
        Ok(&mut self.file)
    }
}

/// Makes the file under another name and puts it in place when it is whole, so that power loss meanwhile
/// leaves no half of it.
fn make(path: &Path, bytes: u64) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = PathBuf::from(name);
    let mut file = File::create(&fresh)?;
    let erased = vec![0xff; SECTOR as usize];
    for _ in 0..(bytes / u64::from(SECTOR)).clamp(4, u32::MAX.into()) {
        file.write_all(&erased)?;
    }
    file.sync_all()?;
    // A link never replaces what somebody else put there in the meantime.
    match fs::hard_link(&fresh, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&fresh, path)?,
        _ => fs::remove_file(&fresh)?,
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new("."))).and_then(|folder| folder.sync_all())
}

impl Store for FileStore {
    fn sectors(&self) -> u32 {
        self.sectors
    }

    fn sector_size(&self) -> u32 {
        SECTOR
    }

    fn block(&self) -> u32 {
        BLOCK
    }

    fn read(&mut self, sector: u32, offset: u32, into: &mut [u8]) -> Result<()> {
        self.sound()?;
        let result = self.at(sector, offset).and_then(|file| file.read_exact(into));
        result.map_err(|error| failed(&self.path, error))
    }

    fn write(&mut self, sector: u32, offset: u32, bytes: &[u8]) -> Result<()> {
        self.sound()?;
        let result = self.at(sector, offset).and_then(|file| file.write_all(bytes));
        self.wrote(result)
    }

    fn erase(&mut self, sector: u32) -> Result<()> {
        self.write(sector, 0, &vec![0xff; SECTOR as usize])
    }

    fn sync(&mut self) -> Result<()> {
        self.sound()?;
        let result = self.file.sync_data();
        self.wrote(result)
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::unavailable("the outbox's file cannot be used; free space or repair the disk")
        .with("path", path.display())
        .source(error)
}
