//! Where the bytes of batches lie: files that only grow, each named by the index of its first batch.
//!
//! ```text
//! file  = frame*
//! frame = 0xff "dpl" | u32 length of body | u64 index of first batch | u32 crc of body | mark | body
//! mark  = first 8 bytes of SHA-256(key of the log | the 20 bytes before)
//! body  = record*                                                              integers are big endian, crc is CRC-32
//! record = [did, sequence, previous, received ms, covered sequence or null, covered hash or null, bytes]  (CBOR)
//! ```
//!
//! A frame is one group commit: written and flushed before the next begins. So a bad frame with nothing
//! behind it was torn when the process or the machine died, was never acknowledged, and is cut off. A bad
//! frame with a good one behind it is damage. Devices choose much of what a frame holds, so what makes one
//! good takes a [key](Key) that they do not know: else a frame inside a torn one would look like damage.
//!
//! Frames share blocks of the disk: a frame that does not begin at a block makes the disk write the block
//! again in which the one before ends. This counts on a disk that then keeps the old bytes of the block or
//! takes the new ones, and does not lose the block, when the power goes. On one that does lose it, the end
//! of what was acknowledged is bad with nothing good behind it: cut off unnoticed if the index has not
//! learned of it yet, and noticed when it is read if it has.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use depin_core::{
    B256, Did, Error, ErrorKind, Result, Sequence, SignedBatch, Timestamp,
    cbor::{self, Decoder, Encoder},
    log::{ChainTip, NewBatch},
};
use sha2::{Digest, Sha256};
use tracing::warn;

const MAGIC: [u8; 4] = *b"\xffdpl";
const HEADER: usize = 28;
const MARK: usize = 8;
const EXTENSION: &str = "batches";

/// Random and known to one log only: nobody else can make bytes that pass for a frame of it.
#[derive(Clone, Copy)]
pub(super) struct Key(pub(super) [u64; 2]);

impl Key {
    /// Of these fields of a header.
    fn mark(self, fields: &[u8]) -> [u8; MARK] {
        let secret = self.0.map(u64::to_be_bytes);
        let hash = Sha256::new().chain_update(secret.as_flattened()).chain_update(fields);
        let mut mark = [0; MARK];
        mark.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        mark
    }
}

/// Where the bytes of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Index of the first batch of the file.
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) crc: u32,
}

/// The records of one commit on their way to the disk.
pub(super) struct Frame {
    bytes: Vec<u8>,
    first: u64,
    end: Tail,
}

/// The end of what is stored: a file and a length of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

impl Frame {
    /// For batches from index `first` on, at `end`.
    pub(super) fn new(first: u64, end: Tail) -> Self {
        Self { bytes: vec![0; HEADER], first, end }
    }

    /// Adds a batch and says where its bytes will be.
    pub(super) fn push(&mut self, new: &NewBatch) -> Result<Span> {
        let too_large = || Error::new(ErrorKind::Limit, "the batch cannot be encoded");
        let signed = new.batch.as_bytes();
        let covers = new.covers.as_ref();
        Encoder::new(&mut self.bytes)
            .array(7)
            .and_then(|e| e.str(new.device.as_str())?.u64(new.sequence.value()))
            .and_then(|e| e.bytes(new.previous.as_slice())?.u64(new.received.millis()))
            .and_then(|e| e.encode(covers.map(|tip| tip.sequence.value())))
            .and_then(|e| match covers {
                Some(tip) => e.bytes(tip.hash.as_slice()),
                None => e.null(),
            })
            .and_then(|e| e.bytes(signed))
            .map_err(|_| too_large())?;
        let start = self.bytes.len().saturating_sub(signed.len()) as u64;
        Ok(Span {
            segment: self.end.segment,
            offset: self.end.offset.saturating_add(start),
            length: u32::try_from(signed.len()).map_err(|_| too_large())?,
            crc: crc32fast::hash(signed),
        })
    }

    fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER
    }

    fn seal(&mut self, key: Key) -> Result<()> {
        let (header, body) = self.bytes.split_at_mut(HEADER);
        let length = u32::try_from(body.len())
            .map_err(|_| Error::new(ErrorKind::Limit, "a commit takes at most 4 GiB"))?;
        let crc = crc32fast::hash(body);
        header.copy_from_slice(&header_bytes(key, length, self.first, crc));
        Ok(())
    }
}

