//! What the log did to its folder, and what a power cut leaves of it. For tests.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

use super::medium;

/// What was done to a file, or to the folder.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Create,
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
    Remove,
}

/// By folder. The log's threads have no other way to a test.
static TAPES: Mutex<BTreeMap<PathBuf, Vec<(PathBuf, Op)>>> = Mutex::new(BTreeMap::new());

fn tapes() -> MutexGuard<'static, BTreeMap<PathBuf, Vec<(PathBuf, Op)>>> {
    TAPES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts down what is done to this folder from now on.
pub(super) fn record(folder: &Path) {
    tapes().insert(folder.to_owned(), Vec::new());
}

pub(super) fn note(path: &Path, op: impl FnOnce() -> Op) {
    let mut tapes = tapes();
    let parent = path.parent().unwrap_or(path);
    let folder = if tapes.contains_key(path) { path } else { parent };
    if let Some(tape) = tapes.get_mut(folder) {
        tape.push((path.to_owned(), op()));
    }
}

pub(super) fn length(folder: &Path) -> usize {
    tapes().get(folder).map_or(0, Vec::len)
}

pub(super) fn take(folder: &Path) -> Vec<(PathBuf, Op)> {
    tapes().remove(folder).unwrap_or_default()
}

/// What becomes of what was done and not flushed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// It is lost.
    All,
    /// Some of it is on the disk already, in whatever order.
    Some(u64),
}

/// A folder of which only a part is durable.
#[derive(Clone, Default)]
pub(super) struct Disk(BTreeMap<PathBuf, Content>);

#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    now: Vec<u8>,
    pending: Vec<Op>,
    is_named: bool,
    is_there: bool,
}

impl Disk {
    /// A folder that is durable as it is.
    pub(super) fn of(folder: &Path) -> Self {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        Self(files.map(|path| (path.clone(), Content::durable(fs::read(path).unwrap()))).collect())
    }

    pub(super) fn apply(&mut self, path: &Path, op: &Op) {
        if path.is_dir() {
            self.0.values_mut().for_each(|file| file.is_named = file.is_there);
            self.0.retain(|_, file| file.is_there);
            return;
        }
        let file = self.0.entry(path.to_owned()).or_default();
        file.is_there = !matches!(op, Op::Remove);
        apply(&mut file.now, op);
        match op {
            Op::Sync => (file.durable, file.pending) = (file.now.clone(), Vec::new()),
            _ => file.pending.push(op.clone()),
        }
    }

    /// Puts what a power cut leaves into another folder.
    pub(super) fn leave(&self, folder: &Path, loss: Loss) {
        for (n, (path, file)) in (1..).zip(&self.0) {
            let mut left = file.durable.clone();
            let mut dice = match loss {
                Loss::All => None,
                Loss::Some(seed) => Some(seed.wrapping_mul(n).wrapping_add(0x9e37_79b9_7f4a_7c15)),
            };
            let mut falls = || {
                dice.as_mut().is_some_and(|dice| {
                    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    *dice >> 63 == 1
                })
            };
            let is_there = if falls() { file.is_there } else { file.is_named };
            file.pending.iter().filter(|_| falls()).for_each(|op| apply(&mut left, op));
            if is_there {
                fs::write(folder.join(path.file_name().unwrap()), left).unwrap();
            }
        }
    }
}

impl Content {
    fn durable(bytes: Vec<u8>) -> Self {
        let now = bytes.clone();
        Self { durable: bytes, now, pending: Vec::new(), is_named: true, is_there: true }
    }
}

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Create => bytes.clear(),
        Op::Length(length) => bytes.resize(usize::try_from(*length).unwrap(), 0),
        Op::Write(at, written) => {
            let at = usize::try_from(*at).unwrap();
            bytes.resize(bytes.len().max(at + written.len()), 0);
            bytes[at..at + written.len()].copy_from_slice(written);
        }
        Op::Sync | Op::Remove => {}
    }
}

/// A file of redb whose changes are put down.
#[derive(Debug)]
pub(super) struct Watched {
    file: Mutex<File>,
    path: PathBuf,
}

impl Watched {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Self { file: Mutex::new(file), path: path.to_owned() })
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file().metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut file = self.file();
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        medium::set_len(&self.file(), &self.path, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        medium::sync(&self.file(), &self.path)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        medium::write(&self.file(), &self.path, offset, bytes)
    }
}
