#![no_main]
//! Credentials and their status entries: reading never panics.

use depin_identity::{
    credentials::{Credential, status::StatusEntry},
    json::{self, Value},
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(Value::Object(object)) = json::parse(bytes) else { return };
    if let Ok(entry) = StatusEntry::read(&object) {
        assert_eq!(StatusEntry::read(&entry.to_object()), Ok(entry));
    }
    if let Ok(credential) = Credential::read(object) {
        let again = Credential::read(credential.as_object().clone());
        assert_eq!(again.expect("what was read can be read"), credential);
    }
});
