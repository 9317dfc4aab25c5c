//! Ingest's side: from the bytes of a request to the bytes of its answer.

use std::{error, sync::Arc, time::Duration};

use depin_core::{Did, Error, Result, SignedBatch};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use crate::{
    batch,
    ingest::{Ingest, Throttled},
    observe,
    wire::{self, Nonce, Question},
};

/// Pauses between attempts while ingest cannot answer, the first and the longest.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Ingest as it is asked by what serves a broker: so many requests at a time, each for so long.
///
/// A request has a turn while it is judged, and gives it up while it waits for its next attempt. So those for whom a
/// registry does not answer have all turns for one attempt each, and then come behind the others.
#[derive(Clone)]
pub(crate) struct Desk {
    ingest: Arc<Ingest>,
    by: &'static str,
    turns: Arc<Semaphore>,
    hours: Hours,
}

/// How long a request is worked for.
#[derive(Clone, Copy)]
pub(crate) struct Hours {
    /// One attempt.
    pub(crate) attempt: Duration,
    /// Begins no attempt after that.
    pub(crate) patience: Duration,
}

impl Desk {
    /// For what comes `by` a broker of this kind.
    pub(crate) fn new(ingest: Arc<Ingest>, by: &'static str, turns: u16, hours: Hours) -> Self {
        let turns = Arc::new(Semaphore::new(usize::from(turns.max(1))));
        Self { ingest, by, turns, hours }
    }

    /// Who seems to have signed what a request carries: what one device sends has to be judged in its order.
    pub(crate) fn sender(&self, payload: &[u8]) -> Option<Did> {
        let (_, signed) = opened(payload);
        let network = self.ingest.network();
        match Question::parse(signed, network) {
            Ok(question) => Some(question.device().clone()),
            Err(_) => batch::claimed_signer(signed, network).ok(),
        }
    }

    /// Judges what came in, or tells where a chain stands, and asks again while ingest cannot answer.
    ///
    /// Bytes that are no request are judged as they are, with an empty nonce: so noise is refused and kept
    /// like noise from anywhere, and a bare batch is a batch. `None` means that there is no answer.
    #[tracing::instrument(level = "debug", name = "broker", skip_all, fields(by = self.by))]
    pub(crate) async fn answer(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let ingest = &*self.ingest;
        let (nonce, signed) = opened(payload);
        let signed = SignedBatch::new(signed.to_vec());
        let bytes = if Question::parse(signed.as_bytes(), ingest.network()).is_ok() {
            let standing = self.patiently(|| ingest.standing(&signed)).await;
            observe::broker_told(self.by, standing.as_ref());
            wire::encode_standing(&standing?, signed.hash(), &nonce, ingest.signer())
        } else {
            let answer = self.patiently(|| ingest.accept_batch(&signed)).await;
            observe::broker_answered(self.by, answer.as_ref());
            wire::encode_answer(&answer?, &nonce, ingest.signer())
        };
        bytes.inspect_err(|error| tracing::error!(%error, "an answer cannot be signed")).ok()
    }

    /// Tries again while there is patience. A device that sends too much is not waited for: others would wait
    /// behind it.
    async fn patiently<T, F>(&self, attempt: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T>>,
    {
        let until = Instant::now() + self.hours.patience;
        let mut pause = FIRST;
        loop {
            let error = match self.in_turn(attempt()).await {
                Ok(done) => return Some(done),
                Err(error) => error,
            };
            let own_fault =
                error::Error::source(&error).is_some_and(|source| source.is::<Throttled>());
            let delay = error.retry_after().map_or(pause, |after| after.max(pause));
            if own_fault || Instant::now() + delay > until {
                tracing::warn!(%error, "a request from a broker stays without answer");
                return None;
            }
            tracing::debug!(%error, "ingest cannot answer a request from a broker; trying again");
            sleep(delay).await;
            pause = pause.saturating_mul(2).min(LONGEST);
        }
    }

    /// One attempt. What the log was handed before the time is over may be stored all the same: the next attempt finds
    /// it there.
    async fn in_turn<T>(&self, attempt: impl Future<Output = Result<T>>) -> Result<T> {
        let _turn = self.turns.acquire().await;
        let silent = "registry or log do not answer in time; the device sends the batch again";
        timeout(self.hours.attempt, attempt)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable(silent)))
    }
}

/// The nonce of a request and what it carries.
fn opened(payload: &[u8]) -> (Nonce, &[u8]) {
    wire::decode_request(payload).unwrap_or_else(|_| (Nonce::default(), payload))
}
