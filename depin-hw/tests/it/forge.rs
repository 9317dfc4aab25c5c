//! Tokens and claim sets made by hand, so that any rule can be broken.

use depin_core::{
    Algorithm, NetworkId, Signer, SoftwareKey, Timestamp, cose,
    evidence::{Challenge, Evidence, Nonce},
};
use depin_hw::psa::{Claims, Component, ImplementationId, InstanceId, Lifecycle, MEDIA_TYPE};
use minicbor::Encoder;

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
pub(crate) const BOARD: ImplementationId = ImplementationId::new([0xaa; 32]);
pub(crate) const BOOTLOADER: [u8; 32] = [0xb1; 32];

/// The attestation key of a genuine board.
pub(crate) fn chip() -> SoftwareKey {
    SoftwareKey::from_seed(Algorithm::Es256, [0x41; 32])
}

/// The key that a device signs its batches with.
pub(crate) fn device(seed: u8) -> SoftwareKey {
    SoftwareKey::from_seed(Algorithm::Es256k, [seed; 32])
}

pub(crate) fn challenge() -> Challenge {
    Challenge {
        network: NetworkId::parse("climate").unwrap(),
        nonce: Nonce::new([5; 32]),
        did: "did:example:station".parse().unwrap(),
        key: device(1).public_key().clone(),
    }
}

/// What a genuine board says to `challenge`.
pub(crate) fn board_claims(challenge: &Challenge) -> Claims {
    Claims::new(
        challenge.binding().as_slice(),
        InstanceId::of_key(chip().public_key()),
        BOARD,
        Lifecycle::Secured,
        vec![Component::new("BL", BOOTLOADER, [0x51; 32])],
    )
}

pub(crate) fn evidence(bytes: Vec<u8>) -> Evidence {
    Evidence { format: MEDIA_TYPE.into(), bytes }
}

pub(crate) fn signed(claims: &Claims, key: &SoftwareKey) -> Evidence {
    evidence(signed_payload(&claims.encode().unwrap(), key))
}

pub(crate) fn signed_payload(payload: &[u8], key: &SoftwareKey) -> Vec<u8> {
    let header = cose::plain_header(key.public_key().algorithm());
    cose::sign1(key, &header, payload, b"").unwrap()
}

/// A CBOR map of integer keys and values that are already encoded.
pub(crate) fn map(entries: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = cbor(|e| {
        e.map(entries.len() as u64).unwrap();
    });
    for (key, value) in entries {
        bytes.extend(cbor(|e| {
            e.i64(*key).unwrap();
        }));
        bytes.extend(value);
    }
    bytes
}

pub(crate) fn cbor(write: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Encoder::new(&mut bytes));
    bytes
}

pub(crate) fn bytes(value: &[u8]) -> Vec<u8> {
    cbor(|e| {
        e.bytes(value).unwrap();
    })
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    cbor(|e| {
        e.str(value).unwrap();
    })
}

pub(crate) fn integer(value: i64) -> Vec<u8> {
    cbor(|e| {
        e.i64(value).unwrap();
    })
}

/// An array of items that are already encoded.
pub(crate) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = cbor(|e| {
        e.array(items.len() as u64).unwrap();
    });
    bytes.extend(items.concat());
    bytes
}

/// The mandatory claims of the current profile, each broken or dropped with [`with`] and [`without`].
pub(crate) fn entries() -> Vec<(i64, Vec<u8>)> {
    let component = map(&[(1, text("BL")), (2, bytes(&[2; 32])), (5, bytes(&[5; 32]))]);
    vec![
        (10, bytes(&[7; 32])),
        (256, bytes(&[1; 33])),
        (265, text("tag:psacertified.org,2023:psa#tfm")),
        (2394, integer(-1)),
        (2395, integer(0x3000)),
        (2396, bytes(&[9; 32])),
        (2399, array(&[component])),
    ]
}

/// The mandatory claims with one set or added.
pub(crate) fn with(key: i64, value: Vec<u8>) -> Vec<u8> {
    let mut entries = entries();
    match entries.iter_mut().find(|(known, _)| *known == key) {
        Some(entry) => entry.1 = value,
        None => entries.push((key, value)),
    }
    map(&entries)
}

/// The mandatory claims less one.
pub(crate) fn without(key: i64) -> Vec<u8> {
    let mut entries = entries();
    entries.retain(|(known, _)| *known != key);
    map(&entries)
}

/// Decodes base64 with padding, as PEM and the claim-set vectors write it.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=');
    let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::new());
    for digit in digits {
        let value = ALPHABET.iter().position(|known| *known == digit).expect("base64");
        bits = bits << 6 | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
