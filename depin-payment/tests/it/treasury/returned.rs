//! Journals that come back, on a disk that was restored, when their run was gone on with elsewhere.

use std::{sync::Arc, time::Duration};

use depin_core::{Amount, ErrorKind, Result};
use depin_evm::Chain;
use depin_payment::{
    Cumulative,
    evm::{PayList, RunReport, Way},
};

use super::{Bank, list, lost::Pruned};
use crate::node::provider;

impl Bank {
    /// A run by transfers for which the treasury has nothing yet: its journal is made, and nobody is paid.
    async fn begun_by_transfers(&self, list: &PayList) {
        let error = self.by(Way::Transfers, list, "first").await.unwrap_err();
        assert!(error.to_string().contains("holds less"), "{error}");
        assert!(self.journal("first").exists());
    }

    /// Runs a list on some machine with one of the journals.
    async fn by(&self, way: Way, list: &PayList, journal: &str) -> Result<RunReport> {
        let treasury = self.both(&self.anew().await, Cumulative::default());
        let plan = treasury.plan(list).await?.by(way);
        treasury.run(&plan, self.journal(journal)).await
    }

    async fn have_once(&self, list: &PayList) {
        for (account, amount) in list.payments() {
            assert_eq!(self.held(*account).await, *amount);
        }
    }
}

#[tokio::test]
async fn a_journal_of_transfers_pays_nobody_beside_an_epoch_of_the_run() {
    let bank = Bank::open().await;
    let list = list("november", 5);
    bank.begun_by_transfers(&list).await;
    assert_eq!(bank.by(Way::Claims, &list, "second").await.unwrap().paid, 5);
    bank.funded(list.total()).await;
    for _ in 0..2 {
        let error = bank.by(Way::Transfers, &list, "first").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("or with none"), "{error}");
        bank.have_once(&list).await;
    }
    // As it is advised to.
    for journal in ["second", "none"] {
        let report = bank.by(Way::Transfers, &list, journal).await.unwrap();
        assert_eq!((report.way, report.paid), (Way::Claims, 5), "{journal}");
        bank.have_once(&list).await;
    }
    assert_eq!(bank.held(bank.chain.account()).await, list.total(), "nothing was transferred");
}

#[tokio::test]
async fn a_journal_of_transfers_pays_nobody_whose_epoch_was_rejected() {
    let bank = Bank::disputable().await;
    let list = list("november", 5);
    bank.begun_by_transfers(&list).await;
    bank.by(Way::Claims, &list, "second").await.unwrap();
    bank.reject().await;
    bank.funded(list.total()).await;
    let error = bank.by(Way::Transfers, &list, "first").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("under another name"), "{error}");
    assert_eq!(bank.held(bank.chain.account()).await, list.total());
}

#[tokio::test]
async fn a_journal_of_transfers_waits_for_a_publication_in_the_pool() {
    let bank = Bank::open().await;
    let list = list("november", 5);
    bank.begun_by_transfers(&list).await;
    bank.funded(list.total()).await;
    let treasury = bank.both(&bank.anew().await, Cumulative::default());
    let plan = treasury.plan(&list).await.unwrap().by(Way::Claims);
    bank.devnet.set_automine(false);
    let path = bank.journal("second");
    let publishing = tokio::spawn(async move { treasury.run(&plan, path).await });
    while bank.devnet.waiting().is_empty() {
        assert!(!publishing.is_finished(), "it waits");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    publishing.abort();
    let error = bank.by(Way::Transfers, &list, "first").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("wait"), "{error}");
    bank.devnet.mine(1);
    let error = bank.by(Way::Transfers, &list, "first").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(bank.held(bank.chain.account()).await, list.total());
}

/// A node that keeps no old logs is enough to go on with.
#[tokio::test]
async fn transfers_that_paid_somebody_ask_no_log() {
    let bank = Bank::open().await;
    let list = list("november", 5);
    let signer = bank.devnet.account(0);
    let node = provider(&bank.devnet, &Arc::new(Pruned(u64::MAX)));
    let chain = Chain::from_provider(node, signer).connect().await.unwrap();
    let treasury = bank.both(&chain, Cumulative::default()).batch(2);
    let plan = treasury.plan(&list).await.unwrap().by(Way::Transfers);
    let own = bank.both(&bank.chain, Cumulative::default()).batch(2);
    own.run(&plan, bank.journal("first")).await.unwrap_err();
    bank.funded(list.total()).await;
    let early = treasury.run(&plan, bank.journal("first")).await.unwrap_err();
    assert!(early.to_string().contains("use an archive node"), "{early}");
    bank.paid_november(0, &list.payments()[..2]).await;
    assert_eq!(treasury.run(&plan, bank.journal("first")).await.unwrap().paid, 5);
    bank.have_once(&list).await;
    assert_eq!(bank.held(bank.chain.account()).await, Amount::ZERO);
}
