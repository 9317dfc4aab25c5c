//! Streams and escrow rails: money that flows by time.

use std::sync::Arc;

use depin_core::{
    Address, Algorithm, Amount, ChainId, ErrorKind, SoftwareKey, U256,
    payment::{Charge, Payer, Payment, PaymentRail, Settlement},
};
use depin_evm::{Chain, bindings};
use depin_payment::{
    evm::{EscrowRail, EvmEscrow, EvmStream, RailTerms, StreamRail},
    rail::{RailStore, SpendPayer},
    spend::{escrow_domain, stream_domain},
    typed::Domain,
};
use depin_testkit::rails::{self, RailSetup, charge};

use super::{World, high_s};

/// A stream or an escrow rail out of which 1,000 units have flowed.
pub(super) struct Flowing {
    pub(super) world: World,
    contract: Address,
    /// The number of the escrow rail; a stream has none.
    rail: Option<u64>,
    wallet: Option<SpendPayer>,
    strangers: Vec<Arc<dyn Payer>>,
}

impl Flowing {
    pub(super) async fn stream() -> Self {
        let world = World::new().await;
        let contract = EvmStream::deploy(world.admin.clone()).await.unwrap().address();
        let flowing = Self { world, contract, rail: None, wallet: None, strangers: Vec::new() };
        let stream = flowing.stream_of(&flowing.world.payer);
        let (token, payee) = (flowing.world.token, flowing.world.payee.account());
        for _ in 0..2 {
            stream.deposit("purse", token, 1_000.into()).await.unwrap();
            stream.start("service", payee, token, 10).await.unwrap();
        }
        flowing.ready()
    }

    pub(super) async fn escrow() -> Self {
        let world = World::new().await;
        let contract = EvmEscrow::deploy(world.admin.clone()).await.unwrap().address();
        let mut flowing = Self { world, contract, rail: None, wallet: None, strangers: Vec::new() };
        let payers = flowing.escrow_of(&flowing.world.payer);
        let (token, payee) = (flowing.world.token, flowing.world.payee.account());
        payers.deposit("account", token, 1_200.into()).await.unwrap();
        payers.allow_operator("service", token, payee, 10, 1_000, 20).await.unwrap();
        let terms = RailTerms {
            payer: flowing.world.payer.account(),
            payee,
            token,
            validator: Address::ZERO,
            rate: 10,
            lockup_period: 20,
            lockup_fixed: 0,
        };
        let payees = flowing.escrow_of(&flowing.world.payee);
        let rail = payees.open_rail("service", &terms).await.unwrap();
        assert_eq!(payees.open_rail("service", &terms).await.unwrap(), rail, "opened once");
        flowing.rail = Some(rail);
        flowing.ready()
    }

    /// Lets the purse run dry.
    fn ready(mut self) -> Self {
        self.world.devnet.increase_time(1_000).unwrap();
        self.world.devnet.mine(1);
        self.restart_payer();
        self
    }

    fn stream_of(&self, chain: &Chain) -> EvmStream {
        EvmStream::new(chain.clone(), self.contract)
    }

    fn escrow_of(&self, chain: &Chain) -> EvmEscrow {
        EvmEscrow::new(chain.clone(), self.contract)
    }

    fn domain(&self) -> Domain {
        self.domain_at(self.world.payer.id(), self.contract)
    }

    fn domain_at(&self, chain: ChainId, contract: Address) -> Domain {
        match self.rail {
            Some(_) => escrow_domain(chain, contract),
            None => stream_domain(chain, contract),
        }
    }

    fn wallet(&self, file: &str, domain: Domain, token: Address, limit: Amount) -> SpendPayer {
        let (path, key) = (self.world.folder.path().join(file), self.world.key());
        let payee = self.world.payee.account();
        match self.rail {
            Some(rail) => SpendPayer::escrow(&path, domain, rail, payee, token, key, limit),
            None => SpendPayer::stream(&path, domain, payee, token, key, limit),
        }
        .unwrap()
    }

    pub(super) fn rail_in(&self, store: RailStore) -> Arc<dyn PaymentRail> {
        let (payee, token) = (self.payee(), self.world.token);
        match self.rail {
            Some(_) => {
                let escrow = self.escrow_of(&self.world.payee);
                Arc::new(EscrowRail::new(escrow, payee, token, Address::ZERO, 0, store).unwrap())
            }
            None => {
                let stream = self.stream_of(&self.world.payee);
                Arc::new(StreamRail::new(stream, payee, token, 0, store).unwrap())
            }
        }
    }

    /// A payer without memory, who was told of this number of spends.
    pub(super) fn told(&self, number: u64) -> SpendPayer {
        let file = format!("told-{number}");
        self.wallet(&file, self.domain(), self.world.token, 100.into()).already_spent(number)
    }

    async fn conform(mut self) {
        let (here, token) = (self.domain(), self.world.token);
        let cases = [
            (here, self.world.another_token().await),
            (self.domain_at(ChainId::new(4_689), self.contract), token),
            (self.domain_at(here.chain(), Address::repeat_byte(9)), token),
            (Domain::new("DepinChannel", "1", here.chain(), here.contract()), token),
        ];
        for (number, (domain, token)) in cases.into_iter().enumerate() {
            let stranger = self.wallet(&format!("{number}.redb"), domain, token, 1_000.into());
            self.strangers.push(Arc::new(stranger));
        }
        rails::conforms(self).await;
    }

