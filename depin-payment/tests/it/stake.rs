//! Stakes and slashes on the embedded chain.

use std::time::Duration;

use depin_core::{Address, Amount, B256, ErrorKind, reward::TokenLedger};
use depin_devnet::Devnet;
use depin_evm::{Chain, bindings::StakeManager};
use depin_payment::evm::{EvmStake, EvmToken, StakeRules};

use super::evm::{chain, fund};

const DAY: Duration = Duration::from_secs(86_400);
const TREASURY: Address = Address::repeat_byte(0x77);
const DEVICE: Address = Address::repeat_byte(0xde);
const EVIDENCE: B256 = B256::repeat_byte(0xe1);

fn rules() -> StakeRules {
    let (unbonding, appeal) = (Duration::from_secs(21 * 86_400), Duration::from_secs(7 * 86_400));
    StakeRules { unbonding, appeal, cap: Amount::tokens(5), window: DAY, treasury: TREASURY }
}

struct World {
    devnet: Devnet,
    /// The administrator, who slashes and judges.
    network: EvmStake,
    /// Who has 100 tokens.
    owner: EvmStake,
    who: Address,
    token: EvmToken,
}

impl World {
    async fn new() -> Self {
        let devnet = Devnet::start();
        let (admin, owner) = (chain(&devnet, 0).await, chain(&devnet, 1).await);
        let who = owner.account();
        let token = fund(&admin, &[who], Amount::tokens(100)).await;
        let network = EvmStake::deploy(&admin, "test", token, &rules()).await.unwrap();
        appoint(&admin, network.address()).await;
        let owner = EvmStake::new(owner, network.address());
        Self { devnet, network, owner, who, token: EvmToken::new(admin, token) }
    }

    fn pass(&self, time: Duration) {
        // The chain may be some blocks ahead of the clock.
        self.devnet.increase_time(time.as_secs() + 60).unwrap();
        self.devnet.mine(1);
    }

    async fn slash(&self, tokens: u64, evidence: B256) -> depin_core::Result<()> {
        let slash = self.network.slash(self.who, DEVICE, Amount::tokens(tokens), evidence);
        slash.await.map(drop)
    }

    async fn execute(&self, evidence: B256) -> depin_core::Result<Amount> {
        self.owner.execute_slash(evidence, self.who, DEVICE).await
    }

    async fn bonded(&self) -> Amount {
        self.network.stake(self.who, DEVICE).await.unwrap().bonded
    }
}

async fn appoint(admin: &Chain, stakes: Address) {
    let contract = StakeManager::new(stakes, admin.provider());
    for role in [
        admin.read(&contract.SLASHER_ROLE()).await.unwrap(),
        admin.read(&contract.JUDGE_ROLE()).await.unwrap(),
    ] {
        let grant = contract.grantRole(role, admin.account()).into_transaction_request();
        admin.send(grant).await.unwrap();
    }
}

#[tokio::test]
async fn who_leaves_waits_and_is_paid_once() {
    let world = World::new().await;
    assert_eq!(world.owner.bond(DEVICE, Amount::tokens(10)).await.unwrap(), Amount::tokens(10));
    let ready = world.owner.unbond(DEVICE, Amount::tokens(4)).await.unwrap();
    assert_eq!(world.owner.withdraw(DEVICE).await.unwrap(), Amount::ZERO, "not before {ready}");
    world.pass(rules().unbonding);
    assert_eq!(world.owner.withdraw(DEVICE).await.unwrap(), Amount::tokens(4));
    assert_eq!(world.owner.withdraw(DEVICE).await.unwrap(), Amount::ZERO);
    assert_eq!(world.token.balance(world.who).await.unwrap(), Amount::tokens(94));
    assert_eq!(world.bonded().await, Amount::tokens(6));
}

