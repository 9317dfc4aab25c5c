//! What another process and the ledger do while an epoch is on its way.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;

/// The judged ledger, on which something else happens when the first epoch comes, or is looked at.
struct Meanwhile {
    ledger: Judged,
    /// Who withdraws the first epoch before it lands.
    other: Option<Network>,
    /// How often the first epoch is still there when it is asked for.
    looks: Option<AtomicU32>,
}

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

#[async_trait]
impl RewardDistributor for Meanwhile {
    async fn publish(&self, commitment: &Commitment) -> Result<()> {
        let lands = commitment.epoch == FIRST;
        if let Some(other) = self.other.as_ref().filter(|_| lands) {
            other.withdraw_epoch(FIRST).await?;
        }
        self.ledger.publish(commitment).await?;
        if lands {
            self.ledger.uphold().await;
        }
        Ok(())
    }

    async fn published(&self, epoch: EpochId) -> Result<Option<Commitment>> {
        if let Some(looks) = self.looks.as_ref().filter(|_| epoch == FIRST)
            && looks
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1))
                .is_err()
        {
            return Ok(None);
        }
        self.ledger.published(epoch).await
    }

    async fn latest(&self) -> Result<Option<EpochId>> {
        self.ledger.latest().await
    }

    async fn last(&self) -> Result<Option<EpochId>> {
        self.ledger.last().await
    }

    async fn claim(&self, account: Address, cumulative: Amount, proof: &[B256]) -> Result<Amount> {
        self.ledger.claim(account, cumulative, proof).await
    }

    async fn claimed(&self, account: Address) -> Result<Amount> {
        self.ledger.claimed(account).await
    }
}

/// Two epochs that are sealed, of which the ledger has none.
async fn two_sealed(world: &World) -> (Network, Device) {
    let (network, device, _) = first_waits(world).await;
    world.measures(&device, 21).await;
    network.close_epoch(SECOND).await.unwrap_err();
    world.ledger.reject();
    (network, device)
}

/// Without a window nothing stops the second once the first has landed.
#[tokio::test]
async fn what_was_withdrawn_while_the_epoch_before_it_landed_is_not_published() {
    let world = World::new();
    let (other, device) = two_sealed(&world).await;
    let first = *other.epoch(FIRST).await.unwrap().unwrap().commitment();
    let ledger = world.ledger.clone();
    let interrupted = Meanwhile { ledger, other: Some(other.clone()), looks: None };
    let network = world.process("b", |it| it.distributor(interrupted)).await;
    let error = network.close_epoch(SECOND).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("close it again"), "{error}");
    assert_eq!(world.ledger.published(FIRST).await.unwrap(), Some(first), "it was on its way");
    assert_eq!(world.ledger.published(SECOND).await.unwrap(), None);

    // The one that landed is restored, and the network goes on.
    assert_eq!(other.close_epoch(FIRST).await.unwrap().commitment(), &first);
    other.close_epoch(SECOND).await.unwrap();
    world.ledger.uphold().await;
    assert!(other.audit(SECOND).await.unwrap().is_complete());
    assert_eq!(other.claim(device.did()).await.unwrap(), tokens(200));
}

/// A ledger takes numbers that rise, and skips what did not reach it.
#[tokio::test]
async fn what_waits_beyond_the_next_epoch_is_seen_before_anything_is_sealed() {
    let world = World::new();
    let (network, device) = two_sealed(&world).await;
    let second = *network.epoch(SECOND).await.unwrap().unwrap().commitment();
    network.withdraw_epoch(FIRST).await.unwrap();
    world.ledger.publish(&second).await.unwrap();
    let error = network.close_epoch(FIRST).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("have the arbiter reject it"), "{error}");
    assert!(network.epoch(FIRST).await.unwrap().is_none(), "nothing is sealed");

    world.ledger.reject();
    network.close_epoch(FIRST).await.unwrap();
    // Nor is it told to wait for, when it comes later.
    world.ledger.reject();
    world.ledger.publish(&second).await.unwrap();
    for id in [FIRST, SECOND] {
        let error = network.close_epoch(id).await.unwrap_err();
        assert!(error.to_string().contains("have the arbiter reject it"), "{error}");
    }
    world.ledger.reject();
    network.close_epoch(FIRST).await.unwrap();
    world.ledger.uphold().await;
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(100));
}

/// The arbiter rejects what is being restored.
#[tokio::test]
async fn what_is_gone_while_it_is_restored_is_asked_for_again() {
    let world = World::new();
    let (network, _, stale) = first_waits(&world).await;
    world.ledger.reject();
    network.withdraw_epoch(FIRST).await.unwrap();
    world.ledger.publish(&stale).await.unwrap();
    let (ledger, looks) = (world.ledger.clone(), Some(AtomicU32::new(1)));
    let gone = Meanwhile { ledger, other: None, looks };
    let other = world.process("b", |it| it.distributor(gone)).await;
    let error = other.close_epoch(FIRST).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(other.latest_epoch().await.unwrap().is_none(), "nothing was sealed");
    world.ledger.reject();
    let again = other.close_epoch(FIRST).await.unwrap();
    assert_eq!(again.record().replaces(), Some(stale.manifest));
}
