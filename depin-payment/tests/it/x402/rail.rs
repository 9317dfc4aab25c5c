//! The suite that every rail passes.

use std::sync::Arc;

use depin_core::{
    Address, Amount, B256, ChainId, Clock, ErrorKind, SystemClock,
    payment::{Charge, Payer, Payment, PaymentRail, Settlement},
};
use depin_payment::x402::{ExactPayer, ExactRail, ExactTerms, Till, TillOptions};
use depin_testkit::rails::{self, RailSetup, with_high_s};
use serde_json::{Value, json};

use super::{
    PAYEE, Town, payer, payers, settle,
    till::{mint, move_all},
};

struct Counter {
    town: Town,
    folder: tempfile::TempDir,
    terms: ExactTerms,
    payer: Option<ExactPayer>,
    strangers: Vec<Arc<dyn Payer>>,
}

impl Counter {
    async fn open() -> Self {
        let town = Town::start().await;
        let terms = town.till().await.terms(Amount::ZERO);
        let (_, other) = settle(town.devnet.provider(), town.devnet.account(4), &payers()).await;
        let clock = || -> Arc<dyn Clock> { Arc::new(SystemClock) };
        let (mut token, mut chain) = (terms.clone(), terms.clone());
        token.asset = other;
        chain.chain = ChainId::new(4_689);
        let elsewhere = [token, chain];
        let strangers = elsewhere.map(|terms| -> Arc<dyn Payer> {
            Arc::new(ExactPayer::in_memory(terms, payer(), clock(), 1_000.into()).unwrap())
        });
        let folder = tempfile::tempdir().unwrap();
        let mut counter = Self { town, folder, terms, payer: None, strangers: strangers.into() };
        counter.restart_payer();
        counter
    }
}

impl RailSetup for Counter {
    fn payee(&self) -> Address {
        PAYEE
    }

    fn payer(&self) -> &dyn Payer {
        self.payer.as_ref().unwrap()
    }

    fn strangers(&self) -> Vec<Arc<dyn Payer>> {
        self.strangers.clone()
    }

    fn spendthrift(&self) -> Arc<dyn Payer> {
        let (terms, clock) = (self.terms.clone(), Arc::new(SystemClock));
        Arc::new(ExactPayer::in_memory(terms, payer(), clock, Amount::MAX).unwrap())
    }

    fn rail(&self) -> Arc<dyn PaymentRail> {
        let store = self.folder.path().join("till.redb");
        let options = TillOptions::kept_in(store).pay_to(PAYEE);
        let (chain, clock) = (self.town.chain.clone(), Arc::new(SystemClock));
        let opening = Till::open(chain, self.town.token, clock, options);
        let here = tokio::runtime::Handle::current();
        let till = tokio::task::block_in_place(|| here.block_on(opening)).unwrap();
        Arc::new(ExactRail::new(till).unwrap())
    }

    fn restart_payer(&mut self) {
        self.payer = None;
        let (path, clock) = (self.folder.path().join("payer.redb"), Arc::new(SystemClock));
        let limit = Self::FUNDS.into();
        self.payer =
            Some(ExactPayer::open(&path, self.terms.clone(), payer(), clock, limit).unwrap());
    }

    fn malleated(&self, payment: &Payment) -> Vec<Payment> {
        let mut proof: Value = serde_json::from_slice(&payment.proof).unwrap();
        let signature = proof["signature"].as_str().unwrap().to_owned();
        let signature = depin_evm::alloy::primitives::hex::decode_to_array(signature).unwrap();
        let high = depin_evm::alloy::primitives::hex::encode_prefixed(with_high_s(&signature));
        proof["signature"] = json!(high);
        vec![Payment { payer: payment.payer, proof: proof.to_string().into_bytes().into() }]
    }

    async fn held(&self) -> Amount {
        self.town.balance(PAYEE).await.into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_payments_conform() {
    rails::conforms(Counter::open().await).await;
}

#[tokio::test]
async fn payees_may_choose_the_same_charge() {
    let town = Town::start().await;
    let clock = || Arc::new(SystemClock);
    let folder = tempfile::tempdir().unwrap();
    for payee in [PAYEE, Address::repeat_byte(0x6e)] {
        let options = TillOptions::kept_in(folder.path().join(payee.to_string())).pay_to(payee);
        let till = Till::open(town.chain.clone(), town.token, clock(), options).await.unwrap();
        let terms = till.terms(Amount::ZERO);
        let payer = ExactPayer::in_memory(terms, payer(), clock(), 100.into()).unwrap();
        let charge = Charge { id: B256::repeat_byte(1), payee, amount: 10.into() };
        let (rail, payment) = (ExactRail::new(till).unwrap(), payer.pay(&charge).await.unwrap());
        rail.accept(&charge, &payment).await.unwrap();
        assert!(matches!(rail.settle().await.unwrap(), Settlement::Settled { .. }));
        assert_eq!(town.balance(payee).await, 10);
    }
}

#[tokio::test]
async fn money_that_is_gone_for_now_stays_due() {
    let town = Town::start().await;
    let forgetful = ExactRail::new(town.till().await).unwrap_err();
    assert_eq!(forgetful.kind(), ErrorKind::Config, "{forgetful}");
    let folder = tempfile::tempdir().unwrap();
    let options = TillOptions::kept_in(folder.path().join("till.redb")).pay_to(PAYEE);
    let till = town.till_with(options).await;
    let payer =
        ExactPayer::in_memory(till.terms(Amount::ZERO), payer(), Arc::new(SystemClock), 100.into());
    let charge = Charge { id: B256::repeat_byte(1), payee: PAYEE, amount: 10.into() };
    let payment = payer.unwrap().pay(&charge).await.unwrap();
    let rail = ExactRail::new(till).unwrap();
    rail.accept(&charge, &payment).await.unwrap();
    move_all(&town, payment.payer, Address::repeat_byte(0xaa)).await;
    for _ in 0..2 {
        assert_eq!(rail.settle().await.unwrap(), Settlement::Pending { amount: 10.into() });
    }
    mint(&town, payment.payer, 10).await;
    assert!(matches!(rail.settle().await.unwrap(), Settlement::Settled { .. }));
    assert_eq!(town.balance(PAYEE).await, 10);
}
