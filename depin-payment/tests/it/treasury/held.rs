//! Runs by claims whose epoch cannot be issued: they say why, before it is published and after its window.

use std::sync::Arc;

use depin_core::{Address, Amount, ErrorKind, NetworkId, Result, Timestamp};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, DeployOptions, Role, Roles, RootRules,
    alloy::{
        providers::Provider,
        rpc::json_rpc::ErrorPayload,
        transports::{RpcError, TransportError},
    },
    bindings::EmissionController,
};
use depin_payment::{
    Cumulative,
    emission::{Curve, Schedule},
    evm::{EvmController, EvmRoots, RunReport, Way},
};

use serde_json::Value;

use super::{Bank, DAY, list};
use crate::node::{Tricks, provider};

impl Bank {
    /// Runs a list of twenty with a journal of its name.
    async fn publishes(&self, id: &str, balances: &Cumulative) -> Result<RunReport> {
        let treasury = self.both(&self.chain, balances.clone());
        let plan = treasury.plan(&list(id, 20)).await?.by(Way::Claims);
        treasury.run(&plan, self.journal(id)).await
    }

    pub(super) fn roots(&self) -> EvmRoots {
        EvmRoots::new(self.chain.clone(), self.contracts.distributor)
    }

    /// What the token's source leaves goes to somebody else.
    async fn emit_the_rest(&self) {
        let source = self.contracts.source;
        let left = EvmController::new(self.chain.clone(), source).mintable().await.unwrap();
        let contract = EmissionController::new(source, self.chain.provider());
        let mint = contract.mint(self.chain.account(), left.to_units());
        self.chain.send(mint.into_transaction_request()).await.unwrap();
    }

    /// The run is refused for this reason, however often, and nobody is paid.
    async fn is_held(&self, id: &str, balances: &Cumulative, kind: ErrorKind, remedy: &str) {
        let supply = self.supply().await;
        for _ in 0..2 {
            let error = self.publishes(id, balances).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(remedy), "{error}");
        }
        assert_eq!(self.supply().await, supply);
    }
}

/// About its epochs the second account decides.
fn network(devnet: &Devnet) -> DeployOptions {
    let id = NetworkId::parse("bank").unwrap();
    DeployOptions::new(id).arbiter(devnet.account(1).address())
}

/// With a day in which epochs can be disputed.
fn rules() -> RootRules {
    RootRules::default().disputable(DAY, Amount::tokens(1))
}

/// What each list emits.
fn emission() -> Amount {
    list("any", 20).total()
}

#[tokio::test]
async fn a_run_whose_epoch_a_pause_holds_back_says_so_and_is_finished_after_it() {
    let devnet = Devnet::start();
    let options = network(&devnet).rules(rules()).guardian(devnet.account(0).address());
    let bank = Bank::with(devnet, options).await;
    let none = Cumulative::default();
    bank.roots().pause().await.unwrap();
    // The window goes on during a pause.
    for _ in 0..2 {
        let report = bank.publishes("october", &none).await.unwrap();
        assert_eq!((report.paid, report.to_claim), (0, 20));
    }
    bank.pass();
    bank.is_held("october", &none, ErrorKind::Rejected, "paused").await;
    bank.roots().unpause().await.unwrap();
    let report = bank.publishes("october", &none).await.unwrap();
    assert_eq!((report.paid, report.to_claim), (20, 0));
    // It holds back claims of an active epoch as well.
    let november = bank.publishes("november", report.balances.as_ref().unwrap()).await.unwrap();
    bank.roots().pause().await.unwrap();
    bank.pass();
    bank.is_held("november", &november.balances.unwrap(), ErrorKind::Rejected, "paused").await;
}

