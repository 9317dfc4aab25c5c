//! Claims through the transaction sender while everything that goes wrong with chains goes wrong.
//!
//! Each account has a sender of its own and claims for recipients of its own, several at a time, so that nonces
//! wait behind each other. A claim is one transaction for one recipient: it pays once or the recipient's balance
//! tells. Meanwhile a driver mines, drops waiting transactions, reorganises up to the depth that does not count as
//! final, and pauses the distributor so that whole blocks of claims revert after they were simulated well.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use depin_core::reward::RewardDistributor as _;
use depin_core::{Address, Amount, B256, EpochId, ErrorKind, NetworkId, reward::Commitment};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, DeployOptions, Deployment, Revert,
    alloy::{
        eips::BlockNumberOrTag,
        network::primitives::BlockResponse,
        primitives::U256,
        providers::{DynProvider, Provider},
        rpc::types::Filter,
        sol_types::SolEvent,
    },
    bindings::{NetworkToken, RewardDistributor as Contract},
    deploy,
};
use depin_payment::{Claim, RewardTree, evm::EvmDistributor};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::{
    sync::{Mutex, Semaphore},
    task::JoinSet,
    time::sleep,
};

use super::faults::{self, Tally};

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) accounts: u64,
    pub(crate) landed: u64,
    /// Recipients who were not paid what is theirs.
    pub(crate) lost: u64,
    /// Payments too many, and claims that were sent again although they had paid.
    pub(crate) double: u64,
    pub(crate) faults: Faults,
    pub(crate) blocks: u64,
    pub(crate) time: Duration,
}

/// How often what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    requests_lost: u64,
    answers_lost: u64,
    withheld: u64,
    dropped: u64,
    replaced: u64,
    reverted: u64,
    reorgs: u64,
    reorganised: u64,
}

#[allow(dead_code, reason = "the benchmark asks for all faults, the test for one")]
impl Report {
    pub(crate) const fn blocks_were_taken_back(&self) -> bool {
        self.faults.reorganised > 0
    }

    pub(crate) const fn each_fault_happened(&self) -> bool {
        let Faults { dropped, replaced, reverted, reorganised, .. } = self.faults;
        dropped > 0 && replaced > 0 && reverted > 0 && reorganised > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = &self.faults;
        let seconds = self.time.as_secs_f64();
        writeln!(
            f,
            "faults injected: {} transactions dropped, {} held back, {} replaced, {} reverted, {} taken back by \
             {} reorganisations; {} requests and {} answers lost",
            faults.dropped,
            faults.withheld,
            faults.replaced,
            faults.reverted,
            faults.reorganised,
            faults.reorgs,
            faults.requests_lost,
            faults.answers_lost,
        )?;
        write!(
            f,
            "{} accounts: landed={} lost={} double={} in {} blocks, {seconds:.1} s, {:.0} claims/s",
            self.accounts,
            self.landed,
            self.lost,
            self.double,
            self.blocks,
            self.landed as f64 / seconds,
        )
    }
}

/// `accounts` accounts claim for `each` recipients; what waits longer than `replace_after` is replaced.
pub(crate) async fn run(accounts: u16, each: u64, replace_after: Duration) -> Report {
    let devnet = Devnet::builder().accounts(accounts + FIRST).build();
    let (contracts, claims) = prepare(&devnet, u64::from(accounts) * each).await;
    let storm = Arc::new(Storm {
        devnet: devnet.clone(),
        contracts,
        tally: Arc::default(),
        over: AtomicBool::new(false),
        doubles: AtomicU64::new(0),
        active: Semaphore::new(ACTIVE),
        replace_after,
    });
    devnet.set_automine(false);
    let start = Instant::now();
    let driver = tokio::spawn(drive(Arc::clone(&storm)));
    let mut senders = JoinSet::new();
    for (account, claims) in (FIRST..).zip(claims.chunks(usize::try_from(each).unwrap())) {
        senders.spawn(Arc::clone(&storm).account(account, claims.to_vec()));
    }
    senders.join_all().await;
    storm.over.store(true, Relaxed);
    let faults = driver.await.unwrap();
    let mut report = storm.check(&claims).await;
    let reverted = report.faults.reverted;
    report.faults = Faults { reverted, ..faults };
    report.accounts = accounts.into();
    report.time = start.elapsed();
    report
}

