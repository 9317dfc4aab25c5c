//! Where the bytes of batches lie: files that only grow, each named by the index of its first batch.
//!
//! A [frame](super::frame) is one group commit: written and flushed before the next begins. So a bad frame
//! with nothing behind it was torn when the process or the machine died, was never acknowledged, and is cut
//! off. A bad frame with a good one behind it is damage.
//!
//! A flush that has to tell the file system that a file has grown takes about twice as long, so small frames
//! are written into zeros that were flushed ahead of them. Large ones make the file grow, since zeros for
//! them would cost as much as they do; how they are written is told in [`disk`](super::disk).
//!
//! Frames share blocks of the disk: a frame that does not begin at a block makes the disk write the block
//! again in which the one before ends. This counts on a disk that then keeps the old bytes of the block or
//! takes the new ones, and does not lose the block, when the power goes. On one that does lose it, the end
//! of what was acknowledged is bad with nothing good behind it: cut off unnoticed if the index has not
//! learned of it yet, and noticed at the next start if it has.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    mem,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use depin_core::{Error, ErrorKind, Result, SignedBatch, log::NewBatch};
use tracing::warn;

use super::{
    disk::Output,
    frame::{FILE_MAGIC, Found, Frame, HEAD, Key, MAGIC, Sealed, Span, Tail, place_in_block},
    medium,
};

const EXTENSION: &str = "batches";
/// Bytes after which a new file begins.
const SEGMENT: u64 = 64 << 20;
/// Largest buffer that is kept for the next frame.
const BUFFER: usize = 8 << 20;

/// Where the files are, for whoever reads them.
#[derive(Clone)]
pub(super) enum Bytes {
    Folder(PathBuf),
    Memory(Arc<RwLock<BTreeMap<u64, Vec<u8>>>>),
}

impl Bytes {
    pub(super) fn in_memory() -> Self {
        Self::Memory(Arc::default())
    }

    /// The bytes of batches, read in the order asked.
    pub(super) fn read(&self, spans: &[Span]) -> Result<Vec<SignedBatch>> {
        let mut open: Option<(u64, File)> = None;
        let mut batches = Vec::with_capacity(spans.len());
        for span in spans {
            let bytes = match self {
                Self::Memory(files) => {
                    let files = files.read().unwrap_or_else(PoisonError::into_inner);
                    slice(files.get(&span.segment), span)?
                }
                Self::Folder(folder) => {
                    let file = match open.take().filter(|(segment, _)| *segment == span.segment) {
                        Some(same) => same,
                        None => {
                            let file = File::open(name(folder, span.segment));
                            (span.segment, file.map_err(lost)?)
                        }
                    };
                    let bytes = read_at(&file.1, span).map_err(lost)?;
                    open = Some(file);
                    bytes
                }
            };
            if crc32fast::hash(&bytes) != span.crc {
                return Err(damaged(span.segment, span.offset));
            }
            batches.push(SignedBatch::new(bytes));
        }
        Ok(batches)
    }

    /// Removes the files that hold nothing from index `before` on, when the last begins at `last`.
    ///
    /// A file that stays takes space and does no harm, and the next start tries again.
    pub(super) fn remove(&self, before: u64, last: u64) {
        match self {
            Self::Memory(files) => {
                let mut files = files.write().unwrap_or_else(PoisonError::into_inner);
                let all = files.keys().copied().collect();
                for gone in passed(all, last, before) {
                    files.remove(&gone);
                }
            }
            Self::Folder(folder) => {
                let all = list(folder).unwrap_or_else(|error| {
                    warn!(%error, "the log's forgotten files cannot be looked for and stay");
                    Vec::new()
                });
                for path in passed(all, last, before).into_iter().map(|gone| name(folder, gone)) {
                    if let Err(error) = medium::remove(&path) {
                        warn!(%error, path = %path.display(), "a forgotten file of the log stays");
                    }
                }
            }
        }
    }
}

