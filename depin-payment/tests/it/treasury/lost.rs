//! Runs whose folder is gone, with journal and store: the chain tells what was paid.

use std::sync::Arc;

use depin_core::{
    Address, Amount, B256, EpochId, ErrorKind,
    reward::{RewardDistributor as _, TokenLedger as _},
};
use depin_evm::{
    Chain,
    alloy::{primitives::hex, sol_types::SolCall},
    bindings::{Disperse, RewardDistributor},
};
use depin_payment::{
    Cumulative,
    evm::{EvmDistributor, PayList, Treasury, Way},
};

use serde_json::{Value, json};

use super::{Bank, list, someone};
use crate::node::{Tricks, provider};

/// A node whose log begins with a block.
pub(super) struct Pruned(pub(super) u64);

impl Tricks for Pruned {
    fn answer(&self, method: &str, result: &mut Value) {
        let at = |log: &Value| {
            let number = log["blockNumber"].as_str().unwrap().strip_prefix("0x").unwrap();
            u64::from_str_radix(number, 16).unwrap()
        };
        if method == "eth_getLogs" {
            result.as_array_mut().unwrap().retain(|log| at(log) >= self.0);
        }
    }
}

impl Bank {
    /// The treasurer on a new machine, with nothing but the key.
    pub(super) async fn anew(&self) -> Chain {
        let signer = self.devnet.account(0);
        Chain::from_provider(self.devnet.provider(), signer).connect().await.unwrap()
    }

    pub(super) fn distributor(&self, chain: &Chain) -> EvmDistributor {
        EvmDistributor::new(chain.clone(), self.contracts.distributor)
    }

    /// Both ways open.
    pub(super) fn both(&self, chain: &Chain, balances: Cumulative) -> Treasury {
        Treasury::new(chain.clone(), self.contracts.token)
            .transfers(self.disperse)
            .claims(self.distributor(chain), balances)
    }

    /// Pays a batch of the run `november` as a treasury does.
    pub(super) async fn paid_november(&self, index: u64, batch: &[(Address, Amount)]) {
        let token = self.contracts.token;
        let parts: [&[u8]; 4] =
            [b"depin treasury batch 1:", token.as_slice(), b"november", &index.to_be_bytes()];
        let contract = Disperse::new(self.disperse, self.chain.provider());
        let (to, amounts) = batch.iter().map(|(to, amount)| (*to, amount.to_units())).unzip();
        let call = contract.disperse(depin_core::keccak256(parts.concat()), token, to, amounts);
        self.chain.send(call.into_transaction_request()).await.unwrap();
    }

    /// Publishes the next epoch of somebody else's earnings, on top of `before`.
    async fn publish_other(&self, before: &Cumulative, more: u64) {
        let epoch = EpochId::new(before.latest().map_or(0, |latest| latest.value() + 1));
        let other = (someone(99), Amount::from(more));
        let balances = Cumulative::from_rows(epoch, before.iter().chain([other])).unwrap();
        let tree = balances.tree().unwrap();
        let commitment = balances.commitment(&tree, B256::repeat_byte(7)).unwrap();
        self.distributor(&self.chain).publish(&commitment).await.unwrap();
    }

    /// Whoever lost the journal does not go on with a node whose log begins at `block`.
    async fn refuses_pruned(&self, list: &PayList, block: u64, what: &str) {
        let node = provider(&self.devnet, &Arc::new(Pruned(block)));
        let chain = Chain::from_provider(node, self.devnet.account(0)).connect().await.unwrap();
        let treasury = self.both(&chain, Cumulative::default());
        let plan = treasury.plan(list).await.unwrap().by(Way::Transfers);
        let error = treasury.run(&plan, self.journal("lost")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error}");
        assert!(error.to_string().contains("lacks epochs"), "{what}: {error}");
        assert!(!self.journal("lost").exists(), "{what}");
    }

    pub(super) async fn supply(&self) -> Amount {
        self.token.supply().await.unwrap()
    }
}

#[tokio::test]
async fn a_treasurer_who_lost_everything_finds_the_same_disperse() {
    let bank = Bank::open().await;
    let list = list("november", 5);
    // Twice as much as needed, so that nothing but the keys of batches stops a second payment.
    let twice = list.total().checked_add(list.total()).unwrap();
    let treasury = bank.funded(twice).await;
    let plan = treasury.plan(&list).await.unwrap();
    treasury.run(&plan, bank.journal("november")).await.unwrap();

    let chain = bank.anew().await;
    let blocks = bank.devnet.block_number();
    let disperse = Treasury::deploy_disperse(&chain).await.unwrap();
    assert_eq!((disperse, bank.devnet.block_number()), (bank.disperse, blocks));
    let treasury = Treasury::new(chain, bank.contracts.token).transfers(disperse);
    treasury.allow(twice).await.unwrap();
    let plan = treasury.plan(&list).await.unwrap();
    let report = treasury.run(&plan, bank.journal("lost")).await.unwrap();
    assert_eq!((report.paid, report.gas), (5, 0));
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
}

