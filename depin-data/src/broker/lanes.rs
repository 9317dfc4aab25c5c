//! Work side by side, but for each device in the order it came: batches form a chain.
//!
//! What waits has a place until it is done, and no key has more than its share of the places: whoever makes his own
//! work slow keeps nobody else waiting for one.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};

use super::shares::{Share, Shares};

/// Lanes, each of which does one job at a time. Dropping them drops what waits.
pub(crate) struct Lanes<J> {
    lanes: Vec<mpsc::UnboundedSender<(J, Place)>>,
    hasher: RandomState,
    slots: Arc<Semaphore>,
    shares: Arc<Shares>,
    tasks: JoinSet<()>,
}

/// Held by a job until it is done.
struct Place {
    _slot: OwnedSemaphorePermit,
    _share: Share,
}

impl<J: Send + 'static> Lanes<J> {
    /// `count` lanes with at most `waiting` jobs in them.
    pub(crate) fn new<F>(
        count: usize,
        waiting: usize,
        work: impl Fn(J) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let mut tasks = JoinSet::new();
        let lanes = (0..count.max(1)).map(|_| {
            // Bounded by the slots.
            let (lane, mut jobs) = mpsc::unbounded_channel::<(J, Place)>();
            let work = work.clone();
            tasks.spawn(async move {
                while let Some((job, _place)) = jobs.recv().await {
                    work(job).await;
                }
            });
            lane
        });
        let lanes = lanes.collect();
        let slots = Arc::new(Semaphore::new(waiting.clamp(1, Semaphore::MAX_PERMITS)));
        Self { lanes, hasher: RandomState::new(), slots, shares: Shares::of(waiting), tasks }
    }

    /// Queues a job behind those with the same key; waits while there are too many, and gives it back when the key
    /// has its share of places.
    #[cfg(feature = "mqtt")]
    pub(crate) async fn push(&self, key: &str, job: J) -> Result<(), J> {
        let key = self.hasher.hash_one(key);
        let Some(share) = self.shares.take(key) else { return Err(job) };
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return Err(job) };
        self.queue(key, job, Place { _slot: slot, _share: share });
        Ok(())
    }

    /// As [`push`](Self::push), but drops the job while there are too many, of this key or of all, and says so.
    #[cfg(feature = "nats")]
    pub(crate) fn try_push(&self, key: &str, job: J) -> bool {
        let key = self.hasher.hash_one(key);
        let Some(share) = self.shares.take(key) else { return false };
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        slot.map(|slot| self.queue(key, job, Place { _slot: slot, _share: share })).is_ok()
    }

    fn queue(&self, key: u64, job: J, place: Place) {
        let lane = key % self.lanes.len().max(1) as u64;
        if let Some(lane) = usize::try_from(lane).ok().and_then(|lane| self.lanes.get(lane)) {
            let _ = lane.send((job, place));
        }
    }

    /// Waits until what was queued is done.
    pub(crate) async fn finish(mut self) {
        self.lanes.clear();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl<J> fmt::Debug for Lanes<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("lanes", &self.lanes.len()).finish_non_exhaustive()
    }
}
