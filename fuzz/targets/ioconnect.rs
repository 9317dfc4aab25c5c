#![no_main]
//! Messages of ioConnect, as they come and with the bytes as their protected header.

use base64ct::{Base64UrlUnpadded, Encoding};
use depin_identity::ioconnect::{AgreementKey, open};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let key = AgreementKey::from_bytes(&[7; 32]).expect("a scalar");
    assert!(open(bytes, "k", &key).is_err(), "nobody can forge a tag by chance");
    let (entry, tag) = ("A".repeat(64), "A".repeat(22));
    let text = Base64UrlUnpadded::encode_string(bytes);
    let message = format!(
        r#"{{"protected":{text:?},"recipients":[{{"header":{{"kid":"k"}},"encrypted_key":"{entry}"}}],"iv":"AAAAAAAAAAAAAAAAAA","ciphertext":"","tag":"{tag}"}}"#
    );
    assert!(open(message.as_bytes(), "k", &key).is_err(), "nobody can forge a tag by chance");
});
