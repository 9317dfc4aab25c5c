//! Voucher channels.

use std::{sync::Arc, time::Duration};

use depin_core::{
    Address, Amount, B256, Bytes, ChainId, ErrorKind,
    payment::{Payer, Payment, PaymentRail, Settlement},
};
use depin_evm::{
    Chain,
    alloy::{
        network::TransactionBuilder,
        rpc::types::TransactionRequest,
        transports::{TransportError, TransportErrorKind},
    },
    bindings,
};
use depin_payment::{
    channel::{SignedVoucher, Terms, domain},
    evm::{ChannelRail, ChannelRules, EvmChannel},
    rail::{ChannelPayer, RailStore},
};
use depin_testkit::rails::{self, RailSetup, charge};

use serde_json::Value;

use super::{World, high_s};
use crate::node::{Tricks, provider};

/// A channel that holds 1,000 units.
pub(super) struct Channel {
    pub(super) world: World,
    pub(super) contract: Address,
    pub(super) terms: Terms,
    wallet: Option<ChannelPayer>,
    strangers: Vec<Arc<dyn Payer>>,
}

impl Channel {
    pub(super) async fn open() -> Self {
        let world = World::new().await;
        let create = bindings::PaymentChannel::deploy_builder(world.admin.provider());
        let contract = world.create(create.into_transaction_request()).await;
        let (payer, payee) = (world.payer.account(), world.payee.account());
        let (token, salt) = (world.token, B256::ZERO);
        let terms = Terms { payer, payee, token, signer: payer, challenge: 3_600, salt };
        let mut channel = Self { world, contract, terms, wallet: None, strangers: Vec::new() };
        channel.deposit("first", &terms, 1_000).await;
        channel.restart_payer();
        channel
    }

    pub(super) async fn deposit(&self, intent: &str, terms: &Terms, amount: u64) {
        self.payers().deposit(intent, terms, amount.into()).await.unwrap();
    }

    pub(super) fn payers(&self) -> EvmChannel {
        EvmChannel::new(self.world.payer.clone(), self.contract)
    }

    pub(super) fn payees(&self) -> EvmChannel {
        EvmChannel::new(self.world.payee.clone(), self.contract)
    }

    pub(super) fn rail_in(&self, file: &str, rules: ChannelRules) -> ChannelRail {
        let store = RailStore::open(&self.world.folder.path().join(file)).unwrap();
        let (payee, token) = (self.terms.payee, self.terms.token);
        ChannelRail::new(self.payees(), payee, token, rules, store).unwrap()
    }

    fn channel_rail(&self) -> ChannelRail {
        self.rail_in("rail.redb", ChannelRules::default())
    }

    /// A voucher that nobody's memory has a say in.
    pub(super) fn voucher(&self, terms: Terms, lane: u64, cumulative: u64) -> Payment {
        let domain = self.payers().domain();
        let key = self.world.key();
        let signed =
            SignedVoucher::sign(&domain, terms, lane, cumulative.into(), key.as_ref()).unwrap();
        Payment { payer: terms.payer, proof: signed.encode() }
    }
}

impl RailSetup for Channel {
    fn payee(&self) -> Address {
        self.terms.payee
    }

    fn payer(&self) -> &dyn Payer {
        self.wallet.as_ref().unwrap()
    }

    fn strangers(&self) -> Vec<Arc<dyn Payer>> {
        self.strangers.clone()
    }

    fn spendthrift(&self) -> Arc<dyn Payer> {
        let (domain, key) = (self.payers().domain(), self.world.key());
        Arc::new(ChannelPayer::in_memory(domain, self.terms, key, Amount::MAX).unwrap())
    }

    fn rail(&self) -> Arc<dyn PaymentRail> {
        Arc::new(self.channel_rail())
    }

    fn restart_payer(&mut self) {
        self.wallet = None;
        let (domain, key) = (self.payers().domain(), self.world.key());
        let path = self.world.folder.path().join("wallet.redb");
        let wallet = ChannelPayer::open(&path, domain, self.terms, key, Self::FUNDS.into());
        self.wallet = Some(wallet.unwrap());
    }

