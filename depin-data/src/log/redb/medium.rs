//! The calls by which the log changes its folder, all in one place.
//!
//! Whether an acknowledgement is true rests on which of them came before it. So tests put them down on a
//! [tape](super::tape) and look at what a power cut leaves after each.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::Path,
};

#[cfg(test)]
use super::tape::{Op, note};

/// A new file, empty. Its name is durable once the folder is [synced](sync_folder).
pub(super) fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.set_len(0)?;
    #[cfg(test)]
    note(path, || Op::Create);
    Ok(file)
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

pub(super) fn write(mut file: &File, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
    let _ = path;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)?;
    #[cfg(test)]
    note(path, || Op::Write(at, bytes.to_vec()));
    Ok(())
}

pub(super) fn set_len(file: &File, path: &Path, length: u64) -> io::Result<()> {
    let _ = path;
    file.set_len(length)?;
    #[cfg(test)]
    note(path, || Op::Length(length));
    Ok(())
}

/// Makes the bytes of a file durable, and its length.
pub(super) fn sync(file: &File, path: &Path) -> io::Result<()> {
    let _ = path;
    file.sync_data()?;
    #[cfg(test)]
    note(path, || Op::Sync);
    Ok(())
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    // The folder of a relative path of one part has no name.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(test)]
    note(folder, || Op::Sync);
    Ok(())
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    #[cfg(test)]
    note(path, || Op::Remove);
    Ok(())
}
