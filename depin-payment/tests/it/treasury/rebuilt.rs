//! Balances that are made anew out of lists when everything else is lost.

use std::slice;

use depin_core::{B256, EpochId, ErrorKind, reward::RewardDistributor as _};
use depin_payment::{
    Cumulative,
    evm::{PayList, Treasury, Way},
};

use super::{Bank, list};

async fn refused(bank: &Bank, lists: &[PayList], epoch: u64) {
    let distributor = bank.distributor(&bank.chain);
    let error = Treasury::rebuild(&distributor, lists).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let epoch = EpochId::new(epoch).to_string();
    assert!(error.context().any(|pair| pair == ("epoch", &epoch)), "{error}");
}

#[tokio::test]
async fn a_treasurer_who_lost_everything_goes_on_with_the_lists() {
    let bank = Bank::open().await;
    let lists = [list("october", 10), list("november", 12)];
    let mut balances = Cumulative::default();
    for list in &lists {
        let treasury = bank.both(&bank.chain, balances);
        let plan = treasury.plan(list).await.unwrap().by(Way::Claims);
        balances = treasury.run(&plan, bank.journal(list.id())).await.unwrap().balances.unwrap();
    }
    let supply = bank.supply().await;

    let chain = bank.anew().await;
    let rebuilt = Treasury::rebuild(&bank.distributor(&chain), &lists).await.unwrap();
    assert_eq!(rebuilt, balances);
    let treasury = bank.both(&chain, rebuilt);
    for list in &lists {
        let plan = treasury.plan(list).await.unwrap().by(Way::Claims);
        let lost = bank.journal(&format!("lost-{}", list.id()));
        let report = treasury.run(&plan, lost).await.unwrap();
        assert_eq!((report.paid, report.gas), (list.payments().len(), 0), "{}", list.id());
    }
    assert_eq!(bank.supply().await, supply);
    let december = list("december", 3);
    let plan = treasury.plan(&december).await.unwrap().by(Way::Claims);
    let report = treasury.run(&plan, bank.journal("december")).await.unwrap();
    assert_eq!(report.paid, 3);
    assert_eq!(bank.supply().await, supply.checked_add(december.total()).unwrap());
}

#[tokio::test]
async fn lists_that_are_not_the_epochs_are_refused() {
    let bank = Bank::open().await;
    let nothing = Treasury::rebuild(&bank.distributor(&bank.chain), &[]).await.unwrap();
    assert_eq!(nothing, Cumulative::default());

    let [october, november] = [list("october", 10), list("november", 12)];
    let mut balances = Cumulative::default();
    for list in [&october, &november] {
        let treasury = bank.both(&bank.chain, balances);
        let plan = treasury.plan(list).await.unwrap().by(Way::Claims);
        balances = treasury.run(&plan, bank.journal(list.id())).await.unwrap().balances.unwrap();
    }
    refused(&bank, &[], 0).await;
    refused(&bank, &[november.clone(), october.clone()], 0).await;
    refused(&bank, slice::from_ref(&november), 0).await;
    refused(&bank, slice::from_ref(&october), 1).await;
    refused(&bank, &[october.clone(), october.clone()], 1).await;
    refused(&bank, &[october.clone(), list("november", 11)], 1).await;
    refused(&bank, &[october.clone(), list("nov", 12)], 1).await;
    refused(&bank, &[october, november, list("december", 1)], 2).await;
}

/// Whoever publishes beside the treasury may leave out numbers: what follows is no less there.
#[tokio::test]
async fn an_epoch_that_left_out_a_number_is_missed_among_the_lists() {
    let bank = Bank::open().await;
    let october = list("october", 10);
    let treasury = bank.both(&bank.chain, Cumulative::default());
    let plan = treasury.plan(&october).await.unwrap().by(Way::Claims);
    let report = treasury.run(&plan, bank.journal("october")).await.unwrap();
    let balances = report.balances.unwrap();
    let distributor = bank.distributor(&bank.chain);
    assert_eq!(Treasury::rebuild(&distributor, slice::from_ref(&october)).await.unwrap(), balances);

    let later = Cumulative::from_rows(EpochId::new(7), balances.iter()).unwrap();
    let commitment = later.commitment(&later.tree().unwrap(), B256::repeat_byte(7)).unwrap();
    distributor.publish(&commitment).await.unwrap();
    refused(&bank, &[october], 1).await;
}
