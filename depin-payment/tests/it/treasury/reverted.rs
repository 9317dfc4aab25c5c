//! Batches that revert on chain though their simulation went through.

use std::{path::Path, sync::Arc, time::Duration};

use depin_core::{Amount, ErrorKind};
use depin_evm::{Chain, alloy::rpc::types::TransactionRequest, bindings::NetworkToken};
use depin_payment::evm::PayList;

use super::{Bank, list, someone};

impl Bank {
    async fn until_waiting(&self, count: usize) {
        while self.devnet.waiting().len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn a_batch_that_reverted_is_tried_again_in_the_same_run() {
    let bank = Bank::open().await;
    let list = list("november", 5);
    let treasury = Arc::new(bank.funded(list.total()).await);
    let borrower = Chain::from_provider(bank.devnet.provider(), bank.devnet.account(5));
    let borrower = borrower.connect().await.unwrap();
    let (me, all) = (bank.chain.account(), list.total().to_units());
    let token = NetworkToken::new(bank.contracts.token, borrower.provider());
    let lend = token.approve(borrower.account(), all).into_transaction_request();
    bank.chain.send(lend).await.unwrap();

    bank.devnet.set_automine(false);
    let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
    let running = tokio::spawn(async move { treasury.run(&plan, path).await });
    bank.until_waiting(1).await;
    // Before the batch the money is taken, and after it brought back, in one block.
    let takes = token.transferFrom(me, borrower.account(), all).into_transaction_request();
    let gives = token.transfer(me, all).into_transaction_request();
    let mut waiting = 1;
    let mut borrowing = Vec::new();
    for (tx, tip) in [(takes, DEAR), (gives, 1)] {
        let (borrower, tx) = (borrower.clone(), priced(tx, tip));
        borrowing.push(tokio::spawn(async move { borrower.send(tx).await }));
        waiting += 1;
        bank.until_waiting(waiting).await;
    }
    bank.devnet.mine(1);
    bank.devnet.set_automine(true);
    for borrowed in borrowing {
        borrowed.await.unwrap().unwrap();
    }
    let report = running.await.unwrap().unwrap();
    assert_eq!((report.paid, report.unpaid.len()), (5, 0));
    assert_eq!(report.transactions.len(), 1);
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
}

#[tokio::test]
async fn a_batch_that_a_reorganisation_lets_succeed_pays_those_who_were_left_out_of_its_retry() {
    let bank = Bank::open().await;
    let list = list("november", 9);
    let treasury = bank.funded(list.total()).await.batch(3);
    let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
    treasury.run(&plan, &path).await.unwrap();
    // The chain has all batches as they were before two accounts of the first were left out.
    leave_out(&path, &head(&path), &[1, 0]);
    for _ in 0..2 {
        let report = treasury.run(&plan, &path).await.unwrap();
        assert_eq!((report.paid, report.unpaid.len()), (9, 0));
    }
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
    // What another list paid under the name is none of this run all the same.
    let other = PayList::new("november", list.payments().iter().skip(1).copied()).unwrap();
    let plan = treasury.plan(&other).await.unwrap();
    let error = treasury.run(&plan, bank.journal("other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn of_those_left_out_only_those_are_paid_after_all_whom_the_batch_had() {
    let list = list("november", 3);
    // A bank like the other tells how a journal begins of which nothing is sent yet.
    let head = {
        let bank = Bank::open().await;
        let treasury = bank.funded(list.total()).await;
        let plan = treasury.plan(&list).await.unwrap();
        treasury.run(&plan, bank.journal("november")).await.unwrap();
        head(&bank.journal("november"))
    };
    let bank = Bank::open().await;
    let treasury = bank.funded(list.total()).await;
    let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
    leave_out(&path, &head, &[2]);
    assert_eq!(treasury.run(&plan, &path).await.unwrap().paid, 2);
    leave_out(&path, &head, &[2, 0]);
    let report = treasury.run(&plan, &path).await.unwrap();
    let unpaid: Vec<_> = report.unpaid.iter().map(|unpaid| unpaid.account).collect();
    assert_eq!((report.paid, unpaid), (2, vec![someone(2)]));
    assert_eq!(bank.held(someone(0)).await, Amount::from(1));
    assert_eq!(bank.held(someone(2)).await, Amount::ZERO);
}

/// What a journal says before anything is sent.
fn head(journal: &Path) -> String {
    let text = std::fs::read_to_string(journal).unwrap();
    let sent = text.find("\nsent ").unwrap();
    text[..=sent].to_owned()
}

/// Writes a journal which has left out some, one after another.
fn leave_out(journal: &Path, head: &str, numbers: &[u64]) {
    let notes: String =
        numbers.iter().map(|number| format!("skip {} no\n", someone(*number))).collect();
    std::fs::write(journal, format!("{head}{notes}")).unwrap();
}

fn priced(tx: TransactionRequest, tip: u128) -> TransactionRequest {
    let mut tx = tx.gas_limit(100_000);
    (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (Some(DEAR), Some(tip));
    tx
}

/// A fee that no other transaction offers.
const DEAR: u128 = 1_000_000_000_000;