#[tokio::test]
async fn a_run_above_the_curve_is_not_published_and_says_when_others_took_its_emission() {
    let devnet = Devnet::start();
    let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await.unwrap();
    let block = chain.provider().get_block_by_number(Default::default()).await.unwrap().unwrap();
    let start = Timestamp::from_secs(block.header.timestamp);
    // As much a day as a list emits.
    let (day, curve) = (DAY.as_secs(), Curve::flat(emission()).unwrap());
    let schedule = Schedule::new(start, day, Amount::tokens(1), curve).unwrap();
    let options = network(&devnet).rules(rules()).emission(schedule.on_chain().unwrap());
    let bank = Bank::with(devnet, options).await;
    let none = Cumulative::default();

    bank.is_held("october", &none, ErrorKind::Limit, "wait").await;
    assert_eq!(bank.roots().pending().await.unwrap(), None, "nothing was published");
    bank.pass();
    let report = bank.publishes("october", &none).await.unwrap();
    assert_eq!((report.paid, report.to_claim), (0, 20));

    let source = Roles::of(bank.chain.clone(), bank.contracts.source);
    source.grant(Role::EMITTER, bank.chain.account()).await.unwrap();
    bank.emit_the_rest().await;
    let report = bank.publishes("october", &none).await.unwrap();
    assert_eq!((report.paid, report.to_claim), (0, 20), "it has its window");
    bank.pass();
    bank.emit_the_rest().await;
    bank.is_held("october", &none, ErrorKind::Limit, "wait").await;
    bank.pass();
    let report = bank.publishes("october", &none).await.unwrap();
    assert_eq!((report.paid, report.to_claim), (20, 0));
}

/// Lets no contract ask, as nodes that hold questions to EIP-3607.
struct Strict(Address);

impl Tricks for Strict {
    fn refusal(&self, method: &str, params: &Value) -> Option<TransportError> {
        let from = params[0]["from"].as_str()?.parse::<Address>().ok()?;
        let (code, message) = (-32000, "sender is not an EOA".into());
        let refused = RpcError::ErrorResp(ErrorPayload { code, message, data: None });
        (method == "eth_call" && from == self.0).then_some(refused)
    }
}

#[tokio::test]
async fn a_node_that_lets_no_contract_ask_holds_no_run_back() {
    let devnet = Devnet::start();
    let options = network(&devnet).rules(rules());
    let bank = Bank::with(devnet, options).await;
    let strict = Arc::new(Strict(bank.contracts.distributor));
    let chain = Chain::from_provider(provider(&bank.devnet, &strict), bank.devnet.account(0));
    let treasury = bank.both(&chain.connect().await.unwrap(), Cumulative::default());
    let plan = treasury.plan(&list("october", 20)).await.unwrap().by(Way::Claims);
    let report = treasury.run(&plan, bank.journal("october")).await.unwrap();
    assert_eq!((report.paid, report.to_claim), (0, 20));
    bank.pass();
    let report = treasury.run(&plan, bank.journal("october")).await.unwrap();
    assert_eq!((report.paid, report.to_claim), (20, 0));
}

#[tokio::test]
async fn a_run_for_which_the_period_leaves_too_little_says_so_until_it_does() {
    let devnet = Devnet::start();
    let options = network(&devnet).rules(rules().at_most(emission(), 30 * DAY));
    let bank = Bank::with(devnet, options).await;
    let october = bank.publishes("october", &Cumulative::default()).await.unwrap();
    bank.pass();
    let november = bank.publishes("november", &october.balances.unwrap()).await.unwrap();
    bank.pass();
    let november = november.balances.unwrap();
    bank.is_held("november", &november, ErrorKind::Limit, "wait").await;
    bank.devnet.increase_time(30 * DAY.as_secs()).unwrap();
    bank.devnet.mine(1);
    let report = bank.publishes("november", &november).await.unwrap();
    assert_eq!((report.paid, report.to_claim), (20, 0));
}

#[tokio::test]
async fn a_run_above_the_cap_of_the_token_is_not_published() {
    let less = emission().checked_sub(Amount::from(1)).unwrap();
    let devnet = Devnet::start();
    let options = network(&devnet).rules(rules()).cap(less);
    let bank = Bank::with(devnet, options).await;
    bank.is_held("october", &Cumulative::default(), ErrorKind::Limit, "cap").await;
    assert_eq!(bank.roots().pending().await.unwrap(), None);
}
