//! Bundles in a folder: one file for each epoch, there as a whole or not at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use depin_core::{Address, Amount, EpochId, Error, ErrorKind, Result, log::BatchLog};

use crate::epoch::EpochRecord;

/// How the file of an epoch ends.
const SUFFIX: &str = "bundle";

/// A folder of bundles, named `0.bundle`, `1.bundle` and so on. Other files in it are nobody's business.
///
/// ```
/// use depin_core::EpochId;
/// use depin_data::bundle::BundleFolder;
///
/// let place = tempfile::tempdir().unwrap();
/// let folder = BundleFolder::new(place.path());
/// assert!(folder.epochs()?.is_empty());
/// assert!(folder.path(EpochId::new(7)).ends_with("7.bundle"));
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BundleFolder(PathBuf);

impl BundleFolder {
    /// The bundles in the folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where the bundle of an epoch is, if it is there.
    pub fn path(&self, epoch: EpochId) -> PathBuf {
        self.0.join(format!("{}.{SUFFIX}", epoch.value()))
    }

    /// The epochs there are, rising, with the bytes of their bundles.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the folder cannot be read.
    pub fn epochs(&self) -> Result<Vec<(EpochId, u64)>> {
        let mut epochs = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(|error| unread(error, &self.0))? {
            let entry = entry.map_err(|error| unread(error, &self.0))?;
            let Some(epoch) = epoch_of(&entry.path()) else { continue };
            match entry.metadata() {
                Ok(about) if about.is_file() => epochs.push((epoch, about.len())),
                _ => {}
            }
        }
        epochs.sort_unstable_by_key(|(epoch, _)| epoch.value());
        Ok(epochs)
    }

    /// Opens the bundle of an epoch; nothing when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the file cannot be read.
    pub fn open(&self, epoch: EpochId) -> Result<Option<File>> {
        let path = self.path(epoch);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unread(error, &path)),
        }
    }

    /// [Writes](super::write()) the bundle of an epoch into the folder. A file that is there is replaced in one
    /// step: whoever reads it meanwhile reads on in the old one, which has the same bytes. One writer at a time.
    ///
    /// # Errors
    /// As [`store`](super::store()).
    pub async fn store(
        &self,
        log: &dyn BatchLog,
        record: &EpochRecord,
        balances: &[(Address, Amount)],
    ) -> Result<PathBuf> {
        let path = self.path(record.epoch());
        store(log, record, balances, &path).await?;
        Ok(path)
    }
}

/// [Writes](super::write()) a bundle into the file at `path`, which is there as a whole or not at all: until it
/// is durable it lies beside it, under the same name with `.part`. A file that was there stays when this fails.
/// One writer at a time.
///
/// # Errors
/// As [`write`](super::write()), or [`ErrorKind::Unavailable`] when the file cannot be written.
pub async fn store(
    log: &dyn BatchLog,
    record: &EpochRecord,
    balances: &[(Address, Amount)],
    path: &Path,
) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = File::create(&part).map_err(|error| unwritten(error, &part))?;
    let mut out = BufWriter::new(file);
    let written = super::write(log, record, balances, &mut out).await.and_then(|()| {
        let durable = out.flush().and_then(|()| out.get_ref().sync_all());
        durable.and_then(|()| fs::rename(&part, path)).map_err(|error| unwritten(error, path))
    });
    if written.is_err() {
        // Half a bundle is of no use.
        let _ = fs::remove_file(&part);
        return written;
    }
    sync_name(path).map_err(|error| unwritten(error, path))
}

/// Lets the name of a file survive power loss.
fn sync_name(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    #[cfg(unix)]
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

fn epoch_of(path: &Path) -> Option<EpochId> {
    let number: u64 = path.file_stem()?.to_str()?.parse().ok()?;
    let name = format!("{number}.{SUFFIX}");
    (path.file_name()? == name.as_str()).then_some(EpochId::new(number))
}

fn unread(error: io::Error, path: &Path) -> Error {
    Error::new(ErrorKind::Unavailable, "the bundles cannot be read; check the folder")
        .with("path", path.display())
        .source(error)
}

fn unwritten(error: io::Error, path: &Path) -> Error {
    Error::unavailable("the bundle cannot be written; free space or choose another place")
        .with("path", path.display())
        .source(error)
}
