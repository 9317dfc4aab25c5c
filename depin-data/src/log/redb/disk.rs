//! How frames get to the disk: small ones through the page cache, large ones past it.
//!
//! The kernel spends longer on finding and filling fresh pages for megabytes that only grow a file than the
//! disk spends on taking them. So whole blocks of a large frame go to the disk straight from the buffer that they were
//! encoded in, where the file system lets them; the blocks at both ends, which other frames share, and all
//! that cannot go that way, go through the page cache as ever. Either way nothing is durable before the
//! flush. A [thread](Crew) of its own waits for the disk, so that the writer can work meanwhile: it takes pieces
//! of a frame that still grows.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    mem,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
};

use super::frame::{Frame, Piece};

/// What addresses, offsets and lengths are multiples of on the way past the page cache.
pub(super) const BLOCK: usize = 4096;
/// Zeros that are written ahead at once.
const ROOM: u64 = 1 << 20;
/// Longest frame that goes through the page cache, with room behind it.
const SMALL: usize = 128 << 10;

/// The file that grows.
pub(super) struct Output {
    path: PathBuf,
    file: File,
    direct: Direct,
    /// Up to here the file has bytes: those of frames, then zeros.
    length: u64,
}

/// The same file, opened to be written past the page cache.
enum Direct {
    Untried,
    Open(File),
    Refused,
}

impl Output {
    /// A file with bytes up to `length`.
    pub(super) const fn new(path: PathBuf, file: File, length: u64) -> Self {
        Self { path, file, direct: Direct::Untried, length }
    }

    /// Whether the disk works so long on this that something else can be done meanwhile.
    pub(super) const fn takes_long(bytes: &[u8]) -> bool {
        bytes.len() > SMALL
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Writes a frame, or what is left of it, durably.
    pub(super) fn put(&mut self, frame: &Frame) -> io::Result<()> {
        let [(_, front), (at, rest)] = frame.parts();
        let end = at.saturating_add(rest.len() as u64);
        self.write(at, rest)?;
        if front.is_empty() && !Self::takes_long(rest) && end > self.length {
            // A full disk may still have room for the frame.
            let room = write_at(&self.file, end, &vec![0; ROOM as usize]);
            self.length = room.map_or(end, |()| end.saturating_add(ROOM));
        }
        let [(at, front), _] = frame.parts();
        write_at(&self.file, at, front)?;
        self.length = self.length.max(end);
        self.file.sync_data()
    }

    /// Writes at `at`; it is not durable yet.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if Self::takes_long(bytes) {
            self.write_large(at, bytes)
        } else {
            write_at(&self.file, at, bytes)
        }
    }

    fn write_large(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if matches!(self.direct, Direct::Untried) {
            self.direct = open_direct(&self.path).map_or(Direct::Refused, Direct::Open);
        }
        let (start, blocks, end) = split(at, bytes);
        if let Direct::Open(file) = &self.direct
            && blocks.as_ptr().addr().is_multiple_of(BLOCK)
        {
            let inside = at.saturating_add(start.len() as u64);
            match write_at(file, inside, blocks) {
                Ok(()) => {
                    write_at(&self.file, at, start)?;
                    let rest = inside.saturating_add(blocks.len() as u64);
                    return write_at(&self.file, rest, end);
                }
                // Whether it is the way or the disk, the other way will show.
                Err(_) => self.direct = Direct::Refused,
            }
        }
        write_at(&self.file, at, bytes)
    }

    /// Cuts off what lies behind `length`.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.length = length;
        Ok(())
    }
}

/// The bytes at `at` before the first whole block of the file, the whole blocks, and the rest.
fn split(at: u64, bytes: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let before = (BLOCK - (at % BLOCK as u64) as usize) % BLOCK;
    let (start, rest) = bytes.split_at(before.min(bytes.len()));
    let (blocks, end) = rest.split_at(rest.len() - rest.len() % BLOCK);
    (start, blocks, end)
}

fn write_at(mut file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_: &Path) -> io::Result<File> {
    let _ = OpenOptions::new();
    Err(io::ErrorKind::Unsupported.into())
}

/// The file, for the writer and the crew.
pub(super) type Shared = Arc<Mutex<Output>>;

