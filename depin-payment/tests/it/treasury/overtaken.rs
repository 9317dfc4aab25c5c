//! Runs by claims that stopped before their publication while another list took their epoch.

use depin_core::{Amount, ErrorKind};
use depin_evm::{Role, Roles};
use depin_payment::{
    Cumulative,
    evm::{PayList, Plan, RunReport, Way},
};

use super::{Bank, list};

impl Bank {
    async fn claims(&self, list: &PayList, balances: &Cumulative) -> depin_core::Result<RunReport> {
        let treasury = self.both(&self.chain, balances.clone());
        let plan: Plan = treasury.plan(list).await?.by(Way::Claims);
        treasury.run(&plan, self.journal(list.id())).await
    }

    /// Begins a run, which something stops after its journal is made and before anything is published.
    async fn stopped(&self, list: &PayList) {
        let roles = Roles::of(self.chain.clone(), self.contracts.distributor);
        roles.withdraw(Role::PUBLISHER, self.chain.account()).await.unwrap();
        let stopped = self.claims(list, &Cumulative::default()).await;
        assert!(stopped.is_err() && self.journal(list.id()).exists(), "{stopped:?}");
        roles.grant(Role::PUBLISHER, self.chain.account()).await.unwrap();
    }
}

#[tokio::test]
async fn a_run_that_another_list_overtook_is_the_next_epoch() {
    let bank = Bank::open().await;
    let (first, second) = (list("october", 10), list("november", 10));
    bank.stopped(&first).await;
    let report = bank.claims(&second, &Cumulative::default()).await.unwrap();
    let newer = report.balances.unwrap();

    // With the balances that it began with it would take back what the other list paid.
    let error = bank.claims(&first, &Cumulative::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("load the ones that the last run left"), "{error}");
    assert_eq!(bank.supply().await, second.total());

    for balances in [&newer, &newer] {
        let report = bank.claims(&first, balances).await.unwrap();
        assert_eq!((report.paid, report.amount), (10, first.total()));
    }
    assert_eq!(bank.supply().await, Amount::sum([first.total(), second.total()]).unwrap());
    for (account, amount) in first.payments() {
        assert_eq!(bank.held(*account).await, amount.checked_add(*amount).unwrap());
    }
}

#[tokio::test]
async fn a_run_that_was_overtaken_and_published_by_another_machine_is_not_published_again() {
    let bank = Bank::open().await;
    let (first, second) = (list("october", 10), list("november", 10));
    bank.stopped(&first).await;
    let newer = bank.claims(&second, &Cumulative::default()).await.unwrap().balances.unwrap();
    // The same run from a machine without that journal.
    let treasury = bank.both(&bank.anew().await, newer.clone());
    let plan = treasury.plan(&first).await.unwrap().by(Way::Claims);
    let newest = treasury.run(&plan, bank.journal("elsewhere")).await.unwrap().balances.unwrap();
    let supply = bank.supply().await;

    for balances in [&newer, &newest] {
        let report = bank.claims(&first, balances).await.unwrap();
        assert_eq!((report.paid, report.gas), (10, 0));
    }
    assert_eq!(bank.supply().await, supply);
}

#[tokio::test]
async fn a_run_that_was_rejected_and_replaced_by_another_list_says_what_is_left_to_do() {
    let bank = Bank::disputable().await;
    let none = Cumulative::default();
    let (wrong, right) = (list("october", 10), list("october-2", 10));
    let gone = bank.claims(&wrong, &none).await.unwrap().balances.unwrap();
    bank.reject().await;
    let replaced = bank.claims(&right, &none).await.unwrap().balances.unwrap();
    for waits in [true, false] {
        for balances in [&none, &gone, &replaced] {
            let error = bank.claims(&wrong, balances).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rejected, "{waits}: {error}");
            assert!(error.to_string().contains("under another name"), "{error}");
        }
        bank.pass();
    }
    // Nor where the journal never heard that it was published, or is lost.
    let journal = bank.journal(wrong.id());
    let written = std::fs::read_to_string(&journal).unwrap();
    let unheard: String = written
        .lines()
        .filter(|line| !line.starts_with("sent "))
        .fold(String::new(), |all, line| all + line + "\n");
    assert_ne!(unheard, written);
    for left in [Some(unheard), None] {
        match left {
            Some(left) => std::fs::write(&journal, left).unwrap(),
            None => std::fs::remove_file(&journal).unwrap(),
        }
        for balances in [&gone, &replaced] {
            let error = bank.claims(&wrong, balances).await.unwrap_err();
            assert!(!error.is_retryable(), "{error}");
        }
    }
    // Nobody was paid the list that was rejected beside its correction; and what is told works.
    assert_eq!(bank.claims(&right, &replaced).await.unwrap().paid, 10);
    assert_eq!(bank.supply().await, right.total());
    let rest = list("october-3", 3);
    let after = bank.claims(&rest, &replaced).await.unwrap().balances.unwrap();
    bank.pass();
    assert_eq!(bank.claims(&rest, &after).await.unwrap().paid, 3);
    assert_eq!(bank.supply().await, Amount::sum([right.total(), rest.total()]).unwrap());
}

/// A journal that was begun behind an epoch that was rejected names a later number than the run got elsewhere.
#[tokio::test]
async fn a_journal_that_names_a_later_epoch_publishes_nothing_a_second_time() {
    let bank = Bank::disputable().await;
    let none = Cumulative::default();
    let (rejected, october) = (list("september", 10), list("october", 10));
    let behind = bank.claims(&rejected, &none).await.unwrap().balances.unwrap();
    let early = bank.claims(&october, &behind).await.unwrap_err();
    assert!(bank.journal(october.id()).exists(), "{early}");
    bank.reject().await;
    // The same run from a machine without that journal.
    let treasury = bank.both(&bank.anew().await, none);
    let plan = treasury.plan(&october).await.unwrap().by(Way::Claims);
    let first = treasury.run(&plan, bank.journal("elsewhere")).await.unwrap().balances.unwrap();
    bank.pass();
    assert_eq!(treasury.run(&plan, bank.journal("elsewhere")).await.unwrap().paid, 10);
    for _ in 0..2 {
        let report = bank.claims(&october, &first).await.unwrap();
        assert_eq!((report.paid, report.gas), (10, 0));
        bank.pass();
    }
    assert_eq!(bank.supply().await, october.total());
}