/// A network whose only epoch pays each recipient.
async fn prepare(devnet: &Devnet, recipients: u64) -> (Deployment, Vec<Claim>) {
    let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await.unwrap();
    let options = DeployOptions::new(NetworkId::parse("storm").unwrap());
    let contracts = deploy(&chain, &options).await.unwrap();
    let contract = Contract::new(contracts.distributor, chain.provider());
    let guardian = chain.read(&contract.GUARDIAN_ROLE()).await.unwrap();
    let grant = contract.grantRole(guardian, chain.account()).into_transaction_request();
    chain.send(grant).await.unwrap();

    let recipient = |i: u64| Address::from_word(U256::from(i + 0x1_0000_0000).into());
    let rows: Vec<_> = (0..recipients).map(|i| (recipient(i), Amount::from(i + 1))).collect();
    let cumulative = Amount::sum(rows.iter().map(|(_, amount)| *amount)).unwrap();
    let tree = RewardTree::build(rows).unwrap();
    let (epoch, root, manifest) = (EpochId::new(0), tree.root(), B256::ZERO);
    let distributor = EvmDistributor::new(chain, contracts.distributor);
    distributor.publish(&Commitment { epoch, root, cumulative, manifest }).await.unwrap();
    (contracts, tree.claims().collect())
}

struct Storm {
    devnet: Devnet,
    contracts: Deployment,
    tally: Arc<Tally>,
    over: AtomicBool,
    /// Claims that the sender executes once, for somebody who was paid already: it must never come to that.
    doubles: AtomicU64,
    active: Semaphore,
    replace_after: Duration,
}

