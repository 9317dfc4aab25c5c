//! Nodes that do not have yet what was mined, or have what is not mined yet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use depin_core::{Amount, ErrorKind, reward::TokenLedger as _};
use depin_evm::{
    Chain,
    alloy::{primitives::hex, providers::Provider, sol_types::SolCall},
    bindings::{Disperse, RewardDistributor},
};
use depin_payment::{
    Cumulative,
    evm::{EvmDistributor, EvmRoots, RunReport, Treasury, Way},
};
use serde_json::{Value, json};

use super::{Bank, list};
use crate::node::{Tricks, provider};

/// After it took a transaction it answers so many calls of one kind as of an earlier block.
struct Lagging {
    call: [u8; 4],
    block: AtomicU64,
    took: AtomicBool,
    left: AtomicU64,
}

impl Lagging {
    fn new(call: [u8; 4]) -> Arc<Self> {
        let (block, took, left) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Self { call, block, took, left })
    }

    /// From the next transaction on, for so many answers.
    fn lag(&self, block: u64, left: u64) {
        self.block.store(block, SeqCst);
        self.took.store(false, SeqCst);
        self.left.store(left, SeqCst);
    }
}

impl Tricks for Lagging {
    fn question(&self, method: &str, params: &mut Value) {
        if method == "eth_sendRawTransaction" {
            self.took.store(true, SeqCst);
        }
        let selector = hex::encode_prefixed(self.call);
        let call = &params[0];
        let data = call["input"].as_str().or_else(|| call["data"].as_str()).unwrap_or_default();
        let asks = method == "eth_call" && data.starts_with(&selector);
        if asks && self.took.load(SeqCst) {
            let lags = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            if lags {
                *params = json!([call, format!("{:#x}", self.block.load(SeqCst))]);
            }
        }
    }
}

impl Bank {
    /// Runs a list of five through a node that lags for so many answers.
    async fn run_behind(&self, left: u64) -> depin_core::Result<RunReport> {
        let list = list("november", 5);
        let treasury = self.funded(list.total()).await;
        let plan = treasury.plan(&list).await.unwrap();
        let tricks = Lagging::new(Disperse::paidBatchCall::SELECTOR);
        tricks.lag(self.devnet.block_number(), left);
        let chain = Chain::from_provider(provider(&self.devnet, &tricks), self.devnet.account(0));
        let chain = chain.connect().await.unwrap();
        let treasury = Treasury::new(chain, self.contracts.token).transfers(self.disperse);
        treasury.run(&plan, self.journal("november")).await
    }
}

#[tokio::test]
async fn what_a_lagging_node_does_not_have_yet_costs_its_gas_once() {
    let bank = Bank::open().await;
    let report = bank.run_behind(3).await.unwrap();
    assert_eq!((report.paid, report.transactions.len()), (5, 1));
    let provider = bank.chain.provider();
    let receipt = provider.get_transaction_receipt(report.transactions[0]).await.unwrap().unwrap();
    assert_eq!(report.gas, receipt.gas_used);
}

#[tokio::test]
async fn a_node_that_lags_for_long_ends_the_run_and_the_next_one_finishes_it() {
    let bank = Bank::open().await;
    let error = bank.run_behind(u64::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("does not have it yet"), "{error}");
    let list = list("november", 5);
    let plan = bank.treasury().plan(&list).await.unwrap();
    let blocks = bank.devnet.block_number();
    let report = bank.treasury().run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!((report.paid, report.gas, report.transactions.len()), (5, 0, 1));
    assert_eq!(bank.devnet.block_number(), blocks, "nothing was sent");
}

#[tokio::test]
async fn a_lost_run_does_not_begin_again_while_its_batch_waits_to_be_mined() {
    let bank = Bank::open().await;
    let list = list("november", 4);
    let treasury = bank.funded(twice(list.total())).await.batch(2);
    let plan = treasury.plan(&list).await.unwrap();
    bank.devnet.set_automine(false);
    let run = {
        let (plan, journal) = (plan.clone(), bank.journal("november"));
        tokio::spawn(async move { treasury.run(&plan, journal).await })
    };
    while bank.devnet.waiting().is_empty() {
        assert!(!run.is_finished(), "its batch waits");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    run.abort();

    // The machine is gone with its journal and its store; the batch is not.
    let signer = bank.devnet.account(0);
    let chain = Chain::from_provider(bank.devnet.provider(), signer).connect().await.unwrap();
    let distributor = EvmDistributor::new(chain.clone(), bank.contracts.distributor);
    let anew = Treasury::new(chain, bank.contracts.token)
        .transfers(bank.disperse)
        .claims(distributor, Cumulative::default());
    for (way, size) in [(Way::Claims, 2), (Way::Transfers, 2), (Way::Transfers, 4)] {
        let run = anew.clone().batch(size).run(&plan.clone().by(way), bank.journal("lost")).await;
        let error = run.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{way} {size}: {error}");
        assert!(error.to_string().contains("wait"), "{error}");
        assert!(!bank.journal("lost").exists());
    }
    assert_eq!(bank.devnet.waiting().len(), 1, "nothing was sent");
    bank.devnet.set_automine(true);
    bank.devnet.mine(1);
    let report = anew.batch(2).run(&plan.by(Way::Claims), bank.journal("lost")).await.unwrap();
    assert_eq!((report.way, report.paid), (Way::Transfers, 4));
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
    assert_eq!(bank.held(bank.chain.account()).await, list.total(), "once, and no more");
    assert_eq!(bank.token.supply().await.unwrap(), twice(list.total()));
}

#[tokio::test]
async fn a_root_is_published_again_before_a_node_knows_that_its_dispute_lapsed() {
    let bank = Bank::disputable().await;
    let tricks = Lagging::new(RewardDistributor::pendingEpochCall::SELECTOR);
    let chain = Chain::from_provider(provider(&bank.devnet, &tricks), bank.devnet.account(0));
    let roots = EvmRoots::new(chain.connect().await.unwrap(), bank.contracts.distributor);
    let (_, commitment) = Bank::as_epoch(0, &list("november", 5));
    roots.publish(&commitment).await.unwrap();
    bank.issue(Amount::tokens(1)).await;
    roots.dispute(&roots.pending().await.unwrap().unwrap()).await.unwrap();
    for _ in 0..3 {
        bank.pass();
    }
    tricks.lag(bank.devnet.block_number(), 1);
    roots.publish(&commitment).await.unwrap();
    let waits = bank.roots().pending().await.unwrap().unwrap();
    assert_eq!((waits.root, waits.disputed), (commitment.root, false));
}

fn twice(amount: Amount) -> Amount {
    amount.checked_add(amount).unwrap()
}
