//! Conformance of [`KeyStore`].

use depin_core::{
    Algorithm, ErrorKind,
    keystore::{KeyName, KeyStore},
};

use crate::signer;

/// Runs every clause of the contract. `reopen` opens the same store again, as after a restart; the store
/// must be empty at first.
///
/// # Panics
/// When a clause does not hold.
pub fn conforms(reopen: &dyn Fn() -> Box<dyn KeyStore>) {
    let store = reopen();
    assert!(store.names().expect("an empty store lists its names").is_empty(), "start empty");
    let able: Vec<_> =
        Algorithm::ALL.into_iter().filter(|which| generates(&*store, *which)).collect();
    let Some(&algorithm) = able.first() else { panic!("the store makes keys of no algorithm") };
    for again in [&*store, &*reopen()] {
        for which in &able {
            let name = name_of(*which);
            let found = again.signer(&name).expect("clause 1: the store answers");
            let found = found.expect("clause 1: a generated key is found");
            assert_eq!(found.public_key().algorithm(), *which, "clause 1: of the algorithm asked");
            signer::conforms(&*found);
        }
    }
    conflicts_and_deletion(reopen, &name_of(algorithm), algorithm);
}

/// Whether the store can make a key of the algorithm; checks the key if so.
fn generates(store: &dyn KeyStore, algorithm: Algorithm) -> bool {
    match store.generate(&name_of(algorithm), algorithm) {
        Ok(made) => {
            let found = store.signer(&name_of(algorithm)).expect("clause 1: the store answers");
            let found = found.expect("clause 1: a generated key is found");
            assert_eq!(found.public_key(), made.public_key(), "clause 3: one name, one key");
            secrecy(&format!("{store:?} {made:?} {found:?}"));
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "clause 5: {error}");
            false
        }
    }
}

fn conflicts_and_deletion(
    reopen: &dyn Fn() -> Box<dyn KeyStore>,
    name: &KeyName,
    algorithm: Algorithm,
) {
    let store = reopen();
    let key = store.signer(name).expect("clause 1: the store answers").expect("clause 1: found");
    let error = store.generate(name, algorithm).expect_err("clause 2: a name is given once");
    assert_eq!(error.kind(), ErrorKind::Conflict, "clause 2: {error}");
    let kept = store.signer(name).expect("clause 2: the store answers").expect("clause 2: kept");
    assert_eq!(kept.public_key(), key.public_key(), "clause 2: the old key stays");
    let nobody = KeyName::parse("nobody").expect("invariant: it follows the rule");
    assert!(store.signer(&nobody).expect("clause 4: not an error").is_none(), "clause 4");
    assert!(store.names().expect("names are listed").is_sorted(), "names are sorted");
    store.delete(name).expect("clause 6: a key is deleted");
    store.delete(name).expect("clause 6: deleting nothing is fine");
    for again in [&*store, &*reopen()] {
        assert!(
            again.signer(name).expect("clause 6: the store answers").is_none(),
            "clause 6: gone"
        );
        assert!(!again.names().expect("names are listed").contains(name), "clause 6: not listed");
    }
    let fresh = store.generate(name, algorithm).expect("clause 6: the name is free again");
    assert_ne!(fresh.public_key(), key.public_key(), "clause 6: a fresh key, not the old one");
}

/// A hint, not a proof: 32 secret bytes would be 64 hexadecimal digits.
fn secrecy(shown: &str) {
    let longest = shown.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
    assert!(longest.unwrap_or_default() < 64, "clause 7: something long is shown: {shown}");
}

fn name_of(algorithm: Algorithm) -> KeyName {
    KeyName::parse(&format!("key-{}", algorithm.as_str().to_ascii_lowercase()))
        .expect("invariant: it follows the rule")
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    use depin_core::{Error, Result, Signer, SoftwareKey};

    use super::*;

    /// Keys in memory. `forgets` breaks clause 2.
    #[derive(Clone, Debug, Default)]
    struct Memory {
        keys: Arc<Mutex<BTreeMap<KeyName, Arc<SoftwareKey>>>>,
        forgets: bool,
    }

    impl KeyStore for Memory {
        fn generate(&self, name: &KeyName, algorithm: Algorithm) -> Result<Arc<dyn Signer>> {
            let mut keys = self.keys.lock().unwrap();
            if keys.contains_key(name) && !self.forgets {
                return Err(Error::new(ErrorKind::Conflict, "the name is in use"));
            }
            let key = Arc::new(SoftwareKey::generate(algorithm, &mut rand::thread_rng()));
            keys.insert(name.clone(), key.clone());
            Ok(key)
        }

        fn signer(&self, name: &KeyName) -> Result<Option<Arc<dyn Signer>>> {
            let key = self.keys.lock().unwrap().get(name).cloned();
            Ok(key.map(|key| key as Arc<dyn Signer>))
        }

        fn names(&self) -> Result<Vec<KeyName>> {
            Ok(self.keys.lock().unwrap().keys().cloned().collect())
        }

        fn delete(&self, name: &KeyName) -> Result<()> {
            self.keys.lock().unwrap().remove(name);
            Ok(())
        }
    }

    #[test]
    fn a_correct_store_conforms() {
        let store = Memory::default();
        conforms(&|| Box::new(store.clone()));
    }

    #[test]
    #[should_panic(expected = "clause 2")]
    fn overwriting_a_key_is_caught() {
        let store = Memory { forgets: true, ..Memory::default() };
        conforms(&|| Box::new(store.clone()));
    }

    #[test]
    #[should_panic(expected = "clause 1")]
    fn forgetting_keys_at_a_restart_is_caught() {
        conforms(&|| Box::new(Memory::default()));
    }
}
