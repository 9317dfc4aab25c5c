//! Receipts: what they prove, and every way to forge one.

use std::sync::Arc;

use depin_core::{
    Algorithm, B256, NetworkId, Signer, SoftwareKey, Timestamp, envelope::Envelope, log::TreeHead,
    transport::Receipt,
};
use depin_data::{
    log::MemoryLog,
    merkle::MerkleError,
    receipt::{self, HEAD_PURPOSE, HeadSigner, ReceiptError, ReceiptVerifier},
};
use proptest::prelude::*;

use crate::support::{Net, network};

async fn receipts() -> (Net, Vec<(depin_core::SignedBatch, Receipt)>) {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = net.enrol("a");
    let mut all = Vec::new();
    for _ in 0..5 {
        let batch = device.measure();
        let receipt = net.taken(&batch).await;
        all.push((batch, receipt));
    }
    (net, all)
}

#[tokio::test]
async fn a_receipt_proves_its_batch_and_nothing_else() {
    let (net, all) = receipts().await;
    let (batch, receipt) = &all[3];
    let head = net.receipts.verify(receipt, batch).unwrap();
    assert_eq!((head.tree.size, head.log.as_str()), (4, "did:example:log"));
    let other = net.receipts.verify(receipt, &all[2].0);
    assert_eq!(other, Err(ReceiptError::Contradiction("the batch")));

    let forged = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = receipt.clone();
        change(&mut receipt);
        net.receipts.verify(&receipt, batch).unwrap_err()
    };
    let head = ReceiptError::Contradiction("the signed tree head");
    assert_eq!(forged(&|r| r.tree_size += 1), head);
    assert_eq!(forged(&|r| r.root = B256::ZERO), head);
    assert_eq!(forged(&|r| r.index = 2), ReceiptError::Path(MerkleError::Root));
    assert_eq!(forged(&|r| r.index = 9), ReceiptError::Path(MerkleError::Range));
    assert_eq!(forged(&|r| r.path.clear()), ReceiptError::Path(MerkleError::Length));
    assert_eq!(forged(&|r| r.path[0] = B256::ZERO), ReceiptError::Path(MerkleError::Root));
    assert_eq!(forged(&|r| r.head = all[2].1.head.clone()), head);
    assert!(matches!(
        forged(&|r| r.head = all[2].0.as_bytes().to_vec().into()),
        ReceiptError::Head(_)
    ));
}

#[tokio::test]
async fn a_log_that_takes_something_back_is_found_out() {
    let (net, all) = receipts().await;
    let log = net.ingest.log();
    let heads: Vec<_> =
        all.iter().map(|(_, receipt)| net.receipts.head(&receipt.head).unwrap()).collect();
    let shown = |place: usize| &all[place].1.head;
    for (old, kept) in heads.iter().enumerate() {
        for (new, head) in heads.iter().enumerate().skip(old) {
            let path = log.consistency(kept.tree.size, head.tree.size).await.unwrap();
            assert_eq!(net.receipts.continued(kept, shown(new), &path).as_ref(), Ok(head));
        }
    }
    let path = log.consistency(2, 5).await.unwrap();
    let shrunk = net.receipts.continued(&heads[4], shown(1), &path);
    assert_eq!(shrunk, Err(ReceiptError::Shrunk { kept: 5, shown: 2 }));

    let rewritten = |kept: u64| {
        let mut head = heads[1].clone();
        (head.tree.size, head.tree.root) = (kept, B256::repeat_byte(7));
        head
    };
    let forked = net.receipts.continued(&rewritten(5), shown(4), &[]);
    assert_eq!(forked, Err(ReceiptError::Forked(5)));
    let forked = net.receipts.continued(&rewritten(2), shown(4), &path);
    assert_eq!(forked, Err(ReceiptError::Path(MerkleError::Root)));
    let unproven = net.receipts.continued(&heads[1], shown(4), &path[1..]);
    assert!(matches!(unproven, Err(ReceiptError::Path(_))));
    let mut other = heads[1].clone();
    other.log = "did:example:other".parse().unwrap();
    assert!(net.receipts.continued(&other, shown(4), &path).is_err());
    let mut none = heads[1].clone();
    (none.tree.size, none.tree.root) = (0, B256::ZERO);
    assert!(net.receipts.continued(&none, shown(4), &[]).is_ok());
}

#[tokio::test]
async fn a_head_of_another_key_or_network_is_refused() {
    let (net, all) = receipts().await;
    let (batch, receipt) = &all[0];
    let stranger: Arc<dyn Signer> = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [5; 32]));
    let tree = TreeHead { size: receipt.tree_size, root: receipt.root };
    let did = || "did:example:log".parse().unwrap();
    let head = HeadSigner::new(&network(), stranger, did()).sign(&tree, Timestamp::EPOCH).unwrap();
    let forged = Receipt { head: head.into(), ..receipt.clone() };
    assert!(matches!(net.receipts.verify(&forged, batch), Err(ReceiptError::Head(_))));

    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [77; 32]);
    let drive = NetworkId::parse("drive").unwrap();
    assert!(ReceiptVerifier::new(&drive, key.public_key()).verify(receipt, batch).is_err());
}

#[tokio::test]
async fn receipts_and_heads_survive_the_wire_and_nothing_malformed_does() {
    let (net, all) = receipts().await;
    for (_, receipt) in &all {
        let bytes = receipt::encode(receipt).unwrap();
        assert_eq!(receipt::decode(&bytes).as_ref(), Ok(receipt));
        for length in 0..bytes.len() {
            assert!(receipt::decode(&bytes[..length]).is_err());
        }
        assert!(receipt::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        for length in 0..receipt.head.len() {
            assert!(net.receipts.head(&receipt.head[..length]).is_err());
        }
    }
    let long = Receipt { path: vec![B256::ZERO; 65], ..all[0].1.clone() };
    assert!(receipt::encode(&long).is_err());
    let bomb = b"\xa6\x01\x5b\xff\xff\xff\xff\xff\xff\xff\xff";
    assert!(matches!(receipt::decode(bomb), Err(ReceiptError::Encoding(_))));

    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [77; 32]);
    let did = "did:example:log".parse().unwrap();
    for payload in [b"".as_slice(), b"\xa0", b"\xa3\x01\x05\x02\x40\x03\x00", b"\xa1\x01\x00"] {
        let head = Envelope::seal(&key, &did, &network(), HEAD_PURPOSE, payload).unwrap();
        assert!(net.receipts.head(&head).is_err());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_receipt(bytes: Vec<u8>) {
        prop_assert!(receipt::decode(&bytes).is_err());
    }
}
