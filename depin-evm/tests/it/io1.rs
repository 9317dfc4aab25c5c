//! `io1` addresses against the vectors of IoTeX's own tools, and against damage.

use std::path::PathBuf;

use depin_evm::{
    alloy::primitives::Address,
    io1::{self, Io1Error},
};
use proptest::prelude::*;
use serde::{Deserialize, de::DeserializeOwned};

#[derive(Deserialize)]
struct Valid {
    io1: String,
    hex: Address,
}

#[derive(Deserialize)]
struct Invalid {
    addr: String,
}

fn vectors<T: DeserializeOwned>(name: &str) -> Option<Vec<T>> {
    let root = std::env::var_os("DEPIN_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"),
        PathBuf::from,
    );
    let Ok(text) = std::fs::read(root.join("iotex").join(name)) else {
        println!("skipped: no vectors");
        return None;
    };
    Some(serde_json::from_slice(&text).unwrap())
}

#[test]
fn published_addresses_convert_both_ways() {
    for valid in vectors::<Valid>("addresses.json").unwrap_or_default() {
        assert_eq!(io1::parse(&valid.io1), Ok(valid.hex));
        assert_eq!(io1::format(valid.hex), valid.io1);
        assert_eq!(io1::parse_any(&valid.hex.to_string()), Ok(valid.hex));
    }
}

#[test]
fn published_bad_addresses_are_refused() {
    for invalid in vectors::<Invalid>("addresses_invalid.json").unwrap_or_default() {
        assert!(io1::parse(&invalid.addr).is_err(), "{}", invalid.addr);
        assert!(io1::parse_any(&invalid.addr).is_err(), "{}", invalid.addr);
    }
}

#[test]
fn bech32m_is_another_encoding() {
    let hrp = bech32::Hrp::parse("io").unwrap();
    let text = bech32::encode::<bech32::Bech32m>(hrp, &[7; 20]).unwrap();
    assert_eq!(text.len(), 41);
    assert_eq!(io1::parse(&text), Err(Io1Error::Damaged));
}

#[test]
fn the_test_networks_prefix_is_read_only_on_request() {
    let hrp = bech32::Hrp::parse("it").unwrap();
    let text = bech32::encode::<bech32::Bech32>(hrp, &[7; 20]).unwrap();
    assert_eq!(io1::parse(&text), Err(Io1Error::Prefix("io")));
    assert_eq!(io1::parse_testnet(&text), Ok(Address::repeat_byte(7)));
    let main = io1::format(Address::repeat_byte(7));
    assert_eq!(io1::parse_testnet(&main), Err(Io1Error::Prefix("it")));
}

#[test]
fn case_may_be_one_or_the_other_but_not_mixed() {
    let text = io1::format(Address::repeat_byte(0xab));
    assert_eq!(io1::parse(&text.to_uppercase()), Ok(Address::repeat_byte(0xab)));
    let mixed = text.replacen('i', "I", 1);
    assert_eq!(io1::parse(&mixed), Err(Io1Error::Damaged));
    let wrong = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";
    assert!(io1::parse_any(&wrong.replace("5d359", "5D359")).is_err());
}

proptest! {
    #[test]
    fn every_address_survives_the_round_trip(bytes in any::<[u8; 20]>()) {
        let text = io1::format(bytes.into());
        prop_assert_eq!(text.len(), 41);
        prop_assert_eq!(io1::parse(&text), Ok(bytes.into()));
    }

    #[test]
    fn every_truncation_and_extension_is_refused(bytes in any::<[u8; 20]>(), more in "[a-z0-9]{1,9}") {
        let text = io1::format(bytes.into());
        for end in 0..text.len() {
            prop_assert!(io1::parse(&text[..end]).is_err());
        }
        prop_assert!(io1::parse(&(text + &more)).is_err());
    }

    #[test]
    fn one_wrong_character_is_noticed(bytes in any::<[u8; 20]>(), at in 0_usize..41, with in "[ -~]") {
        let text = io1::format(bytes.into());
        let mut changed = text.clone();
        changed.replace_range(at..=at, &with);
        prop_assume!(changed != text);
        prop_assert!(io1::parse(&changed).is_err());
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = (io1::parse(&text), io1::parse_any(&text), io1::parse_testnet(&text));
    }
}
