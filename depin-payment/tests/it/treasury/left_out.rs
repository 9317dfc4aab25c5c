//! Batches of which nobody is paid: their key is used up all the same, so that the chain tells it without the journal.

use std::sync::Arc;

use depin_core::{Address, Amount, ErrorKind, Result};
use depin_evm::{
    Chain,
    alloy::{
        primitives::{Bytes, hex},
        providers::Provider,
        rpc::json_rpc::ErrorPayload,
        sol_types::SolCall,
        transports::{RpcError, TransportError},
    },
    bindings::Disperse,
};
use depin_payment::{
    Cumulative,
    evm::{PayList, Plan, Refusal, RunReport, Treasury, Way},
};
use serde_json::Value;

use super::{
    Bank,
    hooks::{Counting, Unpriced, closed_to, hooked, never_nothing},
    list, someone,
};
use crate::node::{Tricks, provider};

impl Bank {
    /// A treasury with twice of what a list pays, so that nothing but the chain stops a second payment.
    async fn rich(&self, list: &PayList) -> Treasury {
        let twice = list.total().checked_add(list.total()).unwrap();
        self.funded(twice).await
    }

    /// These have nothing, though the token pays them now, and the others theirs once; with a new machine as well,
    /// which was left with nothing but the list.
    async fn stays(&self, (list, batch): (&PayList, usize), out: &[u64], own: Bytes) {
        self.devnet.set_code(self.contracts.token, own);
        for way in [Way::Transfers, Way::Claims] {
            let treasury = self.both(&self.anew().await, Cumulative::default()).batch(batch);
            let plan = treasury.plan(list).await.unwrap().by(way);
            let path = self.journal(&format!("lost-{way}"));
            for _ in 0..2 {
                let report = treasury.run(&plan, &path).await.unwrap();
                assert_eq!((report.way, report.gas), (Way::Transfers, 0));
                assert_eq!(report.paid, list.payments().len() - out.len());
                let unpaid: Vec<_> = report.unpaid.iter().map(|it| it.account).collect();
                assert_eq!(unpaid, out.iter().map(|it| someone(*it)).collect::<Vec<_>>());
                for unpaid in &report.unpaid {
                    assert_eq!(unpaid.refusal, Refusal::Earlier);
                    assert!(unpaid.to_string().contains("another list"), "{unpaid}");
                }
            }
        }
        self.have_all_but(list, out).await;
    }

    /// A run on a new machine, which dies at so many questions. Nothing where it did.
    async fn life(&self, plan: &Plan, questions: u64) -> Option<Result<RunReport>> {
        let tricks = Counting::new(questions);
        let chain = Chain::from_provider(provider(&self.devnet, &tricks), self.devnet.account(0));
        let run = async {
            let treasury = Treasury::new(chain.connect().await?, self.contracts.token);
            let treasury = treasury.transfers(self.disperse).batch(2);
            treasury.run(plan, self.journal(&format!("life-{questions}"))).await
        };
        tokio::select! {
            biased;
            () = tricks.over.notified() => None,
            ended = run => Some(ended),
        }
    }

    async fn batches(&self) -> usize {
        let contract = Disperse::new(self.disperse, self.chain.provider());
        contract.Dispersed_filter().from_block(0).query().await.unwrap().len()
    }
}

#[tokio::test]
async fn who_was_refused_alone_is_not_paid_by_a_run_whose_journal_is_lost() {
    let bank = Bank::open().await;
    let list = list("november", 3);
    let treasury = bank.rich(&list).await.batch(1);
    let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
    let own = bank.hook(|copy| closed_to(copy, someone(1))).await;
    let report = treasury.run(&plan, &path).await.unwrap();
    let unpaid: Vec<_> = report.unpaid.iter().map(|it| (it.account, it.refusal)).collect();
    assert_eq!((report.paid, unpaid), (2, vec![(someone(1), Refusal::Simulated)]));
    assert_eq!((bank.batches().await, report.transactions.len()), (3, 2));
    let mut mark = report.gas;
    for paid in &report.transactions {
        let receipt = bank.chain.provider().get_transaction_receipt(*paid).await.unwrap();
        mark -= receipt.unwrap().gas_used;
    }
    assert!(mark <= 72_000, "{mark}");
    assert_eq!(treasury.run(&plan, &path).await.unwrap().gas, 0);
    bank.stays((&list, 1), &[1], own).await;
}

#[tokio::test]
async fn a_batch_of_which_nobody_could_be_paid_is_not_paid_when_its_journal_is_lost() {
    let bank = Bank::open().await;
    let list = list("november", 5);
    let treasury = bank.rich(&list).await.batch(2);
    let plan = treasury.plan(&list).await.unwrap();
    let (second, third) =
        (|to: Address| closed_to(to, someone(2)), |to: Address| closed_to(to, someone(3)));
    let own = bank.hook_both(second, third).await;
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!((report.paid, report.unpaid.len()), (3, 2));
    bank.stays((&list, 2), &[2, 3], own).await;
}

