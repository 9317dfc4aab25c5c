#![no_main]
//! A file of reward proofs that passes the full check is the file that its tree gives; claims from any
//! other are right or refused.

use depin_core::B256;
use depin_payment::{
    RewardTree,
    tree::{
        file::{Check, ProofFile},
        verify,
    },
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = ProofFile::from_bytes(bytes.to_vec(), Check::Quick) else { return };
    for row in 0..file.len().min(64) {
        if let Ok(Some(claim)) = file.claim_at(row) {
            assert!(verify(file.root(), &claim));
        }
    }
    let _ = file.claim(depin_core::Address::repeat_byte(0x80));
    if let Ok(whole) = ProofFile::from_bytes(bytes.to_vec(), Check::Full) {
        let claims = (0..whole.len()).map(|row| whole.claim_at(row).expect("checked").expect("a row"));
        let rows = claims.map(|claim| (claim.account, claim.cumulative)).collect();
        let tree = RewardTree::build(rows).expect("checked");
        let (mut again, domain): (Vec<u8>, B256) = (Vec::new(), whole.domain());
        tree.write(domain, &mut again).expect("memory");
        assert_eq!(again, bytes);
    }
});
