//! Runs whose folder is gone, with journal and store: the chain tells what was paid.

use depin_core::{
    Address, Amount, B256, EpochId, ErrorKind,
    reward::{RewardDistributor as _, TokenLedger as _},
};
use depin_evm::{Chain, bindings::Disperse};
use depin_payment::{
    Cumulative,
    evm::{EvmDistributor, PayList, Treasury, Way},
};

use super::{Bank, list, someone};

impl Bank {
    /// The treasurer on a new machine, with nothing but the key.
    async fn anew(&self) -> Chain {
        let signer = self.devnet.account(0);
        Chain::from_provider(self.devnet.provider(), signer).connect().await.unwrap()
    }

    fn distributor(&self, chain: &Chain) -> EvmDistributor {
        EvmDistributor::new(chain.clone(), self.contracts.distributor)
    }

    /// Both ways open.
    fn both(&self, chain: &Chain, balances: Cumulative) -> Treasury {
        Treasury::new(chain.clone(), self.contracts.token)
            .transfers(self.disperse)
            .claims(self.distributor(chain), balances)
    }

    /// Pays a batch of the run `november` as a treasury does.
    async fn paid_november(&self, index: u64, batch: &[(Address, Amount)]) {
        let token = self.contracts.token;
        let parts: [&[u8]; 4] =
            [b"depin treasury batch 1:", token.as_slice(), b"november", &index.to_be_bytes()];
        let contract = Disperse::new(self.disperse, self.chain.provider());
        let (to, amounts) = batch.iter().map(|(to, amount)| (*to, amount.to_units())).unzip();
        let call = contract.disperse(depin_core::keccak256(parts.concat()), token, to, amounts);
        self.chain.send(call.into_transaction_request()).await.unwrap();
    }

    async fn supply(&self) -> Amount {
        self.token.supply().await.unwrap()
    }
}

#[tokio::test]
async fn a_treasurer_who_lost_everything_finds_the_same_disperse() {
    let bank = Bank::open().await;
    let list = list("november", 5);
    // Twice as much as needed, so that nothing but the keys of batches stops a second payment.
    let twice = list.total().checked_add(list.total()).unwrap();
    let treasury = bank.funded(twice).await;
    let plan = treasury.plan(&list).await.unwrap();
    treasury.run(&plan, bank.journal("november")).await.unwrap();

    let chain = bank.anew().await;
    let blocks = bank.devnet.block_number();
    let disperse = Treasury::deploy_disperse(&chain).await.unwrap();
    assert_eq!((disperse, bank.devnet.block_number()), (bank.disperse, blocks));
    let treasury = Treasury::new(chain, bank.contracts.token).transfers(disperse);
    treasury.allow(twice).await.unwrap();
    let plan = treasury.plan(&list).await.unwrap();
    let report = treasury.run(&plan, bank.journal("lost")).await.unwrap();
    assert_eq!((report.paid, report.gas), (5, 0));
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
}

#[tokio::test]
async fn a_list_that_was_paid_by_transfers_is_not_published_when_its_journal_is_lost() {
    let bank = Bank::open().await;
    let list = list("november", 10);
    let treasury = bank.funded(list.total()).await.batch(4);
    let plan = treasury.plan(&list).await.unwrap();
    treasury.run(&plan, bank.journal("november")).await.unwrap();
    let (supply, chain) = (bank.supply().await, bank.anew().await);

    // Neither by choice, nor because claims are the only way that is open now.
    let claims_only = Treasury::new(chain.clone(), bank.contracts.token)
        .claims(bank.distributor(&chain), Cumulative::default());
    let both = bank.both(&chain, Cumulative::default());
    for (name, treasury) in [("chosen", both.batch(4)), ("only", claims_only.batch(4))] {
        let plan = treasury.plan(&list).await.unwrap().by(Way::Claims);
        let report = treasury.run(&plan, bank.journal(name)).await.unwrap();
        assert_eq!((report.way, report.paid, report.gas), (Way::Transfers, 10, 0), "{name}");
    }
    assert_eq!(bank.supply().await, supply);
}

