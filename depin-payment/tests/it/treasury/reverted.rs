//! Batches that revert on chain though their simulation went through.

use std::{sync::Arc, time::Duration};

use depin_evm::{Chain, alloy::rpc::types::TransactionRequest, bindings::NetworkToken};

use super::{Bank, list};

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

fn priced(tx: TransactionRequest, tip: u128) -> TransactionRequest {
    let mut tx = tx.gas_limit(100_000);
    (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (Some(DEAR), Some(tip));
    tx
}

/// A fee that no other transaction offers.
const DEAR: u128 = 1_000_000_000_000;
