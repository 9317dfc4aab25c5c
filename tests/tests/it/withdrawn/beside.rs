//! What was sealed beside what the ledger took after all: nothing is published on top of it, and there is a way back.

use depin::{
    B256, Device, EpochId, ErrorKind, Network,
    core::reward::{Commitment, RewardDistributor},
    tokens,
};

use super::{FIRST, SECOND, World, bounds, enroll, first_waits, kind};

/// What another process published late pays a cheat; had the network gone on with its own list, an honest device would
/// be owed what is not there.
#[tokio::test]
async fn what_was_sealed_beside_the_ledger_is_never_published_on_top_of_it() {
    let world = World::new();
    let careless = world.process("a", |it| it).await;
    let [honest, cheat] = [enroll(&careless, 1).await, enroll(&careless, 2).await];
    world.measures(&honest, 20).await;
    world.measures(&cheat, 900).await;
    let stale = *careless.close_epoch(FIRST).await.unwrap().commitment();
    world.ledger.reject();
    let network = world.process("b", |it| it.check(bounds())).await;
    network.withdraw_epoch(FIRST).await.unwrap();
    network.close_epoch(FIRST).await.unwrap();
    world.measures(&honest, 21).await;
    network.close_epoch(SECOND).await.unwrap_err();
    // Neither of the two that are sealed got there, and then the old one did.
    world.ledger.reject();
    world.ledger.publish(&stale).await.unwrap();
    world.ledger.uphold().await;
    for id in [SECOND, FIRST, EpochId::new(2)] {
        let error = network.close_epoch(id).await.unwrap_err();
        assert!(error.to_string().contains("restores it"), "{id}: {error}");
    }
    assert_eq!(network.distributor().published(SECOND).await.unwrap(), None);

    network.withdraw_epoch(FIRST).await.unwrap();
    assert_eq!(network.close_epoch(FIRST).await.unwrap().commitment(), &stale);
    network.close_epoch(SECOND).await.unwrap();
    world.ledger.uphold().await;
    assert_eq!(network.claim(honest.did()).await.unwrap(), tokens(150));
    assert_eq!(network.claim(cheat.did()).await.unwrap(), tokens(50), "the ledger decides");
    assert!(network.audit(SECOND).await.unwrap().is_complete());
}

/// Without a window the ledger can take two epochs that were withdrawn meanwhile. The second is not sealed on what
/// took the place of the first, where it would pay what the ledger does not.
///
/// One with batches has them in common with that, and one without fits on it in all but the sums.
async fn two_stale_epochs(world: &World, batches: bool) -> (Network, [Device; 2], [Commitment; 2]) {
    let careless = world.process("a", |it| it).await;
    let [honest, cheat] = [enroll(&careless, 1).await, enroll(&careless, 2).await];
    world.measures(&honest, 20).await;
    world.measures(&cheat, 900).await;
    let first = *careless.close_epoch(FIRST).await.unwrap().commitment();
    if batches {
        world.measures(&honest, 21).await;
    }
    careless.close_epoch(SECOND).await.unwrap_err();
    let second = *careless.epoch(SECOND).await.unwrap().unwrap().commitment();
    world.ledger.reject();
    let network = world.process("b", |it| it.check(bounds())).await;
    network.withdraw_epoch(FIRST).await.unwrap();
    network.close_epoch(FIRST).await.unwrap();
    world.ledger.reject();
    for stale in [first, second] {
        world.ledger.publish(&stale).await.unwrap();
        world.ledger.uphold().await;
    }
    (network, [honest, cheat], [first, second])
}

/// Withdraws what was closed for the first of two stale epochs, and has both again.
async fn restores_both(network: &Network, devices: &[Device; 2], stale: [Commitment; 2]) {
    network.withdraw_epoch(FIRST).await.unwrap();
    for commitment in stale {
        let restored = network.close_epoch(commitment.epoch).await.unwrap();
        assert_eq!(*restored.commitment(), commitment);
    }
    assert_eq!(network.claim(devices[1].did()).await.unwrap(), tokens(50));
    assert!(network.audit(SECOND).await.unwrap().is_complete());
}

#[tokio::test]
async fn what_the_ledger_took_after_all_is_not_restored_beside_it() {
    for batches in [false, true] {
        let world = World::new();
        let (network, devices, stale) = two_stale_epochs(&world, batches).await;
        for id in [SECOND, FIRST, EpochId::new(2)] {
            let error = network.close_epoch(id).await.unwrap_err();
            let said = error.to_string();
            assert!(
                id > SECOND || said.contains("restores it") && said.contains("(epoch: 0)"),
                "{said}"
            );
        }
        assert_eq!(
            network.latest_epoch().await.unwrap().unwrap().id(),
            FIRST,
            "nothing was sealed"
        );
        restores_both(&network, &devices, stale).await;
    }
}

/// A log in which the second was sealed on what replaced the first gets out of it.
#[tokio::test]
async fn what_was_restored_beside_the_ledger_can_be_withdrawn() {
    for withdrawn in [SECOND, FIRST] {
        let world = World::new();
        let (network, devices, stale) = two_stale_epochs(&world, false).await;
        // First and second, the withdrawal, and what replaced the first.
        let second = world.log.sealed(SECOND).await.unwrap().unwrap();
        world.log.seal(EpochId::new(4), second).await.unwrap();
        let beside = network.latest_epoch().await.unwrap().unwrap();
        assert_eq!(beside.commitment().manifest, stale[1].manifest);
        assert_ne!(beside.root(), stale[1].root);
        assert_eq!(kind(network.close_epoch(EpochId::new(2)).await), ErrorKind::Conflict);

        if withdrawn == SECOND {
            network.withdraw_epoch(SECOND).await.unwrap();
        }
        restores_both(&network, &devices, stale).await;
    }
}

#[tokio::test]
async fn what_the_ledger_pays_otherwise_is_not_restored() {
    let world = World::new();
    let (network, _, mut taken) = first_waits(&world).await;
    world.ledger.reject();
    network.withdraw_epoch(FIRST).await.unwrap();
    taken.root = B256::repeat_byte(7);
    world.ledger.publish(&taken).await.unwrap();
    world.ledger.uphold().await;
    assert_eq!(kind(network.close_epoch(FIRST).await), ErrorKind::Corrupt);
    assert!(network.latest_epoch().await.unwrap().is_none(), "nothing was sealed");
}
