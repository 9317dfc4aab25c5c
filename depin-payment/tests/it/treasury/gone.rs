//! Lists that were published and do not stand: rejected by the arbiter, or disputed until nobody decided. Journal, store or
//! both are lost, and nobody is paid beside what corrects them, nor twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use depin_core::{
    Amount, EpochId, ErrorKind, Result,
    reward::{Commitment, RewardDistributor as _},
};
use depin_evm::Chain;
use depin_payment::{
    Cumulative,
    evm::{EvmRoots, PayList, PendingEpoch, RunReport, Verdict, Way},
};
use serde_json::Value;

use super::{Bank, list};
use crate::node::{Tricks, provider};

impl Bank {
    /// What a list is as an epoch of this number, on top of nothing.
    pub(super) fn as_epoch(number: u64, list: &PayList) -> (Cumulative, Commitment) {
        let payments = list.payments().iter().copied();
        let balances = Cumulative::from_rows(EpochId::new(number), payments).unwrap();
        let tree = balances.tree().unwrap();
        let commitment = balances.commitment(&tree, list.digest()).unwrap();
        (balances, commitment)
    }

    /// Runs a list on another machine, which has nothing but the key and perhaps a journal.
    async fn again(
        &self,
        list: &PayList,
        way: Way,
        balances: &Cumulative,
        journal: &str,
    ) -> Result<RunReport> {
        let treasury = self.both(&self.anew().await, balances.clone());
        let plan = treasury.plan(list).await?.by(way);
        treasury.run(&plan, self.journal(journal)).await
    }

    /// Publishes a list by claims, disputes it, and lets the time of the arbiter pass. Nobody removes it.
    async fn lapsed(&self, list: &PayList) -> PendingEpoch {
        self.again(list, Way::Claims, &Cumulative::default(), list.id()).await.unwrap();
        self.issue(Amount::tokens(1)).await;
        let roots = EvmRoots::new(self.chain.clone(), self.contracts.distributor);
        let seen = roots.pending().await.unwrap().unwrap();
        roots.dispute(&seen).await.unwrap();
        for _ in 0..3 {
            self.pass();
        }
        seen
    }

    /// The arbiter comes too late.
    async fn upholds_no_more(&self, seen: &PendingEpoch) {
        let judge = self.devnet.account(1);
        let judge = Chain::from_provider(self.devnet.provider(), judge).connect().await.unwrap();
        let judge = EvmRoots::new(judge, self.contracts.distributor);
        let late = judge.resolve(seen, Verdict::Uphold).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Conflict, "{late}");
    }
}

/// The list that corrects one may leave its number out, or be given an earlier one that was left out before.
#[tokio::test]
async fn a_list_whose_correction_has_another_number_is_not_published_again() {
    for (number, corrected) in [(0, 1), (5, 1)] {
        let bank = Bank::disputable().await;
        let (wrong, right) = (list("october", 10), list("october-2", 10));
        bank.funded(wrong.total()).await;
        let supply = bank.supply().await;
        let roots = EvmRoots::new(bank.chain.clone(), bank.contracts.distributor);
        roots.publish(&Bank::as_epoch(number, &wrong).1).await.unwrap();
        bank.reject().await;
        let (balances, commitment) = Bank::as_epoch(corrected, &right);
        roots.publish(&commitment).await.unwrap();
        for _ in 0..2 {
            for way in [Way::Claims, Way::Transfers] {
                let error = bank.again(&wrong, way, &balances, "lost").await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Rejected, "{number} {way}: {error}");
                assert!(error.to_string().contains("under another name"), "{error}");
            }
            bank.pass();
        }
        roots.activate().await.unwrap();
        assert!(!bank.journal("lost").exists());
        let issued = Amount::sum([supply, right.total()]).unwrap();
        assert_eq!(bank.supply().await, issued, "the correction alone");
    }
}

/// The journal is there, and tells of a number that nothing has.
#[tokio::test]
async fn a_journal_does_not_publish_a_list_again_whose_number_its_correction_left_out() {
    let bank = Bank::disputable().await;
    let (wrong, right) = (list("october", 10), list("october-2", 10));
    bank.again(&wrong, Way::Claims, &Cumulative::default(), "october").await.unwrap();
    bank.reject().await;
    let (balances, commitment) = Bank::as_epoch(1, &right);
    bank.distributor(&bank.chain).publish(&commitment).await.unwrap();
    for _ in 0..2 {
        for given in [&Cumulative::default(), &balances] {
            let error = bank.again(&wrong, Way::Claims, given, "october").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
            assert!(error.to_string().contains("under another name"), "{error}");
        }
        bank.pass();
    }
}

