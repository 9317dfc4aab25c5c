//! Nodes behind one URL that are on two forks.

use depin_evm::ErrorKind;
use depin_evm::alloy::providers::Provider;

use crate::{
    node::Node,
    reverts::{DEPTH, count, devnet, eager, mine_before, pay, revert},
    waiting::until,
};

#[tokio::test]
async fn a_revert_in_a_block_that_was_replaced_frees_no_key() {
    // What a node that is left behind tells of: the receipt only, or its block as well.
    for behind in [1, 2] {
        let devnet = devnet();
        let node = Node::of(&devnet);
        let chain = eager(&devnet).provider(node.provider()).connect().await.unwrap();
        let (hash, raw) = revert(&devnet, &chain).await;
        let block = devnet.block_number();
        let receipt = node.asked("eth_getTransactionReceipt", &format!("[\"{hash}\"]")).await;
        let block = format!("[\"{block:#x}\",false]");
        let block = node.asked("eth_getBlockByNumber", &block).await;

        devnet.reorg(1).unwrap();
        mine_before(&devnet, 0);
        let _ = devnet.provider().send_raw_transaction(&raw).await.unwrap();
        devnet.mine(1);
        assert_eq!(count(&devnet, 0).await, 1, "the other fork executed it");
        devnet.mine(2 * DEPTH);
        mine_before(&devnet, 0);
        for said in [&receipt, &block].into_iter().take(behind) {
            node.repeat(said);
        }
        let sent = chain.send_once("rent", pay(0));
        let error = tokio::select! {
            sent = sent => sent.unwrap_err(),
            () = until(async || (!devnet.waiting().is_empty()).then_some(())) => {
                panic!("it is sent again beside what was executed")
            }
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}
