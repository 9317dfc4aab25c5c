//! Batches of one call go into the log in their order, device by device.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
};

/// Whether a batch has its place in the log, or will never have one.
#[derive(Debug, Default)]
pub(super) struct Passed(AtomicBool);

/// The place of a batch behind the one before it of the same device. It passes when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Turn<'a> {
    before: Option<&'a Passed>,
    own: Option<&'a Passed>,
}

impl<'a> Turn<'a> {
    pub(super) const fn new(before: Option<&'a Passed>, own: &'a Passed) -> Self {
        Self { before, own: Some(own) }
    }

    /// Waits for the batch before. It is polled by the same task and earlier, so whatever wakes that one lets
    /// this one see that it has passed.
    pub(super) async fn comes(&self) {
        poll_fn(|_| match self.before {
            Some(before) if !before.0.load(Ordering::Acquire) => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(own) = self.own {
            own.0.store(true, Ordering::Release);
        }
    }
}
