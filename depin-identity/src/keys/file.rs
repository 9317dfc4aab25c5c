//! Keys in a directory: one encrypted file each, one passphrase for all.
//!
//! The passphrase becomes a key by Argon2id (RFC 9106), slowly and once per opening. Each private key is
//! sealed with XChaCha20-Poly1305 together with its name, algorithm and public key, so that files cannot be
//! renamed, swapped or edited unnoticed. A file appears whole or not at all, and never replaces another.

mod record;
mod seal;

use std::{
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use depin_core::{
    Algorithm, Error, ErrorKind, Result, Signer, SoftwareKey,
    keystore::{KeyName, KeyStore},
};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

pub use seal::{Cost, Passphrase};

use self::{
    record::{Lock, Sealed},
    seal::MasterKey,
};

/// A directory of encrypted private keys.
///
/// Whoever has the directory but not the passphrase learns names, algorithms and public keys, nothing else.
/// Keys are decrypted when they are asked for and wiped from memory when the signer is dropped. Several
/// processes may use one directory.
///
/// ```
/// use depin_identity::keys::{Cost, FileKeyStore, KeyName, KeyStore, Passphrase};
/// use depin_core::Algorithm;
///
/// let directory = tempfile::tempdir()?;
/// let open = |passphrase: &str| {
///     let passphrase = Passphrase::new(passphrase.to_owned());
///     FileKeyStore::open(directory.path(), &passphrase, Cost::default(), rand::rngs::OsRng)
/// };
/// let name = KeyName::parse("station-7")?;
/// let made = open("correct horse")?.generate(&name, Algorithm::Es256k)?;
///
/// let signer = open("correct horse")?.signer(&name)?.expect("the key is there after a restart");
/// assert_eq!(signer.public_key(), made.public_key());
/// assert!(open("battery staple").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileKeyStore {
    directory: PathBuf,
    master: MasterKey,
    rng: Mutex<Box<dyn CryptoRngCore + Send>>,
}

impl FileKeyStore {
    /// Opens the store in a directory, or makes one there. `cost` is how slow a new store makes the guessing
    /// of its passphrase; an existing store keeps its own.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] for a wrong passphrase, [`ErrorKind::Corrupt`] for a damaged store,
    /// [`ErrorKind::Unavailable`] when the disk does not answer.
    pub fn open(
        directory: impl AsRef<Path>,
        passphrase: &Passphrase,
        cost: Cost,
        mut rng: impl CryptoRngCore + Send + 'static,
    ) -> Result<Self> {
        let directory = directory.as_ref().to_owned();
        fs::create_dir_all(&directory).map_err(|error| disk(error, &directory))?;
        let path = directory.join(LOCK);
        let lock = match read(&path)? {
            Some(bytes) => {
                Lock::decode(&bytes).map_err(|error| error.with("file", path.display()))?
            }
            None => make_lock(&directory, passphrase, cost, &mut rng)?,
        };
        let master = lock.open(passphrase).map_err(|error| error.with("file", path.display()))?;
        Ok(Self { directory, master, rng: Mutex::new(Box::new(rng)) })
    }

    /// Takes in a private key that was made elsewhere, for example read by [`pem`](super::pem).
    ///
    /// # Errors
    /// As [`generate`](KeyStore::generate).
    pub fn import(
        &self,
        name: &KeyName,
        algorithm: Algorithm,
        secret: &Zeroizing<[u8; 32]>,
    ) -> Result<Arc<dyn Signer>> {
        let key = SoftwareKey::from_bytes(algorithm, secret)?;
        let sealed = Sealed::seal(&self.master, name, key.public_key(), secret, &mut self.rng())?;
        create(&self.directory, &self.path(name), &sealed.encode())?;
        Ok(Arc::new(key))
    }

    fn path(&self, name: &KeyName) -> PathBuf {
        self.directory.join(format!("{name}.{EXTENSION}"))
    }