#[tokio::test]
async fn one_evidence_slashes_a_stake_once_after_the_appeal() {
    let world = World::new().await;
    world.owner.bond(DEVICE, Amount::tokens(10)).await.unwrap();
    world.slash(3, EVIDENCE).await.unwrap();
    assert_eq!(world.slash(3, EVIDENCE).await.unwrap_err().kind(), ErrorKind::Conflict);
    let waiting = world.network.slash_of(EVIDENCE, world.who, DEVICE).await.unwrap().unwrap();
    assert_eq!(waiting.amount, Amount::tokens(3));
    assert_eq!(world.execute(EVIDENCE).await.unwrap_err().kind(), ErrorKind::Unavailable);

    // What is held does not leave meanwhile.
    let rest = world.owner.unbond(DEVICE, Amount::tokens(8)).await.unwrap_err();
    assert_eq!(rest.kind(), ErrorKind::Rejected);
    world.pass(rules().appeal);
    assert_eq!(world.execute(EVIDENCE).await.unwrap(), Amount::tokens(3));
    assert_eq!(world.execute(EVIDENCE).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(world.network.slash_of(EVIDENCE, world.who, DEVICE).await.unwrap(), None);
    assert_eq!(world.slash(3, EVIDENCE).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(world.token.balance(TREASURY).await.unwrap(), Amount::tokens(3));
    assert_eq!(world.bonded().await, Amount::tokens(7));
}

#[tokio::test]
async fn an_appeal_frees_the_stake_and_the_evidence_stays_used() {
    let world = World::new().await;
    world.owner.bond(DEVICE, Amount::tokens(10)).await.unwrap();
    world.slash(5, EVIDENCE).await.unwrap();
    world.network.withdraw_slash(EVIDENCE, world.who, DEVICE).await.unwrap();
    assert!(world.network.stake(world.who, DEVICE).await.unwrap().held.is_zero());
    world.pass(rules().appeal);
    assert_eq!(world.execute(EVIDENCE).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(world.slash(5, EVIDENCE).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(world.bonded().await, Amount::tokens(10));
}

#[tokio::test]
async fn a_window_executes_no_more_than_its_cap() {
    let world = World::new().await;
    world.owner.bond(DEVICE, Amount::tokens(20)).await.unwrap();
    assert_eq!(world.slash(6, EVIDENCE).await.unwrap_err().kind(), ErrorKind::Limit);
    let other = B256::repeat_byte(0xe2);
    world.slash(5, EVIDENCE).await.unwrap();
    world.slash(5, other).await.unwrap();
    world.pass(rules().appeal);
    assert_eq!(world.execute(EVIDENCE).await.unwrap(), Amount::tokens(5));
    assert_eq!(world.execute(other).await.unwrap_err().kind(), ErrorKind::Unavailable);
    world.pass(DAY);
    assert_eq!(world.execute(other).await.unwrap(), Amount::tokens(5));
    assert_eq!(world.bonded().await, Amount::tokens(10));
}

#[tokio::test]
async fn only_who_was_appointed_slashes_and_judges() {
    let world = World::new().await;
    world.owner.bond(DEVICE, Amount::tokens(10)).await.unwrap();
    let slash = world.owner.slash(world.who, DEVICE, Amount::tokens(1), EVIDENCE).await;
    assert_eq!(slash.unwrap_err().kind(), ErrorKind::Rejected);
    world.slash(1, EVIDENCE).await.unwrap();
    let appeal = world.owner.withdraw_slash(EVIDENCE, world.who, DEVICE).await;
    assert_eq!(appeal.unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(world.slash(1, B256::ZERO).await.unwrap_err().kind(), ErrorKind::Rejected);
    let more = world.network.slash(world.who, TREASURY, Amount::tokens(1), EVIDENCE).await;
    assert_eq!(more.unwrap_err().kind(), ErrorKind::Rejected, "nothing is staked for that one");
}

#[tokio::test]
async fn rules_that_the_contract_would_refuse_are_refused_before() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    let blocks = devnet.block_number();
    for (rules, kind) in [
        (StakeRules { appeal: rules().unbonding, ..rules() }, ErrorKind::Config),
        (StakeRules { treasury: Address::ZERO, ..rules() }, ErrorKind::Config),
        (StakeRules { window: Duration::ZERO, ..rules() }, ErrorKind::Config),
        (StakeRules { unbonding: Duration::from_secs(1 << 50), ..rules() }, ErrorKind::Limit),
        (StakeRules { cap: Amount::MAX, ..rules() }, ErrorKind::Limit),
    ] {
        let error = EvmStake::deploy(&chain, "bad", DEVICE, &rules).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{rules:?}");
    }
    assert_eq!(devnet.block_number(), blocks, "nothing was sent");
}
