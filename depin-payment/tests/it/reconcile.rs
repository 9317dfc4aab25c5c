//! Books made from the chain and proved against it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use depin_core::{
    Address, Amount, B256, EpochId, Error, ErrorKind, NetworkId, Timestamp,
    reward::{Allocation, Payout, RewardDistributor as _, TokenLedger as _},
};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, DeployOptions, Deployment, RootRules,
    alloy::{
        primitives::U256,
        sol_types::SolEvent,
        transports::{TransportError, TransportErrorKind},
    },
    bindings::{BitmapDistributor::Claimed as RowClaimed, NetworkToken},
    deploy,
};
use depin_payment::{
    Cumulative,
    books::{Account, Commodity},
    evm::{EvmBitmap, EvmDistributor, EvmToken, Ledger},
    tree::indexed::{Encoding, IndexedTree},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::node::{Tricks, provider};

struct Network {
    devnet: Devnet,
    chain: Chain,
    contracts: Deployment,
}

const PEOPLE: u16 = 5;

impl Network {
    async fn start() -> Self {
        let devnet = Devnet::start();
        let chain =
            Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await.unwrap();
        let options = DeployOptions::new(NetworkId::parse("books").unwrap());
        let contracts = deploy(&chain, &options).await.unwrap();
        Self { devnet, chain, contracts }
    }

    /// Epochs, claims, transfers, burns and a fee on every transfer, in the order of chance.
    async fn live(&self, steps: u32, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let distributor = EvmDistributor::new(self.chain.clone(), self.contracts.distributor);
        let mut people = Vec::new();
        for index in 1..=PEOPLE {
            let provider = self.devnet.provider();
            let person = Chain::from_provider(provider, self.devnet.account(index));
            people.push(person.connect().await.unwrap());
        }
        let mut balances = Cumulative::default();
        for step in 0..steps {
            let person = &people[rng.gen_range(0..people.len())];
            let token = NetworkToken::new(self.contracts.token, person.provider());
            let held = person.read(&token.balanceOf(person.account())).await.unwrap();
            let part = held / U256::from(rng.gen_range(1..5_u64));
            match rng.gen_range(0..5) {
                0 | 1 if step % 3 == 0 || balances.latest().is_none() => {
                    balances.add(&epoch(&balances, &people, &mut rng)).unwrap();
                    let tree = balances.tree().unwrap();
                    let commitment = balances.commitment(&tree, B256::ZERO).unwrap();
                    distributor.publish(&commitment).await.unwrap();
                }
                0..=2 if balances.latest().is_some() => {
                    let claims: Vec<_> = balances.tree().unwrap().claims().collect();
                    let some = rng.gen_range(0..=claims.len());
                    distributor.claim_many(&claims[..some]).await.unwrap();
                }
                3 => {
                    let to = people[rng.gen_range(0..people.len())].account();
                    let fee = part / U256::from(100);
                    let gift = token.transfer(to, part - fee).into_transaction_request();
                    person.send(gift).await.unwrap();
                    let fee = token.transfer(fees(), fee).into_transaction_request();
                    person.send(fee).await.unwrap();
                }
                _ => {
                    person.send(token.burn(part).into_transaction_request()).await.unwrap();
                }
            }
        }
    }

    fn ledger(&self, chain: Chain) -> Ledger {
        Ledger::new(chain, self.contracts.token, "BOOK")
            .unwrap()
            .since(self.contracts.block)
            .distributor(self.contracts.distributor)
            .name(fees(), "Fees")
            .unwrap()
    }

    /// The chain as seen through somebody who changes the logs that a request for events gets.
    async fn seen_through(
        &self,
        tamper: impl Fn(&mut Vec<Value>) + Send + Sync + 'static,
    ) -> Chain {
        let provider = provider(&self.devnet, &Arc::new(Tampering(tamper)));
        Chain::from_provider(provider, self.devnet.account(9)).connect().await.unwrap()
    }

    async fn refusal(&self, tamper: impl Fn(&mut Vec<Value>) + Send + Sync + 'static) -> Error {
        let chain = self.seen_through(tamper).await;
        self.ledger(chain).reconcile().await.unwrap_err()
    }
}

fn fees() -> Address {
    Address::repeat_byte(0xfe)
}

fn epoch(balances: &Cumulative, people: &[Chain], rng: &mut StdRng) -> Allocation {
    let next = balances.latest().map_or(0, |latest| latest.value() + 1);
    let payouts: Vec<_> = people
        .iter()
        .enumerate()
        .map(|(index, person)| Payout {
            device: super::device(index as u64),
            beneficiary: person.account(),
            amount: Amount::from(rng.r#gen::<u64>()),
        })
        .collect();
    let emission = Amount::sum(payouts.iter().map(|payout| payout.amount)).unwrap();
    Allocation { epoch: EpochId::new(next), emission, unallocated: Amount::ZERO, payouts }
}

#[tokio::test]
async fn the_books_of_a_random_history_equal_the_chain() {
    for seed in 0..3 {
        let network = Network::start().await;
        network.live(30, seed).await;
        let proved = network.ledger(network.chain.clone()).reconcile().await.unwrap();
        let token = EvmToken::new(network.chain.clone(), network.contracts.token);
        assert_eq!(proved.supply, token.supply().await.unwrap());
        assert_eq!(proved.block, network.devnet.block_number());
        assert!(proved.movements > 10 && proved.accounts > 0, "{}", proved.movements);
        for note in ["Issue", "Claim", "Transfer", "Burn"] {
            let entries = proved.books.transactions();
            assert!(entries.iter().any(|entry| entry.note() == note), "{note} with seed {seed}");
        }
        assert!(proved.books.hledger().contains("Assets:Chain:Fees"));
        // Small windows read the same.
        let small = network.ledger(network.chain.clone()).window(3).reconcile().await.unwrap();
        assert_eq!(small.books.csv(), proved.books.csv());
    }
}

#[tokio::test]
async fn an_earlier_block_is_proved_with_its_own_balances() {
    let network = Network::start().await;
    network.live(20, 7).await;
    let behind = network.ledger(network.chain.clone()).behind(9).reconcile().await.unwrap();
    assert_eq!(behind.block, network.devnet.block_number() - 9);
    let first = behind.books.transactions().first().unwrap();
    assert!(first.at() > Timestamp::from_secs(1_600_000_000), "the time of its block");
}

#[tokio::test]
async fn tampered_logs_are_found_and_named() {
    let network = Network::start().await;
    network.live(30, 1).await;
    let token = network.contracts.token.to_string().to_lowercase();
    let of_token = move |log: &Value| log["address"].as_str().unwrap().to_lowercase() == token;

    let is = of_token.clone();
    let lost = network.refusal(move |logs| logs.retain(|log| !is(log) || log["logIndex"] != "0x0"));
    assert_eq!(lost.await.kind(), ErrorKind::Conflict);
    let doubled = network.refusal(|logs| {
        if let Some(last) = logs.last().cloned() {
            logs.push(last);
        }
    });
    assert_eq!(doubled.await.kind(), ErrorKind::Malformed);
    let swapped = network.refusal(|logs| logs.reverse());
    assert_eq!(swapped.await.kind(), ErrorKind::Malformed);
    let is = of_token.clone();
    let raised = network.refusal(move |logs| {
        if let Some(log) = logs.iter_mut().rfind(|log| is(log)) {
            log["data"] = Value::from(format!("0x{:064x}", 5));
        }
    });
    let raised = raised.await;
    assert_eq!(raised.kind(), ErrorKind::Conflict, "{raised}");
    // To another account than the token's own: the first that differs is named.
    let is = of_token.clone();
    let redirected = network.refusal(move |logs| {
        if let Some(log) = logs.iter_mut().rfind(|log| is(log)) {
            log["topics"][2] = Value::from(Address::repeat_byte(0xbb).into_word().to_string());
        }
    });
    let redirected = redirected.await;
    assert_eq!(redirected.kind(), ErrorKind::Conflict, "{redirected}");
    // The distributor's own words are compared too.
    let silenced = network.refusal(move |logs| logs.retain(&of_token)).await;
    assert_eq!(silenced.kind(), ErrorKind::Conflict);
    assert!(silenced.to_string().contains("the distributor says"), "{silenced}");
    // And through the same connection without tampering all is well.
    let honest = network.seen_through(|_| {}).await;
    network.ledger(honest).reconcile().await.unwrap();
}

#[tokio::test]
async fn a_reorganisation_while_reading_is_told_as_such() {
    let network = Network::start().await;
    network.live(20, 2).await;
    let (devnet, once) = (network.devnet.clone(), Mutex::new(true));
    let error = network.refusal(move |_| {
        if std::mem::take(&mut *once.lock().unwrap()) {
            devnet.reorg(5).unwrap();
        }
    });
    let error = error.await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let again = network.ledger(network.chain.clone()).reconcile().await.unwrap();
    assert_eq!(again.block, network.devnet.block_number());
}

/// Once it is busy, refuses every other request and asks for patience; counts requests for logs.
#[derive(Default)]
struct Busy {
    is_busy: AtomicBool,
    requests: AtomicU64,
    logs: AtomicU64,
}

impl Tricks for Busy {
    fn refusal(&self, method: &str, _: &Value) -> Option<TransportError> {
        if method == "eth_getLogs" {
            self.logs.fetch_add(1, Relaxed);
        }
        let text = "rate limit reached: too many requests in the range of a second".to_owned();
        let after = Some(Duration::ZERO);
        let busy = || TransportErrorKind::http_error_with_retry_after(429, text, after);
        let is_even = self.requests.fetch_add(1, Relaxed).is_multiple_of(2);
        (is_even && self.is_busy.load(Relaxed)).then(busy)
    }
}

#[tokio::test]
async fn a_node_that_limits_rates_is_waited_for_and_asked_for_no_less() {
    let network = Network::start().await;
    network.live(20, 4).await;
    let busy = Arc::new(Busy::default());
    let provider = provider(&network.devnet, &busy);
    let chain = Chain::from_provider(provider, network.devnet.account(9)).connect().await.unwrap();
    busy.is_busy.store(true, Relaxed);
    network.ledger(chain).reconcile().await.unwrap();
    assert!(busy.logs.load(Relaxed) <= 4, "each of two questions is repeated, and not split");
}

#[tokio::test]
async fn books_are_made_from_a_node_that_tells_of_few_blocks_at_once() {
    let network = Network::start().await;
    network.live(20, 5).await;
    network.devnet.limit_logs(3);
    network.ledger(network.chain.clone()).reconcile().await.unwrap();
}

#[tokio::test]
async fn names_of_accounts_are_checked() {
    let network = Network::start().await;
    let ledger = || network.ledger(network.chain.clone());
    assert_eq!(ledger().name(Address::ZERO, "no spaces").unwrap_err().kind(), ErrorKind::Malformed);
    let taken = ledger().name(Address::repeat_byte(1), "Fees").unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    assert!(Account::parse("Assets:Chain:Fees").is_ok());
    let nowhere = Ledger::new(network.chain.clone(), Address::repeat_byte(9), "BOOK").unwrap();
    assert_eq!(nowhere.reconcile().await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Changes the answers about events.
struct Tampering<F>(F);

impl<F: Fn(&mut Vec<Value>) + Send + Sync + 'static> Tricks for Tampering<F> {
    fn answer(&self, method: &str, result: &mut Value) {
        if let ("eth_getLogs", Value::Array(logs)) = (method, result) {
            (self.0)(logs);
        }
    }
}

#[tokio::test]
async fn books_have_the_decimals_of_the_token() {
    let network = Network::start().await;
    let ledger = || Ledger::new(network.chain.clone(), network.contracts.token, "BOOK").unwrap();
    let error = ledger().decimals(6).unwrap().reconcile().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(ledger().decimals(31).unwrap_err().kind(), ErrorKind::Malformed);
    ledger().decimals(18).unwrap().reconcile().await.unwrap();
}

/// A network that pays rewards by balances and grants by rows: two distributors, one token.
#[tokio::test]
async fn books_of_a_token_with_two_kinds_of_distributors_agree() {
    let network = Network::start().await;
    network.live(20, 3).await;
    let (chain, contracts) = (&network.chain, &network.contracts);
    let rules = RootRules::default();
    let deployed = EvmBitmap::deploy(chain, "grants", contracts, &rules, chain.account()).await;
    let bitmap = deployed.unwrap();
    let rows = (1..=4).map(|n| (Address::repeat_byte(n), Amount::from(u64::from(n)))).collect();
    let tree = IndexedTree::build(rows, Encoding::Standard).unwrap();
    let claims: Vec<_> = (0..3).map(|index| tree.claim(index).unwrap()).collect();
    for epoch in [0, 4].map(EpochId::new) {
        bitmap.publish(epoch, &tree, B256::ZERO).await.unwrap();
        bitmap.claim_many(epoch, &claims).await.unwrap();
    }

    let alone = Ledger::new(chain.clone(), contracts.token, "BOOK").unwrap();
    alone.clone().distributor(bitmap.roots().address()).reconcile().await.unwrap();
    let both = network.ledger(chain.clone()).distributor(bitmap.roots().address());
    let proved = both.distributor(bitmap.roots().address()).reconcile().await.unwrap();
    let held = |name: &str| {
        let account = Account::parse(&format!("Assets:Chain:{name}")).unwrap();
        proved.books.balance(&account, &Commodity::new("BOOK", 18).unwrap())
    };
    assert_eq!(held("Distributor-2").1, Amount::from(2 * 4), "the last row is not claimed");
    assert!(proved.books.csv().contains("Claim"));

    // Somebody hides a row that was paid from the books.
    let hidden = format!("{:#x}", RowClaimed::SIGNATURE_HASH);
    let liar = network.seen_through(move |logs| {
        if let Some(at) = logs.iter().position(|log| log["topics"][0] == hidden.as_str()) {
            logs.remove(at);
        }
    });
    let told = network.ledger(liar.await).distributor(bitmap.roots().address());
    let error = told.reconcile().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("paid other than"), "{error}");
}