    fn rng(&self) -> impl CryptoRngCore + '_ {
        Rng(self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl KeyStore for FileKeyStore {
    fn generate(&self, name: &KeyName, algorithm: Algorithm) -> Result<Arc<dyn Signer>> {
        let mut secret = Zeroizing::new([0; 32]);
        loop {
            rand_core::RngCore::fill_bytes(&mut self.rng(), &mut *secret);
            // One draw in 2^32 is no scalar of P-256, fewer of the others.
            if SoftwareKey::from_bytes(algorithm, &secret).is_ok() {
                return self.import(name, algorithm, &secret);
            }
        }
    }

    fn signer(&self, name: &KeyName) -> Result<Option<Arc<dyn Signer>>> {
        let path = self.path(name);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let key = Sealed::decode(&bytes).and_then(|sealed| sealed.open(&self.master, name));
        let key = key.map_err(|error| error.with("file", path.display()))?;
        Ok(Some(Arc::new(key)))
    }

    fn names(&self) -> Result<Vec<KeyName>> {
        let listed = fs::read_dir(&self.directory).map_err(|error| disk(error, &self.directory))?;
        let mut names = Vec::new();
        for entry in listed {
            let path = entry.map_err(|error| disk(error, &self.directory))?.path();
            let is_key = path.extension().is_some_and(|extension| extension == EXTENSION);
            let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_key);
            names.extend(stem.and_then(|stem| KeyName::parse(stem).ok()));
        }
        names.sort();
        Ok(names)
    }

    fn delete(&self, name: &KeyName) -> Result<()> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(error, &path)),
            _ => sync(&self.directory),
        }
    }
}

impl fmt::Debug for FileKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKeyStore").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// The random numbers of a store, for as long as they are borrowed.
struct Rng<'a>(std::sync::MutexGuard<'a, Box<dyn CryptoRngCore + Send>>);

impl rand_core::RngCore for Rng<'_> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.try_fill_bytes(bytes)
    }
}

impl rand_core::CryptoRng for Rng<'_> {}

/// Two processes may make the store at once: the first one's lock counts for both.
fn make_lock(
    directory: &Path,
    passphrase: &Passphrase,
    cost: Cost,
    rng: &mut impl CryptoRngCore,
) -> Result<Lock> {
    let (lock, path) = (Lock::new(passphrase, cost, rng)?, directory.join(LOCK));
    match create(directory, &path, &lock.encode()) {
        Err(error) if error.kind() == ErrorKind::Conflict => match read(&path)? {
            Some(bytes) => Lock::decode(&bytes),
            None => Err(Error::unavailable("the key store is being deleted; try again")),
        },
        made => made.map(|()| lock),
    }
}

/// Reads a file that must be small, if it is there.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| disk(error, path))?,
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_FILE_LEN), &mut bytes)
        .map_err(|error| disk(error, path))?;
    Ok(Some(bytes))
}

/// Writes a file that appears whole or not at all, readable by its owner alone, and replaces none.
fn create(directory: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(directory)
        .map_err(|error| disk(error, directory))?;
    file.write_all(bytes).map_err(|error| disk(error, path))?;
    file.as_file().sync_all().map_err(|error| disk(error, path))?;
    file.persist_noclobber(path).map_err(|refused| match refused.error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::new(ErrorKind::Conflict, "the name is in use; choose another or delete its key")
                .with("file", path.display())
        }
        _ => disk(refused.error, path),
    })?;
    sync(directory)
}

/// Makes creations and deletions in a directory survive a power cut, where the system can.
fn sync(directory: &Path) -> Result<()> {
    match fs::File::open(directory).and_then(|opened| opened.sync_all()) {
        Err(error) if cfg!(unix) => Err(disk(error, directory)),
        _ => Ok(()),
    }
}

fn disk(error: io::Error, path: &Path) -> Error {
    Error::unavailable("the key store's disk does not answer; check path, space and permissions")
        .with("path", path.display())
        .source(error)
}

/// The file with salt and cost.
const LOCK: &str = "store.lock";
const EXTENSION: &str = "key";
/// Larger files are none of ours.
const MAX_FILE_LEN: u64 = 4096;
