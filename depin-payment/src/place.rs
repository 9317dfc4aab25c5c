//! Files that are in their place whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use depin_core::Result;

/// Writes a file beside the path, and puts it in place when all of it survives a loss of power. Whoever else does so at
/// the same time has a file of his own, and the last one counts.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<()>,
    broken: impl Fn(io::Error) -> depin_core::Error,
) -> Result<()> {
    let (fresh, mut file) = beside(path).map_err(&broken)?;
    let placed = write(&mut file)
        .and_then(|()| file.sync_all().and_then(|()| fs::rename(&fresh, path)).map_err(&broken));
    if let Err(error) = placed {
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    sync_folder(path).map_err(broken)
}

/// A new file beside the path that nobody else writes.
pub(crate) fn beside(path: &Path) -> io::Result<(PathBuf, File)> {
    for number in 0..MOST_BESIDE {
        let mut name = OsString::from(path);
        name.push(format!(".{}-{number}.new", std::process::id()));
        let fresh = PathBuf::from(name);
        match File::create_new(&fresh) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            file => return file.map(|file| (fresh, file)),
        }
    }
    let text = "processes that died left too many files named `.new` beside it; remove them";
    Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
}

/// Makes a new name in a folder last. Windows cannot open folders, and keeps renames without.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match cfg!(unix) {
        true => File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all(),
        false => Ok(()),
    }
}

/// A process that dies while it writes leaves one behind.
const MOST_BESIDE: u32 = 1_000;