    pub(super) async fn pays(&self, rail: &dyn PaymentRail, number: u64, amount: u64) -> bool {
        let charge: Charge = charge(self.payee(), number, amount);
        let payment = self.payer().pay(&charge).await.unwrap();
        match rail.accept(&charge, &payment).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
                false
            }
        }
    }
}

impl RailSetup for Flowing {
    fn payee(&self) -> Address {
        self.world.payee.account()
    }

    fn payer(&self) -> &dyn Payer {
        self.wallet.as_ref().unwrap()
    }

    fn strangers(&self) -> Vec<Arc<dyn Payer>> {
        self.strangers.clone()
    }

    fn spendthrift(&self) -> Arc<dyn Payer> {
        let wallet = self.wallet("spendthrift", self.domain(), self.world.token, Amount::MAX);
        // It has another memory than the payer, and so numbers of its own.
        Arc::new(wallet.already_spent(1_000))
    }

    fn rail(&self) -> Arc<dyn PaymentRail> {
        self.rail_in(RailStore::open(&self.world.folder.path().join("rail.redb")).unwrap())
    }

    fn restart_payer(&mut self) {
        self.wallet = None;
        let limit = Self::FUNDS.into();
        self.wallet = Some(self.wallet("wallet", self.domain(), self.world.token, limit));
    }

    fn malleated(&self, payment: &Payment) -> Vec<Payment> {
        vec![high_s(payment)]
    }

    async fn held(&self) -> Amount {
        let held = self.world.balance(self.payee()).await;
        if self.rail.is_none() {
            return held;
        }
        let escrow = self.escrow_of(&self.world.payee);
        let account = escrow.account(self.world.token, self.payee()).await.unwrap();
        held.checked_add(account.funds).unwrap()
    }