#[tokio::test]
async fn a_list_that_was_published_is_not_paid_by_transfers_when_its_journal_is_lost() {
    let bank = Bank::open().await;
    let list = list("november", 10);
    bank.funded(list.total()).await;
    let treasury = bank.both(&bank.chain, Cumulative::default());
    let plan = treasury.plan(&list).await.unwrap().by(Way::Claims);
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    let (supply, chain) = (bank.supply().await, bank.anew().await);

    // With the balances of before the run, and with those of after it.
    for (name, balances) in [("old", Cumulative::default()), ("new", report.balances.unwrap())] {
        let treasury = bank.both(&chain, balances.clone());
        for way in [Way::Transfers, Way::Claims] {
            let plan = treasury.plan(&list).await.unwrap().by(way);
            let journal = bank.journal(&format!("{name}-{way}"));
            let report = treasury.run(&plan, journal).await.unwrap();
            assert_eq!((report.way, report.paid, report.gas), (Way::Claims, 10, 0), "{name} {way}");
        }
    }
    assert_eq!(bank.supply().await, supply);
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
}

#[tokio::test]
async fn a_run_that_was_cut_off_goes_on_without_its_journal_by_the_batches_that_it_had() {
    let bank = Bank::open().await;
    let list = list("november", 10);
    bank.funded(list.total()).await;
    // The first batch of three was paid when the folder was lost.
    bank.paid_november(0, &list.payments()[..3]).await;

    let treasury = bank.both(&bank.anew().await, Cumulative::default());
    let plan = treasury.plan(&list).await.unwrap().by(Way::Claims);
    let error = treasury.run(&plan, bank.journal("lost")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.context().any(|pair| pair == ("recipients", "3")), "it says the size: {error}");
    let report = treasury.batch(3).run(&plan, bank.journal("lost")).await.unwrap();
    assert_eq!((report.way, report.paid, report.transactions.len()), (Way::Transfers, 10, 3));
    for (account, amount) in list.payments() {
        assert_eq!(bank.held(*account).await, *amount);
    }
}

#[tokio::test]
async fn a_lost_run_whose_first_batch_paid_nobody_is_not_paid_again() {
    let bank = Bank::open().await;
    let list = list("november", 10);
    bank.funded(list.total()).await;
    // Batches of one; nobody of the first could receive.
    bank.paid_november(1, &list.payments()[1..2]).await;
    let treasury = bank.both(&bank.anew().await, Cumulative::default());
    let plan = treasury.plan(&list).await.unwrap();
    for way in [Way::Claims, Way::Transfers] {
        let run = treasury.run(&plan.clone().by(way), bank.journal("lost")).await;
        assert_eq!(run.unwrap_err().kind(), ErrorKind::Conflict, "{way}");
    }
    assert!(!bank.journal("lost").exists());
    assert!(bank.held(list.payments()[0].0).await.is_zero());
}

#[tokio::test]
async fn a_run_that_the_chain_has_both_ways_is_not_gone_on_with() {
    let bank = Bank::open().await;
    let list = list("november", 3);
    let treasury = bank.funded(list.total()).await;
    let plan = treasury.plan(&list).await.unwrap();
    treasury.run(&plan, bank.journal("november")).await.unwrap();
    let balances = Cumulative::from_rows(EpochId::new(0), [(someone(0), Amount::from(1))]).unwrap();
    let tree = balances.tree().unwrap();
    let commitment = balances.commitment(&tree, list.digest()).unwrap();
    bank.distributor(&bank.chain).publish(&commitment).await.unwrap();
    let treasury = bank.both(&bank.chain, Cumulative::default());
    let error = treasury.run(&plan, bank.journal("lost")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(!bank.journal("lost").exists());
}

#[tokio::test]
async fn what_others_published_is_not_taken_for_the_run() {
    let bank = Bank::open().await;
    let balances = Cumulative::from_rows(EpochId::new(0), [(someone(0), Amount::from(1))]).unwrap();
    let tree = balances.tree().unwrap();
    let commitment = balances.commitment(&tree, B256::ZERO).unwrap();
    bank.distributor(&bank.chain).publish(&commitment).await.unwrap();
    let list: PayList = list("november", 3);
    let treasury = bank.both(&bank.chain, balances);
    let plan = treasury.plan(&list).await.unwrap().by(Way::Claims);
    let report = treasury.run(&plan, bank.journal("november")).await.unwrap();
    assert_eq!((report.paid, report.balances.unwrap().latest()), (3, Some(EpochId::new(1))));
}
