//! A recipient whose hook lets every simulation pass and reverts on chain.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use depin_core::{Address, Amount, ErrorKind};
use depin_evm::{
    Chain,
    alloy::{
        consensus::Transaction, eips::eip2718::Encodable2718, primitives::Bytes,
        providers::Provider, sol_types::SolCall,
    },
    bindings::NetworkToken,
};

use depin_payment::evm::{PayList, Plan, Refusal, Treasury, Unpaid};

use serde_json::Value;
use tokio::sync::Notify;

use super::{Bank, list, someone};
use crate::node::{Tricks, provider};

/// The code of a token that asks nobody but `villain`, who says no whenever gas has a price, as in no simulation. All
/// else is done by the code at `token`.
pub(super) fn hooked(token: Address, villain: Address) -> Bytes {
    let mut code = vec![0x3a, 0x15, 0x60, 0x21, 0x57]; // gas without a price: go on
    code.extend(refusing(villain));
    as_at(code, token)
}

/// Reverts when it is the villain whom `transfer` pays; for 28 bytes of code, and what comes before it.
fn refusing(villain: Address) -> Vec<u8> {
    [&[0x60, 0x04, 0x35, 0x73][..], villain.as_slice(), &[0x14, 0x60, 0x4f, 0x57]].concat()
}

/// The code of a token that pays `villain` never.
pub(super) fn closed_to(token: Address, villain: Address) -> Bytes {
    let mut code = vec![0x5b; 5]; // for as long as the other
    code.extend(refusing(villain));
    as_at(code, token)
}

/// The code of a token that transfers no more than this at once.
pub(super) fn limited(token: Address, most: u8) -> Bytes {
    judging(token, &[0x60, 0x24, 0x35, 0x60, most, 0x10])
}

/// The code of a token that does not transfer nothing.
pub(super) fn never_nothing(token: Address) -> Bytes {
    judging(token, &[0x60, 0x24, 0x35, 0x15])
}

/// The code of a token that transfers unless this leaves something but zero.
fn judging(token: Address, judgement: &[u8]) -> Bytes {
    let mut code = vec![0x5f, 0x35, 0x60, 0xe0, 0x1c, 0x63]; // the selector
    code.extend(NetworkToken::transferCall::SELECTOR);
    code.extend([0x14, 0x15, 0x60, 0x21, 0x57]); // no transfer: go on
    code.extend(judgement);
    code.extend([0x60, 0x4f, 0x57]); // revert
    code.resize(0x21, 0x5b);
    as_at(code, token)
}

/// Goes on at 0x21 as the other code does, and reverts at 0x4f.
fn as_at(mut code: Vec<u8>, token: Address) -> Bytes {
    assert_eq!(code.len(), 0x21);
    code.extend([0x5b, 0x36, 0x5f, 0x5f, 0x37, 0x5f, 0x5f, 0x36, 0x5f, 0x73]);
    code.extend(token);
    code.extend([0x5a, 0xf4, 0x3d, 0x5f, 0x5f, 0x3e, 0x60, 0x4b, 0x57, 0x3d, 0x5f, 0xfd]);
    code.extend([0x5b, 0x3d, 0x5f, 0xf3, 0x5b, 0x5f, 0x5f, 0xfd]);
    code.into()
}

impl Bank {
    /// Puts the token elsewhere, and such code in front of it; answers its own.
    pub(super) async fn hook(&self, code: impl FnOnce(Address) -> Bytes) -> Bytes {
        let (token, copy) = (self.contracts.token, Address::repeat_byte(0xc0));
        let own = self.chain.provider().get_code_at(token).await.unwrap();
        self.devnet.set_code(copy, own.clone());
        self.devnet.set_code(token, code(copy));
        own
    }

    /// The same with a second code between the token and its own.
    pub(super) async fn hook_both(
        &self,
        outer: impl FnOnce(Address) -> Bytes,
        inner: impl FnOnce(Address) -> Bytes,
    ) -> Bytes {
        let between = Address::repeat_byte(0xc1);
        let own = self.hook(|copy| {
            self.devnet.set_code(between, inner(copy));
            outer(between)
        });
        own.await
    }
}

/// A node that simulates without a price of gas, whatever it is asked, as some do.
pub(super) struct Unpriced;

impl Tricks for Unpriced {
    fn question(&self, method: &str, params: &mut Value) {
        if method == "eth_estimateGas"
            && let Some(call) = params[0].as_object_mut()
        {
            call.retain(|name, _| !name.to_lowercase().contains("gas"));
        }
    }
}

