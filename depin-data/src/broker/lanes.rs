//! Requests side by side, but those of one sender in the order they came: batches form a chain.
//!
//! What waits has a place until it is done, and no topic has more than its share of the places: whoever makes his own
//! work slow keeps nobody else waiting for one, nor behind him.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use depin_core::Did;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use super::shares::{Share, Shares};

/// A lane for each sender who has sent something, in which one job is done at a time. Dropping them drops what waits.
pub(crate) struct Lanes<J> {
    open: Arc<Open<J>>,
    tasks: Mutex<JoinSet<()>>,
    slots: Arc<Semaphore>,
    shares: Arc<Shares>,
    hasher: RandomState,
}

/// Where a job came from, and what tells it from others, as hashes.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    topic: u64,
    lane: u64,
    request: u64,
}

type Work<J> = Box<dyn Fn(J) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The lanes in which there is something, and what is done with it.
struct Open<J> {
    lanes: Mutex<HashMap<u64, VecDeque<Queued<J>>>>,
    work: Work<J>,
}

/// A job that waits, or is being done.
struct Queued<J> {
    job: Option<J>,
    request: u64,
    _place: Place,
}

/// Held by a job until it is done.
struct Place {
    _slot: OwnedSemaphorePermit,
    _share: Share,
}

impl<J: Send + 'static> Lanes<J> {
    /// Lanes with at most `waiting` jobs in them all.
    pub(crate) fn new<F>(waiting: usize, work: impl Fn(J) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let work: Work<J> = Box::new(move |job| Box::pin(work(job)));
        Self {
            open: Arc::new(Open { lanes: Mutex::default(), work }),
            tasks: Mutex::default(),
            slots: Arc::new(Semaphore::new(waiting.clamp(1, Semaphore::MAX_PERMITS))),
            shares: Shares::of(waiting),
            hasher: RandomState::new(),
        }
    }

    /// Of a job that came over `topic`, and seems to be from `sender`. Another topic is another lane whoever is named,
    /// so that nobody gets in the way of whom he names. `request` is the same while the same waits for one answer.
    pub(crate) fn origin(&self, topic: &str, sender: Option<&Did>, request: impl Hash) -> Origin {
        Origin {
            topic: self.hasher.hash_one(topic),
            lane: self.hasher.hash_one((topic, sender)),
            request: self.hasher.hash_one(request),
        }
    }

    /// Queues a job behind those of its sender; waits while there are too many, and gives it back when its topic has
    /// its share of places, or when the same request waits already.
    #[cfg(feature = "mqtt")]
    pub(crate) async fn push(&self, origin: Origin, job: J) -> Result<(), J> {
        let Some(share) = self.share(origin) else { return Err(job) };
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return Err(job) };
        self.queue(origin, job, Place { _slot: slot, _share: share });
        Ok(())
    }

    /// As [`push`](Self::push), but drops the job while there are too many, and says whether it was taken.
    #[cfg(feature = "nats")]
    pub(crate) fn try_push(&self, origin: Origin, job: J) -> bool {
        let Some(share) = self.share(origin) else { return false };
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        slot.map(|slot| self.queue(origin, job, Place { _slot: slot, _share: share })).is_ok()
    }

    /// A place out of the topic's share, for what does not wait already.
    fn share(&self, Origin { topic, lane, request }: Origin) -> Option<Share> {
        let is_same = |queued: &Queued<J>| queued.request == request;
        let again = self.open.lanes().get(&lane).is_some_and(|lane| lane.iter().any(is_same));
        if again { None } else { self.shares.take(topic) }
    }

    fn queue(&self, Origin { lane, request, .. }: Origin, job: J, place: Place) {
        let queued = Queued { job: Some(job), request, _place: place };
        match self.open.lanes().entry(lane) {
            Entry::Occupied(mut busy) => return busy.get_mut().push_back(queued),
            Entry::Vacant(idle) => idle.insert(VecDeque::from([queued])),
        };
        let tasks = &mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(Arc::clone(&self.open).clear(lane));
    }

    /// Waits until what was queued is done.
    pub(crate) async fn finish(self) {
        let mut tasks = self.tasks.into_inner().unwrap_or_else(PoisonError::into_inner);
        while tasks.join_next().await.is_some() {}
    }
}

impl<J: Send + 'static> Open<J> {
    /// Works a lane off until nothing is left in it.
    async fn clear(self: Arc<Self>, lane: u64) {
        while let Some(job) = self.front(lane) {
            (self.work)(job).await;
            self.done(lane);
        }
    }

    /// The job whose turn it is. It stays in the lane until it is done, so that the lane is there as long.
    fn front(&self, lane: u64) -> Option<J> {
        self.lanes().get_mut(&lane)?.front_mut()?.job.take()
    }

    fn done(&self, lane: u64) {
        let mut lanes = self.lanes();
        let Entry::Occupied(mut jobs) = lanes.entry(lane) else { return };
        jobs.get_mut().pop_front();
        if jobs.get().is_empty() {
            jobs.remove();
        }
    }
}

impl<J> Open<J> {
    fn lanes(&self) -> MutexGuard<'_, HashMap<u64, VecDeque<Queued<J>>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> fmt::Debug for Lanes<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("open", &self.open.lanes().len()).finish_non_exhaustive()
    }
}
