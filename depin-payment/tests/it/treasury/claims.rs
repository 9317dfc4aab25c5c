//! Runs by claims, one after the other.

use depin_core::{
    Address, Amount, EpochId, ErrorKind, U256,
    reward::{RewardDistributor as _, TokenLedger as _},
};
use depin_payment::{
    Cumulative,
    evm::{EvmDistributor, RunReport, Treasury},
};

use super::{Bank, list};

impl Bank {
    fn by_claims(&self, balances: &Cumulative) -> Treasury {
        let distributor = EvmDistributor::new(self.chain.clone(), self.contracts.distributor);
        Treasury::new(self.chain.clone(), self.contracts.token)
            .claims(distributor, balances.clone())
    }
}

async fn run(bank: &Bank, treasury: Treasury, id: &str) -> RunReport {
    let list = list(id, 20);
    let plan = treasury.plan(&list).await.unwrap();
    treasury.run(&plan, bank.journal(id)).await.unwrap()
}

#[tokio::test]
async fn a_run_is_reported_and_finished_when_a_later_epoch_serves_claims() {
    let bank = Bank::open().await;
    let none = Cumulative::default();
    let seldom = |balances: &Cumulative| bank.by_claims(balances).claim_every(2);
    let november = run(&bank, seldom(&none), "november").await;
    assert_eq!((november.paid, november.to_claim), (0, 20));
    let november = november.balances.unwrap();
    let december = run(&bank, seldom(&november), "december").await.balances.unwrap();

    // Neither the tree from before November nor November's own serve claims now.
    for old in [&none, &november] {
        let blocks = bank.devnet.block_number();
        let report = run(&bank, bank.by_claims(old), "november").await;
        assert_eq!((report.paid, report.to_claim, report.gas), (0, 20, 0));
        assert_eq!(bank.devnet.block_number(), blocks);
    }
    let report = run(&bank, bank.by_claims(&december), "november").await;
    assert_eq!((report.paid, report.to_claim), (20, 0));
    assert!(report.gas > 0);
    for balances in [&none, &november, &december] {
        let report = run(&bank, bank.by_claims(balances), "november").await;
        assert_eq!((report.paid, report.to_claim, report.gas), (20, 0, 0));
        assert_eq!(report.amount, list("november", 20).total());
    }
    for (account, amount) in december.iter() {
        assert_eq!(bank.held(account).await, amount);
    }
}

#[tokio::test]
async fn balances_that_the_distributor_does_not_have_are_refused_before_anything_is_published() {
    let bank = Bank::open().await;
    let november = run(&bank, bank.by_claims(&Cumulative::default()), "november").await;
    let november = november.balances.unwrap();
    let latest = november.latest().unwrap();
    let one = Amount::from(1);
    let raised =
        november.iter().map(|(account, amount)| (account, amount.checked_add(one).unwrap()));
    let raised = Cumulative::from_rows(latest, raised).unwrap();
    let stranger = Cumulative::from_rows(latest, [(Address::repeat_byte(9), one)]).unwrap();
    let ahead = Cumulative::from_rows(EpochId::new(5), november.iter()).unwrap();
    let distributor = EvmDistributor::new(bank.chain.clone(), bank.contracts.distributor);
    for (name, wrong) in [("raised", &raised), ("stranger", &stranger), ("ahead", &ahead)] {
        let treasury = bank.by_claims(wrong);
        for id in ["november", "december"] {
            let plan = treasury.plan(&list(id, 20)).await.unwrap();
            let error = treasury.run(&plan, bank.journal(&format!("{id}-{name}"))).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict, "{name} {id}");
        }
    }
    // Nor are those from before the last run, and no journal is made that would keep to them.
    let plan = bank.by_claims(&november).plan(&list("december", 20)).await.unwrap();
    let stale = bank.by_claims(&Cumulative::default()).run(&plan, bank.journal("december")).await;
    assert_eq!(stale.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(!bank.journal("december").exists());
    assert_eq!(distributor.latest().await.unwrap(), Some(latest));
    // What was saved is what the next run begins with.
    let path = bank.journal("balances");
    november.save(&path).unwrap();
    let loaded = Cumulative::load(&path).unwrap().unwrap();
    let report = run(&bank, bank.by_claims(&loaded), "december").await;
    assert_eq!((report.paid, report.to_claim), (20, 0));
}

#[tokio::test]
async fn balances_saved_before_an_epoch_that_was_rejected_are_gone_on_with() {
    let bank = Bank::disputable().await;
    let (file, kept) = (bank.journal("balances"), bank.journal("balances.before"));
    let load = |path: &std::path::Path| Cumulative::load(path).unwrap().unwrap_or_default();
    let october = run(&bank, bank.by_claims(&load(&file)), "october").await;
    october.balances.unwrap().save(&file).unwrap();
    bank.pass();
    let october = run(&bank, bank.by_claims(&load(&file)), "october").await;
    assert_eq!((october.paid, october.to_claim), (20, 0));

    // November is published and rejected, after its balances were saved.
    std::fs::copy(&file, &kept).unwrap();
    let november = run(&bank, bank.by_claims(&load(&file)), "november").await;
    assert_eq!((november.paid, november.to_claim), (0, 20));
    november.balances.unwrap().save(&file).unwrap();
    bank.reject().await;
    let refused = [("november", ErrorKind::Rejected), ("december", ErrorKind::Conflict)];
    for (id, kind) in refused {
        let treasury = bank.by_claims(&load(&file));
        let plan = treasury.plan(&list(id, 20)).await.unwrap();
        let error = treasury.run(&plan, bank.journal(id)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{id}: the balances have what was rejected: {error}");
    }
    // Nor is the same content published again.
    let treasury = bank.by_claims(&load(&kept));
    let plan = treasury.plan(&list("november", 20)).await.unwrap();
    let error = treasury.run(&plan, bank.journal("november")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");

    // It is corrected on top of what was kept, and the next one begins with that.
    for id in ["november-2", "december"] {
        let report = run(&bank, bank.by_claims(&load(&kept)), id).await;
        let after = report.balances.unwrap();
        bank.pass();
        let report = run(&bank, bank.by_claims(&after), id).await;
        assert_eq!((report.paid, report.to_claim), (20, 0), "{id}");
        after.save(&kept).unwrap();
    }
    let thrice = load(&kept);
    for (account, amount) in list("november", 20).payments() {
        assert_eq!(thrice.of(*account).to_units(), amount.to_units() * U256::from(3));
        assert_eq!(bank.held(*account).await, thrice.of(*account));
    }
    assert_eq!(bank.token.supply().await.unwrap(), thrice.total());
}