impl Bank {
    /// A run of nine in batches through a node that shows no hook.
    pub(super) async fn of_nine(&self, batch: usize) -> (PayList, Treasury, Plan) {
        let list = list("november", 9);
        self.funded(list.total()).await;
        let treasury = self.through(&Arc::new(Unpriced)).await.batch(batch);
        let plan = treasury.plan(&list).await.unwrap();
        (list, treasury, plan)
    }

    /// Whoever is listed has their money once, but for these.
    pub(super) async fn have_all_but(&self, list: &PayList, out: &[u64]) {
        for (at, (account, amount)) in (0_u64..).zip(list.payments()) {
            let expected = if out.contains(&at) { Amount::ZERO } else { *amount };
            assert_eq!(self.held(*account).await, expected, "{at}");
        }
    }

    /// So that no reorganisation reaches what was sent.
    pub(super) fn bury(&self) {
        self.devnet.mine(self.chain.reorg_depth());
    }
}

#[tokio::test]
async fn a_hook_that_looks_at_the_price_of_gas_is_found_before_anything_is_sent() {
    let bank = Bank::open().await;
    let list = list("november", 9);
    let treasury = bank.funded(list.total()).await;
    let plan = treasury.plan(&list).await.unwrap();
    bank.hook(|copy| hooked(copy, someone(1))).await;
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    let unpaid: Vec<_> = report.unpaid.iter().map(|it| (it.account, it.refusal)).collect();
    assert_eq!((report.paid, unpaid), (8, vec![(someone(1), Refusal::Simulated)]));
    bank.have_all_but(&list, &[1]).await;
}

#[tokio::test]
async fn a_hook_that_reverts_on_chain_alone_keeps_nobody_else_from_being_paid() {
    let bank = Bank::open().await;
    let (list, treasury, plan) = bank.of_nine(3).await;
    let (token, path) = (bank.contracts.token, bank.journal("november"));
    let code = bank.hook(|copy| hooked(copy, someone(1))).await;
    // Before its key is closed for good, nobody of his batch is paid: the whole could be executed too.
    for _ in 0..2 {
        let error = treasury.run(&plan, &path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.context().any(|pair| pair == ("batch", "0")), "{error}");
        assert!(error.context().any(|pair| pair == ("blocks", "64")), "{error}");
        bank.have_all_but(&list, &[0, 1, 2]).await;
    }
    bank.bury();
    let report = treasury.run(&plan, &path).await.unwrap();
    let [Unpaid { account, refusal: Refusal::Reverted { transaction }, .. }] = report.unpaid[..]
    else {
        panic!("{report:?}");
    };
    assert_eq!((report.paid, account), (8, someone(1)));
    let receipt = bank.chain.provider().get_transaction_receipt(transaction).await.unwrap();
    assert!(!receipt.unwrap().status(), "his own reverted");
    bank.have_all_but(&list, &[1]).await;
    // That stays, also when he lets himself be paid: he is told to be on the next list.
    bank.devnet.set_code(token, code);
    let again = treasury.run(&plan, &path).await.unwrap();
    assert_eq!((again.paid, again.unpaid, again.gas), (8, report.unpaid, 0));
    bank.have_all_but(&list, &[1]).await;
}

#[tokio::test]
async fn who_gives_up_before_he_stands_alone_is_paid_with_the_others() {
    let bank = Bank::open().await;
    let (list, treasury, plan) = bank.of_nine(3).await;
    let path = bank.journal("november");
    let code = bank.hook(|copy| hooked(copy, someone(1))).await;
    treasury.run(&plan, &path).await.unwrap_err();
    bank.devnet.set_code(bank.contracts.token, code);
    // Not sooner for that.
    let early = treasury.run(&plan, &path).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Unavailable, "{early}");
    bank.bury();
    let report = treasury.run(&plan, &path).await.unwrap();
    assert_eq!((report.paid, report.unpaid.len()), (9, 0));
    bank.have_all_but(&list, &[]).await;
}