    fn by_time(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_conform() {
    Flowing::stream().await.conform().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn escrow_rails_conform() {
    Flowing::escrow().await.conform().await;
}

#[tokio::test]
async fn rails_live_with_nodes_that_tell_of_few_blocks_at_once() {
    for flowing in [Flowing::stream().await, Flowing::escrow().await] {
        let (rail, devnet) = (flowing.rail(), &flowing.world.devnet);
        devnet.mine(1_200);
        devnet.limit_logs(500);
        assert!(flowing.pays(rail.as_ref(), 1, 400).await);
        rail.settle().await.unwrap();
        devnet.mine(1_200);
        assert_eq!(rail.balance().await.unwrap().settled, 400.into());
        assert!(flowing.pays(rail.as_ref(), 2, 600).await);
        assert_eq!(rail.balance().await.unwrap().settled, 1_000.into());
    }
}

#[tokio::test]
async fn spends_follow_what_has_flowed_by_whoever_settles_it() {
    let flowing = Flowing::stream().await;
    let (rail, world) = (flowing.rail(), &flowing.world);
    assert!(flowing.pays(rail.as_ref(), 1, 400).await);
    // The payer settles, all 1,000; nothing is counted twice.
    let (payer, payee) = (world.payer.account(), world.payee.account());
    let payers = flowing.stream_of(&world.payer);
    assert_eq!(payers.settle(payer, payee, world.token).await.unwrap(), 1_000.into());
    let transactions = Vec::new();
    let expected = Settlement::Settled { amount: 400.into(), transactions };
    assert_eq!(rail.settle().await.unwrap(), expected);
    assert!(flowing.pays(rail.as_ref(), 2, 600).await);
    assert_eq!(
        rail.settle().await.unwrap(),
        Settlement::Settled { amount: 600.into(), transactions: Vec::new() }
    );

    // A stream that ended leaves the payee a credit, which settling collects.
    payers.deposit("more", world.token, 500.into()).await.unwrap();
    payers.stop("enough", payer, payee, world.token).await.unwrap();
    let before = flowing.held().await;
    let spendthrift = flowing.spendthrift();
    let more = charge(payee, 3, 500);
    rail.accept(&more, &spendthrift.pay(&more).await.unwrap()).await.unwrap();
    rail.settle().await.unwrap();
    let gained = flowing.held().await.checked_sub(before).unwrap();
    assert_eq!(gained, 500.into());
    assert_eq!(rail.balance().await.unwrap().settled, 1_500.into());
}

#[tokio::test]
async fn a_spend_names_a_rail_of_its_payer_only() {
    let flowing = Flowing::escrow().await;
    let rail = flowing.rail();
    let asked = charge(flowing.payee(), 1, 10);
    let good = flowing.payer().pay(&asked).await.unwrap();
    for number in [1_u64, u64::MAX] {
        let proof = [&number.to_be_bytes(), &good.proof[8..]].concat();
        let forged = Payment { payer: good.payer, proof: proof.into() };
        let error = rail.accept(&asked, &forged).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    }
    // Another payee's rail takes none of it, and this one none of a rail with a validator.
    let store = RailStore::in_memory().unwrap();
    let escrow = flowing.escrow_of(&flowing.world.payee);
    let (payee, token, validator) = (flowing.payee(), flowing.world.token, Address::repeat_byte(3));
    let judged = EscrowRail::new(escrow, payee, token, validator, 0, store).unwrap();
    assert!(judged.accept(&asked, &good).await.is_err());
    rail.accept(&asked, &good).await.unwrap();
}

#[tokio::test]
async fn a_spend_out_of_one_rail_is_worth_nothing_out_of_another_of_the_same_payer() {
    let flowing = Flowing::escrow().await;
    let (world, payee) = (&flowing.world, flowing.payee());
    let payers = flowing.escrow_of(&world.payer);
    payers.deposit("more", world.token, 100_000.into()).await.unwrap();
    payers.allow_operator("more", world.token, payee, 1_000, 1_000_000, 20).await.unwrap();
    let terms = RailTerms {
        payer: world.payer.account(),
        payee,
        token: world.token,
        validator: Address::ZERO,
        rate: 10,
        lockup_period: 20,
        lockup_fixed: 0,
    };
    let other = flowing.escrow_of(&world.payee).open_rail("other", &terms).await.unwrap();
    world.devnet.increase_time(100).unwrap();
    world.devnet.mine(1);
    let rail = flowing.rail();
    let asked = charge(payee, 1, 10);
    let good = flowing.payer().pay(&asked).await.unwrap();
    let proof = [&other.to_be_bytes(), &good.proof[8..]].concat();
    let swapped = Payment { payer: good.payer, proof: proof.into() };
    let error = rail.accept(&asked, &swapped).await.unwrap_err();
    assert!(error.to_string().contains("signed"), "{error}");
    rail.accept(&asked, &good).await.unwrap();
    // The other rail does pay what is signed for it.
    let (path, key) = (world.folder.path().join("other"), world.key());
    let (domain, token) = (flowing.domain(), world.token);
    let wallet = SpendPayer::escrow(&path, domain, other, payee, token, key, 10.into()).unwrap();
    let asked = charge(payee, 2, 10);
    rail.accept(&asked, &wallet.pay(&asked).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn whoever_has_no_stream_buys_nothing_not_even_what_is_free() {
    let flowing = Flowing::stream().await;
    let rail = flowing.rail();
    let (path, payee) = (flowing.world.folder.path().join("stranger"), flowing.payee());
    let key = Arc::new(SoftwareKey::from_seed(Algorithm::Es256k, [9; 32]));
    let (domain, token) = (flowing.domain(), flowing.world.token);
    let stranger = SpendPayer::stream(&path, domain, payee, token, key, 10.into()).unwrap();
    for (number, amount) in [(1, 0), (2, 1)] {
        let asked = charge(payee, number, amount);
        let error = rail.accept(&asked, &stranger.pay(&asked).await.unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("no stream"), "{error}");
    }
    assert!(flowing.pays(rail.as_ref(), 3, 10).await);
}

#[tokio::test]
async fn a_settlement_of_a_stream_that_the_chain_takes_back_is_made_again() {
    let flowing = Flowing::stream().await;
    let rail = flowing.rail();
    assert!(flowing.pays(rail.as_ref(), 1, 400).await);
    rail.settle().await.unwrap();
    assert_eq!(rail.balance().await.unwrap().settled, 400.into());
    flowing.world.devnet.reorg(1).unwrap();
    assert!(rail.balance().await.unwrap().settled.is_zero(), "the books follow the chain");
    flowing.world.devnet.increase_time(1_000).unwrap();
    let settled = rail.settle().await.unwrap();
    assert!(matches!(settled, Settlement::Settled { amount, .. } if amount == 400.into()));
    assert!(flowing.held().await >= 400.into());
    flowing.world.devnet.mine(64);
    assert_eq!(rail.balance().await.unwrap().settled, 400.into());
    assert_eq!(rail.settle().await.unwrap(), Settlement::NothingDue);
}

/// The first deposit gets as far as its allowance, and another one uses that up.
#[tokio::test]
async fn a_deposit_whose_allowance_another_one_used_can_still_be_made() {
    let world = World::new().await;
    let stream = EvmStream::deploy(world.payer.clone()).await.unwrap();
    let deposit = async |intent, amount: u64| {
        stream.deposit(intent, world.token, amount.into()).await.map(drop)
    };
    deposit("too much", 1_500_000).await.unwrap_err();
    deposit("less", 900_000).await.unwrap();
    let token = bindings::NetworkToken::new(world.token, world.admin.provider());
    let mint = token.mint(world.payer.account(), U256::from(2_000_000));
    world.admin.send(mint.into_transaction_request()).await.unwrap();
    for _ in 0..2 {
        deposit("too much", 1_500_000).await.unwrap();
    }
    let purse = stream.purse(world.payer.account(), world.token).await.unwrap();
    assert_eq!(purse.balance, 2_400_000.into());
    let left = token.allowance(world.payer.account(), stream.address());
    assert!(world.admin.read(&left).await.unwrap().is_zero());
}
