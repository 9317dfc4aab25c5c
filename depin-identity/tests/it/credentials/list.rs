//! Status lists: their encoding and its bounds.

use std::io::Write;

use base64ct::{Base64UrlUnpadded, Encoding};
use depin_identity::{
    credentials::status::{Purpose, StatusEntry, StatusError, StatusList},
    json,
};
use depin_testkit::conformance::Suite;
use flate2::{Compress, Compression, FlushCompress, write::GzEncoder};
use proptest::prelude::*;

const LIST: &str = "https://maker.example/status/3";

fn packed(bytes: &[u8]) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    String::from("u") + &Base64UrlUnpadded::encode_string(&gzip.finish().unwrap())
}

fn entry(index: u64) -> StatusEntry {
    StatusEntry::new(LIST, index, Purpose::Revocation)
}

#[test]
fn the_example_of_the_standard_is_read() {
    // W3C Bitstring Status List 1.0, example 5.
    let encoded = "uH4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA";
    let list = StatusList::decode(encoded).unwrap();
    assert_eq!(list.entries(), 131_072);
    assert_eq!(list.indices().count(), 0);
    assert_eq!(list.get(131_071), Some(false));
    assert_eq!(list.get(131_072), None);
    let mut suite = Suite::new("Bitstring Status List, example of the standard");
    suite.case("example 5", list.entries() == 131_072 && list.indices().count() == 0);
    suite.finish();
}

#[test]
fn entry_zero_is_the_leftmost_bit() {
    let mut bytes = vec![0; 16_384];
    bytes[0] = 0b1000_0001;
    bytes[16_383] = 1;
    let list = StatusList::decode(&packed(&bytes)).unwrap();
    assert_eq!(list.indices().collect::<Vec<_>>(), [0, 7, 131_071]);
}

#[test]
fn lists_have_bounds_and_whole_bytes() {
    for entries in [0, 131_064, 131_073, (1 << 24) + 8, usize::MAX] {
        assert_eq!(StatusList::new(entries), Err(StatusError::Length), "{entries}");
    }
    for bytes in [0, 16_383, (1 << 21) + 1] {
        let text = packed(&vec![0; bytes]);
        assert_eq!(StatusList::decode(&text), Err(StatusError::Length), "{bytes}");
    }
    let mut list = StatusList::new(1 << 17).unwrap();
    let range = StatusError::Range { index: 1 << 17, entries: 1 << 17 };
    assert_eq!(list.set(1 << 17, true), Err(range));
}

/// A gzip stream of 1 GiB of zeros, which says that it holds `length` bytes.
fn bomb(length: u32) -> String {
    let mut deflate = Compress::new(Compression::best(), false);
    let mut mebibyte = Vec::with_capacity(1 << 16);
    deflate.compress_vec(&[0; 1 << 20], &mut mebibyte, FlushCompress::Full).unwrap();
    // After a full flush a block stands for itself, so it can be repeated.
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].as_slice();
    let gzip =
        [header, &mebibyte.repeat(1 << 10), &[3, 0], &[0; 4], &length.to_le_bytes()].concat();
    String::from("u") + &Base64UrlUnpadded::encode_string(&gzip)
}

#[test]
fn a_gibibyte_in_a_mebibyte_is_refused_before_it_is_expanded() {
    let honest = bomb(1 << 30);
    assert!(honest.len() < 3 << 19, "{} bytes", honest.len());
    assert_eq!(StatusList::decode(&honest), Err(StatusError::Length));
    // One that lies about its length costs no more than the length it tells.
    assert_eq!(StatusList::decode(&bomb(16_384)), Err(StatusError::Bomb));
}

#[test]
fn damaged_lists_are_refused() {
    let text = packed(&[0; 16_384]);
    let mut gzip = Base64UrlUnpadded::decode_vec(&text[1..]).unwrap();
    let again = |gzip: &[u8]| String::from("u") + &Base64UrlUnpadded::encode_string(gzip);
    for (what, text) in [
        ("no multibase", text[1..].to_owned()),
        ("another multibase", String::from("z") + &text[1..]),
        ("padding", text.clone() + "="),
        ("nothing", String::from("u")),
        ("no gzip", again(&[&[0; 64][..], &gzip[gzip.len() - 4..]].concat())),
        ("two streams", again(&[gzip.clone(), gzip.clone()].concat())),
        (
            "bytes after",
            again(&[&gzip[..gzip.len() - 4], &[0; 4], &gzip[gzip.len() - 4..]].concat()),
        ),
    ] {
        assert_eq!(StatusList::decode(&text), Err(StatusError::Encoding), "{what}");
    }
    for end in 0..text.len() {
        assert!(StatusList::decode(&text[..end]).is_err(), "cut at {end}");
    }
    let checksum = gzip.len() - 8;
    gzip[checksum] ^= 1;
    assert_eq!(StatusList::decode(&again(&gzip)), Err(StatusError::Encoding));
}

#[test]
fn entries_that_do_not_follow_the_format_are_refused() {
    let change = |name: &str, value: json::Value| {
        let mut object = entry(7).to_object();
        object.insert(name, value);
        StatusEntry::read(&object)
    };
    for (name, value) in [
        ("statusListIndex", json::Value::from(7)),
        ("statusListIndex", "07".into()),
        ("statusListIndex", "+7".into()),
        ("statusListIndex", "-1".into()),
        ("statusListIndex", "0x7".into()),
        ("statusListIndex", "99999999999999999999".into()),
        ("statusListCredential", json::Value::Null),
        ("id", LIST.into()),
        ("statusSize", 0.into()),
        ("statusSize", "1".into()),
    ] {
        assert!(matches!(change(name, value), Err(StatusError::Member(_))), "{name}");
    }
    assert_eq!(change("statusSize", 2.into()), Err(StatusError::Size(2)));
    assert_eq!(change("type", "Other".into()), Err(StatusError::Kind("Other".into())));
    assert_eq!(change("statusPurpose", "message".into()), Err(StatusError::Kind("message".into())));
    assert_eq!(change("statusSize", 1.into()), Ok(entry(7)));
}

proptest! {
    #[test]
    fn lists_survive_their_encoding(indices in prop::collection::btree_set(0..1_usize << 17, 0..200)) {
        let mut list = StatusList::new(1 << 17).unwrap();
        for index in &indices {
            list.set(*index, true).unwrap();
        }
        let read = StatusList::decode(&list.encode()).unwrap();
        prop_assert_eq!(read.encode(), list.encode());
        prop_assert!(read.indices().eq(indices));
    }

    #[test]
    fn random_text_never_panics(text in "u[A-Za-z0-9_-]{0,200}", bytes: Vec<u8>) {
        prop_assert!(StatusList::decode(&text).is_err());
        let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], bytes.as_slice(), &[0, 0x40, 0, 0]].concat();
        let _ = StatusList::decode(&(String::from("u") + &Base64UrlUnpadded::encode_string(&gzip)));
    }
}
