//! Where the bytes of a proof file are: reads at a position, from any thread.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use depin_core::{Error, ErrorKind, Result};

#[derive(Debug)]
pub(super) enum Source {
    File(File),
    Memory(Vec<u8>),
}

impl Source {
    pub(super) fn file(path: &Path) -> Result<Self> {
        File::open(path).map(Self::File).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Unavailable,
            };
            let text = "the proof file cannot be opened";
            Error::new(kind, text).with("path", path.display()).source(error)
        })
    }

    pub(super) fn len(&self) -> Result<u64> {
        match self {
            Self::File(file) => file.metadata().map(|of| of.len()).map_err(unread),
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// `COUNT` records of `WIDTH` bytes from `at`.
    pub(super) fn read<const WIDTH: usize, const COUNT: usize>(
        &self,
        at: u64,
    ) -> Result<[[u8; WIDTH]; COUNT]> {
        let mut records = [[0; WIDTH]; COUNT];
        self.read_into(at, records.as_flattened_mut())?;
        Ok(records)
    }

    /// Fills `into` with the bytes from `at`.
    pub(super) fn read_into(&self, at: u64, into: &mut [u8]) -> Result<()> {
        match self {
            Self::File(file) => read_exact_at(file, into, at).map_err(unread),
            Self::Memory(bytes) => {
                let from = usize::try_from(at).ok();
                let part = from.and_then(|from| bytes.get(from..)?.get(..into.len()));
                into.copy_from_slice(
                    part.ok_or_else(|| unread(io::ErrorKind::UnexpectedEof.into()))?,
                );
                Ok(())
            }
        }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, into: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut into: &mut [u8], mut at: u64) -> io::Result<()> {
    while !into.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, into, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (into, at) = (into.split_at_mut(read).1, at.saturating_add(read as u64));
    }
    Ok(())
}

#[cfg(not(any(unix, windows)))]
fn read_exact_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn unread(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::UnexpectedEof => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "the proof file cannot be read").source(error)
}

pub(super) fn unwritten(error: io::Error) -> Error {
    Error::unavailable("the proof file cannot be written").source(error)
}

/// A writer that changes nothing and sees whether the same bytes are there already.
pub(super) struct Same<'a> {
    source: &'a Source,
    at: u64,
    differs: bool,
}

impl<'a> Same<'a> {
    pub(super) const fn new(source: &'a Source) -> Self {
        Self { source, at: 0, differs: false }
    }

    pub(super) const fn differs(&self) -> bool {
        self.differs
    }
}

impl Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut there = vec![0; bytes.len()];
        self.source.read_into(self.at, &mut there).map_err(io::Error::other)?;
        self.at = self.at.saturating_add(bytes.len() as u64);
        self.differs |= there != bytes;
        if self.differs { Err(io::ErrorKind::InvalidData.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