#[tokio::test]
async fn a_list_that_was_paid_by_transfers_is_not_published_when_its_journal_is_lost() {
    let bank = Bank::open().await;
    let list = list("november", 10);
    let treasury = bank.funded(list.total()).await.batch(4);
    let plan = treasury.plan(&list).await.unwrap();
    treasury.run(&plan, bank.journal("november")).await.unwrap();
    let (supply, chain) = (bank.supply().await, bank.anew().await);

    // Neither by choice, nor because claims are the only way that is open now.
    let claims_only = Treasury::new(chain.clone(), bank.contracts.token)
        .claims(bank.distributor(&chain), Cumulative::default());
    let both = bank.both(&chain, Cumulative::default());
    for (name, treasury) in [("chosen", both.batch(4)), ("only", claims_only.batch(4))] {
        let plan = treasury.plan(&list).await.unwrap().by(Way::Claims);
        let report = treasury.run(&plan, bank.journal(name)).await.unwrap();
        assert_eq!((report.way, report.paid, report.gas), (Way::Transfers, 10, 0), "{name}");
    }
    assert_eq!(bank.supply().await, supply);
}

#[tokio::test]
async fn a_list_that_was_published_is_not_paid_by_transfers_when_its_journal_is_lost() {
    let bank = Bank::open().await;
    let list = list("november", 10);
    bank.funded(list.total()).await;
    let treasury = bank.both(&bank.chain, Cumulative::default());
    let plan = treasury.plan(&list).await.unwrap().by(Way::Claims);
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    let (supply, chain) = (bank.supply().await, bank.anew().await);

    // With the balances of before the run, and with those of after it.
    for (name, balances) in [("old", Cumulative::default()), ("new", report.balances.unwrap())] {
        let treasury = bank.both(&chain, balances.clone());
        for way in [Way::Transfers, Way::Claims] {
            let plan = treasury.plan(&list).await.unwrap().by(way);
            let journal = bank.journal(&format!("{name}-{way}"));
            let report = treasury.run(&plan, journal).await.unwrap();
            assert_eq!((report.way, report.paid, report.gas), (Way::Claims, 10, 0), "{name} {way}");
        }
    }
    assert_eq!(bank.supply().await, supply);
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
}

#[tokio::test]
async fn a_run_that_was_cut_off_goes_on_without_its_journal_by_the_batches_that_it_had() {
    let bank = Bank::open().await;
    let list = list("november", 10);
    bank.funded(list.total()).await;
    // The first batch of three was paid when the folder was lost.
    bank.paid_november(0, &list.payments()[..3]).await;

    let treasury = bank.both(&bank.anew().await, Cumulative::default());
    let plan = treasury.plan(&list).await.unwrap().by(Way::Claims);
    let error = treasury.run(&plan, bank.journal("lost")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.context().any(|pair| pair == ("recipients", "3")), "it says the size: {error}");
    let report = treasury.batch(3).run(&plan, bank.journal("lost")).await.unwrap();
    assert_eq!((report.way, report.paid, report.transactions.len()), (Way::Transfers, 10, 3));
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
}

#[tokio::test]
async fn a_lost_run_whose_first_batch_paid_nobody_is_not_paid_again() {
    let bank = Bank::open().await;
    let list = list("november", 10);
    bank.funded(list.total()).await;
    // Batches of one; nobody of the first could receive.
    bank.paid_november(1, &list.payments()[1..2]).await;
    let treasury = bank.both(&bank.anew().await, Cumulative::default());
    let plan = treasury.plan(&list).await.unwrap();
    for way in [Way::Claims, Way::Transfers] {
        let run = treasury.run(&plan.clone().by(way), bank.journal("lost")).await;
        assert_eq!(run.unwrap_err().kind(), ErrorKind::Conflict, "{way}");
    }
    assert!(!bank.journal("lost").exists());
    assert!(bank.held(list.payments()[0].0).await.is_zero());
}