/// The end of the files, for the one who writes.
pub(super) struct Segments {
    bytes: Bytes,
    key: Key,
    output: Option<Output>,
    end: Tail,
    /// Index of the next batch.
    next: u64,
    /// What the block begins with in which the end lies.
    edge: Vec<u8>,
    /// Whether something may lie behind the end that a failed write left there.
    torn: bool,
    /// Of the last frame, to be used again.
    buffer: Vec<u8>,
}

impl Segments {
    /// Those of an index that knows `next` batches up to `end`.
    pub(super) fn new(bytes: Bytes, key: Key, next: u64, end: Tail) -> Self {
        let (output, edge, torn, buffer) = (None, Vec::new(), false, Vec::new());
        Self { bytes, key, output, end, next, edge, torn, buffer }
    }

    pub(super) const fn end(&self) -> Tail {
        self.end
    }

    /// Index of the next batch.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Whether it is time for a new file.
    pub(super) const fn is_long(&self) -> bool {
        self.end.offset >= SEGMENT
    }

    /// A frame for the next batches.
    pub(super) fn frame(&mut self) -> Frame {
        Frame::new(mem::take(&mut self.buffer), self.key, self.next, self.end, &self.edge)
    }

    /// Makes a frame of so many batches durable. When the disk fails, the files are as if it had not been tried.
    pub(super) fn append(&mut self, frame: Frame, batches: u64) -> Result<()> {
        let frame = frame.seal(self.key)?;
        self.put(&frame)?;
        (self.end, self.next) = (frame.end(), self.next.saturating_add(batches));
        self.edge.clear();
        self.edge.extend(frame.edge());
        self.keep(frame.into_buffer());
        Ok(())
    }

    /// Uses the space of a frame for the next.
    pub(super) fn keep(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        buffer.shrink_to(BUFFER);
        self.buffer = buffer;
    }

    fn put(&mut self, frame: &Sealed) -> Result<()> {
        if let Bytes::Memory(files) = &self.bytes {
            let mut files = files.write().unwrap_or_else(PoisonError::into_inner);
            files.entry(self.end.segment).or_default().extend(frame.bytes());
            return Ok(());
        }
        let end = self.end.offset;
        let output = self.output().map_err(disk)?;
        let written = output.put(end, frame);
        if written.is_err() {
            // At best now, while the machine runs; if that fails, before the next write.
            self.torn = output.cut(end).is_err();
        }
        written.map_err(disk)
    }

    /// The file to write to.
    fn output(&mut self) -> io::Result<&mut Output> {
        let Tail { segment, offset, .. } = self.end;
        let mut output = match (self.output.take(), &self.bytes) {
            (Some(output), _) => output,
            (None, Bytes::Folder(folder)) if offset == 0 => {
                Output::new(name(folder, segment), create(folder, segment)?, 0)
            }
            // It could not be cut.
            (None, _) => return Err(io::Error::other("the log's file was lost")),
        };
        if self.torn {
            output.cut(offset)?;
            self.torn = false;
        }
        Ok(self.output.insert(output))
    }

    /// Lets the next frame begin a new file, named by the index of its first batch.
    pub(super) fn roll(&mut self) -> Result<()> {
        if self.end.offset > 0 {
            self.trim()?;
            (self.end, self.output) = (Tail::start(self.next), None);
            self.edge.clear();
        }
        Ok(())
    }

