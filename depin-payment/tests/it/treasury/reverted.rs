//! Batches that revert on chain though their simulation went through.

use std::{path::Path, sync::Arc, time::Duration};

use depin_core::{Amount, ErrorKind, keccak256};
use depin_evm::{
    Chain,
    alloy::{
        network::TransactionBuilder as _,
        primitives::{Bytes, hex},
        providers::Provider,
        rpc::types::TransactionRequest,
    },
    bindings::NetworkToken,
};
use depin_payment::evm::{PayList, Refusal, Treasury};

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

/// Whom a reorganisation had paid is left out again when the next one takes that back: any batch that was ever sent may
/// be the one that the chain has in the end.
#[tokio::test]
async fn a_journal_knows_every_batch_that_was_sent_after_two_reorganisations() {
    let list = list("november", 3);
    let run = async |journal: Option<&str>| {
        let bank = Bank::open().await;
        let treasury = bank.funded(list.total()).await;
        let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
        if let Some(journal) = journal {
            std::fs::write(&path, journal).unwrap();
        }
        let report = treasury.run(&plan, &path).await.unwrap();
        (bank, treasury, path, report)
    };
    let (bank, _, path, _) = run(None).await;
    let head = head(&path);
    drop(bank);
    let skips = |numbers: &[u64]| numbers.iter().map(|it| skip(*it)).collect::<String>();
    // The chain has the batch without the third, though the first was left out as well.
    let (bank, treasury, path, _) = run(Some(&(head.clone() + &skips(&[2])))).await;
    let plan = treasury.plan(&list).await.unwrap();
    std::fs::write(&path, head.clone() + &skips(&[2, 0])).unwrap();
    assert_eq!(treasury.run(&plan, &path).await.unwrap().paid, 2);
    let after = std::fs::read_to_string(&path).unwrap();
    drop(bank);
    // That block is gone too. Of the two, the second cannot receive any more, and the first can.
    let kept = after + &skips(&[1]);
    let (bank, treasury, path, report) = run(Some(&kept)).await;
    assert_eq!((report.paid, report.unpaid.len()), (1, 2));
    assert_eq!(bank.held(someone(0)).await, Amount::from(1));
    for _ in 0..2 {
        assert_eq!(treasury.run(&plan, &path).await.unwrap().paid, 1);
    }
    // Or the chain has the one that left out both of those at first.
    let (_bank, treasury, path, _) = run(Some(&(head + &skips(&[2, 0])))).await;
    std::fs::write(&path, kept).unwrap();
    for _ in 0..2 {
        let report = treasury.run(&plan, &path).await.unwrap();
        let unpaid: Vec<_> = report.unpaid.iter().map(|unpaid| unpaid.account).collect();
        assert_eq!((report.paid, unpaid), (1, vec![someone(0), someone(2)]));
    }
}

/// A token that everybody has and lets take, and that refuses to be sent to whom it was told of. Written in bytes:
/// `transfer` reverts for them, `transferFrom` does nothing, the selector 1 tells, everything else answers the largest
/// number.
fn changing_token() -> Vec<u8> {
    let transfer = &keccak256("transfer(address,uint256)")[..4];
    let transfer_from = &keccak256("transferFrom(address,address,uint256)")[..4];
    let mut code = hex!("5f3560e01c").to_vec(); // the selector
    code.extend([&hex!("8063")[..], transfer, &hex!("14602b57")].concat());
    code.extend([&hex!("8063")[..], transfer_from, &hex!("14603357")].concat());
    code.extend(hex!("80630000000114603c57"));
    code.extend(hex!("5f195f5260205ff3"));
    assert_eq!(code.len(), 0x2b);
    code.extend(hex!("5b60043554604457"));
    code.extend(hex!("5b60015f5260205ff3"));
    code.extend(hex!("5b600160043555005b5f5ffd"));
    // The constructor copies what follows it.
    let size = u8::try_from(code.len()).unwrap();
    [&[0x60, size, 0x80, 0x60, 0x09, 0x5f, 0x39, 0x5f, 0xf3], &code[..]].concat()
}

