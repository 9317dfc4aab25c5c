//! Watchers, the arbiter and the guardian.

use std::time::Duration;

use depin_core::{
    Address, Amount, B256, EpochId, ErrorKind, NetworkId, Timestamp,
    reward::{Commitment, RewardDistributor, TokenLedger},
};
use depin_devnet::Devnet;
use depin_evm::{Chain, DeployOptions, RootRules, deploy};
use depin_payment::{
    Claim, RewardTree,
    evm::{EvmDistributor, EvmRoots, EvmToken, PendingEpoch, Verdict},
};

use super::evm::chain;

const WINDOW: u64 = 3_600;
const BOND: u64 = 2;

/// A network in which the watcher has ten tokens, and epoch 1 waits.
struct World {
    devnet: Devnet,
    admin: EvmDistributor,
    arbiter: EvmRoots,
    watcher: EvmRoots,
    stranger: EvmRoots,
    token: EvmToken,
    account: Address,
}

impl World {
    async fn new() -> Self {
        let devnet = Devnet::start();
        let bond = Amount::tokens(BOND);
        let rules = RootRules::default().disputable(Duration::from_secs(WINDOW), bond);
        let judge = chain(&devnet, 3).await;
        let options = DeployOptions::new(NetworkId::parse("climate").unwrap())
            .rules(rules)
            .arbiter(judge.account());
        let chain_0: Chain = chain(&devnet, 0).await;
        let contracts = deploy(&chain_0, &options).await.unwrap();
        let (watcher, stranger) = (chain(&devnet, 1).await, chain(&devnet, 2).await);
        let world = Self {
            account: watcher.account(),
            admin: EvmDistributor::new(chain_0.clone(), contracts.distributor),
            arbiter: EvmRoots::new(judge, contracts.distributor),
            watcher: EvmRoots::new(watcher, contracts.distributor),
            stranger: EvmRoots::new(stranger, contracts.distributor),
            token: EvmToken::new(chain_0, contracts.token),
            devnet,
        };
        let first = world.publish(0, 10).await;
        world.wait(WINDOW);
        let Claim { account, cumulative, proof } = first.claim(world.account).unwrap();
        world.admin.claim(account, cumulative, &proof).await.unwrap();
        world.publish(1, 20).await;
        world
    }

    async fn publish(&self, epoch: u64, tokens: u64) -> RewardTree {
        let cumulative = Amount::tokens(tokens);
        let tree = RewardTree::build(vec![(self.account, cumulative)]).unwrap();
        let (epoch, root, manifest) = (EpochId::new(epoch), tree.root(), B256::repeat_byte(1));
        self.admin.publish(&Commitment { epoch, root, cumulative, manifest }).await.unwrap();
        tree
    }

    /// Longer than asked: blocks of one second each can run ahead of the clock.
    fn wait(&self, seconds: u64) {
        self.devnet.increase_time(seconds + WINDOW).unwrap();
        self.devnet.mine(1);
    }

    async fn pending(&self) -> PendingEpoch {
        self.watcher.pending().await.unwrap().unwrap()
    }

    async fn held(&self) -> Amount {
        self.token.balance(self.account).await.unwrap()
    }
}

