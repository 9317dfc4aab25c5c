//! Wakes whoever waits for a log to grow, in any executor.
//!
//! Waiting costs one waker per waiter and growing takes them all, so that a slow consumer costs a log
//! nothing while it is not waiting.

use std::{
    collections::BTreeMap,
    future::Future,
    mem,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// The size of a log, which only grows, and those who wait for more.
#[derive(Debug)]
pub(crate) struct Growth(Mutex<State>);

#[derive(Debug)]
struct State {
    size: u64,
    waiters: BTreeMap<u64, Waker>,
    next_waiter: u64,
}

impl Growth {
    pub(crate) const fn new(size: u64) -> Self {
        Self(Mutex::new(State { size, waiters: BTreeMap::new(), next_waiter: 0 }))
    }

    /// The log holds `size` batches now; less than before changes nothing.
    pub(crate) fn reached(&self, size: u64) {
        let mut state = self.state();
        if size <= state.size {
            return;
        }
        state.size = size;
        let waiters = mem::take(&mut state.waiters);
        // A waker runs foreign code, which may come back here.
        drop(state);
        waiters.into_values().for_each(Waker::wake);
    }

    /// Waits until the log holds more than `size` batches, and says how many.
    pub(crate) const fn past(&self, size: u64) -> Past<'_> {
        Past { growth: self, size, waiter: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Growth::past`].
#[derive(Debug)]
pub(crate) struct Past<'a> {
    growth: &'a Growth,
    size: u64,
    waiter: Option<u64>,
}

impl Future for Past<'_> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let mut state = self.growth.state();
        if state.size > self.size {
            return Poll::Ready(state.size);
        }
        let waiter = self.waiter.unwrap_or(state.next_waiter);
        state.next_waiter = state.next_waiter.max(waiter.wrapping_add(1));
        state.waiters.insert(waiter, context.waker().clone());
        drop(state);
        self.waiter = Some(waiter);
        Poll::Pending
    }
}

impl Drop for Past<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.growth.state().waiters.remove(&waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waiter_is_woken_once_and_leaves_nothing_behind() {
        let (growth, count) = (Growth::new(2), Arc::new(Count::default()));
        let waker = Waker::from(Arc::clone(&count));
        let context = &mut Context::from_waker(&waker);
        assert_eq!(Pin::new(&mut growth.past(1)).poll(context), Poll::Ready(2));
        let mut waits = growth.past(2);
        for _ in 0..3 {
            assert_eq!(Pin::new(&mut waits).poll(context), Poll::Pending);
        }
        growth.reached(2);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        growth.reached(5);
        growth.reached(4);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(Pin::new(&mut waits).poll(context), Poll::Ready(5));
        let mut leaves = growth.past(5);
        assert_eq!(Pin::new(&mut leaves).poll(context), Poll::Pending);
        drop(leaves);
        assert!(growth.state().waiters.is_empty());
    }
}