pub(super) fn lock(output: &Shared) -> MutexGuard<'_, Output> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that waits for the disk. Dropping it waits until it has done what it was given.
pub(super) struct Crew {
    tasks: Option<SyncSender<Task>>,
    done: Receiver<Done>,
    handle: Option<JoinHandle<()>>,
}

enum Task {
    /// A piece of a frame to come.
    Ahead(Shared, Piece),
    /// A frame, sealed, whose pieces went ahead.
    Finish(Shared, Frame),
}

/// What the crew gives back.
pub(super) struct Done {
    /// All that the frame was in.
    pub(super) buffers: Vec<Vec<u8>>,
    pub(super) written: io::Result<()>,
}

impl Crew {
    /// More pieces than a frame has that takes no more batches.
    const TASKS: usize = 64;

    pub(super) fn start() -> io::Result<Self> {
        let (tasks, queue) = mpsc::sync_channel(Self::TASKS);
        let (finished, done) = mpsc::sync_channel(1);
        let work = move || work(&queue, &finished);
        let handle = thread::Builder::new().name("depin-disk".into()).spawn(work)?;
        Ok(Self { tasks: Some(tasks), done, handle: Some(handle) })
    }

    /// Takes a piece of a frame before the frame is whole. If the disk refuses it, the frame will tell.
    pub(super) fn put_ahead(&self, output: &Shared, piece: Piece) -> io::Result<()> {
        self.give(Task::Ahead(Arc::clone(output), piece))
    }

    /// Puts the frame while the caller does something else.
    pub(super) fn put<T>(
        &self,
        output: &Shared,
        frame: Frame,
        meanwhile: impl FnOnce() -> T,
    ) -> io::Result<(Done, T)> {
        self.give(Task::Finish(Arc::clone(output), frame))?;
        let value = meanwhile();
        Ok((self.done.recv().map_err(|_| died())?, value))
    }

    fn give(&self, task: Task) -> io::Result<()> {
        self.tasks.as_ref().and_then(|tasks| tasks.send(task).ok()).ok_or_else(died)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.tasks = None;
        // What it panicked with, if it did, was said.
        let _ = self.handle.take().map(JoinHandle::join);
    }
}

fn work(queue: &Receiver<Task>, finished: &SyncSender<Done>) {
    let (mut buffers, mut written) = (Vec::new(), Ok(()));
    for task in queue {
        match task {
            Task::Ahead(output, piece) => {
                written = written.and_then(|()| lock(&output).write(piece.at, piece.bytes()));
                buffers.push(piece.buffer);
            }
            Task::Finish(output, frame) => {
                let written =
                    mem::replace(&mut written, Ok(())).and_then(|()| lock(&output).put(&frame));
                buffers.push(frame.into_buffer());
                if finished.send(Done { buffers: mem::take(&mut buffers), written }).is_err() {
                    return;
                }
            }
        }
    }
}

fn died() -> io::Error {
    io::Error::other("the thread that waits for the disk has died")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_are_split_off_at_every_offset() {
        let bytes: Vec<u8> = (0..3 * BLOCK + 7).map(|i| i as u8).collect();
        for at in [0, 1, BLOCK - 1, BLOCK, BLOCK + 5, 9 * BLOCK - 7] {
            for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, bytes.len()] {
                let (start, blocks, end) = split(at as u64, &bytes[..length]);
                assert_eq!([start, blocks, end].concat(), bytes[..length]);
                assert!(blocks.len().is_multiple_of(BLOCK) && end.len() < BLOCK);
                assert!(blocks.is_empty() || (at + start.len()).is_multiple_of(BLOCK));
            }
        }
    }

    #[test]
    fn large_writes_lie_where_small_ones_would_at_every_alignment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut output = Output::new(path.clone(), File::create(&path).unwrap(), 0);
        let (mut expected, source) = (Vec::<u8>::new(), vec![0_u8; SMALL + 3 * BLOCK]);
        for (n, skip) in [0, 1, 511, 4095, 0, 100].into_iter().enumerate() {
            let mut bytes = source.clone();
            bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * (n + 3)) as u8);
            // As a frame is laid out, and as it is when its buffer has moved.
            let frame = &bytes[skip..SMALL + BLOCK + 17 * n];
            output.write(expected.len() as u64, frame).unwrap();
            expected.extend(frame);
        }
        assert_eq!(std::fs::read(&path).unwrap(), expected);
    }
}