    /// Cuts off what lies behind the end.
    pub(super) fn trim(&mut self) -> Result<()> {
        let end = self.end.offset;
        if let Some(output) = self.output.as_mut().filter(|o| self.torn || o.length() > end) {
            output.cut(end).map_err(disk)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Reads what lies behind the end as the index knows it, and gives the records of every frame to `replay`
    /// with the end after it. What was torn at the end is cut off, and the rest is made durable before
    /// anybody hears of it.
    pub(super) fn recover(
        mut self,
        folder: &Path,
        mut replay: impl FnMut(Vec<(NewBatch, Span)>, Tail) -> Result<()>,
    ) -> Result<Self> {
        let known = self.end;
        let all = list(folder)?;
        let last = all.last().copied().unwrap_or(known.segment).max(known.segment);
        if known.offset > 0 && !all.contains(&known.segment) {
            return Err(damaged(known.segment, 0));
        }
        for segment in all.into_iter().filter(|segment| *segment >= known.segment) {
            if segment != known.segment {
                if segment != self.next {
                    return Err(damaged(segment, 0));
                }
                self.end = Tail::start(segment);
            }
            let path = name(folder, segment);
            let file = medium::open(&path).map_err(disk)?;
            self.recover_file(&file, segment == last, &mut replay)?;
            medium::set_len(&file, &path, self.end.offset).map_err(disk)?;
            medium::sync(&file, &path).map_err(disk)?;
            self.edge = edge_of(&file, self.end.offset).map_err(disk)?;
            self.output = Some(Output::new(path, file, self.end.offset));
        }
        Ok(self)
    }

    /// Whether the file begins as one of this log; it need not when the index knows nothing of it.
    fn is_ours(&self, mut file: &File) -> Result<bool> {
        let (head, mut found) = (self.key.head(self.end.segment), Vec::new());
        file.seek(SeekFrom::Start(0)).map_err(disk)?;
        file.take(HEAD as u64).read_to_end(&mut found).map_err(disk)?;
        let ours = found == head;
        let foreign = found.starts_with(&FILE_MAGIC) && !is_torn(&found, &head);
        if !ours && (foreign || self.end.offset > 0) {
            let message =
                "a file of the log is damaged or another log's; restore the folder from a copy";
            return Err(Error::new(ErrorKind::Corrupt, message)
                .with("file", file_name(self.end.segment))
                .with("offset", 0));
        }
        Ok(ours)
    }

    /// Reads one file from the end on, and leaves the end where its good frames end.
    fn recover_file(
        &mut self,
        mut file: &File,
        is_last: bool,
        replay: &mut impl FnMut(Vec<(NewBatch, Span)>, Tail) -> Result<()>,
    ) -> Result<()> {
        let (segment, is_ours) = (self.end.segment, self.is_ours(file)?);
        let start = self.end.last;
        file.seek(SeekFrom::Start(start)).map_err(disk)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(disk)?;
        let mut at = match self.end.offset {
            0 if is_ours => HEAD,
            0 => 0,
            known => self.known_frame(&bytes, known)?,
        };
        while is_ours && let Some(frame) = self.frame_at(&bytes, at) {
            let here = start.saturating_add(at as u64);
            if frame.first != self.next {
                return Err(damaged(segment, here));
            }
            let records = frame.records(segment, here).ok_or_else(|| damaged(segment, here))?;
            self.next = self.next.saturating_add(records.len() as u64);
            at = at.saturating_add(frame.len());
            self.end = Tail { segment, offset: start.saturating_add(at as u64), last: here };
            replay(records, self.end)?;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        // Nothing of a frame is all zeros: those are room for the next.
        let is_torn = rest.iter().any(|byte| *byte != 0);
        if is_torn && (!is_last || self.any_frame_in(rest)) {
            return Err(damaged(segment, self.end.offset));
        }
        Ok(())
    }

    /// Length of the last frame that the index knows, which ends at `known`: it shows that these are the
    /// files that the index knows.
    fn known_frame(&self, bytes: &[u8], known: u64) -> Result<usize> {
        let length = self.frame_at(bytes, 0).map(|frame| frame.len());
        let fits = |length: &usize| self.end.last.saturating_add(*length as u64) == known;
        length.filter(fits).ok_or_else(|| damaged(self.end.segment, self.end.last))
    }

    fn frame_at<'b>(&self, bytes: &'b [u8], at: usize) -> Option<Found<'b>> {
        Found::at_start(self.key, bytes.get(at..)?)
    }

    /// Whether a good frame begins anywhere behind the start.
    fn any_frame_in(&self, bytes: &[u8]) -> bool {
        let mut starts =
            (1..bytes.len()).filter(|at| bytes.get(*at..).is_some_and(|b| b.starts_with(&MAGIC)));
        starts.any(|at| self.frame_at(bytes, at).is_some())
    }
}

/// Whether power went while this head of a new file was written.
fn is_torn(found: &[u8], head: &[u8]) -> bool {
    let written = found.iter().zip(head).take_while(|(found, head)| found == head).count();
    found.iter().skip(written).all(|byte| *byte == 0)
}

/// Whether the file of a batch is there and reaches to its end.
pub(super) fn holds(folder: &Path, span: &Span) -> bool {
    let end = span.offset.saturating_add(span.length.into());
    fs::metadata(name(folder, span.segment)).is_ok_and(|about| about.len() >= end)
}

/// Whether there is any file of batches.
pub(super) fn any(folder: &Path) -> Result<bool> {
    Ok(!list(folder)?.is_empty())
}

/// Of files that begin at these indices, and a last one that may not be there yet, those that end at or
/// before `before`.
fn passed(mut all: Vec<u64>, last: u64, before: u64) -> Vec<u64> {
    if all.last().is_none_or(|present| *present < last) {
        all.push(last);
    }
    let pairs = all.iter().zip(all.iter().skip(1));
    pairs.filter(|(_, next)| **next <= before).map(|(first, _)| *first).collect()
}

fn name(folder: &Path, segment: u64) -> PathBuf {
    folder.join(file_name(segment))
}

fn file_name(segment: u64) -> String {
    format!("{segment:016x}.{EXTENSION}")
}

/// The first indices of all files, in order.
fn list(folder: &Path) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(disk)? {
        let path = entry.map_err(disk)?.path();
        let ours = path.extension().is_some_and(|extension| extension == EXTENSION);
        let stem = path.file_stem().filter(|_| ours).and_then(|stem| stem.to_str());
        all.extend(stem.and_then(|stem| u64::from_str_radix(stem, 16).ok()));
    }
    all.sort_unstable();
    Ok(all)
}