/// The journal that published it may be somewhere, and publish it again.
#[tokio::test]
async fn a_list_that_the_arbiter_rejected_is_neither_published_again_nor_paid_beside_it() {
    let bank = Bank::disputable().await;
    let october = list("october", 10);
    bank.funded(october.total()).await;
    let none = Cumulative::default();
    let gone = bank.again(&october, Way::Claims, &none, "october").await.unwrap().balances.unwrap();
    bank.reject().await;
    let blocks = bank.devnet.block_number();
    let lost = [(Way::Transfers, "lost"), (Way::Claims, "lost"), (Way::Claims, "october")];
    for (way, journal) in lost {
        for balances in [&none, &gone] {
            let error = bank.again(&october, way, balances, journal).await.unwrap_err();
            assert!(!error.is_retryable(), "{way} {journal}: {error}");
        }
        let error = bank.again(&october, way, &none, journal).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{way} {journal}: {error}");
        assert!(error.to_string().contains("under another name"), "{error}");
    }
    assert_eq!(bank.devnet.block_number(), blocks, "nothing was sent");
    // What is told works.
    let same = PayList::new("october-2", october.payments().iter().copied()).unwrap();
    let report = bank.again(&same, Way::Transfers, &none, "october-2").await.unwrap();
    assert_eq!((report.way, report.paid), (Way::Transfers, 10));
}

/// Until somebody removes it, the arbiter may uphold it after all.
#[tokio::test]
async fn a_list_whose_dispute_lapsed_is_published_again_and_not_paid_by_transfers() {
    let bank = Bank::disputable().await;
    let (october, none) = (list("october", 10), Cumulative::default());
    bank.funded(october.total()).await;
    let seen = bank.lapsed(&october).await;
    let supply = bank.supply().await;
    for _ in 0..2 {
        let error = bank.again(&october, Way::Transfers, &none, "lost").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("by claims"), "{error}");
        assert!(!bank.journal("lost").exists());
        bank.upholds_no_more(&seen).await;
    }
    // Where the store is lost, with the journal or without it.
    for journal in ["lost", "october"] {
        let report = bank.again(&october, Way::Claims, &none, journal).await.unwrap();
        assert_eq!((report.paid, report.to_claim), (0, 10));
    }
    bank.pass();
    for journal in ["lost", "october"] {
        let report = bank.again(&october, Way::Claims, &none, journal).await.unwrap();
        assert_eq!((report.paid, report.to_claim), (10, 0));
    }
    assert_eq!(bank.supply().await, Amount::sum([supply, october.total()]).unwrap());
}

#[tokio::test]
async fn transfers_beside_a_dispute_that_lapsed_go_on_when_nobody_can_uphold_it_any_more() {
    let bank = Bank::disputable().await;
    let (november, none) = (list("november", 10), Cumulative::default());
    bank.funded(november.total()).await;
    let seen = bank.lapsed(&november).await;
    bank.paid_november(0, &november.payments()[..4]).await;
    let treasury = bank.both(&bank.anew().await, none).batch(4);
    let plan = treasury.plan(&november).await.unwrap().by(Way::Claims);
    let report = treasury.run(&plan, bank.journal("lost")).await.unwrap();
    assert_eq!((report.way, report.paid), (Way::Transfers, 10));
    bank.upholds_no_more(&seen).await;
    for (account, amount) in november.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
}

/// A rejection before one that lapsed is one still.
#[tokio::test]
async fn a_list_that_was_rejected_before_another_lapsed_is_not_published_again() {
    let bank = Bank::disputable().await;
    let (rejected, lapsed, none) =
        (list("october", 10), list("october-2", 9), Cumulative::default());
    bank.again(&rejected, Way::Claims, &none, "october").await.unwrap();
    bank.reject().await;
    bank.lapsed(&lapsed).await;
    for journal in ["lost", "october"] {
        let error = bank.again(&rejected, Way::Claims, &none, journal).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{journal}: {error}");
    }
    let report = bank.again(&lapsed, Way::Claims, &none, "lost").await.unwrap();
    assert_eq!((report.paid, report.to_claim), (0, 9));
}

/// The node forgot what was sent, as nodes that prune do.
#[derive(Default)]
struct Silent(AtomicBool);

impl Tricks for Silent {
    fn answer(&self, method: &str, result: &mut Value) {
        let asks = matches!(method, "eth_getTransactionReceipt" | "eth_getTransactionByHash");
        if asks && self.0.load(SeqCst) {
            *result = Value::Null;
        }
    }
}

#[tokio::test]
async fn a_root_that_was_rejected_is_not_published_again_because_a_node_forgot_it() {
    let bank = Bank::disputable().await;
    let node = Arc::new(Silent::default());
    let chain = Chain::from_provider(provider(&bank.devnet, &node), bank.devnet.account(0))
        .timeout(Duration::from_secs(1));
    let roots = EvmRoots::new(chain.connect().await.unwrap(), bank.contracts.distributor);
    let commitment = Bank::as_epoch(0, &list("october", 10)).1;
    bank.devnet.set_automine(false);
    let publication = {
        let roots = roots.clone();
        tokio::spawn(async move { roots.publish(&commitment).await })
    };
    while bank.devnet.waiting().is_empty() {
        assert!(!publication.is_finished(), "it waits");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    publication.abort();
    node.0.store(true, SeqCst);
    bank.devnet.set_automine(true);
    bank.devnet.mine(1);
    bank.reject().await;
    let error = roots.publish(&commitment).await.unwrap_err();
    assert_eq!(roots.pending().await.unwrap(), None, "it is not there again");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    node.0.store(false, SeqCst);
    let error = roots.publish(&commitment).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
}
