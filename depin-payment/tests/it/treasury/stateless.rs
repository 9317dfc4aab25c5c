//! Nodes that tell of the present state only: what is buried is known by its block.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use depin_core::ErrorKind;
use depin_devnet::Devnet;
use depin_evm::alloy::{
    rpc::json_rpc::ErrorPayload,
    transports::{RpcError, TransportError},
};
use serde_json::{Value, json};

use super::{
    Bank,
    hooks::{Unpriced, hooked},
    list, someone,
};
use crate::node::Tricks;

/// Methods whose second parameter says as of which block.
const OF_STATE: [&str; 4] =
    ["eth_call", "eth_getTransactionCount", "eth_getBalance", "eth_getCode"];

fn number(told: &Value) -> Option<u64> {
    u64::from_str_radix(told.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// Has no state but the latest; simulates as [`Unpriced`].
struct Stateless(Devnet);

impl Tricks for Stateless {
    fn refusal(&self, method: &str, params: &Value) -> Option<TransportError> {
        let at = number(&params[1]).filter(|_| OF_STATE.contains(&method))?;
        let (code, message) = (-32000, "missing trie node".into());
        let refused = RpcError::ErrorResp(ErrorPayload { code, message, data: None });
        (at < self.0.block_number()).then_some(refused)
    }

    fn question(&self, method: &str, params: &mut Value) {
        Unpriced.question(method, params);
    }
}

/// Answers as of the latest block, whatever it is asked; simulates as [`Unpriced`].
struct Present;

impl Tricks for Present {
    fn question(&self, method: &str, params: &mut Value) {
        Unpriced.question(method, params);
        if OF_STATE.contains(&method) && number(&params[1]).is_some() {
            params[1] = json!("latest");
        }
    }
}

/// A run of nine, of whom one reverts on chain alone, in one batch through a node; whatever it answers, nobody is paid
/// before the closing is below so many blocks, and all but one are then.
async fn is_paid_in_time<T: Tricks>(bank: &Bank, node: Arc<T>) {
    let list = list("november", 9);
    bank.funded(list.total()).await;
    let plan = bank.treasury().plan(&list).await.unwrap();
    bank.hook(|copy| hooked(copy, someone(4))).await;
    // Each time a new handle, whose store knows nothing.
    let run = async || bank.through(&node).await.run(&plan, bank.journal("november")).await;
    run().await.unwrap_err();
    for blocks in [0, bank.chain.reorg_depth() - 1] {
        bank.devnet.mine(blocks);
        let error = run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{blocks}: {error}");
        assert!(error.context().any(|pair| pair == ("blocks", "64")), "{blocks}: {error}");
        bank.have_all_but(&list, &[0, 1, 2, 3, 4, 5, 6, 7, 8]).await;
    }
    bank.devnet.mine(1);
    // Its part is divided as well.
    run().await.unwrap_err();
    bank.bury();
    let report = run().await.unwrap();
    assert_eq!((report.paid, report.unpaid.len()), (8, 1));
    bank.have_all_but(&list, &[4]).await;
    bank.devnet.mine(300);
    assert_eq!(run().await.unwrap().gas, 0);
}

#[tokio::test]
async fn a_closed_batch_is_paid_in_parts_through_a_node_without_old_states() {
    let bank = Bank::open().await;
    let node = Arc::new(Stateless(bank.devnet.clone()));
    is_paid_in_time(&bank, node).await;
}

#[tokio::test]
async fn a_node_that_tells_the_present_for_the_past_buries_nothing() {
    is_paid_in_time(&Bank::open().await, Arc::new(Present)).await;
}

#[tokio::test]
async fn a_closing_is_found_far_back_by_a_node_that_limits_ranges_of_logs() {
    let bank = Bank::open().await;
    let (list, treasury, plan) = bank.of_nine(3).await;
    bank.devnet.limit_logs(100);
    bank.hook(|copy| hooked(copy, someone(1))).await;
    treasury.run(&plan, bank.journal("november")).await.unwrap_err();
    bank.devnet.mine(6_000);
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!((report.paid, report.unpaid.len()), (8, 1));
    bank.have_all_but(&list, &[1]).await;
}

/// Its log lags so many answers behind its state.
struct Late(AtomicU64);

impl Tricks for Late {
    fn answer(&self, method: &str, result: &mut Value) {
        if method == "eth_getLogs"
            && self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            *result = json!([]);
        }
    }
}

#[tokio::test]
async fn a_log_that_lags_behind_the_state_is_asked_again() {
    let bank = Bank::open().await;
    let (list, treasury, plan) = bank.of_nine(3).await;
    let path = bank.journal("november");
    let own = bank.hook(|copy| hooked(copy, someone(1))).await;
    treasury.run(&plan, &path).await.unwrap_err();
    bank.devnet.set_code(bank.contracts.token, own);
    bank.bury();
    let error = bank.through(&Arc::new(Late(u64::MAX.into()))).await.run(&plan, &path).await;
    let error = error.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("keeps the logs"), "{error}");
    let late = bank.through(&Arc::new(Late(3.into()))).await;
    assert_eq!(late.run(&plan, &path).await.unwrap().paid, 9);
    bank.have_all_but(&list, &[]).await;
}

/// Tells of no logs.
struct Logless;

impl Tricks for Logless {
    fn question(&self, method: &str, params: &mut Value) {
        Unpriced.question(method, params);
    }

    fn refusal(&self, method: &str, _: &Value) -> Option<TransportError> {
        let (code, message) = (-32601, "the method eth_getLogs does not exist".into());
        let refused = RpcError::ErrorResp(ErrorPayload { code, message, data: None });
        (method == "eth_getLogs").then_some(refused)
    }
}

/// Else nobody of it could ever be paid through that node.
#[tokio::test]
async fn a_node_that_could_not_tell_of_the_closing_closes_nothing() {
    let bank = Bank::open().await;
    let (list, treasury, plan) = bank.of_nine(3).await;
    let path = bank.journal("november");
    let own = bank.hook(|copy| hooked(copy, someone(1))).await;
    let logless = bank.through(&Arc::new(Logless)).await.batch(3);
    for _ in 0..2 {
        let error = logless.run(&plan, &path).await.unwrap_err();
        assert!(error.to_string().contains("getLogs"), "{error}");
        bank.have_all_but(&list, &[0, 1, 2]).await;
    }
    bank.devnet.set_code(bank.contracts.token, own);
    assert_eq!(treasury.run(&plan, &path).await.unwrap().paid, 9);
}
