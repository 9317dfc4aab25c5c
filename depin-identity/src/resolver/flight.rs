//! One call that several wait for.

use alloc::{sync::Arc, vec::Vec};
use core::{
    future::poll_fn,
    task::{Poll, Waker},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

use depin_core::{Error, ErrorKind, Result, resolution::Resolution};

/// What a resolver answered, so that it can be given to many.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Found(Arc<Resolution>),
    Failed(Arc<Failure>),
}

impl Answer {
    pub(super) fn of(result: &Result<Resolution>) -> Self {
        match result {
            Ok(resolution) => Self::Found(Arc::new(resolution.clone())),
            Err(error) => Self::Failed(Arc::new(Failure {
                kind: error.kind(),
                message: error.message().into(),
                context: error.context().map(|(key, value)| (key, value.into())).collect(),
            })),
        }
    }

    pub(super) fn to_result(&self) -> Result<Resolution> {
        match self {
            Self::Found(resolution) => Ok(Resolution::clone(resolution)),
            Self::Failed(failure) => {
                let error = Error::new(failure.kind, failure.message.clone());
                let pairs = failure.context.iter();
                Err(pairs.fold(error, |error, (key, value)| error.with(key, value)))
            }
        }
    }
}

/// An [`Error`] without its source, which cannot be cloned.
#[derive(Debug)]
pub(super) struct Failure {
    kind: ErrorKind,
    message: alloc::string::String,
    context: Vec<(&'static str, alloc::string::String)>,
}

/// How a call ended for those who only waited.
#[derive(Clone, Debug)]
pub(super) enum Landing {
    /// With an answer for all.
    Shared(Answer),
    /// With an answer that is true for the one who asked only: ask yourself.
    Alone,
    /// The one who asked went away. Somebody else has to.
    Lost,
}

/// A call on its way.
#[derive(Debug, Default)]
pub(super) struct Flight(Mutex<Progress>);

#[derive(Debug, Default)]
struct Progress {
    landing: Option<Landing>,
    waiting: Vec<Waker>,
}

impl Flight {
    /// Ends it. Only the first landing counts.
    pub(super) fn land(&self, landing: Landing) {
        let mut progress = self.lock();
        progress.landing.get_or_insert(landing);
        let waiting = core::mem::take(&mut progress.waiting);
        drop(progress);
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) async fn landing(&self) -> Landing {
        poll_fn(|context| {
            let mut progress = self.lock();
            if let Some(landing) = &progress.landing {
                return Poll::Ready(landing.clone());
            }
            if !progress.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                progress.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
