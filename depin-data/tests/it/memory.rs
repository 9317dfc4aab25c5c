//! What hostile bytes cost in memory: no more than a small multiple of what was sent.

use std::sync::Arc;

use allocation_counter::measure;
use depin_core::transport::{Answer, RefusalCode};
use depin_data::{batch::MAX_BYTES, evidence::Fork, log::MemoryLog, receipt};

use crate::support::Net;

/// Lengths of four gigabytes and more in each place where a length may stand.
fn bombs() -> Vec<Vec<u8>> {
    let heads: [&[u8]; 8] = [
        b"\x9a\xff\xff\xff\xff",                 // array
        b"\xba\xff\xff\xff\xff",                 // map
        b"\x5a\xff\xff\xff\xff",                 // bytes
        b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff", // text
        b"\x9f",                                 // array without end
        b"\x5f\x5a\xff\xff\xff\xff",             // bytes without end
        b"\xa2\x01\x00\x01\x00",                 // a key twice
        b"\x81",                                 // nested for ever
    ];
    let mut bombs = Vec::new();
    for head in heads {
        bombs.push(head.to_vec());
        bombs.push(head.repeat(MAX_BYTES / head.len()));
        // As the payload of a COSE_Sign1, and as its protected header.
        bombs.push([b"\xd2\x84\x43\xa1\x01\x26\xa0", head].concat());
        bombs.push([b"\xd2\x84\x59\x01\x00".as_slice(), &head.repeat(256 / head.len())].concat());
    }
    bombs.push(vec![0; MAX_BYTES + 1]);
    bombs
}

#[test]
fn length_bombs_are_refused_in_little_memory() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for bomb in bombs() {
        let mut code = None;
        let cost = measure(|| {
            let answer = runtime.block_on(net.ingest.accept(&bomb)).unwrap();
            let Answer::Refusal(refusal) = answer else { panic!("a bomb is taken") };
            code = Some(refusal.code);
            assert!(receipt::decode(&bomb).is_err());
            assert!(Fork::parse(&bomb).is_err());
        });
        let large = bomb.len() > MAX_BYTES;
        let expected = if large { RefusalCode::TooLarge } else { RefusalCode::Malformed };
        assert_eq!(code, Some(expected), "{:02x?}", &bomb[..bomb.len().min(16)]);
        // One copy to judge, one to keep as evidence.
        let most = 3 * bomb.len() as u64 + 16_384;
        assert!(cost.bytes_max <= most, "{} of {most} for {} bytes", cost.bytes_max, bomb.len());
    }
}
