#![no_main]
//! Key files: whatever stands in one, the store answers with the key that it holds or an error, and a file in
//! which anything was changed is never taken for another key.

use std::{cell::OnceCell, fs};

use depin_core::Algorithm;
use depin_identity::keys::{Cost, FileKeyStore, KeyName, KeyStore, Passphrase};
use rand::{SeedableRng, rngs::StdRng};

struct World {
    store: FileKeyStore,
    directory: std::path::PathBuf,
    name: KeyName,
    sealed: Vec<u8>,
    key: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("depin-fuzz-keys-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let passphrase = Passphrase::new("correct horse".to_owned());
        let rng = StdRng::seed_from_u64(1);
        let store = FileKeyStore::open(&directory, &passphrase, Cost::light(), rng).expect("a store");
        let name = KeyName::parse("station").expect("a valid name");
        let made = store.generate(&name, Algorithm::EdDsa).expect("a key");
        let sealed = fs::read(directory.join("station.key")).expect("its file");
        let key = made.public_key().to_bytes().to_vec();
        Self { store, directory, name, sealed, key }
    }

    fn hold(&self, bytes: &[u8]) {
        fs::write(self.directory.join("station.key"), bytes).expect("a writable disk");
        if let Ok(Some(signer)) = self.store.signer(&self.name) {
            assert_eq!(signer.public_key().to_bytes().to_vec(), self.key);
            assert_eq!(bytes, self.sealed, "a changed file was believed");
        }
    }
}

thread_local!(static WORLD: OnceCell<World> = const { OnceCell::new() });

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    WORLD.with(|world| {
        let world = world.get_or_init(World::new);
        world.hold(bytes);
        let mut changed = world.sealed.clone();
        changed.iter_mut().zip(bytes).for_each(|(byte, change)| *byte ^= change);
        world.hold(&changed);
        world.hold(&[changed.as_slice(), bytes].concat());
    });
});