fn header_bytes(key: Key, length: u32, first: u64, crc: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let parts = [&MAGIC[..], &length.to_be_bytes(), &first.to_be_bytes(), &crc.to_be_bytes()];
    header.iter_mut().zip(parts.concat()).for_each(|(to, from)| *to = from);
    let (fields, mark) = header.split_at_mut(HEADER - MARK);
    mark.copy_from_slice(&key.mark(fields));
    header
}

/// A frame at the start of `bytes`, if a good one is there: index of its first batch, and its body.
fn frame_in(key: Key, bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let (_, fields) = header.split_first_chunk::<4>()?;
    let (length, fields) = fields.split_first_chunk::<4>()?;
    let (first, fields) = fields.split_first_chunk::<8>()?;
    let (crc, _) = fields.split_first_chunk::<4>()?;
    let first = u64::from_be_bytes(*first);
    let (length, crc) = (u32::from_be_bytes(*length), u32::from_be_bytes(*crc));
    let body = rest.get(..usize::try_from(length).ok()?)?;
    let good = header_bytes(key, length, first, crc) == *header && crc32fast::hash(body) == crc;
    good.then_some((first, body))
}

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
                    if let Err(error) = fs::remove_file(&path) {
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
    file: Option<File>,
    end: Tail,
    /// Whether something may lie behind the end that a failed write left there.
    torn: bool,
}

impl Segments {
    pub(super) const fn new(bytes: Bytes, key: Key) -> Self {
        Self { bytes, key, file: None, end: Tail { segment: 0, offset: 0 }, torn: false }
    }

    pub(super) const fn end(&self) -> Tail {
        self.end
    }

    /// Makes the frame durable. When that fails, the files are as if it had not been tried.
    pub(super) fn append(&mut self, mut frame: Frame) -> Result<()> {
        if frame.is_empty() {
            return Ok(());
        }
        frame.seal(self.key)?;
        match &self.bytes {
            Bytes::Memory(files) => {
                let mut files = files.write().unwrap_or_else(PoisonError::into_inner);
                files.entry(self.end.segment).or_default().extend(&frame.bytes);
            }
            Bytes::Folder(folder) => {
                let file = match self.file.take() {
                    Some(file) => file,
                    None => create(folder, self.end.segment).map_err(disk)?,
                };
                let written = self.write(&file, &frame.bytes);
                // At best now, while the machine runs; if that fails, before the next write.
                self.torn = written.is_err() && file.set_len(self.end.offset).is_err();
                self.file = Some(file);
                written.map_err(disk)?;
            }
        }
        self.end.offset = self.end.offset.saturating_add(frame.bytes.len() as u64);
        Ok(())
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            file.set_len(self.end.offset)?;
        }
        file.seek(SeekFrom::Start(self.end.offset))?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    /// Lets the next frame begin a new file, named by the index of its first batch.
    pub(super) fn roll(&mut self, next: u64) -> Result<()> {
        if self.end.offset > 0 {
            if let Some(file) = self.file.as_ref().filter(|_| self.torn) {
                file.set_len(self.end.offset).map_err(disk)?;
            }
            let end = Tail { segment: next, offset: 0 };
            (self.end, self.file, self.torn) = (end, None, false);
        }
        Ok(())
    }

