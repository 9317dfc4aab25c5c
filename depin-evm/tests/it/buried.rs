//! Whether a reorganisation can still reach what an account sent.

use depin_evm::{
    Chain,
    alloy::{
        eips::BlockNumHash,
        primitives::{B256, TxKind},
    },
};

use crate::{
    node::Node,
    reverts::{DEPTH, devnet, eager},
    sending::{gift, recipient},
};

/// Whether none of the gifts to a recipient can come back.
async fn is_past(chain: &Chain, number: u64) -> bool {
    let meant = TxKind::Call(recipient(number));
    chain.are_buried(|to, _| to == meant).await.unwrap()
}

#[tokio::test]
async fn what_was_sent_is_buried_by_so_many_blocks_whoever_knows_of_it() {
    let devnet = devnet();
    devnet.set_automine(true);
    let chain = eager(&devnet).connect().await.unwrap();
    assert!(is_past(&chain, 1).await, "nothing was sent");
    let receipt = chain.send(gift(recipient(1))).await.unwrap();
    // The same account with a store that knows nothing.
    let other = eager(&devnet).connect().await.unwrap();
    let block =
        BlockNumHash { number: receipt.block_number.unwrap(), hash: receipt.block_hash.unwrap() };
    for left in (1..=DEPTH).rev() {
        for chain in [&chain, &other] {
            assert!(!is_past(chain, 1).await, "{left}");
            assert!(is_past(chain, 2).await, "{left}");
            assert!(!chain.is_buried(block).await.unwrap(), "{left}");
        }
        devnet.mine(1);
    }
    for chain in [&chain, &other] {
        assert!(is_past(chain, 1).await);
        assert!(chain.is_buried(block).await.unwrap());
        let another = BlockNumHash { hash: B256::repeat_byte(1), ..block };
        assert!(!chain.is_buried(another).await.unwrap());
    }
    // Nor is anything else of it, while something waits.
    devnet.set_automine(false);
    let sending = tokio::spawn(async move { other.send(gift(recipient(3))).await });
    crate::waiting::until(async || (!devnet.waiting().is_empty()).then_some(())).await;
    assert!(!is_past(&chain, 1).await);
    sending.abort();
}

/// It tells of a height at which nothing was sent yet; the store knows better.
#[tokio::test]
async fn a_node_that_lags_behind_what_is_stored_buries_nothing() {
    let devnet = devnet();
    devnet.set_automine(true);
    devnet.mine(DEPTH);
    let node = Node::of(&devnet);
    let chain = eager(&devnet).provider(node.provider()).connect().await.unwrap();
    let before = node.asked("eth_blockNumber", "[]").await;
    let count = format!("[\"{}\",\"latest\"]", chain.account());
    let count = node.asked("eth_getTransactionCount", &count).await;
    chain.send(gift(recipient(1))).await.unwrap();
    node.repeat(&before);
    node.repeat(&count);
    assert!(!is_past(&chain, 1).await);
}

#[tokio::test]
async fn bodies_of_two_forks_bury_nothing() {
    let devnet = devnet();
    devnet.set_automine(true);
    devnet.mine(DEPTH);
    let node = Node::of(&devnet);
    let behind = eager(&devnet).provider(node.provider()).connect().await.unwrap();
    let number = devnet.block_number();
    let old = node.asked("eth_getBlockByNumber", &format!("[\"{number:#x}\",true]")).await;
    devnet.reorg(1).unwrap();
    // What the other fork has in the place of that block.
    eager(&devnet).connect().await.unwrap().send(gift(recipient(1))).await.unwrap();
    devnet.mine(1);
    assert!(!is_past(&behind, 1).await);
    node.repeat(&old);
    assert!(!is_past(&behind, 1).await, "the node is on two forks");
}
