//! The key store on disk: its contract, and what somebody with the disk but not the passphrase can do.

use std::{fs, path::Path, sync::Arc};

use depin_core::{Algorithm, ErrorKind, Signer, SoftwareKey};
use depin_identity::keys::{Cost, FileKeyStore, KeyName, KeyStore, Passphrase};
use rand::{SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;
use zeroize::Zeroizing;

fn open_as(directory: &Path, passphrase: &str) -> depin_core::Result<FileKeyStore> {
    let passphrase = Passphrase::new(passphrase.to_owned());
    FileKeyStore::open(directory, &passphrase, Cost::light(), StdRng::from_entropy())
}

fn open(directory: &TempDir) -> FileKeyStore {
    open_as(directory.path(), "open sesame").unwrap()
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

#[test]
fn the_store_conforms() {
    let directory = TempDir::new().unwrap();
    depin_testkit::keystore::conforms(&|| Box::new(open(&directory)));
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let key = open(&directory).generate(&name("a"), Algorithm::Es256).unwrap();
    let error = open_as(directory.path(), "open barley").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let kept = open(&directory).signer(&name("a")).unwrap().unwrap();
    assert_eq!(kept.public_key(), key.public_key());
}

#[test]
fn the_private_key_is_not_on_the_disk() {
    let directory = TempDir::new().unwrap();
    let secret = Zeroizing::new([0x5a; 32]);
    open(&directory).import(&name("a"), Algorithm::EdDsa, &secret).unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|window| window == [0x5a; 8]));
    }
}

#[test]
fn every_flipped_or_missing_byte_is_noticed() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    store.generate(&name("a"), Algorithm::Es256k).unwrap();
    let path = directory.path().join("a.key");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        for damaged in [flipped.as_slice(), &whole[..at]] {
            fs::write(&path, damaged).unwrap();
            let error = store.signer(&name("a")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
        }
    }
    fs::write(&path, [whole, vec![0]].concat()).unwrap();
    assert_eq!(store.signer(&name("a")).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_damaged_lock_is_an_error_and_never_a_fresh_store() {
    let directory = TempDir::new().unwrap();
    drop(open(&directory));
    let path = directory.path().join("store.lock");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        fs::write(&path, &whole[..at]).unwrap();
        let error = open_as(directory.path(), "open sesame").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{at} bytes");
    }
}

#[test]
fn a_store_that_demands_all_our_memory_is_refused() {
    let directory = TempDir::new().unwrap();
    let passphrase = Passphrase::new("p".into());
    let mut greedy = Cost::default();
    greedy.memory = u32::MAX;
    let error = FileKeyStore::open(directory.path(), &passphrase, greedy, StdRng::from_entropy());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
    drop(open(&directory));
    let path = directory.path().join("store.lock");
    let mut bytes = fs::read(&path).unwrap();
    // 8,192 KiB as a CBOR integer, blown up to the largest of its length.
    let at = bytes.windows(3).position(|window| window == [0x19, 0x20, 0x00]).unwrap();
    bytes.splice(at..at + 3, [0x1a, 0xff, 0xff, 0xff, 0xff]);
    fs::write(&path, bytes).unwrap();
    assert_eq!(open_as(directory.path(), "open sesame").unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_key_file_under_another_name_or_from_another_store_is_refused() {
    let (ours, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = open(&ours);
    store.generate(&name("a"), Algorithm::Es256k).unwrap();
    open(&theirs).generate(&name("c"), Algorithm::Es256k).unwrap();
    fs::copy(ours.path().join("a.key"), ours.path().join("b.key")).unwrap();
    fs::copy(theirs.path().join("c.key"), ours.path().join("c.key")).unwrap();
    for swapped in ["b", "c"] {
        let error = store.signer(&name(swapped)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{swapped}");
    }
}

#[test]
fn of_many_who_want_one_name_exactly_one_gets_it() {
    let directory = TempDir::new().unwrap();
    let store = Arc::new(open(&directory));
    let made: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            std::thread::spawn(move || store.generate(&name("a"), Algorithm::EdDsa))
        })
        .collect::<Vec<_>>()
        .into_iter()
        .filter_map(|thread| thread.join().unwrap().ok())
        .collect();
    assert_eq!(made.len(), 1);
    let kept = store.signer(&name("a")).unwrap().unwrap();
    assert_eq!(kept.public_key(), made[0].public_key());
}

#[test]
fn what_a_killed_process_left_behind_is_no_key() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    fs::write(directory.path().join(".new-half"), [0x85, 1]).unwrap();
    fs::write(directory.path().join("README.txt"), "notes").unwrap();
    assert!(store.names().unwrap().is_empty());
    store.generate(&name("half"), Algorithm::Es256).unwrap();
    assert_eq!(store.names().unwrap(), [name("half")]);
}

#[cfg(unix)]
#[test]
fn files_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = TempDir::new().unwrap();
    open(&directory).generate(&name("a"), Algorithm::Es256).unwrap();
    for file in ["a.key", "store.lock"] {
        let mode = fs::metadata(directory.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
}

#[test]
fn an_imported_key_signs_as_the_original_does() {
    let directory = TempDir::new().unwrap();
    let original = SoftwareKey::from_bytes(Algorithm::EdDsa, &[7; 32]).unwrap();
    let store = open(&directory);
    let secret = Zeroizing::new([7; 32]);
    let imported = store.import(&name("old"), Algorithm::EdDsa, &secret).unwrap();
    assert_eq!(imported.sign(b"m").unwrap(), original.sign(b"m").unwrap());
    let error = store.import(&name("zero"), Algorithm::Es256, &Zeroizing::new([0; 32]));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Malformed);
}
