//! Whose fault it is that a batch is not paid: the payer's, the token's, the node's, or a recipient's.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use depin_core::{Amount, ErrorKind};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, Unfunded,
    alloy::{
        primitives::{Address, B256, Bytes, U256, hex},
        providers::Provider,
        rpc::json_rpc::ErrorPayload,
        sol_types::SolCall,
        transports::{RpcError, TransportError},
    },
    bindings::Disperse,
};
use depin_payment::evm::{PayList, Refusal, Treasury};
use serde_json::{Value, json};

use super::{
    Bank,
    hooks::{closed_to, limited},
    list, someone,
};
use crate::node::{Tricks, provider};

impl Bank {
    /// A treasury that hears of the chain by such a node alone.
    pub(super) async fn through<T: Tricks>(&self, tricks: &Arc<T>) -> Treasury {
        let signer = self.devnet.account(0);
        let chain = Chain::from_provider(provider(&self.devnet, tricks), signer);
        let chain = chain.connect().await.unwrap();
        Treasury::new(chain, self.contracts.token).transfers(self.disperse)
    }
}

#[tokio::test]
async fn gas_that_the_account_cannot_pay_is_no_recipients_fault() {
    let bank = Bank::open().await;
    let list = list("november", 5);
    let treasury = bank.funded(list.total()).await.batch(2);
    let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
    let payer = bank.chain.account();
    for held in [0, 1_000] {
        bank.devnet.set_balance(payer, U256::from(held));
        let error = treasury.run(&plan, &path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        let lacks = Unfunded::of(&error).expect("it is the payer who lacks something");
        assert_eq!((lacks.account(), lacks.has()), (payer, U256::from(held)));
        assert!(lacks.needs() > U256::from(100_000), "{error}");
        assert!(error.to_string().contains(&format!("fund {payer}")), "{error}");
        assert!(!std::fs::read_to_string(&path).unwrap().contains("skip"), "nobody is left out");
    }
    bank.devnet.set_balance(payer, U256::from(10).pow(U256::from(20)));
    assert_eq!(treasury.run(&plan, &path).await.unwrap().paid, 5);
}

#[tokio::test]
async fn an_amount_that_the_token_does_not_move_keeps_no_other_batch_from_being_paid() {
    let bank = Bank::open().await;
    let payments = (0..6).map(|i| (someone(i), Amount::from(6 - i)));
    let list = PayList::new("november", payments).unwrap();
    let treasury = bank.funded(list.total()).await.batch(2);
    let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
    let code = bank.hook(|copy| limited(copy, 4)).await;
    let error = treasury.run(&plan, &path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("limits them"), "{error}");
    for (at, (account, amount)) in list.payments().iter().enumerate() {
        let expected = if at < 2 { Amount::ZERO } else { *amount };
        assert_eq!(bank.held(*account).await, expected, "{at}");
    }
    bank.devnet.set_code(bank.contracts.token, code);
    assert_eq!(treasury.run(&plan, &path).await.unwrap().paid, 6);
}

/// Fails each call of `disperse` the first time that it is asked, and not the second.
#[derive(Default)]
struct Flaky(Mutex<BTreeSet<String>>);

impl Tricks for Flaky {
    fn question(&self, method: &str, params: &mut Value) {
        let selector = hex::encode_prefixed(Disperse::disperseCall::SELECTOR);
        let call = params[0].to_string();
        let news = || self.0.lock().unwrap().insert(call.clone());
        if method == "eth_call" && call.contains(&selector) && news() {
            // Too little to come to anything, and to a reason.
            params[0]["gas"] = json!("0x8000");
        }
    }
}

#[tokio::test]
async fn a_node_that_fails_every_question_once_has_nobody_blamed_for_it() {
    let bank = Bank::open().await;
    let list = list("november", 5);
    let plan = bank.funded(list.total()).await.plan(&list).await.unwrap();
    bank.hook(|copy| closed_to(copy, someone(3))).await;
    let treasury = bank.through(&Arc::<Flaky>::default()).await;
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    let unpaid: Vec<_> = report.unpaid.iter().map(|it| (it.account, it.refusal)).collect();
    assert_eq!((report.paid, unpaid), (4, vec![(someone(3), Refusal::Simulated)]));
}

/// Runs nothing for one account at less than so many times the price that it quotes, in words of Geth.
struct Dear {
    account: Address,
    times: u128,
}

impl Tricks for Dear {
    fn refusal(&self, method: &str, params: &Value) -> Option<TransportError> {
        let call = &params[0];
        let paid =
            call["input"].as_str().or_else(|| call["data"].as_str())?.parse::<Bytes>().ok()?;
        let paid = Disperse::disperseCall::abi_decode(&paid).ok()?.recipients;
        let price: u128 = call["gasPrice"].as_str()?.parse::<U256>().ok()?.to();
        if method != "eth_estimateGas" || paid != [self.account] || price > self.times * QUOTED {
            return None;
        }
        let (code, message) = (-32000, "err: max fee per gas less than block base fee".into());
        Some(RpcError::ErrorResp(ErrorPayload { code, message, data: None }))
    }

    fn answer(&self, method: &str, result: &mut Value) {
        if method == "eth_gasPrice" {
            *result = json!(U256::from(QUOTED));
        }
    }
}

/// Above the base fees of the embedded chain.
const QUOTED: u128 = 2_000_000_000;

#[tokio::test]
async fn a_base_fee_that_rises_between_two_questions_is_no_recipients_fault() {
    let bank = Bank::open().await;
    let list = list("november", 5);
    let plan = bank.funded(list.total()).await.plan(&list).await.unwrap();
    bank.hook(|copy| closed_to(copy, someone(0))).await;
    let path = bank.journal("november");
    let account = someone(1);
    // One that does not come down: nobody is left out, not even who cannot receive.
    let treasury = bank.through(&Arc::new(Dear { account, times: 1_000 })).await;
    let error = treasury.run(&plan, &path).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(!std::fs::read_to_string(&path).unwrap().contains("skip"));
    let treasury = bank.through(&Arc::new(Dear { account, times: 1 })).await;
    let report = treasury.run(&plan, &path).await.unwrap();
    let unpaid: Vec<_> = report.unpaid.iter().map(|it| (it.account, it.refusal)).collect();
    assert_eq!((report.paid, unpaid), (4, vec![(someone(0), Refusal::Unheard)]));
}

/// A payment to who never had the token takes more gas than one to the treasury.
#[tokio::test]
async fn coin_that_is_enough_for_known_recipients_has_no_new_one_blamed() {
    let bank = Bank::open().await;
    let list = list("november", 5);
    let treasury = bank.funded(list.total()).await;
    let plan = treasury.plan(&list).await.unwrap();
    bank.hook(|copy| closed_to(copy, someone(0))).await;
    let (payer, provider) = (bank.chain.account(), bank.chain.provider());
    let contract = Disperse::new(bank.disperse, provider);
    let mut gas = 0;
    for account in [payer, someone(1)] {
        let (accounts, amounts) = (vec![account], vec![U256::ONE]);
        let call = contract.disperse(B256::ZERO, bank.contracts.token, accounts, amounts);
        gas += call.from(payer).estimate_gas().await.unwrap();
    }
    let price = U256::from(provider.get_gas_price().await.unwrap());
    let path = bank.journal("november");
    // Between the two, at the price and at the double.
    for price in [price, price * U256::from(2)] {
        bank.devnet.set_balance(payer, price * U256::from(gas / 2));
        let error = treasury.run(&plan, &path).await.unwrap_err();
        assert!(Unfunded::of(&error).is_some(), "{error}");
        assert!(!std::fs::read_to_string(&path).unwrap().contains("skip"), "nobody is left out");
    }
    bank.devnet.set_balance(payer, U256::from(10).pow(U256::from(20)));
    let report = treasury.run(&plan, &path).await.unwrap();
    let unpaid: Vec<_> = report.unpaid.iter().map(|it| (it.account, it.refusal)).collect();
    assert_eq!((report.paid, unpaid), (4, vec![(someone(0), Refusal::Unheard)]));
}

/// Refuses the first transaction for good, and then somebody cannot receive any more.
struct Refusing {
    devnet: Devnet,
    token: (Address, Bytes),
    refused: AtomicBool,
}

impl Tricks for Refusing {
    fn refusal(&self, method: &str, _: &Value) -> Option<TransportError> {
        if method != "eth_sendRawTransaction" || self.refused.swap(true, SeqCst) {
            return None;
        }
        self.devnet.set_code(self.token.0, self.token.1.clone());
        let (code, message) = (-32000, "invalid transaction".into());
        Some(RpcError::ErrorResp(ErrorPayload { code, message, data: None }))
    }
}

/// Whoever passed its bytes on may have them still.
#[tokio::test]
async fn who_was_in_a_batch_that_was_given_up_on_is_not_said_to_be_in_no_transaction() {
    let bank = Bank::open().await;
    let list = list("november", 6);
    let plan = bank.funded(list.total()).await.plan(&list).await.unwrap();
    let own = bank.hook(|copy| closed_to(copy, someone(3))).await;
    let token = bank.contracts.token;
    let closed = bank.chain.provider().get_code_at(token);
    let token = (token, closed.await.unwrap());
    bank.devnet.set_code(token.0, own);
    let refused = AtomicBool::new(false);
    let tricks = Arc::new(Refusing { devnet: bank.devnet.clone(), token, refused });
    let treasury = bank.through(&tricks).await.batch(4);
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    let unpaid: Vec<_> = report.unpaid.iter().map(|it| (it.account, it.refusal)).collect();
    assert_eq!((report.paid, unpaid), (5, vec![(someone(3), Refusal::Unheard)]));
}

/// Answers nothing about batches, as where no contract is, for so many questions.
struct Blind(Mutex<u32>);

impl Tricks for Blind {
    fn question(&self, method: &str, params: &mut Value) {
        let selector = hex::encode_prefixed(Disperse::paidBatchCall::SELECTOR);
        let mut left = self.0.lock().unwrap();
        if method == "eth_call" && *left > 0 && params[0].to_string().contains(&selector) {
            *left = left.saturating_sub(1);
            params[0]["to"] = json!(Address::repeat_byte(0xee));
        }
    }
}

/// Else a run whose journal is lost would be paid a second time.
#[tokio::test]
async fn a_node_that_does_not_find_the_contract_of_batches_lets_no_lost_run_begin_again() {
    let bank = Bank::open().await;
    let list = list("november", 3);
    let twice = list.total().checked_add(list.total()).unwrap();
    let treasury = bank.funded(twice).await;
    let plan = treasury.plan(&list).await.unwrap();
    treasury.run(&plan, bank.journal("november")).await.unwrap();
    let blind = bank.through(&Arc::new(Blind(Mutex::new(u32::MAX)))).await;
    let error = blind.run(&plan, bank.journal("lost")).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(!bank.journal("lost").exists());
    // One that finds it a little later is asked again.
    let lagging = bank.through(&Arc::new(Blind(Mutex::new(2)))).await;
    let report = lagging.run(&plan, bank.journal("lost")).await.unwrap();
    assert_eq!((report.paid, report.gas), (3, 0));
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
}