#[tokio::test]
async fn a_run_that_the_chain_has_both_ways_is_not_gone_on_with() {
    let bank = Bank::open().await;
    let list = list("november", 3);
    let treasury = bank.funded(list.total()).await;
    let plan = treasury.plan(&list).await.unwrap();
    treasury.run(&plan, bank.journal("november")).await.unwrap();
    let balances = Cumulative::from_rows(EpochId::new(0), [(someone(0), Amount::from(1))]).unwrap();
    let tree = balances.tree().unwrap();
    let commitment = balances.commitment(&tree, list.digest()).unwrap();
    bank.distributor(&bank.chain).publish(&commitment).await.unwrap();
    let treasury = bank.both(&bank.chain, Cumulative::default());
    let error = treasury.run(&plan, bank.journal("lost")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(!bank.journal("lost").exists());
}

#[tokio::test]
async fn what_others_published_is_not_taken_for_the_run() {
    let bank = Bank::open().await;
    let balances = Cumulative::from_rows(EpochId::new(0), [(someone(0), Amount::from(1))]).unwrap();
    let tree = balances.tree().unwrap();
    let commitment = balances.commitment(&tree, B256::ZERO).unwrap();
    bank.distributor(&bank.chain).publish(&commitment).await.unwrap();
    let list: PayList = list("november", 3);
    let treasury = bank.both(&bank.chain, balances);
    let plan = treasury.plan(&list).await.unwrap().by(Way::Claims);
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!((report.paid, report.balances.unwrap().latest()), (3, Some(EpochId::new(1))));
}

#[tokio::test]
async fn no_other_epoch_stands_in_for_one_that_the_log_lacks() {
    let bank = Bank::disputable().await;
    let list = list("november", 5);
    bank.funded(list.total()).await;
    let treasury = bank.both(&bank.chain, Cumulative::default());
    let plan = treasury.plan(&list).await.unwrap().by(Way::Claims);
    treasury.run(&plan, bank.journal("november")).await.unwrap();
    bank.pass();
    let paid = treasury.run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!(paid.paid, 5);
    let (first, balances) = (bank.devnet.block_number() + 1, paid.balances.unwrap());

    bank.refuses_pruned(&list, first, "nothing").await;
    bank.publish_other(&balances, 1).await;
    bank.refuses_pruned(&list, first, "one that waits").await;
    bank.reject().await;
    bank.refuses_pruned(&list, first, "one that was rejected").await;
    bank.publish_other(&balances, 2).await;
    bank.reject().await;
    bank.publish_other(&balances, 3).await;
    bank.refuses_pruned(&list, first, "some of the same number").await;
    bank.pass();
    bank.distributor(&bank.chain).roots().activate().await.unwrap();
    bank.refuses_pruned(&list, first, "one that is active").await;
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount, "nobody was paid twice");
    }

    // A node that has all finds the run.
    let both = bank.both(&bank.anew().await, Cumulative::default());
    let report = both.run(&plan.by(Way::Transfers), bank.journal("lost")).await.unwrap();
    assert_eq!((report.way, report.paid, report.gas), (Way::Claims, 5, 0));
}

/// Another node than the one that told the log told the count, and was behind.
#[tokio::test]
async fn a_count_that_lags_does_not_hide_that_the_log_lacks_an_epoch() {
    struct Behind(Pruned);
    impl Tricks for Behind {
        fn answer(&self, method: &str, result: &mut Value) {
            self.0.answer(method, result);
        }
        fn question(&self, method: &str, params: &mut Value) {
            let selector = hex::encode_prefixed(RewardDistributor::epochCountCall::SELECTOR);
            let call = &params[0];
            if method == "eth_call" && call.to_string().contains(&format!("\"{selector}\"")) {
                *params = json!([call, format!("{:#x}", self.0.0 - 1)]);
            }
        }
    }
    let bank = Bank::open().await;
    let list = list("november", 5);
    bank.funded(list.total()).await;
    let treasury = bank.both(&bank.chain, Cumulative::default());
    let plan = treasury.plan(&list).await.unwrap().by(Way::Claims);
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    let first = bank.devnet.block_number() + 1;
    bank.publish_other(&report.balances.unwrap(), 1).await;
    let node = provider(&bank.devnet, &Arc::new(Behind(Pruned(first))));
    let chain = Chain::from_provider(node, bank.devnet.account(0)).connect().await.unwrap();
    let treasury = bank.both(&chain, Cumulative::default());
    let run = treasury.run(&plan.by(Way::Transfers), bank.journal("lost")).await;
    assert_eq!(run.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(!bank.journal("lost").exists());
}
