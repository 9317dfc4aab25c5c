//! A network survives a restart, and a damaged file is refused.

use std::fs;

use alloy::{primitives::U256, providers::Provider};
use depin_devnet::{Devnet, ErrorKind};
use serde_json::json;

use crate::common::{Counter, FRIEND, ask, filled, repeatable, send, sign, transfer};

/// A chain with a bit of everything.
async fn lively() -> (Devnet, Counter::CounterInstance<alloy::providers::DynProvider>) {
    let devnet = repeatable();
    let provider = devnet.provider();
    let counter = Counter::deploy(provider.clone(), U256::from(5)).await.unwrap();
    for amount in [7, 8] {
        counter.increase(U256::from(amount)).send().await.unwrap().get_receipt().await.unwrap();
    }
    counter.spawn(Default::default()).send().await.unwrap().get_receipt().await.unwrap();
    counter.clear().send().await.unwrap().get_receipt().await.unwrap();
    send(&provider, transfer(9)).await;
    devnet.set_balance(FRIEND, U256::from(1_000));
    devnet.reorg(1).unwrap();
    devnet.increase_time(100).unwrap();
    devnet.set_automine(false);
    let raw = sign(devnet.account(4), filled(0)).await;
    ask(&devnet, "eth_sendRawTransaction", json!([raw])).await.unwrap();
    (devnet, counter)
}

/// Everything a client can see about a chain.
async fn seen(devnet: &Devnet, contract: alloy::primitives::Address) -> Vec<serde_json::Value> {
    let mut questions = vec![
        ("eth_chainId", json!([])),
        ("eth_getLogs", json!([{"fromBlock": "0x0"}])),
        ("eth_feeHistory", json!(["0x10", "latest", [10.0, 90.0]])),
        ("eth_getBlockByNumber", json!(["pending", true])),
        ("eth_accounts", json!([])),
    ];
    for number in 0..=devnet.block_number() {
        let at = format!("{number:#x}");
        questions.push(("eth_getBlockByNumber", json!([at, true])));
        questions.push(("eth_getBlockReceipts", json!([at])));
        questions.push(("eth_getCode", json!([contract, at])));
        questions.push(("eth_call", json!([{"to": contract, "data": "0x06661abd"}, at])));
        questions.push(("eth_getProof", json!([contract, ["0x0"], at])));
        for address in [contract, FRIEND, devnet.account(0).address()] {
            questions.push(("eth_getBalance", json!([address, at])));
            questions.push(("eth_getTransactionCount", json!([address, at])));
        }
    }
    let mut answers = Vec::new();
    for (method, params) in questions {
        answers.push(ask(devnet, method, params).await.unwrap());
    }
    answers
}

#[tokio::test]
async fn a_loaded_chain_answers_as_the_dumped_one_and_goes_on_alike() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain");
    let (devnet, counter) = lively().await;
    let contract = *counter.address();
    devnet.dump(&file).unwrap();
    let loaded = Devnet::load(&file).unwrap();
    assert_eq!(seen(&devnet, contract).await, seen(&loaded, contract).await);
    for chain in [&devnet, &loaded] {
        chain.mine(2);
    }
    assert_eq!(seen(&devnet, contract).await, seen(&loaded, contract).await);
    assert_eq!(loaded.provider().get_balance(FRIEND).await.unwrap(), U256::from(10));
}

#[tokio::test]
async fn a_dump_replaces_the_file_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain");
    let devnet = repeatable();
    for height in 0..3 {
        devnet.dump(&file).unwrap();
        assert_eq!(Devnet::load(&file).unwrap().block_number(), height);
        devnet.mine(1);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_damaged_dump_is_refused_wherever_the_damage_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain");
    let devnet = repeatable();
    send(&devnet.provider(), transfer(9)).await;
    devnet.dump(&file).unwrap();
    let good = fs::read(&file).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&file, bytes).unwrap();
        assert_eq!(Devnet::load(&file).unwrap_err().kind(), ErrorKind::Damaged, "{what}");
    };
    for length in 0..good.len() {
        refused(&good[..length], &format!("cut to {length}"));
    }
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        refused(&bad, &format!("bit flipped at {at}"));
    }
    refused(&[good.as_slice(), &[0]].concat(), "a byte too many");
}

/// Whoever repairs the checksum still cannot change the history.
#[tokio::test]
async fn a_forged_dump_with_a_right_checksum_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain");
    let devnet = repeatable();
    send(&devnet.provider(), transfer(9)).await;
    devnet.dump(&file).unwrap();
    let good = fs::read(&file).unwrap();
    // Settings come first and may be chosen; what follows is bound by hashes.
    let (start, end) = (80, good.len() - 33);
    for at in (start..end).step_by(3) {
        let mut bad = good[..good.len() - 32].to_vec();
        bad[at] ^= 0x01;
        let sum = alloy::primitives::keccak256(&bad);
        bad.extend_from_slice(sum.as_slice());
        fs::write(&file, &bad).unwrap();
        if let Ok(loaded) = Devnet::load(&file) {
            // A recorded sender is no part of any hash; nothing else may differ.
            let hash = |chain: Devnet| async move {
                chain.provider().get_block_by_number(1.into()).await.unwrap().unwrap().header.hash
            };
            assert_eq!(hash(loaded).await, hash(devnet.clone()).await, "byte {at}");
        }
    }
}

#[test]
fn a_missing_file_is_an_io_error_with_its_name() {
    let error = Devnet::load("no/such/file").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("no/such/file"));
    assert_eq!(Devnet::start().dump("no/such/folder/file").unwrap_err().kind(), ErrorKind::Io);
}
