//! The same over HTTP against another implementation of a node: set `DEPIN_ANVIL` to an anvil program.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use depin_core::NetworkId;
use depin_devnet::Devnet;
use depin_evm::{
    Chain, DeployOptions, ErrorKind, Revert,
    alloy::{
        primitives::{Address, U256},
        providers::{Provider, ProviderBuilder},
        transports::http::{Http, reqwest},
    },
    bindings::DeviceRegistry,
    deploy,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::sending::{gift, recipient};

pub(crate) struct Anvil {
    process: Child,
    url: String,
}

impl Anvil {
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let Some(program) = std::env::var_os("DEPIN_ANVIL") else {
            let required = std::env::var_os("DEPIN_REQUIRE_ALL").is_some_and(|value| value != "0");
            assert!(!required, "DEPIN_ANVIL names no anvil, and nothing may be skipped");
            println!("skipped: DEPIN_ANVIL names no anvil");
            return None;
        };
        let mut command = Command::new(program);
        command.args(["--port", "0"]).args(options).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut addresses = lines.map_while(Result::ok).filter_map(|line| {
            line.strip_prefix("Listening on ").map(|address| format!("http://{address}"))
        });
        let url = addresses.next().unwrap();
        // Whoever reads must go on, or the node stops when the pipe is full.
        std::thread::spawn(move || addresses.count());
        Some(Self { process, url })
    }

    pub(crate) fn transport(&self) -> Http<reqwest::Client> {
        Http::new(self.url.parse().unwrap())
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        let provider = ProviderBuilder::new().connect_http(self.url.parse().unwrap());
        let blocks = (U256::from(blocks),);
        let () = provider.raw_request("anvil_mine".into(), blocks).await.unwrap();
    }

    async fn connect(&self) -> Chain {
        let chain = Chain::builder().url(&self.url).unwrap().signer(Devnet::start().account(0));
        chain.poll_interval(Duration::from_millis(5)).connect().await.unwrap()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anvil_takes_a_network_and_concurrent_senders() {
    let Some(anvil) = Anvil::start(&[]) else { return };
    let chain = anvil.connect().await;
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap());
    let at = deploy(&chain, &options).await.unwrap();
    let registry = DeviceRegistry::new(at.registry, chain.provider());
    let unknown = registry.revoke(Address::repeat_byte(9)).into_transaction_request();
    let error = chain.send(unknown).await.unwrap_err();
    assert!(Revert::of(&error).unwrap().decode::<DeviceRegistry::UnknownDevice>().is_some());

    let before = chain.provider().get_transaction_count(chain.account()).await.unwrap();
    let mut senders = JoinSet::new();
    for number in 0..100 {
        let chain = chain.clone();
        senders.spawn(async move { chain.send(gift(recipient(number))).await });
    }
    senders.join_all().await.into_iter().for_each(|receipt| drop(receipt.unwrap()));
    let after = chain.provider().get_transaction_count(chain.account()).await.unwrap();
    assert_eq!(after - before, 100);
}

#[tokio::test]
async fn anvil_without_base_fee_is_paid_by_gas_price() {
    let Some(anvil) = Anvil::start(&["--hardfork", "berlin"]) else { return };
    let chain = anvil.connect().await;
    let receipt = chain.send(gift(recipient(1))).await.unwrap();
    assert_eq!(u8::from(receipt.transaction_type()), 0);
    assert_eq!(chain.provider().get_balance(recipient(1)).await.unwrap(), U256::from(1));
}

#[tokio::test]
async fn anvil_refuses_and_replaces_as_expected() {
    let Some(anvil) = Anvil::start(&["--no-mining"]) else { return };
    let chain = Chain::builder().url(&anvil.url).unwrap().signer(Devnet::start().account(0));
    let chain = chain
        .poll_interval(Duration::from_millis(5))
        .replace_after(Duration::from_millis(30))
        .timeout(Duration::from_millis(300));
    let chain = chain.connect().await.unwrap();
    let error = chain.send_once("gift", gift(recipient(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let mut greedy = gift(recipient(2));
    greedy.gas = Some(1_000_000_000);
    let error = chain.send_once("greedy", greedy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");

    let mined: String = chain.provider().raw_request("evm_mine".into(), ()).await.unwrap();
    assert_eq!(mined, "0x0");
    chain.send_once("gift", gift(recipient(1))).await.unwrap();
    assert_eq!(chain.provider().get_transaction_count(chain.account()).await.unwrap(), 2);
    assert_eq!(chain.provider().get_balance(recipient(1)).await.unwrap(), U256::from(1));
    assert_eq!(chain.provider().get_balance(recipient(2)).await.unwrap(), U256::ZERO);
}

#[tokio::test]
async fn anvil_shows_the_deposit_that_used_a_nonce() {
    let Some(anvil) = Anvil::start(&["--network", "optimism", "--no-mining"]) else { return };
    let chain = Chain::builder().url(&anvil.url).unwrap().signer(Devnet::start().account(0));
    let chain = chain.poll_interval(Duration::from_millis(5)).timeout(Duration::from_secs(2));
    let chain = chain.connect().await.unwrap();
    let late = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    let ask = async |method: &'static str, params: Value| -> Value {
        chain.provider().raw_request(method.into(), params).await.unwrap()
    };
    ask("anvil_dropAllTransactions", json!([])).await;
    let deposit = json!([{
        "type": "0x7e", "from": chain.account(), "to": recipient(2), "value": "0x1", "gas": "0x30000",
        "sourceHash": recipient(3).into_word(), "mint": "0x0", "isSystemTx": false,
    }]);
    let deposit = ask("eth_sendTransaction", deposit).await;
    ask("evm_mine", json!([])).await;

    let error = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let used = ("transaction", deposit.as_str().unwrap());
    assert!(error.context().any(|pair| pair == used), "{error}");
}

#[tokio::test]
async fn anvil_shows_the_fee_that_an_older_copy_of_the_store_forgot() {
    let Some(anvil) = Anvil::start(&["--no-mining"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("transactions.redb");
    let open = async |patience| {
        let chain = Chain::builder().url(&anvil.url).unwrap().signer(Devnet::start().account(0));
        let chain = chain.poll_interval(Duration::from_millis(5)).replace_after(patience);
        let chain = chain.timeout(Duration::from_millis(400)).store(&path).connect();
        chain.await.unwrap()
    };
    let chain = open(Duration::MAX).await;
    let late = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    drop(chain);
    let copy = std::fs::read(&path).unwrap();
    let chain = open(Duration::ZERO).await;
    let late = chain.send_once("rent", gift(recipient(1))).await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    let _: Value = chain.provider().raw_request("evm_mine".into(), ()).await.unwrap();
    drop(chain);

    std::fs::write(&path, copy).unwrap();
    let chain = open(Duration::MAX).await;
    chain.send_once("rent", gift(recipient(1))).await.unwrap();
    assert_eq!(chain.provider().get_balance(recipient(1)).await.unwrap(), U256::from(1));
    assert_eq!(chain.provider().get_transaction_count(chain.account()).await.unwrap(), 1);
}

#[tokio::test]
async fn anvil_forgets_what_a_lost_store_had_waiting_and_what_was_sent_since_is_mined() {
    let Some(anvil) = Anvil::start(&["--no-mining"]) else { return };
    let connect = async || {
        let chain = Chain::builder().url(&anvil.url).unwrap().signer(Devnet::start().account(0));
        let chain =
            chain.poll_interval(Duration::from_millis(5)).timeout(Duration::from_millis(300));
        chain.replace_after(Duration::from_millis(50)).connect().await.unwrap()
    };
    let lost = connect().await;
    for number in 1..3 {
        let late = lost.send(gift(recipient(number))).await.unwrap_err();
        assert!(late.is_retryable(), "{late}");
    }
    drop(lost);
    let chain = connect().await;
    let late = chain.send_once("rent", gift(recipient(3))).await.unwrap_err();
    assert!(late.is_retryable(), "{late}");
    let ask = async |method: &'static str, params: Value| -> Value {
        chain.provider().raw_request(method.into(), params).await.unwrap()
    };
    let pool = ask("txpool_content", json!([])).await;
    let waiting = pool["pending"].as_object().unwrap().values().next().unwrap();
    for nonce in ["0", "1"] {
        ask("anvil_dropTransaction", json!([waiting[nonce]["hash"]])).await;
    }

    let mut receipt = None;
    while receipt.is_none() {
        receipt = chain.send_once("rent", gift(recipient(3))).await.ok();
        ask("evm_mine", json!([])).await;
    }
    assert_eq!(chain.provider().get_transaction_count(chain.account()).await.unwrap(), 3);
    for (number, paid) in [(1, 0), (2, 0), (3, 1)] {
        let held = chain.provider().get_balance(recipient(number)).await.unwrap();
        assert_eq!(held, U256::from(paid), "recipient {number}");
    }
}
