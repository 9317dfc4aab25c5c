//! Places, and how many wait for one.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Most places that can be counted.
pub(super) const MOST: usize = 1 << 24;

/// So many places, for whoever comes first.
#[derive(Debug)]
pub(super) struct Queue {
    places: Semaphore,
    waiting: AtomicUsize,
}

impl Queue {
    /// Of at least one place.
    pub(super) fn new(places: usize) -> Self {
        Self { places: Semaphore::new(places.clamp(1, MOST)), waiting: AtomicUsize::new(0) }
    }

    /// A place, if one is free now.
    pub(super) fn try_enter(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// A place as soon as one is free.
    pub(super) async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        if let Some(place) = self.try_enter() {
            return Some(place);
        }
        let _waits = Waits::of(&self.waiting);
        self.places.acquire().await.ok()
    }

    /// Whether somebody waits.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// Counted until it is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn of(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
