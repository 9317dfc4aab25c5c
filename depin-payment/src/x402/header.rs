//! JSON in HTTP headers: standard base64, bounded before anything is allocated.

use base64ct::{Base64, Base64Unpadded, Encoding};
use depin_core::{Error, ErrorKind, Result};

/// Most bytes of the JSON of a message.
pub(super) const MAX_JSON: usize = 64 * 1024;

const MAX_TEXT: usize = MAX_JSON.div_ceil(3) * 4;

pub(super) fn encode(json: &[u8]) -> String {
    Base64::encode_string(json)
}

/// Padding may be missing, as some senders leave it out.
pub(super) fn decode(value: &str) -> Result<Vec<u8>> {
    let value = value.trim_matches([' ', '\t']);
    if value.len() > MAX_TEXT {
        let text = "an x402 header carries at most 64 KiB of JSON";
        return Err(Error::new(ErrorKind::Limit, text).with("characters", value.len()));
    }
    let decoded = if value.len().is_multiple_of(4) {
        Base64::decode_vec(value)
    } else {
        Base64Unpadded::decode_vec(value)
    };
    decoded.map_err(|error| {
        let text = "an x402 header is base64 of JSON, in the standard alphabet";
        Error::new(ErrorKind::Malformed, text).with("cause", error)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn padding_is_optional_and_other_alphabets_are_refused() {
        assert_eq!(decode("e30=").unwrap(), b"{}");
        assert_eq!(decode("e30").unwrap(), b"{}");
        assert_eq!(decode(" e30= ").unwrap(), b"{}");
        for bad in ["e30==", "e3-_", "e 30", "\u{e9}30=", "e"] {
            assert_eq!(decode(bad).unwrap_err().kind(), ErrorKind::Malformed, "{bad}");
        }
        let long = "A".repeat(MAX_TEXT + 1);
        assert_eq!(decode(&long).unwrap_err().kind(), ErrorKind::Limit);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(json: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&json)).unwrap(), json);
        }

        #[test]
        fn no_text_makes_decoding_panic(text in "\\PC{0,64}") {
            let _ = decode(&text);
        }
    }
}
