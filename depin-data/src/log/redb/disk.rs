//! How frames get to the disk: small ones through the page cache, large ones past it.
//!
//! The kernel spends longer on finding and filling fresh pages for megabytes that only grow a file than the
//! disk spends on taking them. So a large frame goes to the disk straight from the buffer that it was
//! encoded in, where the file system lets it: as whole blocks, the first with the end of the frame before,
//! the last filled up with zeros. All that cannot go that way goes through the page cache as ever. Either
//! way nothing is durable before the flush.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::{
    frame::{Sealed, place_in_block},
    medium,
};

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

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Writes a frame at `at`, durably.
    pub(super) fn put(&mut self, at: u64, frame: &Sealed) -> io::Result<()> {
        let end = frame.end().offset;
        if frame.bytes().len() > SMALL {
            self.write_large(at, frame)?;
        } else {
            medium::write(&self.file, &self.path, at, frame.bytes())?;
            if end > self.length {
                // A full disk may still have room for the frame.
                let room = medium::write(&self.file, &self.path, end, &vec![0; ROOM as usize]);
                self.length = room.map_or(end, |()| end.saturating_add(ROOM));
            }
        }
        self.length = self.length.max(end);
        medium::sync(&self.file, &self.path)
    }

    fn write_large(&mut self, at: u64, frame: &Sealed) -> io::Result<()> {
        if matches!(self.direct, Direct::Untried) {
            self.direct = open_direct(&self.path).map_or(Direct::Refused, Direct::Open);
        }
        let blocks = frame.blocks();
        if let Direct::Open(file) = &self.direct
            && blocks.as_ptr().addr().is_multiple_of(BLOCK)
        {
            let from = at.saturating_sub(place_in_block(at) as u64);
            if medium::write(file, &self.path, from, blocks).is_ok() {
                self.length = self.length.max(from.saturating_add(blocks.len() as u64));
                return Ok(());
            }
            // Whether it is the way or the disk, the other way will show.
            self.direct = Direct::Refused;
        }
        medium::write(&self.file, &self.path, at, frame.bytes())
    }

    /// Cuts off what lies behind `length`.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        medium::set_len(&self.file, &self.path, length)?;
        self.length = length;
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use depin_core::{B256, Sequence, SignedBatch, Timestamp, log::NewBatch};

    use super::{
        super::frame::{Frame, Key, Tail},
        *,
    };

    fn new(n: u64, length: usize) -> NewBatch {
        let bytes = (0..length as u64).map(|at| (at * 31 + n) as u8 | 1).collect::<Vec<_>>();
        NewBatch {
            device: "did:example:1".parse().unwrap(),
            sequence: Sequence::new(n),
            previous: B256::ZERO,
            covers: None,
            received: Timestamp::EPOCH,
            batch: SignedBatch::new(bytes),
        }
    }

    #[test]
    fn frames_of_any_length_follow_each_other_whichever_way_they_went() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut output = Output::new(path.clone(), File::create(&path).unwrap(), 0);
        let (key, mut end) = (Key([1, 2]), Tail::start(0));
        let (mut expected, mut edge, mut buffer) = (Vec::<u8>::new(), Vec::new(), Vec::new());
        let lengths = [1, SMALL, SMALL, SMALL + 4095, 300, 2 * SMALL, SMALL - BLOCK, SMALL + 1];
        for (n, length) in (0..).zip(lengths.into_iter().cycle().take(40)) {
            if n % 7 == 6 {
                // A buffer that moves while it is filled.
                buffer = Vec::new();
            }
            let mut frame = Frame::new(buffer, key, n, end, &edge);
            frame.push(&new(n, length + n as usize)).unwrap();
            let frame = frame.seal(key).unwrap();
            let blocks = [&edge, frame.bytes()].concat();
            assert!(frame.blocks().starts_with(&blocks));
            assert!(frame.blocks().len() - blocks.len() < BLOCK);
            output.put(end.offset, &frame).unwrap();
            expected.extend(frame.bytes());
            let there = std::fs::read(&path).unwrap();
            let (frames, room) = there.split_at(expected.len());
            assert!(frames == expected && room.iter().all(|byte| *byte == 0), "{n}");
            assert_eq!(output.length(), there.len() as u64);
            (end, edge) = (frame.end(), frame.edge().to_vec());
            assert_eq!(end.offset, expected.len() as u64);
            assert!(expected.ends_with(&edge));
            buffer = frame.into_buffer();
        }
    }
}
