#![no_main]
//! Status lists: what is read is a list of bits that is written and read again as the same.

use depin_identity::credentials::status::StatusList;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(list) = StatusList::decode(text) {
        assert_eq!(StatusList::decode(&list.encode()), Ok(list));
    }
});