#[tokio::test]
async fn whoever_is_right_gets_the_bond_back() {
    let world = World::new().await;
    let seen = world.pending().await;
    assert_eq!((seen.epoch, seen.disputed), (EpochId::new(1), false));
    assert_eq!(seen.cumulative, Amount::tokens(20));
    let now = Timestamp::from_secs(world.devnet.timestamp());
    assert!(seen.until > now && seen.until <= now.plus(Duration::from_secs(WINDOW)));

    assert_eq!(world.watcher.dispute(&seen).await.unwrap(), Amount::tokens(BOND));
    assert_eq!(world.held().await, Amount::tokens(10 - BOND));
    let disputed = world.pending().await;
    assert!(disputed.disputed && disputed.until > seen.until, "the arbiter has four windows");
    let error = world.watcher.dispute(&seen).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "once is enough: {error}");

    let error = world.watcher.resolve(&seen, Verdict::Reject).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("arbiter role"), "{error}");
    world.arbiter.resolve(&seen, Verdict::Reject).await.unwrap();
    assert_eq!(world.held().await, Amount::tokens(10));
    assert_eq!(world.watcher.pending().await.unwrap(), None);
    let error = world.arbiter.resolve(&seen, Verdict::Uphold).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn whoever_is_wrong_loses_the_bond_and_the_epoch_is_active_at_once() {
    let world = World::new().await;
    let seen = world.pending().await;
    let error = world.arbiter.resolve(&seen, Verdict::Uphold).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "nobody disputed: {error}");
    world.watcher.dispute(&seen).await.unwrap();
    let supply = world.token.supply().await.unwrap();
    world.arbiter.resolve(&seen, Verdict::Uphold).await.unwrap();
    let burned = supply.checked_sub(world.token.supply().await.unwrap()).unwrap();
    assert_eq!(burned, Amount::tokens(BOND));
    world.stranger.activate().await.unwrap();
    assert_eq!(world.watcher.latest().await.unwrap(), Some(EpochId::new(1)));
    assert_eq!(world.watcher.activate().await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn disputes_without_the_bond_of_another_root_or_too_late_cost_nothing() {
    let world = World::new().await;
    let seen = world.pending().await;
    let blocks = world.devnet.block_number();
    let error = world.stranger.dispute(&seen).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("less than the bond"), "{error}");

    let mut other = seen;
    other.root = B256::repeat_byte(7);
    assert_eq!(world.watcher.dispute(&other).await.unwrap_err().kind(), ErrorKind::Conflict);
    let error = world.arbiter.resolve(&other, Verdict::Reject).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "not what waits: {error}");
    // The same root, for another emission than was looked at.
    let mut other = seen;
    other.cumulative = Amount::tokens(21);
    assert_eq!(world.watcher.dispute(&other).await.unwrap_err().kind(), ErrorKind::Conflict);
    for verdict in [Verdict::Uphold, Verdict::Reject] {
        let error = world.arbiter.resolve(&other, verdict).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "not what waits: {error}");
    }
    assert_eq!(world.watcher.lapse().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(world.stranger.activate().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(world.devnet.block_number(), blocks, "no transaction");
    world.wait(WINDOW);
    let error = world.watcher.dispute(&seen).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "too late: {error}");
}

#[tokio::test]
async fn a_dispute_that_nobody_decides_lapses_and_the_next_costs_double() {
    let world = World::new().await;
    let seen = world.pending().await;
    world.watcher.dispute(&seen).await.unwrap();
    let epoch = EpochId::new(1);
    assert!(world.admin.published(epoch).await.unwrap().is_some(), "the arbiter has time");
    world.wait(4 * WINDOW);
    // The next publication would remove it. Until then the arbiter may still decide.
    assert_eq!(world.admin.published(epoch).await.unwrap(), None);
    assert_eq!(world.pending().await.root, seen.root);
    world.stranger.lapse().await.unwrap();
    assert_eq!(world.held().await, Amount::tokens(10));
    assert_eq!(world.watcher.bond().await.unwrap(), Amount::tokens(2 * BOND));
    world.publish(1, 20).await;
    let again = world.pending().await;
    assert_eq!(world.watcher.dispute(&again).await.unwrap(), Amount::tokens(2 * BOND));
    assert_eq!(world.held().await, Amount::tokens(10 - 2 * BOND));
}

#[tokio::test]
async fn a_guardian_stops_and_only_the_admin_starts() {
    let world = World::new().await;
    let (guard, stranger) = (world.admin.roots(), &world.stranger);
    let error = stranger.pause().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("guardian role"), "{error}");
    guard.pause().await.unwrap();
    guard.pause().await.unwrap();
    assert!(stranger.is_paused().await.unwrap());

    world.wait(WINDOW);
    assert_eq!(stranger.activate().await.unwrap_err().kind(), ErrorKind::Rejected);
    let claim = RewardTree::build(vec![(world.account, Amount::tokens(10))]).unwrap();
    let claim = claim.claim(world.account).unwrap();
    let error = world.admin.claim(claim.account, claim.cumulative, &claim.proof).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");

    let error = stranger.unpause().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("administrator"), "{error}");
    guard.unpause().await.unwrap();
    guard.unpause().await.unwrap();
    stranger.activate().await.unwrap();
    assert_eq!(stranger.latest().await.unwrap(), Some(EpochId::new(1)));
}