#[tokio::test]
async fn who_was_refused_on_chain_is_told_from_who_was_refused_before() {
    let bank = Bank::open().await;
    let create = TransactionRequest::default().with_deploy_code(changing_token());
    let token = bank.chain.send(create).await.unwrap().contract_address.unwrap();
    let tell = |number: u64| {
        let input = [&hex!("00000001")[..], someone(number).into_word().as_slice()].concat();
        TransactionRequest::default().to(token).input(Bytes::from(input).into())
    };
    let treasury = Treasury::new(bank.chain.clone(), token).transfers(bank.disperse).batch(4);
    let (list, path) = (list("november", 8), bank.journal("november"));
    let plan = treasury.plan(&list).await.unwrap();
    bank.chain.send(tell(6)).await.unwrap();

    // The second cannot receive any more in the block that has the first batch, and the third neither after it.
    let other = Chain::from_provider(bank.devnet.provider(), bank.devnet.account(5));
    let other = other.connect().await.unwrap();
    bank.devnet.set_automine(false);
    let running = {
        let (treasury, plan, path) = (treasury.clone(), plan.clone(), path.clone());
        tokio::spawn(async move { treasury.run(&plan, path).await })
    };
    bank.until_waiting(1).await;
    let mut telling = Vec::new();
    for number in [1, 2] {
        let (other, tx) = (other.clone(), priced(tell(number), DEAR));
        telling.push(tokio::spawn(async move { other.send(tx).await }));
        bank.until_waiting(telling.len() + 1).await;
    }
    bank.devnet.mine(1);
    bank.devnet.set_automine(true);
    for told in telling {
        told.await.unwrap().unwrap();
    }
    let first = running.await.unwrap().unwrap();
    // The journal tells it too.
    let again = treasury.run(&plan, &path).await.unwrap();
    assert_eq!(again.unpaid, first.unpaid);
    let unpaid: Vec<_> = first.unpaid.iter().map(|it| (it.account, it.refusal)).collect();
    let [(a, Refusal::Reverted { transaction }), (b, reverted), (c, Refusal::Simulated)] =
        unpaid[..]
    else {
        panic!("{unpaid:?}");
    };
    assert_eq!([a, b, c], [1, 2, 6].map(someone));
    assert_eq!(reverted, Refusal::Reverted { transaction });
    let receipt = bank.chain.provider().get_transaction_receipt(transaction).await.unwrap();
    assert!(!receipt.unwrap().status(), "it is the one that reverted");
    let said: Vec<_> = first.unpaid.iter().map(ToString::to_string).collect();
    assert!(said[0].contains(&transaction.to_string()) && said[2].contains("nothing was sent"));
}

/// What the killed one sent may have reverted, and succeed in another block.
#[tokio::test]
async fn who_is_refused_after_a_run_was_killed_is_not_said_to_be_in_no_transaction() {
    let bank = Bank::open().await;
    let create = TransactionRequest::default().with_deploy_code(changing_token());
    let token = bank.chain.send(create).await.unwrap().contract_address.unwrap();
    let treasury = Treasury::new(bank.chain.clone(), token).transfers(bank.disperse).batch(4);
    let (list, path) = (list("november", 8), bank.journal("november"));
    let plan = treasury.plan(&list).await.unwrap();
    bank.devnet.set_automine(false);
    let running = {
        let (treasury, plan, path) = (treasury.clone(), plan.clone(), path.clone());
        tokio::spawn(async move { treasury.run(&plan, path).await })
    };
    bank.until_waiting(1).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    let killed = std::fs::read_to_string(&path).unwrap();
    assert!(killed.ends_with("\nbegin 0\n"), "{killed}");

    // On a chain that has nothing of it, two of each batch cannot receive.
    let bank = Bank::open().await;
    let create = TransactionRequest::default().with_deploy_code(changing_token());
    assert_eq!(bank.chain.send(create).await.unwrap().contract_address, Some(token));
    for number in [1, 2, 5, 6] {
        let input = [&hex!("00000001")[..], someone(number).into_word().as_slice()].concat();
        let tx = TransactionRequest::default().to(token).input(Bytes::from(input).into());
        bank.chain.send(tx).await.unwrap();
    }
    let path = bank.journal("november");
    std::fs::write(&path, killed).unwrap();
    let treasury = Treasury::new(bank.chain.clone(), token).transfers(bank.disperse).batch(4);
    for _ in 0..2 {
        let unpaid = treasury.run(&plan, &path).await.unwrap().unpaid;
        let refusals: Vec<_> = unpaid.iter().map(|it| it.refusal).collect();
        let (unheard, simulated) = (Refusal::Unheard, Refusal::Simulated);
        assert_eq!(refusals, [unheard, unheard, simulated, simulated]);
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_for_a_journal_is_left_as_it_is() {
    let bank = Bank::open().await;
    let list = list("november", 3);
    let treasury = bank.funded(list.total()).await;
    let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
    treasury.run(&plan, &path).await.unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // Holes take no room on the disk.
    let length = 512 * 1024 * 1024 + 1;
    file.set_len(length).unwrap();
    let error = treasury.run(&plan, &path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert!(error.to_string().contains("restore it from a copy"), "{error}");
    assert_eq!(file.metadata().unwrap().len(), length, "nothing is cut off");
}

/// What a journal says before anything is sent.
fn head(journal: &Path) -> String {
    let text = std::fs::read_to_string(journal).unwrap();
    let notes = text.find("\nbegin ").unwrap();
    text[..=notes].to_owned()
}

/// Writes a journal which has left out some, one after another.
fn leave_out(journal: &Path, head: &str, numbers: &[u64]) {
    let notes: String = numbers.iter().map(|number| skip(*number)).collect();
    std::fs::write(journal, format!("{head}{notes}")).unwrap();
}

fn skip(number: u64) -> String {
    format!("skip {} no\n", someone(number))
}

fn priced(tx: TransactionRequest, tip: u128) -> TransactionRequest {
    let mut tx = tx.gas_limit(100_000);
    (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (Some(DEAR), Some(tip));
    tx
}

/// A fee that no other transaction offers.
const DEAR: u128 = 1_000_000_000_000;
