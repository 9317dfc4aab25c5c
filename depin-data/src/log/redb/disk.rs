//! How frames get to the disk: small ones through the page cache, large ones past it.
//!
//! The kernel spends longer on finding and filling fresh pages for megabytes that only grow a file than the
//! disk spends on taking them. So whole blocks of a large frame go to the disk straight from the buffer that they were
//! encoded in, where the file system lets them; the blocks at both ends, which other frames share, and all
//! that cannot go that way, go through the page cache as ever. Either way nothing is durable before the
//! flush.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::medium;

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

    /// Writes at `at`, durably.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let end = at.saturating_add(bytes.len() as u64);
        if bytes.len() > SMALL {
            self.write_large(at, bytes)?;
        } else {
            medium::write(&self.file, &self.path, at, bytes)?;
            if end > self.length {
                // A full disk may still have room for the frame.
                let room = medium::write(&self.file, &self.path, end, &vec![0; ROOM as usize]);
                self.length = room.map_or(end, |()| end.saturating_add(ROOM));
            }
        }
        self.length = self.length.max(end);
        medium::sync(&self.file, &self.path)
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
            match medium::write(file, &self.path, inside, blocks) {
                Ok(()) => {
                    medium::write(&self.file, &self.path, at, start)?;
                    let rest = inside.saturating_add(blocks.len() as u64);
                    return medium::write(&self.file, &self.path, rest, end);
                }
                // Whether it is the way or the disk, the other way will show.
                Err(_) => self.direct = Direct::Refused,
            }
        }
        medium::write(&self.file, &self.path, at, bytes)
    }

    /// Cuts off what lies behind `length`.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        medium::set_len(&self.file, &self.path, length)?;
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
    fn large_frames_lie_where_small_ones_would_at_every_alignment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut output = Output::new(path.clone(), File::create(&path).unwrap(), 0);
        let (mut expected, source) = (Vec::<u8>::new(), vec![0_u8; SMALL + 3 * BLOCK]);
        for (n, skip) in [0, 1, 511, 4095, 0, 100].into_iter().enumerate() {
            let mut bytes = source.clone();
            bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * (n + 3)) as u8);
            // As a frame is laid out, and as it is when its buffer has moved.
            let frame = &bytes[skip..SMALL + BLOCK + 17 * n];
            output.put(expected.len() as u64, frame).unwrap();
            expected.extend(frame);
        }
        assert_eq!(std::fs::read(&path).unwrap(), expected);
        assert_eq!(output.length(), expected.len() as u64);
    }
}
