//! Other batch sizes, when what was sent in the former ones may still be executed.

use std::sync::Arc;

use depin_core::{ErrorKind, Result};
use depin_evm::alloy::{
    consensus::Transaction, eips::eip2718::Encodable2718, primitives::Bytes, providers::Provider,
};
use depin_payment::evm::{Plan, RunReport, Treasury};

use super::{
    Bank,
    hooks::{Unpriced, hooked, never_nothing},
    list, someone,
};

impl Bank {
    /// The first call that was sent after a block.
    async fn first_after(&self, block: u64) -> Bytes {
        let provider = self.chain.provider();
        for number in block + 1..=self.devnet.block_number() {
            let block = provider.get_block_by_number(number.into()).full().await.unwrap().unwrap();
            let mut calls = block.transactions.into_transactions();
            if let Some(call) = calls.find(|tx| !tx.input().is_empty()) {
                return call.inner.encoded_2718().into();
            }
        }
        panic!("nothing was sent");
    }

    /// Runs in batches of three what was begun in one of nine.
    async fn in_threes(&self, treasury: &Treasury, plan: &Plan) -> Result<RunReport> {
        treasury.clone().batch(3).run(plan, self.journal("november")).await
    }
}

/// The token does not move nothing, so the key of the batch that reverts is not closed.
#[tokio::test]
async fn a_reorganisation_executes_no_former_batch_beside_the_smaller_ones() {
    for forgets in [false, true] {
        let bank = Bank::open().await;
        let list = list("november", 9);
        let twice = list.total().checked_add(list.total()).unwrap();
        let plan = bank.funded(twice).await.plan(&list).await.unwrap();
        let before = bank.devnet.block_number();
        let own = bank.hook_both(|to| hooked(to, someone(1)), never_nothing).await;
        let mut treasury = bank.through(&Arc::new(Unpriced)).await;
        let path = bank.journal("november");
        treasury.clone().batch(9).run(&plan, &path).await.unwrap_err();
        let whole = bank.first_after(before).await;
        bank.devnet.set_code(bank.contracts.token, own);
        if forgets {
            // The store is gone; the bodies of blocks tell.
            treasury = bank.through(&Arc::new(Unpriced)).await;
        }
        for blocks in [0, bank.chain.reorg_depth() - 8] {
            bank.devnet.mine(blocks);
            let error = bank.in_threes(&treasury, &plan).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.context().any(|pair| pair == ("blocks", "64")), "{error}");
            assert!(error.context().any(|pair| pair == ("recipients", "9")), "{error}");
        }
        // Somebody brings the former batch into the other fork before all else.
        bank.devnet.reorg(bank.devnet.block_number() - before).unwrap();
        let _ = bank.chain.provider().send_raw_transaction(&whole).await.unwrap();
        bank.devnet.mine(1);
        let report = treasury.run(&plan, &path).await.unwrap();
        assert_eq!(report.paid, 9);
        bank.have_all_but(&list, &[]).await;
        let left = bank.held(bank.chain.account()).await;
        assert_eq!(left, list.total(), "once, and no more");
    }
}

#[tokio::test]
async fn smaller_batches_are_paid_once_no_former_one_can_be() {
    let bank = Bank::open().await;
    let list = list("november", 9);
    let twice = list.total().checked_add(list.total()).unwrap();
    let plan = bank.funded(twice).await.plan(&list).await.unwrap();
    let own = bank.hook_both(|to| hooked(to, someone(1)), never_nothing).await;
    let treasury = bank.through(&Arc::new(Unpriced)).await;
    treasury.clone().batch(9).run(&plan, bank.journal("november")).await.unwrap_err();
    bank.devnet.set_code(bank.contracts.token, own);
    assert!(bank.in_threes(&treasury, &plan).await.unwrap_err().is_retryable());
    bank.bury();
    let report = bank.in_threes(&treasury, &plan).await.unwrap();
    assert_eq!((report.paid, report.transactions.len()), (9, 3));
    bank.have_all_but(&list, &[]).await;
}

/// What nobody has the bytes of does not come back: the simulation refused it.
#[tokio::test]
async fn smaller_batches_need_not_wait_where_nothing_was_sent() {
    let bank = Bank::open().await;
    let list = list("november", 9);
    let twice = list.total().checked_add(list.total()).unwrap();
    let treasury = bank.funded(twice).await;
    let plan = treasury.plan(&list).await.unwrap();
    // It moves no more than one at once: nobody is blamed, nor paid.
    let own = bank.hook(|copy| super::hooks::limited(copy, 0)).await;
    treasury.clone().batch(9).run(&plan, bank.journal("november")).await.unwrap_err();
    let journal = std::fs::read_to_string(bank.journal("november")).unwrap();
    assert!(journal.ends_with("\nbegin 0\n"), "{journal}");
    bank.devnet.set_code(bank.contracts.token, own);
    let report = bank.in_threes(&treasury, &plan).await.unwrap();
    assert_eq!((report.paid, report.transactions.len()), (9, 3));
}

/// A disk that is restored has a journal that knows of no smaller batches.
#[tokio::test]
async fn a_journal_from_before_the_smaller_batches_pays_nobody_anew() {
    let bank = Bank::open().await;
    let list = list("november", 9);
    let twice = list.total().checked_add(list.total()).unwrap();
    let plan = bank.funded(twice).await.plan(&list).await.unwrap();
    let own = bank.hook_both(|to| hooked(to, someone(1)), never_nothing).await;
    let treasury = bank.through(&Arc::new(Unpriced)).await;
    let path = bank.journal("november");
    treasury.clone().batch(9).run(&plan, &path).await.unwrap_err();
    let older = std::fs::read(&path).unwrap();
    bank.bury();
    // His batch is stuck, and the others are paid.
    bank.in_threes(&treasury, &plan).await.unwrap_err();
    bank.devnet.set_code(bank.contracts.token, own);
    for is_first_paid in [false, true] {
        std::fs::write(&path, &older).unwrap();
        for treasury in [treasury.clone(), treasury.clone().batch(9), treasury.clone().batch(3)] {
            let error = treasury.run(&plan, &path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{is_first_paid}: {error}");
            assert!(error.context().any(|(key, _)| key == "journal"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(bank.in_threes(&treasury, &plan).await.unwrap().paid, 9);
    }
    bank.have_all_but(&list, &[]).await;
    assert_eq!(bank.held(bank.chain.account()).await, list.total(), "once, and no more");
}
