//! Batches of one call go into the log in their order, device by device.
//!
//! A batch whose predecessor could not be taken *now* cannot be taken now either: it would look as if the
//! device had left one out, and be refused for it.

use std::{
    future::poll_fn,
    sync::{Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use depin_core::{Error, Result, transport::Answer};

use super::{Throttled, objection::Stop};

/// Where a batch of the call stands.
#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// It has no place in the log yet.
    #[default]
    Waiting,
    /// It has its place behind those before, and the log works on it.
    Placed,
    Stored,
    /// It was refused, or stored by an earlier call, and says nothing about those before it.
    Aside,
    Unavailable(Again),
}

/// When to come again, and whether that is because of the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    delay: Option<Duration>,
    by_device: bool,
}

impl Again {
    fn of(error: &Error) -> Self {
        use core::error::Error as _;
        let by_device = error.source().is_some_and(|source| source.is::<Throttled>());
        Self { delay: error.retry_after(), by_device }
    }
}

impl From<Again> for Stop {
    fn from(Again { delay, by_device }: Again) -> Self {
        match delay {
            Some(delay) if by_device => Self::Throttle(delay),
            _ => Self::Behind(delay),
        }
    }
}

/// A batch of a call, with the place in the call of the one before it of the same device.
#[derive(Debug)]
pub(super) struct Place {
    before: Option<usize>,
    state: Mutex<State>,
}

impl Place {
    pub(super) fn behind(before: Option<usize>) -> Self {
        Self { before, state: Mutex::default() }
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of a batch among those of its call; alone unless said.
#[derive(Debug, Default)]
pub(super) struct Turn<'a> {
    call: &'a [Place],
    own: usize,
}

impl<'a> Turn<'a> {
    pub(super) const fn new(call: &'a [Place], own: usize) -> Self {
        Self { call, own }
    }

    /// Waits until those before have their places, or is told that one of them cannot be taken now. They are
    /// polled by the same task and earlier, so whatever wakes one lets this one see where it stands.
    pub(super) async fn comes(&self) -> Result<(), Again> {
        poll_fn(|_| {
            self.look_back(|state| match state {
                State::Waiting => Some(Poll::Pending),
                State::Placed | State::Stored => Some(Poll::Ready(Ok(()))),
                State::Aside => None,
                State::Unavailable(again) => Some(Poll::Ready(Err(again))),
            })
        })
        .await
    }

    /// After the log has missed a batch: waits until those before are answered, and is told when it is one of
    /// them that is missing.
    pub(super) async fn missed(&self) -> Result<(), Again> {
        poll_fn(|_| {
            self.look_back(|state| match state {
                State::Waiting | State::Placed => Some(Poll::Pending),
                State::Stored | State::Aside => None,
                State::Unavailable(again) => Some(Poll::Ready(Err(again))),
            })
        })
        .await
    }

    /// What the nearest before has to say, or nobody.
    fn look_back(
        &self,
        say: impl Fn(State) -> Option<Poll<Result<(), Again>>>,
    ) -> Poll<Result<(), Again>> {
        let mut before = self.call.get(self.own).and_then(|own| own.before);
        while let Some(place) = before.and_then(|place| self.call.get(place)) {
            if let Some(said) = say(place.state()) {
                return said;
            }
            before = place.before;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn placed(&self) {
        self.set(State::Placed);
    }

    /// Tells those behind how this one was answered.
    pub(super) fn ended(&self, answer: &Result<Answer>) {
        let own = self.call.get(self.own).map(Place::state);
        self.set(match answer {
            Ok(Answer::Receipt(_)) if matches!(own, Some(State::Placed)) => State::Stored,
            Err(error) if error.is_retryable() => State::Unavailable(Again::of(error)),
            _ => State::Aside,
        });
    }

    fn set(&self, state: State) {
        if let Some(own) = self.call.get(self.own) {
            *own.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        }
    }
}
