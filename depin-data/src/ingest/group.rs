//! Signatures that wait at the same time are verified together.
//!
//! Whoever has a signature to check queues it and gives way once, so that others who are ready queue
//! theirs; then the first to come back verifies a whole group and tells the others. Nobody waits for a
//! clock, and nobody who is alone waits at all.
//!
//! Those who come next are often those whom the log's thread answers now, one after the other. On a
//! processor that it shares with us it would be stopped after the first, so whoever opens a group lets
//! other threads run before.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use depin_core::key::{Check, KeyError, Signature, verify_all};

use super::{lock, records::Known};
use crate::observe;

/// Most signatures in one call: more gain little, and other threads want work too.
const GROUP: usize = 64;
/// Queued signatures after which those that nobody waits for are thrown away.
const SWEEP: usize = 4096;

type Verdict = Result<(), KeyError>;

enum Place {
    Queued,
    /// Somebody verifies it now.
    Taken(Option<Waker>),
    Done(Verdict),
}

type Ticket = Arc<Mutex<Place>>;

struct Job {
    ticket: Ticket,
    known: Arc<Known>,
    message: Vec<u8>,
    signature: Signature,
}

#[derive(Default)]
pub(super) struct Groups(Mutex<VecDeque<Job>>);

impl Groups {
    /// The verdict of the device's key, as [`verify_all`] gives it.
    pub(super) async fn verify(
        &self,
        known: &Arc<Known>,
        message: Vec<u8>,
        signature: Signature,
    ) -> Verdict {
        let ticket = Arc::new(Mutex::new(Place::Queued));
        let job = Job { ticket: Arc::clone(&ticket), known: Arc::clone(known), message, signature };
        if self.queue(job) {
            std::thread::yield_now();
        }
        give_way().await;
        poll_fn(|context| self.poll(&ticket, context)).await
    }

    /// Whether it is the first.
    fn queue(&self, job: Job) -> bool {
        let queue = &mut *lock(&self.0);
        if queue.len() >= SWEEP {
            queue.retain(Job::is_awaited);
        }
        queue.push_back(job);
        queue.len() == 1
    }

    fn poll(&self, ticket: &Ticket, context: &mut Context<'_>) -> Poll<Verdict> {
        loop {
            match &mut *lock(ticket) {
                Place::Done(verdict) => return Poll::Ready(*verdict),
                Place::Taken(waker) => {
                    *waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Place::Queued => {}
            }
            // Ours is in the queue still, so each turn brings it nearer.
            self.lead();
        }
    }

    fn lead(&self) {
        let jobs: Vec<_> = {
            let queue = &mut *lock(&self.0);
            let end = queue.len().min(GROUP);
            let jobs = queue.drain(..end).filter(Job::is_awaited);
            // Under the lock, so that nobody finds a ticket queued that is not in the queue.
            jobs.inspect(|job| *lock(&job.ticket) = Place::Taken(None)).collect()
        };
        let mut checks = Vec::with_capacity(jobs.len());
        for Job { known, message, signature, .. } in &jobs {
            checks.push(Check { key: &known.key, message, signature });
        }
        observe::verified_together(checks.len());
        for (job, verdict) in jobs.iter().zip(verify_all(&checks)) {
            let before = std::mem::replace(&mut *lock(&job.ticket), Place::Done(verdict));
            if let Place::Taken(Some(waker)) = before {
                waker.wake();
            }
        }
    }
}

impl Job {
    /// Whether the one who queued it is still there.
    fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.ticket) > 1
    }
}

/// Lets everybody else who is ready run first. Tokio takes a task that wakes itself for a ready one, and runs
/// it before those that other threads have woken; so it is asked in its own way, which works in other
/// executors too.
#[cfg(any(feature = "redb", feature = "http", feature = "mqtt"))]
async fn give_way() {
    tokio::task::yield_now().await;
}

#[cfg(not(any(feature = "redb", feature = "http", feature = "mqtt")))]
async fn give_way() {
    let mut gave = false;
    poll_fn(|context| {
        if gave {
            return Poll::Ready(());
        }
        gave = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