    /// Opens the files of a log whose index knows what lies before `known`, and gives every later record to
    /// `replay` with its place. What was torn at the end is cut off, and the rest is made durable before
    /// anybody hears of it.
    pub(super) fn recover(
        folder: &Path,
        key: Key,
        known: Tail,
        mut next: u64,
        mut replay: impl FnMut(NewBatch, Span) -> Result<()>,
    ) -> Result<Self> {
        let all = list(folder)?;
        let last = all.last().copied().unwrap_or(known.segment).max(known.segment);
        let mut end = known;
        for segment in all.into_iter().filter(|segment| *segment >= known.segment) {
            let start = if segment == known.segment { known.offset } else { 0 };
            if segment != known.segment && segment != next {
                return Err(damaged(segment, 0));
            }
            let mut file = open(folder, segment).map_err(disk)?;
            if file.metadata().map_err(disk)?.len() < start {
                return Err(damaged(segment, start));
            }
            file.seek(SeekFrom::Start(start)).map_err(disk)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(disk)?;
            let mut at = 0;
            while let Some((first, body)) = frame_in(key, bytes.get(at..).unwrap_or_default()) {
                let here = start.saturating_add(at as u64);
                if first != next {
                    return Err(damaged(segment, here));
                }
                next = next.saturating_add(records(body, segment, here, &mut replay)?);
                at = at.saturating_add(HEADER).saturating_add(body.len());
            }
            end = Tail { segment, offset: start.saturating_add(at as u64) };
            let rest = bytes.get(at..).unwrap_or_default();
            if !rest.is_empty() {
                let behind = (1..rest.len()).filter_map(|skip| rest.get(skip..));
                let good = |rest: &[u8]| rest.starts_with(&MAGIC) && frame_in(key, rest).is_some();
                if segment != last || behind.into_iter().any(good) {
                    return Err(damaged(end.segment, end.offset));
                }
                file.set_len(end.offset).map_err(disk)?;
            }
            file.sync_all().map_err(disk)?;
        }
        if end.offset > 0 && !name(folder, end.segment).exists() {
            return Err(damaged(end.segment, 0));
        }
        let file = name(folder, end.segment).exists().then(|| open(folder, end.segment));
        let file = file.transpose().map_err(disk)?;
        Ok(Self { bytes: Bytes::Folder(folder.to_owned()), key, file, end, torn: false })
    }
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

fn records(
    body: &[u8],
    segment: u64,
    frame: u64,
    replay: &mut impl FnMut(NewBatch, Span) -> Result<()>,
) -> Result<u64> {
    let mut decoder = Decoder::new(body);
    let mut count = 0;
    while decoder.position() < body.len() {
        let new = record(&mut decoder).map_err(|_| damaged(segment, frame))?;
        let signed = new.batch.as_bytes();
        let start = decoder.position().saturating_sub(signed.len()).saturating_add(HEADER);
        let span = Span {
            segment,
            offset: frame.saturating_add(start as u64),
            length: u32::try_from(signed.len()).map_err(|_| damaged(segment, frame))?,
            crc: crc32fast::hash(signed),
        };
        replay(new, span)?;
        count += 1;
    }
    Ok(count)
}

fn record(d: &mut Decoder<'_>) -> Result<NewBatch, cbor::decode::Error> {
    let wrong = |_| cbor::decode::Error::message("not a record");
    d.array()?;
    let device = Did::parse(d.str()?).map_err(|_| cbor::decode::Error::message("not a did"))?;
    let sequence = Sequence::new(d.u64()?);
    let previous = B256::try_from(d.bytes()?).map_err(wrong)?;
    let received = Timestamp::from_millis(d.u64()?);
    let (end, hash): (Option<u64>, _) = (d.decode()?, d.datatype()?);
    let hash = match hash {
        cbor::Type::Null => d.null().map(|()| None)?,
        _ => Some(B256::try_from(d.bytes()?).map_err(wrong)?),
    };
    let covers = end.zip(hash).map(|(end, hash)| ChainTip { sequence: Sequence::new(end), hash });
    let batch = SignedBatch::new(d.bytes()?.to_vec());
    Ok(NewBatch { device, sequence, previous, covers, received, batch })
}

fn name(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:016x}.{EXTENSION}"))
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

fn open(folder: &Path, segment: u64) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(name(folder, segment))
}

/// A new file, whose name survives power loss too.
fn create(folder: &Path, segment: u64) -> io::Result<File> {
    let options = OpenOptions::new().read(true).write(true).create(true).clone();
    let file = options.open(name(folder, segment))?;
    file.set_len(0)?;
    sync(folder)?;
    Ok(file)
}

/// Lets the names in a folder survive power loss.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    // The folder of a relative path of one part has no name.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn slice(file: Option<&Vec<u8>>, span: &Span) -> Result<Vec<u8>> {
    let start = usize::try_from(span.offset).ok();
    let range = start.and_then(|start| Some(start..start.checked_add(span.length as usize)?));
    let bytes = file.zip(range).and_then(|(file, range)| file.get(range));
    bytes.map(<[u8]>::to_vec).ok_or_else(|| damaged(span.segment, span.offset))
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

fn damaged(segment: u64, offset: u64) -> Error {
    Error::new(ErrorKind::Corrupt, "the log's batches are damaged; restore the file from a copy")
        .with("file", format!("{segment:016x}.{EXTENSION}"))
        .with("offset", offset)
}