    fn malleated(&self, payment: &Payment) -> Vec<Payment> {
        vec![high_s(payment)]
    }

    async fn held(&self) -> Amount {
        self.world.balance(self.terms.payee).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vouchers_conform() {
    let mut channel = Channel::open().await;
    // Channels that hold enough, in everything but one thing what the rail takes.
    let other_token = Terms { token: channel.world.another_token().await, ..channel.terms };
    channel.deposit("token", &other_token, 1_000).await;
    let short = Terms { challenge: 3_600, salt: B256::repeat_byte(1), ..channel.terms };
    let here = channel.payers().domain();
    let cases = [
        (here, other_token),
        // Never opened.
        (here, short),
        (domain(here.chain(), Address::repeat_byte(9)), channel.terms),
        (domain(ChainId::new(4_689), here.contract()), channel.terms),
    ];
    for (domain, terms) in cases {
        let payer = ChannelPayer::in_memory(domain, terms, channel.world.key(), 1_000.into());
        channel.strangers.push(Arc::new(payer.unwrap()));
    }
    rails::conforms(channel).await;
}

#[tokio::test]
async fn amounts_that_go_down_and_other_channels_lanes_and_payers_buy_nothing() {
    let channel = Channel::open().await;
    let rail = channel.channel_rail();
    let payee = channel.terms.payee;
    let accept = async |number, price, payment: &Payment| {
        rail.accept(&charge(payee, number, price), payment).await
    };
    accept(1, 100, &channel.voucher(channel.terms, 0, 100)).await.unwrap();
    for (number, cumulative) in [(2, 99), (3, 50), (4, 1), (5, 100), (6, 0)] {
        let less = channel.voucher(channel.terms, 0, cumulative);
        let error = accept(number, 1, &less).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "{cumulative}: {error}");
    }
    let beyond = channel.voucher(channel.terms, 16, 100);
    assert!(accept(7, 100, &beyond).await.unwrap_err().to_string().contains("lane"));
    let short = Terms { challenge: 3_599, ..channel.terms };
    let error = accept(8, 1, &channel.voucher(short, 0, 1)).await.unwrap_err();
    assert!(error.to_string().contains("challenge"), "{error}");
    // Somebody who has deposited cannot pay out of somebody else's channel.
    let mut stolen = channel.voucher(channel.terms, 0, 200);
    stolen.payer = Address::repeat_byte(5);
    assert!(accept(9, 1, &stolen).await.is_err());
    assert_eq!(rail.balance().await.unwrap().accepted, 100.into());
}

#[tokio::test]
async fn lanes_share_the_deposit_and_never_pass_it() {
    let channel = Channel::open().await;
    let rail = channel.channel_rail();
    let payee = channel.terms.payee;
    for (number, lane, price) in [(1, 0, 300), (2, 1, 300), (3, 2, 400)] {
        let voucher = channel.voucher(channel.terms, lane, price);
        rail.accept(&charge(payee, number, price), &voucher).await.unwrap();
    }
    for lane in 0..4 {
        let one_more = channel.voucher(channel.terms, lane, 401);
        let error = rail.accept(&charge(payee, 4, 1), &one_more).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected, "lane {lane}: {error}");
    }
    let settled = rail.settle().await.unwrap();
    let Settlement::Settled { amount, transactions } = settled else { panic!("{settled:?}") };
    assert_eq!((amount, transactions.len()), (1_000.into(), 1), "all lanes in one transaction");
    assert_eq!(channel.held().await, 1_000.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_charges_that_race_for_one_voucher_one_is_paid() {
    let channel = Channel::open().await;
    let rail = Arc::new(channel.channel_rail());
    for round in 0..10 {
        let voucher = channel.voucher(channel.terms, 0, (round + 1) * 10);
        let racers: Vec<_> = (0..6)
            .map(|racer| {
                let (rail, voucher) = (rail.clone(), voucher.clone());
                let charge = charge(channel.terms.payee, round * 100 + racer, 10);
                tokio::spawn(async move { rail.accept(&charge, &voucher).await })
            })
            .collect();
        let mut paid = 0;
        for racer in racers {
            paid += u32::from(racer.await.unwrap().is_ok());
        }
        assert_eq!(paid, 1);
    }
    assert_eq!(rail.balance().await.unwrap().accepted, 100.into());
}

#[tokio::test]
async fn a_closing_channel_buys_nothing_more_and_pays_what_it_granted() {
    let channel = Channel::open().await;
    let rules = ChannelRules::default().fresh(Duration::ZERO);
    let rail = channel.rail_in("rail.redb", rules);
    let payee = channel.terms.payee;
    rail.accept(&charge(payee, 1, 70), &channel.voucher(channel.terms, 0, 70)).await.unwrap();
    channel.payers().request_close(&channel.terms).await.unwrap();
    assert!(channel.payers().close(&channel.terms).await.is_err(), "the challenge runs");
    let late = channel.voucher(channel.terms, 0, 80);
    let error = rail.accept(&charge(payee, 2, 10), &late).await.unwrap_err();
    assert!(error.to_string().contains("closing"), "{error}");
    assert!(matches!(
        rail.settle().await.unwrap(),
        Settlement::Settled { amount, .. } if amount == 70.into()
    ));
    channel.payees().close(&channel.terms).await.unwrap();
    let funds = channel.payers().funds(&channel.terms).await.unwrap();
    assert!(funds.closed && funds.available.is_zero());
    assert_eq!(rail.settle().await.unwrap(), Settlement::NothingDue);
    assert_eq!(rail.balance().await.unwrap().settled, 70.into());
}

/// Settling a lane costs the payee gas, and opening one costs the payer nothing.
#[tokio::test]
async fn lanes_that_owe_less_than_they_cost_wait_for_more_or_for_the_end() {
    let channel = Channel::open().await;
    let rules = ChannelRules::default().least(50.into()).fresh(Duration::ZERO);
    let rail = channel.rail_in("rail.redb", rules);
    let payee = channel.terms.payee;
    for lane in 0..16 {
        let dust = channel.voucher(channel.terms, lane, 1);
        rail.accept(&charge(payee, lane, 1), &dust).await.unwrap();
    }
    assert_eq!(rail.settle().await.unwrap(), Settlement::NothingDue);
    assert_eq!(channel.held().await, Amount::ZERO, "no lane was settled");
    assert_eq!(rail.balance().await.unwrap().accepted, 16.into());
    // One that grew is settled alone.
    let grown = channel.voucher(channel.terms, 3, 60);
    rail.accept(&charge(payee, 100, 59), &grown).await.unwrap();
    let Settlement::Settled { amount, transactions } = rail.settle().await.unwrap() else {
        panic!("60 are due");
    };
    assert_eq!((amount, transactions.len()), (60.into(), 1));
    // The payer wants the rest back.
    channel.payers().request_close(&channel.terms).await.unwrap();
    let settled = rail.settle().await.unwrap();
    assert!(matches!(settled, Settlement::Settled { amount, .. } if amount == 15.into()));
    assert_eq!(channel.held().await, 75.into());

    // The payee closes.
    let other = Terms { salt: B256::repeat_byte(1), ..channel.terms };
    channel.deposit("second", &other, 100).await;
    rail.accept(&charge(payee, 101, 7), &channel.voucher(other, 0, 7)).await.unwrap();
    assert_eq!(rail.settle().await.unwrap(), Settlement::NothingDue);
    rail.close(&other).await.unwrap();
    assert_eq!(channel.held().await, 82.into());
}

/// A node that takes no transactions.
struct Deaf;

impl Tricks for Deaf {
    fn refusal(&self, method: &str, _: &Value) -> Option<TransportError> {
        let sends = matches!(method, "eth_estimateGas" | "eth_sendRawTransaction");
        sends.then(|| TransportErrorKind::custom_str("the node is down"))
    }
}

/// The call that closes is cut off where it is known that the channel ends, and nothing was sent.
#[tokio::test]
async fn dust_of_a_channel_that_the_payee_began_to_close_is_settled_after_a_restart() {
    let mut channel = Channel::open().await;
    let rules = ChannelRules::default().least(50.into()).fresh(Duration::ZERO);
    let (payee, deaf) = (channel.terms.payee, provider(&channel.world.devnet, &Arc::new(Deaf)));
    let deaf = Chain::from_provider(deaf, channel.world.devnet.account(2)).connect().await.unwrap();
    let other = Terms { salt: B256::repeat_byte(1), ..channel.terms };
    channel.deposit("second", &other, 100).await;
    let whole = std::mem::replace(&mut channel.world.payee, deaf);
    let rail = channel.rail_in("rail.redb", rules);
    rail.accept(&charge(payee, 1, 3), &channel.voucher(channel.terms, 0, 3)).await.unwrap();
    rail.accept(&charge(payee, 2, 7), &channel.voucher(other, 0, 7)).await.unwrap();
    let error = rail.close(&other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    drop(rail);

    channel.world.payee = whole;
    let rail = channel.rail_in("rail.redb", rules);
    let settled = rail.settle().await.unwrap();
    assert!(matches!(settled, Settlement::Settled { amount, .. } if amount == 7.into()));
    assert_eq!(channel.held().await, 7.into(), "and no dust of the other");
    rail.close(&other).await.unwrap();
}

#[tokio::test]
async fn what_others_settle_is_noticed_and_not_settled_again() {
    let channel = Channel::open().await;
    let rail = channel.channel_rail();
    let payment = channel.voucher(channel.terms, 0, 70);
    rail.accept(&charge(channel.terms.payee, 1, 70), &payment).await.unwrap();
    let voucher = SignedVoucher::decode(&payment.proof).unwrap();
    assert_eq!(channel.payers().settle(&voucher).await.unwrap(), 70.into());
    let blocks = channel.world.devnet.block_number();
    let transactions = Vec::new();
    assert_eq!(
        rail.settle().await.unwrap(),
        Settlement::Settled { amount: 70.into(), transactions }
    );
    assert_eq!(rail.settle().await.unwrap(), Settlement::NothingDue);
    assert_eq!(channel.world.devnet.block_number(), blocks, "nothing was sent");
    assert!(channel.payees().settle(&voucher).await.is_err(), "a voucher pays once");
}

#[tokio::test]
async fn a_top_up_is_made_once_and_lets_the_same_voucher_pay_on() {
    let channel = Channel::open().await;
    let voucher = SignedVoucher::decode(&channel.voucher(channel.terms, 0, 1_300).proof).unwrap();
    assert_eq!(channel.payees().settle(&voucher).await.unwrap(), 1_000.into());
    assert!(channel.payees().settle(&voucher).await.is_err(), "the deposit is used up");
    for _ in 0..2 {
        channel.deposit("top-up 1", &channel.terms, 400).await;
    }
    assert_eq!(channel.payees().settle(&voucher).await.unwrap(), 300.into());
    let funds = channel.payers().funds(&channel.terms).await.unwrap();
    assert_eq!(funds.available, 100.into(), "topped up once");
    assert_eq!(channel.held().await, 1_300.into());
}

#[tokio::test]
async fn a_payee_who_lost_its_memory_counts_nothing_twice() {
    let channel = Channel::open().await;
    let payee = channel.terms.payee;
    let rail = channel.channel_rail();
    rail.accept(&charge(payee, 1, 70), &channel.voucher(channel.terms, 0, 70)).await.unwrap();
    rail.settle().await.unwrap();
    // What the chain has paid is spent, whoever remembers it.
    let rail = channel.rail_in("another.redb", ChannelRules::default());
    let old = channel.voucher(channel.terms, 0, 70);
    assert!(rail.accept(&charge(payee, 2, 70), &old).await.is_err());
    let next = channel.voucher(channel.terms, 0, 75);
    rail.accept(&charge(payee, 3, 5), &next).await.unwrap();
    assert_eq!(rail.balance().await.unwrap().accepted, 5.into());
}

#[tokio::test]
async fn stores_belong_to_one_rail_and_one_process() {
    let channel = Channel::open().await;
    let path = channel.world.folder.path().join("rail.redb");
    let rail = channel.channel_rail();
    assert_eq!(RailStore::open(&path).unwrap_err().kind(), ErrorKind::Conflict);
    drop(rail);
    let store = RailStore::open(&path).unwrap();
    let other = ChannelRail::new(
        channel.payees(),
        channel.terms.payee,
        Address::repeat_byte(8),
        ChannelRules::default(),
        store,
    );
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Config);
    let wallet = channel.world.folder.path().join("wallet.redb");
    let (domain, key) = (channel.payers().domain(), channel.world.key());
    let terms = channel.terms;
    drop(channel.wallet);
    let lane = ChannelPayer::open_lane(&wallet, domain, terms, 1, key, 9.into());
    assert_eq!(lane.unwrap_err().kind(), ErrorKind::Config);
}

/// A contract that answers every question with the magic of ERC-1271.
const YES: &str = "6010600c60003960106000f3631626ba7e60e01b60005260206000f3";
/// A contract that answers no question before its gas is gone.
const BURNER: &str = "6004600c60003960046000f35b600056";

#[tokio::test]
async fn contracts_sign_only_where_the_payee_lets_them() {
    let channel = Channel::open().await;
    let (strict, lenient) =
        (ChannelRules::default(), ChannelRules::default().contract_signers(true));
    let [strict, lenient] = [("strict", strict), ("lenient", lenient)]
        .map(|(file, rules)| channel.rail_in(file, rules));
    for (number, code, signs) in [(1, YES, true), (2, BURNER, false)] {
        let code: Bytes = code.parse().unwrap();
        let signer =
            channel.world.create(TransactionRequest::default().with_deploy_code(code)).await;
        let terms = Terms { signer, ..channel.terms };
        channel.deposit("contract", &terms, 100).await;
        let (lane, cumulative, signature) = (0, 40.into(), vec![7; 100].into());
        let voucher = SignedVoucher { terms, lane, cumulative, signature };
        let payment = Payment { payer: terms.payer, proof: voucher.encode() };
        let asked = charge(terms.payee, number, 40);
        assert!(strict.accept(&asked, &payment).await.is_err());
        let answer = lenient.accept(&asked, &payment).await;
        assert_eq!(answer.is_ok(), signs, "{answer:?}");
    }
    assert!(matches!(
        lenient.settle().await.unwrap(),
        Settlement::Settled { amount, .. } if amount == 40.into()
    ));
    assert_eq!(channel.held().await, 40.into());
}

/// What lies on the disk when the answer is given is what a crash would leave behind.
#[tokio::test]
async fn what_was_answered_is_on_disk_already() {
    let channel = Channel::open().await;
    let (rail, folder) = (channel.channel_rail(), channel.world.folder.path());
    let asked = charge(channel.terms.payee, 1, 10);
    let payment = channel.payer().pay(&asked).await.unwrap();
    std::fs::copy(folder.join("wallet.redb"), folder.join("wallet.copy")).unwrap();
    rail.accept(&asked, &payment).await.unwrap();
    std::fs::copy(folder.join("rail.redb"), folder.join("rail.copy")).unwrap();

    let after_crash = channel.rail_in("rail.copy", ChannelRules::default());
    assert_eq!(after_crash.balance().await.unwrap().accepted, 10.into());
    let twice = after_crash.accept(&charge(channel.terms.payee, 2, 10), &payment).await;
    assert!(twice.is_err(), "{twice:?}");
    let (domain, key) = (channel.payers().domain(), channel.world.key());
    let path = folder.join("wallet.copy");
    let wallet = ChannelPayer::open(&path, domain, channel.terms, key, 1_000.into()).unwrap();
    assert_eq!(wallet.pay(&asked).await.unwrap(), payment, "nothing is signed twice");
    let next = wallet.pay(&charge(channel.terms.payee, 2, 5)).await.unwrap();
    assert_eq!(SignedVoucher::decode(&next.proof).unwrap().cumulative, 15.into());
}

#[tokio::test]
async fn a_settlement_that_is_not_mined_in_time_is_pending_and_pays_once() {
    let channel = Channel::open().await;
    let devnet = &channel.world.devnet;
    let hurried = Chain::from_provider(devnet.provider(), devnet.account(2))
        .timeout(Duration::from_millis(50))
        .poll_interval(Duration::from_millis(5))
        .connect()
        .await
        .unwrap();
    let store = RailStore::in_memory().unwrap();
    let contract = EvmChannel::new(hurried, channel.contract);
    let (payee, token) = (channel.terms.payee, channel.terms.token);
    let rail = ChannelRail::new(contract, payee, token, ChannelRules::default(), store).unwrap();
    rail.accept(&charge(payee, 1, 70), &channel.voucher(channel.terms, 0, 70)).await.unwrap();

    devnet.set_automine(false);
    for _ in 0..2 {
        assert_eq!(rail.settle().await.unwrap(), Settlement::Pending { amount: 70.into() });
        assert!(rail.balance().await.unwrap().settled.is_zero());
    }
    devnet.mine(1);
    let settled = rail.settle().await.unwrap();
    assert!(matches!(settled, Settlement::Settled { amount, .. } if amount == 70.into()));
    assert_eq!(rail.settle().await.unwrap(), Settlement::NothingDue);
    assert_eq!(channel.held().await, 70.into());
    devnet.mine(1);
    assert_eq!(channel.held().await, 70.into());
}

/// A contract that answers with the magic of ERC-1271 until somebody calls it without data, and then burns all gas.
const TURNS: &str = "6026600c60003960266000f3\
    3615601b57600054602257631626ba7e60e01b60005260206000f35b60016000550\
    05b602256";

#[tokio::test]
async fn contracts_that_burn_gas_do_not_stop_honest_vouchers() {
    let channel = Channel::open().await;
    let rail = channel.rail_in("rail.redb", ChannelRules::default().contract_signers(true));
    let code: Bytes = TURNS.parse().unwrap();
    let signer = channel.world.create(TransactionRequest::default().with_deploy_code(code)).await;
    // Together they burn more than a block of 30 million has.
    for number in 0..45 {
        let terms = Terms { signer, salt: B256::with_last_byte(number + 1), ..channel.terms };
        channel.deposit("turns", &terms, 10).await;
        let voucher =
            SignedVoucher { terms, lane: 0, cumulative: 10.into(), signature: vec![7].into() };
        let payment = Payment { payer: terms.payer, proof: voucher.encode() };
        rail.accept(&charge(terms.payee, number.into(), 10), &payment).await.unwrap();
    }
    for lane in 0..3 {
        let voucher = channel.voucher(channel.terms, lane, 10);
        rail.accept(&charge(channel.terms.payee, 100 + lane, 10), &voucher).await.unwrap();
    }
    channel.world.admin.send(TransactionRequest::default().to(signer)).await.unwrap();
    let settled = rail.settle().await.unwrap();
    assert!(
        matches!(settled, Settlement::Settled { amount, .. } if amount == 30.into()),
        "{settled:?}"
    );
    assert_eq!(channel.held().await, 30.into());
}

#[tokio::test]
async fn a_channel_that_the_payee_closes_buys_nothing_more_whatever_was_seen_of_it() {
    let channel = Channel::open().await;
    let rail = channel.channel_rail();
    assert!(ChannelRules::default().fresh > Duration::ZERO);
    let payee = channel.terms.payee;
    rail.accept(&charge(payee, 1, 70), &channel.voucher(channel.terms, 0, 70)).await.unwrap();
    for _ in 0..2 {
        rail.close(&channel.terms).await.unwrap();
    }
    assert_eq!(channel.held().await, 70.into(), "settled before it is closed");
    assert!(channel.payers().funds(&channel.terms).await.unwrap().closed);
    let late = channel.voucher(channel.terms, 0, 80);
    let error = rail.accept(&charge(payee, 2, 10), &late).await.unwrap_err();
    assert!(error.to_string().contains("is closed"), "{error}");
    drop(rail);
    let rail = channel.channel_rail();
    assert!(rail.accept(&charge(payee, 2, 10), &late).await.is_err(), "also after a restart");
    assert_eq!(rail.balance().await.unwrap().accepted, 70.into());
}

#[tokio::test]
async fn a_settlement_that_the_chain_takes_back_is_made_again() {
    let channel = Channel::open().await;
    let rail = channel.channel_rail();
    let payee = channel.terms.payee;
    rail.accept(&charge(payee, 1, 70), &channel.voucher(channel.terms, 0, 70)).await.unwrap();
    rail.settle().await.unwrap();
    assert_eq!(rail.balance().await.unwrap().settled, 70.into());
    channel.world.devnet.reorg(1).unwrap();
    assert_eq!(channel.held().await, Amount::ZERO);
    assert!(rail.balance().await.unwrap().settled.is_zero(), "the books follow the chain");
    let settled = rail.settle().await.unwrap();
    assert!(matches!(settled, Settlement::Settled { amount, .. } if amount == 70.into()));
    assert_eq!(channel.held().await, 70.into());
    // Deep enough, it is not asked for again.
    channel.world.devnet.mine(64);
    assert_eq!(rail.balance().await.unwrap().settled, 70.into());
    assert_eq!(rail.settle().await.unwrap(), Settlement::NothingDue);
}

#[test]
fn a_store_is_put_in_place_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rail.redb");
    // What a process with our id left behind when it was killed; another one may still write it.
    let half = folder.path().join(format!("rail.redb.{}-0.new", std::process::id()));
    std::fs::write(&half, b"half").unwrap();
    drop(RailStore::open(&path).unwrap());
    assert_eq!(std::fs::read(&half).unwrap(), b"half");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    drop(RailStore::open(&path).unwrap());
}

/// What was sent to close it may be mined at any time.
#[tokio::test]
async fn a_channel_whose_closing_failed_halfway_buys_nothing_more() {
    let channel = Channel::open().await;
    let path = channel.world.folder.path().join("rail.redb");
    // Only the payee's account closes without a challenge.
    let open = || {
        let store = RailStore::open(&path).unwrap();
        let (payee, token) = (channel.terms.payee, channel.terms.token);
        ChannelRail::new(channel.payers(), payee, token, ChannelRules::default(), store).unwrap()
    };
    let (rail, payee) = (open(), channel.terms.payee);
    rail.accept(&charge(payee, 1, 70), &channel.voucher(channel.terms, 0, 70)).await.unwrap();
    rail.close(&channel.terms).await.unwrap_err();
    assert!(!channel.payers().funds(&channel.terms).await.unwrap().closed);
    let late = channel.voucher(channel.terms, 0, 80);
    let error = rail.accept(&charge(payee, 2, 10), &late).await.unwrap_err();
    assert!(error.to_string().contains("the payee closes"), "{error}");
    drop(rail);
    let error = open().accept(&charge(payee, 2, 10), &late).await.unwrap_err();
    assert!(error.to_string().contains("the payee closes"), "after a restart: {error}");
    channel.rail_in("rail.redb", ChannelRules::default()).close(&channel.terms).await.unwrap();
    assert_eq!(channel.held().await, 70.into());
}
