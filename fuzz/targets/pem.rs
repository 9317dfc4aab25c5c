#![no_main]
//! Keys as other programs write them: what is read as a public key is written and read again.

use depin_identity::keys::pem;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = pem::public_key_from_pem(text) {
        let again = pem::public_key_from_pem(&pem::public_key_to_pem(&key));
        assert_eq!(again.expect("our own pem is read"), key);
    }
    let _ = pem::private_key_from_pem(text);
});