/// Parts are divided as well, and the chain alone tells of them: with each call the treasurer has a new machine.
#[tokio::test]
async fn a_divided_run_whose_journal_is_lost_is_found_on_chain() {
    let bank = Bank::open().await;
    let list = list("november", 100);
    let twice = list.total().checked_add(list.total()).unwrap();
    bank.funded(twice).await;
    bank.hook(|copy| hooked(copy, someone(40))).await;
    let mut calls = 0;
    let report = loop {
        let path = bank.journal(&format!("machine-{calls}"));
        let treasury = bank.through(&Arc::new(Unpriced)).await;
        let other = treasury.clone().batch(7);
        let plan = treasury.plan(&list).await.unwrap();
        match treasury.run(&plan, &path).await {
            Ok(report) => break report,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
        // Nor is it begun again in other batches.
        let error = other.run(&plan, bank.journal("other")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        bank.bury();
        calls += 1;
    };
    assert_eq!((calls, report.paid, report.unpaid.len()), (3, 99, 1));
    bank.have_all_but(&list, &[40]).await;
    let given = list.total().checked_sub(Amount::from(41)).unwrap();
    assert_eq!(bank.held(bank.chain.account()).await, twice.checked_sub(given).unwrap());
}

/// The whole may be executed in another block after all, until its key is closed for good.
#[tokio::test]
async fn a_reorganisation_that_takes_back_the_closing_has_nobody_paid_twice() {
    let bank = Bank::open().await;
    let (list, treasury, plan) = bank.of_nine(9).await;
    let path = bank.journal("november");
    let before = bank.devnet.block_number();
    let code = bank.hook(|copy| hooked(copy, someone(1))).await;
    treasury.run(&plan, &path).await.unwrap_err();
    bank.devnet.mine(bank.chain.reorg_depth() - 1);
    let early = treasury.run(&plan, &path).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Unavailable, "{early}");
    let provider = bank.chain.provider();
    let mut sent = Vec::new();
    for number in before + 1..=bank.devnet.block_number() {
        let block = provider.get_block_by_number(number.into()).full().await.unwrap().unwrap();
        sent.extend(block.transactions.into_transactions().filter(|tx| !tx.input().is_empty()));
    }
    let whole = sent.first().unwrap().inner.encoded_2718();
    // He becomes friendly, and somebody who has the bytes of the whole brings them into another block.
    bank.devnet.reorg(bank.devnet.block_number() - before).unwrap();
    bank.devnet.set_code(bank.contracts.token, code);
    let _ = provider.send_raw_transaction(&whole).await.unwrap();
    let report = treasury.run(&plan, &path).await.unwrap();
    assert_eq!((report.paid, report.unpaid.len()), (9, 0));
    bank.bury();
    assert_eq!(treasury.run(&plan, &path).await.unwrap().gas, 0);
    bank.have_all_but(&list, &[]).await;
}

/// As [`Unpriced`]; tells when it was asked so often.
pub(super) struct Counting {
    left: AtomicU64,
    pub(super) over: Notify,
}

impl Counting {
    pub(super) fn new(questions: u64) -> Arc<Self> {
        Arc::new(Self { left: questions.into(), over: Notify::new() })
    }
}

impl Tricks for Counting {
    fn question(&self, method: &str, params: &mut Value) {
        Unpriced.question(method, params);
        if self.left.fetch_sub(1, SeqCst) == 1 {
            self.over.notify_one();
        }
    }
}

#[tokio::test]
async fn a_divided_run_that_ends_at_any_question_pays_everybody_once() {
    let bank = Bank::open().await;
    let list = list("november", 4);
    let twice = list.total().checked_add(list.total()).unwrap();
    let plan = bank.funded(twice).await.plan(&list).await.unwrap();
    bank.hook(|copy| hooked(copy, someone(2))).await;
    let mut killed = 0;
    let report = loop {
        let tricks = Counting::new(12 + 11 * killed);
        let chain = Chain::from_provider(provider(&bank.devnet, &tricks), bank.devnet.account(0));
        let chain = chain.store(bank.journal("transactions"));
        let run = async {
            let treasury = Treasury::new(chain.connect().await?, bank.contracts.token);
            treasury.transfers(bank.disperse).run(&plan, bank.journal("november")).await
        };
        tokio::select! {
            biased;
            () = tricks.over.notified() => {}
            ended = run => match ended {
                Ok(report) => break report,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            },
        }
        killed += 1;
        bank.bury();
    };
    assert!(killed > 5, "{killed}");
    assert_eq!((report.paid, report.unpaid.len()), (3, 1));
    bank.have_all_but(&list, &[2]).await;
    let given = list.total().checked_sub(Amount::from(3)).unwrap();
    assert_eq!(bank.held(bank.chain.account()).await, twice.checked_sub(given).unwrap());
}
