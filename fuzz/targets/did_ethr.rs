#![no_main]
//! did:ethr: whatever an owner wrote into the registry, the document is that of the DID, with one name per key.

use depin_core::{Address, B256, Bytes, ChainId, Did, Timestamp};
use depin_identity::methods::ethr::{Block, Change, History, Identifier, Moment, document};

/// One change out of 66 bytes and the value that follows.
fn change(bytes: &[u8]) -> Option<(Change, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<66>()?;
    let valid_to = u64::from_be_bytes(head[32..40].try_into().ok()?);
    let name = B256::from_slice(&head[..32]);
    let account = Address::from_slice(&head[40..60]);
    let length = usize::from(head[60]).min(rest.len());
    let (value, rest) = rest.split_at(length);
    let change = match head[61] % 8 {
        0 => Change::Owner(account),
        1..4 => Change::Delegate { kind: name, delegate: account, valid_to },
        _ => Change::Attribute { name, value: Bytes::copy_from_slice(value), valid_to },
    };
    Some((change, rest))
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = core::str::from_utf8(bytes)
        && let Ok(did) = Did::parse(text)
    {
        let _ = Identifier::of(&did);
    }
    let mut blocks = Vec::new();
    let mut rest = bytes;
    while let Some((next, tail)) = change(rest) {
        rest = tail;
        let number = blocks.len() as u64 + 1;
        blocks.push(Block::new(number, Timestamp::from_secs(number), vec![next]));
    }
    let count = blocks.len();
    let history = History::new(blocks).expect("the numbers rise");
    let did: Did = "did:ethr:0xf3beac30c498d9e26865f34fcaa57dbb935b0d74".parse().expect("a did");
    let moment = Moment::Head(Timestamp::EPOCH);
    let (found, metadata) =
        document(&did, ChainId::new(1), &history, moment).expect("bad events do no harm");
    assert_eq!(found.id, did);
    assert!(found.verification_method.len() + found.service.len() <= count + 1);
    assert_eq!(metadata.deactivated, found.verification_method.is_empty());
});
