//! How those who wait for a commit hear of it: all are told, then woken.
//!
//! To wake a thread that sleeps takes longer than all else that is done for a batch, and a thread that is
//! woken for one task of hundreds sleeps again before the next. So whoever is woken wakes the others: most
//! are tasks of its own thread, where that costs next to nothing. The writer goes on waking as long as any
//! are left, so nobody depends on anybody else.

use std::{
    collections::VecDeque,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use depin_core::{Error, Result, log::Append};

/// Those who were told and are to be woken.
#[derive(Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<VecDeque<Waker>>>);

enum State {
    Waiting(Option<Waker>),
    Told(Result<Append>),
    /// Nobody asks again.
    Over,
}

type Shared = Arc<Mutex<State>>;

impl Crowd {
    /// Two ends of an answer.
    pub(super) fn ask(&self) -> (Reply, Answer) {
        let state = Arc::new(Mutex::new(State::Waiting(None)));
        (Reply(Arc::clone(&state)), Answer { state, crowd: self.clone() })
    }

    /// Tells everybody, then wakes them.
    pub(super) fn tell(&self, answers: impl IntoIterator<Item = (Reply, Result<Append>)>) {
        let wakers: Vec<_> = answers.into_iter().filter_map(|(to, it)| to.put(it)).collect();
        lock(&self.0).extend(wakers);
        loop {
            // A waker runs foreign code, which may come back here.
            let next = lock(&self.0).pop_front();
            let Some(waker) = next else { return };
            waker.wake();
        }
    }

    fn wake_rest(&self) {
        let rest = mem::take(&mut *lock(&self.0));
        rest.into_iter().for_each(Waker::wake);
    }
}

/// The end of the writer. When it is dropped, the log has stopped.
pub(super) struct Reply(Shared);

impl Reply {
    fn put(&self, answer: Result<Append>) -> Option<Waker> {
        match mem::replace(&mut *lock(&self.0), State::Told(answer)) {
            State::Waiting(waker) => waker,
            State::Told(_) | State::Over => None,
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if matches!(*lock(&self.0), State::Waiting(_)) {
            self.put(Err(super::stopped())).into_iter().for_each(Waker::wake);
        }
    }
}

/// The end of who asked.
pub(super) struct Answer {
    state: Shared,
    crowd: Crowd,
}

impl Future for Answer {
    type Output = Result<Append>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = {
            let mut state = lock(&self.state);
            match mem::replace(&mut *state, State::Over) {
                State::Told(answer) => answer,
                State::Over => Err(Error::unavailable("the log has answered already")),
                State::Waiting(_) => {
                    *state = State::Waiting(Some(context.waker().clone()));
                    return Poll::Pending;
                }
            }
        };
        self.crowd.wake_rest();
        Poll::Ready(answer)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use depin_core::ErrorKind;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(answer: &mut Answer, count: &Arc<Count>) -> Poll<Result<Append>> {
        let waker = Waker::from(Arc::clone(count));
        Pin::new(answer).poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn everybody_is_told_and_woken_once_whether_others_ask_again_or_not() {
        let (crowd, count) = (Crowd::default(), Arc::new(Count::default()));
        let (replies, mut answers): (Vec<_>, Vec<_>) = (0..5).map(|_| crowd.ask()).unzip();
        assert!(answers.iter_mut().all(|answer| poll(answer, &count).is_pending()));
        drop(answers.pop());
        let stored = |index| Ok(Append::Stored(index));
        crowd.tell(replies.into_iter().zip((0..).map(stored)));
        assert_eq!(count.0.load(Ordering::Relaxed), 5);
        for (index, answer) in answers.iter_mut().enumerate() {
            let Poll::Ready(Ok(there)) = poll(answer, &count) else { panic!("told") };
            assert_eq!(there, Append::Stored(index as u64));
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn who_is_polled_first_wakes_those_whom_the_writer_has_not_come_to() {
        let (crowd, count) = (Crowd::default(), Arc::new(Count::default()));
        let (reply, mut answer) = crowd.ask();
        lock(&crowd.0).extend([Waker::from(Arc::clone(&count)), Waker::from(Arc::clone(&count))]);
        reply.put(Ok(Append::Stored(0)));
        assert!(poll(&mut answer, &count).is_ready());
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_reply_that_is_dropped_says_that_the_log_has_stopped() {
        let (crowd, count) = (Crowd::default(), Arc::new(Count::default()));
        let (reply, mut answer) = crowd.ask();
        assert!(poll(&mut answer, &count).is_pending());
        drop(reply);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let Poll::Ready(Err(error)) = poll(&mut answer, &count) else { panic!("told") };
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
