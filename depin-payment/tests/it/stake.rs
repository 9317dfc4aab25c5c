//! Stakes and slashes on the embedded chain.

use std::time::Duration;

use depin_core::{Address, Amount, B256, Bytes, ErrorKind, U256, reward::TokenLedger};
use depin_devnet::Devnet;
use depin_evm::{
    Role,
    alloy::{network::TransactionBuilder, rpc::types::TransactionRequest},
    bindings::NetworkToken,
};
use depin_payment::{
    channel::Terms,
    evm::{EvmChannel, EvmStake, EvmToken, StakeRules},
};

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
        for role in [Role::SLASHER, Role::JUDGE] {
            network.roles().grant(role, admin.account()).await.unwrap();
        }
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

#[tokio::test]
async fn who_leaves_waits_and_is_paid_once() {
    let world = World::new().await;
    // Asked again after a lost answer, both happen once.
    for _ in 0..2 {
        let bonded = world.owner.bond("first", DEVICE, Amount::tokens(10)).await.unwrap();
        assert_eq!(bonded, Amount::tokens(10));
    }
    let ready = world.owner.unbond("part", DEVICE, Amount::tokens(4)).await.unwrap();
    assert_eq!(world.owner.unbond("part", DEVICE, Amount::tokens(4)).await.unwrap(), ready);
    let other = world.owner.unbond("part", DEVICE, Amount::tokens(5)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict, "{other}");
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
    world.owner.bond("first", DEVICE, Amount::tokens(10)).await.unwrap();
    world.slash(3, EVIDENCE).await.unwrap();
    assert_eq!(world.slash(3, EVIDENCE).await.unwrap_err().kind(), ErrorKind::Conflict);
    let waiting = world.network.slash_of(EVIDENCE, world.who, DEVICE).await.unwrap().unwrap();
    assert_eq!(waiting.amount, Amount::tokens(3));
    assert_eq!(world.execute(EVIDENCE).await.unwrap_err().kind(), ErrorKind::Unavailable);

    // What is held does not leave meanwhile.
    let rest = world.owner.unbond("part", DEVICE, Amount::tokens(8)).await.unwrap_err();
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
    world.owner.bond("first", DEVICE, Amount::tokens(10)).await.unwrap();
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
    world.owner.bond("first", DEVICE, Amount::tokens(20)).await.unwrap();
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
    world.owner.bond("first", DEVICE, Amount::tokens(10)).await.unwrap();
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

/// A token whose calls answer nothing and whose allowances change only to zero and from zero.
#[tokio::test]
async fn tokens_of_the_old_kind_are_bonded_and_deposited_too() {
    let devnet = Devnet::start();
    let owner = chain(&devnet, 0).await;
    let code = include_str!("../../../depin-evm/artifacts/test/CautiousToken.json");
    let artifact: serde_json::Value = serde_json::from_str(code).unwrap();
    let code: Bytes = artifact["bytecode"]["object"].as_str().unwrap().parse().unwrap();
    let create = TransactionRequest::default().with_deploy_code(code);
    let token = owner.send(create).await.unwrap().contract_address.unwrap();
    let contract = NetworkToken::new(token, owner.provider());
    let mint = contract.mint(owner.account(), U256::from(1_000)).into_transaction_request();
    owner.send(mint).await.unwrap();

    let stakes = EvmStake::deploy(&owner, "old", token, &rules()).await.unwrap();
    let channels = EvmChannel::deploy(owner.clone()).await.unwrap();
    let terms = Terms {
        payer: owner.account(),
        payee: DEVICE,
        token,
        signer: owner.account(),
        challenge: 3_600,
        salt: B256::ZERO,
    };
    // An allowance that is left over is too small, and can not be raised at once.
    for spender in [stakes.address(), channels.address()] {
        let left = contract.approve(spender, U256::from(7)).into_transaction_request();
        owner.send(left).await.unwrap();
        let more = contract.approve(spender, U256::from(8)).into_transaction_request();
        assert_eq!(owner.send(more).await.unwrap_err().kind(), ErrorKind::Rejected);
    }
    for _ in 0..2 {
        assert_eq!(stakes.bond("one", DEVICE, 100.into()).await.unwrap(), 100.into());
        channels.deposit("one", &terms, 200.into()).await.unwrap();
    }
    assert_eq!(stakes.stake(owner.account(), DEVICE).await.unwrap().bonded, 100.into());
    assert_eq!(channels.funds(&terms).await.unwrap().available, 200.into());
    stakes.unbond("all", DEVICE, 100.into()).await.unwrap();
    devnet.increase_time(rules().unbonding.as_secs() + 60).unwrap();
    devnet.mine(1);
    assert_eq!(stakes.withdraw(DEVICE).await.unwrap(), 100.into());
    assert_eq!(owner.read(&contract.balanceOf(owner.account())).await.unwrap(), U256::from(800));
}
