#![no_main]
//! Standings have one encoding.

use depin_data::{
    epoch::Standings,
    merkle::{Accumulator, leaf_hash},
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let bytes = [&b"depin standings v1\n"[..], bytes].concat();
    let _ = Standings::read(&bytes[..]);
    // With the root that the entries have, so that what they say is looked at.
    let (mut rest, mut tree) = (&bytes[19..], Accumulator::new());
    while let Some((length, after)) = rest.split_first_chunk() {
        let Some((entry, after)) = after.split_at_checked(u32::from_be_bytes(*length) as usize)
        else {
            return;
        };
        tree.push(leaf_hash(entry));
        rest = after;
    }
    let whole = [&bytes[..bytes.len() - rest.len()], tree.root().as_slice()].concat();
    if let Ok(standings) = Standings::read(&whole[..]) {
        let mut written = Vec::new();
        assert!(standings.write(&mut written).is_ok());
        assert_eq!(written, whole);
    }
});