impl Storm {
    /// Claims all of an account's claims, in lanes that share its sender.
    async fn account(self: Arc<Self>, account: u16, claims: Vec<Claim>) {
        let _active = self.active.acquire().await.unwrap();
        let provider = faults::provider(&self.devnet, &self.tally, account.into());
        let chain = loop {
            let chain = Chain::from_provider(provider.clone(), self.devnet.account(account))
                .poll_interval(POLL)
                .replace_after(self.replace_after)
                .confirmations(CONFIRMATIONS)
                .reorg_depth(CONFIRMATIONS - 1);
            match chain.connect().await {
                Ok(chain) => break chain,
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        };
        let left = Arc::new(Mutex::new(claims));
        let mut lanes = JoinSet::new();
        for _ in 0..LANES {
            let (storm, chain, left) = (Arc::clone(&self), chain.clone(), Arc::clone(&left));
            lanes.spawn(async move {
                while let Some(claim) = { left.lock().await.pop() } {
                    storm.claim(&chain, &claim).await;
                }
            });
        }
        lanes.join_all().await;
    }

    /// Claims until it has landed, as whoever waits for money does.
    async fn claim(&self, chain: &Chain, claim: &Claim) {
        let contract = Contract::new(self.contracts.distributor, chain.provider());
        let Claim { account, cumulative, proof } = claim.clone();
        let call = contract.claim(account, cumulative.to_units(), proof);
        let (key, tx) = (format!("claim/{account}"), call.into_transaction_request());
        // Half of them go as what is executed once, half as claims do: their contract takes them once.
        let by_contract = account.0[19] % 2 == 1;
        loop {
            let sent = match by_contract {
                false => chain.send_once(&key, tx.clone()).await,
                true => chain.send_deduplicated(&key, tx.clone()).await,
            };
            let Err(error) = sent else { return };
            let revert = Revert::of(&error);
            if revert.is_some_and(|r| r.decode::<Contract::NothingToClaim>().is_some()) {
                if !by_contract {
                    self.doubles.fetch_add(1, Relaxed);
                    return;
                }
                // What came of it the contract says, and a block that stays.
                if self.is_paid(claim).await {
                    return;
                }
            }
            // Reverted or refused while the distributor was paused, or an answer that was lost.
            assert!(error.is_retryable() || error.kind() == ErrorKind::Rejected, "{error:?}");
            sleep(POLL).await;
        }
    }

    /// Whether a claim was paid in a block that no reorganisation reaches.
    async fn is_paid(&self, claim: &Claim) -> bool {
        let contract = Contract::new(self.contracts.distributor, self.devnet.provider());
        let deep = self.devnet.block_number().saturating_sub(CONFIRMATIONS - 1);
        let claimed = contract.claimed(claim.account).block(deep.into()).call().await.unwrap();
        claimed == claim.cumulative.to_units()
    }

    /// What the chain says in the end: each recipient has one payment, of the right amount.
    async fn check(&self, claims: &[Claim]) -> Report {
        self.devnet.set_automine(true);
        let provider = self.devnet.provider();
        let mut paid: HashMap<Address, (u64, U256)> = HashMap::new();
        let mut report = Report { blocks: self.devnet.block_number(), ..Report::default() };
        for start in (0..=report.blocks).step_by(100) {
            let window = Filter::new()
                .address(self.contracts.token)
                .event_signature(NetworkToken::Transfer::SIGNATURE_HASH)
                .topic1(self.contracts.distributor.into_word())
                .from_block(start)
                .to_block((start + 99).min(report.blocks));
            for log in provider.get_logs(&window).await.unwrap() {
                let event = log.log_decode::<NetworkToken::Transfer>().unwrap().inner.data;
                let (payments, sum) = paid.entry(event.to).or_default();
                (*payments, *sum) = (*payments + 1, *sum + event.value);
            }
        }
        for claim in claims {
            match paid.get(&claim.account).copied().unwrap_or_default() {
                (1, sum) if sum == claim.cumulative.to_units() => report.landed += 1,
                (0 | 1, _) => report.lost += 1,
                (payments, _) => report.double += payments - 1,
            }
        }
        report.double += self.doubles.load(Relaxed);
        for block in 0..=report.blocks {
            let receipts = provider.get_block_receipts(block.into()).await.unwrap().unwrap();
            report.faults.reverted += receipts.iter().filter(|r| !r.status()).count() as u64;
        }
        report
    }
}

/// Mines, and lets happen to the chain what happens to chains.
async fn drive(storm: Arc<Storm>) -> Faults {
    let mut rng = StdRng::seed_from_u64(1);
    let (devnet, provider) = (&storm.devnet, storm.devnet.provider());
    let floor = devnet.block_number();
    let mut faults = Faults::default();
    let mut until_paused = 3;
    while !storm.over.load(Relaxed) {
        gather(devnet).await;
        storm.tally.deliver(devnet, 2 * storm.replace_after).await;
        for hash in devnet.waiting() {
            if rng.gen_ratio(1, 100) && devnet.drop_transaction(hash) {
                faults.dropped += 1;
            }
        }
        until_paused -= 1;
        storm.pause(&provider, until_paused == 0).await;
        if until_paused == 0 {
            until_paused = rng.gen_range(20..60);
        }
        devnet.mine(1);
        let depth = *[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3].choose(&mut rng).unwrap();
        let height = devnet.block_number();
        if depth > 0 && height >= floor + depth {
            for block in height - depth + 1..=height {
                let number = BlockNumberOrTag::Number(block);
                let block = provider.get_block_by_number(number).await.unwrap().unwrap();
                faults.reorganised += block.transactions().len() as u64;
            }
            devnet.reorg(depth).unwrap();
            faults.reorgs += 1;
        }
    }
    let load = |count: &AtomicU64| count.load(Relaxed);
    let tally = &storm.tally;
    (faults.requests_lost, faults.answers_lost) =
        (load(&tally.requests_lost), load(&tally.answers_lost));
    (faults.withheld, faults.replaced) = (load(&tally.withheld), load(&tally.replaced));
    faults
}

impl Storm {
    /// Has the guardian pause the distributor in the next block, before the claims in it, or end a pause. Looks at
    /// the chain each time, because a reorganisation takes back what the guardian did too.
    async fn pause(&self, provider: &DynProvider, pause: bool) {
        let contract = Contract::new(self.contracts.distributor, provider);
        let paused = contract.paused().call().await.unwrap();
        if paused == pause {
            return;
        }
        let call = if pause {
            contract.pause().calldata().clone()
        } else {
            contract.unpause().calldata().clone()
        };
        let tx = depin_evm::alloy::rpc::types::TransactionRequest::default()
            .to(self.contracts.distributor)
            .input(call.into())
            .from(self.devnet.account(0).address())
            .gas_limit(200_000)
            .max_fee_per_gas(GUARDIAN_TIP * 20)
            .max_priority_fee_per_gas(GUARDIAN_TIP);
        // Refused when one from before the last reorganisation waits: that one does.
        let _ = provider.send_transaction(tx).await;
    }
}

/// Waits for half a block of claims, but not for long.
async fn gather(devnet: &Devnet) {
    let start = Instant::now();
    while devnet.waiting().len() < HALF_BLOCK && start.elapsed() < BLOCK_TIME {
        sleep(Duration::from_millis(1)).await;
    }
}

/// The first account that claims; those before it administer.
const FIRST: u16 = 1;
/// Accounts that claim at a time, and the claims of one that wait at a time.
const ACTIVE: usize = 64;
const LANES: usize = 8;
const POLL: Duration = Duration::from_millis(100);
/// One more than the deepest reorganisation.
const CONFIRMATIONS: u64 = 4;
const HALF_BLOCK: usize = 128;
const BLOCK_TIME: Duration = Duration::from_millis(30);
/// Wei per gas; more than any claim offers.
const GUARDIAN_TIP: u128 = 1_000_000_000_000;