/// A new file, whose name survives power loss too.
fn create(folder: &Path, segment: u64) -> io::Result<File> {
    let file = medium::create(&name(folder, segment))?;
    medium::sync_folder(folder)?;
    Ok(file)
}

fn slice(file: Option<&Vec<u8>>, span: &Span) -> Result<Vec<u8>> {
    let start = usize::try_from(span.offset).ok();
    let range = start.and_then(|start| Some(start..start.checked_add(span.length as usize)?));
    let bytes = file.zip(range).and_then(|(file, range)| file.get(range));
    bytes.map(<[u8]>::to_vec).ok_or_else(|| damaged(span.segment, span.offset))
}

/// What the block begins with in which a file ends.
fn edge_of(mut file: &File, end: u64) -> io::Result<Vec<u8>> {
    let mut edge = vec![0; place_in_block(end)];
    file.seek(SeekFrom::Start(end.saturating_sub(edge.len() as u64)))?;
    file.read_exact(&mut edge)?;
    Ok(edge)
}

fn read_at(mut file: &File, span: &Span) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; span.length as usize];
    file.seek(SeekFrom::Start(span.offset))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn disk(error: io::Error) -> Error {
    let message = "the log's disk failed; free space or repair it, then try again";
    Error::unavailable(message).with("cause", &error).source(error)
}

/// What must be there cannot be read.
fn lost(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Error::new(
            ErrorKind::Corrupt,
            "a file of the log is missing or short; restore it from a copy",
        )
        .source(error),
        _ => disk(error),
    }
}

pub(super) fn damaged(segment: u64, offset: u64) -> Error {
    Error::new(ErrorKind::Corrupt, "the log's batches are damaged; restore the file from a copy")
        .with("file", file_name(segment))
        .with("offset", offset)
}