#[tokio::test]
async fn who_reverts_on_chain_alone_is_not_paid_by_a_run_whose_journal_is_lost() {
    for batch in [1, 3] {
        let bank = Bank::open().await;
        let list = list("november", 9);
        bank.rich(&list).await;
        let treasury = bank.through(&Arc::new(Unpriced)).await.batch(batch);
        let plan = treasury.plan(&list).await.unwrap();
        let path = bank.journal("november");
        let own = bank.hook(|copy| hooked(copy, someone(1))).await;
        if batch > 1 {
            treasury.run(&plan, &path).await.unwrap_err();
            bank.bury();
        }
        let report = treasury.run(&plan, &path).await.unwrap();
        let [unpaid] = &report.unpaid[..] else { panic!("{report:?}") };
        assert!(matches!(unpaid.refusal, Refusal::Reverted { .. }), "{unpaid}");
        assert_eq!((report.paid, unpaid.account), (8, someone(1)));
        bank.stays((&list, batch), &[1], own).await;
    }
}

/// Then a unit goes from the treasury to itself.
#[tokio::test]
async fn a_token_that_does_not_move_nothing_tells_who_was_left_out_too() {
    let bank = Bank::open().await;
    let list = list("november", 3);
    let treasury = bank.rich(&list).await.batch(1);
    let plan = treasury.plan(&list).await.unwrap();
    let own = bank.hook_both(never_nothing, |copy| closed_to(copy, someone(1))).await;
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!((report.paid, report.unpaid.len(), bank.batches().await), (2, 1, 3));
    let given = Amount::from(1 + 3);
    let left = list.total().checked_add(list.total()).unwrap().checked_sub(given).unwrap();
    assert_eq!(bank.held(bank.chain.account()).await, left);
    bank.stays((&list, 1), &[1], own).await;
}

/// Lets no transaction be made that would use up a key without paying.
struct Unmarked;

impl Tricks for Unmarked {
    fn refusal(&self, method: &str, params: &Value) -> Option<TransportError> {
        let call = &params[0];
        let data = call["input"].as_str().or_else(|| call["data"].as_str())?;
        let data = Bytes::from(hex::decode(data).ok()?);
        let is_disperse = data.starts_with(&Disperse::disperseCall::SELECTOR);
        let asked = method == "eth_estimateGas" && call.get("maxFeePerGas").is_some();
        if !is_disperse || !asked {
            return None;
        }
        let call = Disperse::disperseCall::abi_decode(&data).unwrap();
        let pays = call.amounts.iter().any(|amount| *amount > depin_core::U256::from(1));
        let (code, message) = (3, "execution reverted".into());
        (!pays).then(|| RpcError::ErrorResp(ErrorPayload { code, message, data: None }))
    }
}

#[tokio::test]
async fn nobody_is_told_to_be_left_out_before_the_chain_tells_it() {
    let bank = Bank::open().await;
    let payments = (0..3).map(|i| (someone(i), Amount::from(i + 2)));
    let list = PayList::new("november", payments).unwrap();
    bank.rich(&list).await;
    let treasury = bank.through(&Arc::new(Unmarked)).await.batch(1);
    let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
    let own = bank.hook(|copy| closed_to(copy, someone(1))).await;
    for _ in 0..2 {
        let error = treasury.run(&plan, &path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
        assert!(error.to_string().contains("keep the journal"), "{error}");
        assert!(error.context().any(|pair| pair == ("batch", "1")), "{error}");
        assert_eq!(bank.batches().await, 2, "the others are paid");
    }
    let report = bank.treasury().run(&plan, &path).await.unwrap();
    assert_eq!((report.paid, report.unpaid.len()), (2, 1));
    bank.stays((&list, 1), &[1], own).await;
}

#[tokio::test]
async fn a_reorganisation_that_takes_back_the_mark_of_who_was_left_out_pays_him_nothing() {
    let bank = Bank::open().await;
    let list = list("november", 3);
    let treasury = bank.rich(&list).await.batch(1);
    let (plan, path) = (treasury.plan(&list).await.unwrap(), bank.journal("november"));
    let before = bank.devnet.block_number();
    let own = bank.hook(|copy| closed_to(copy, someone(1))).await;
    let report = treasury.run(&plan, &path).await.unwrap();
    bank.devnet.reorg(bank.devnet.block_number() - before).unwrap();
    assert_eq!(bank.batches().await, 0);
    bank.devnet.set_code(bank.contracts.token, own.clone());
    let again = treasury.run(&plan, &path).await.unwrap();
    assert_eq!((again.paid, again.unpaid), (2, report.unpaid));
    bank.stays((&list, 1), &[1], own).await;
}

#[tokio::test]
async fn whoever_was_told_to_be_left_out_stays_so_wherever_a_run_without_journal_ends() {
    let list = list("november", 3);
    let mut lives = 0;
    loop {
        let bank = Bank::open().await;
        let plan = bank.rich(&list).await.plan(&list).await.unwrap();
        let own = bank.hook(|copy| closed_to(copy, someone(2))).await;
        let cut = bank.life(&plan, 5 + 9 * lives).await;
        let is_whole = cut.is_some();
        let told = match cut {
            Some(told) => told,
            None => bank.life(&plan, u64::MAX).await.unwrap(),
        };
        let told = told.unwrap();
        assert_eq!((told.paid, told.unpaid.len()), (2, 1), "{lives}");
        bank.stays((&list, 2), &[2], own).await;
        if is_whole {
            break;
        }
        lives += 1;
    }
    assert!(lives > 5, "{lives}");
}
