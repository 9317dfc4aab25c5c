//! Ingest's side: from the bytes of a request to the bytes of its answer.

use std::{error::Error, time::Duration};

use depin_core::{Result, SignedBatch};
use tokio::time::{Instant, sleep};

use crate::{
    ingest::{Ingest, Throttled},
    observe,
    wire::{self, Nonce, Question},
};

/// Pauses between attempts while ingest cannot answer, the first and the longest.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Judges what came in, or tells where a chain stands, and asks again until `until` while ingest cannot answer.
///
/// Bytes that are no request are judged as they are, with an empty nonce: so noise is refused and kept
/// like noise from anywhere, and a bare batch is a batch. `None` means that there is no answer.
#[tracing::instrument(level = "debug", name = "broker", skip_all, fields(by))]
pub(crate) async fn answer(
    ingest: &Ingest,
    by: &'static str,
    payload: &[u8],
    until: Instant,
) -> Option<Vec<u8>> {
    let (nonce, signed) =
        wire::decode_request(payload).unwrap_or_else(|_| (Nonce::default(), payload));
    let signed = SignedBatch::new(signed.to_vec());
    let bytes = if Question::parse(signed.as_bytes(), ingest.network()).is_ok() {
        let standing = patiently(until, || ingest.standing(&signed)).await;
        observe::broker_told(by, standing.as_ref());
        wire::encode_standing(&standing?, signed.hash(), &nonce, ingest.signer())
    } else {
        let answer = patiently(until, || ingest.accept_batch(&signed)).await;
        observe::broker_answered(by, answer.as_ref());
        wire::encode_answer(&answer?, &nonce, ingest.signer())
    };
    bytes.inspect_err(|error| tracing::error!(%error, "an answer cannot be signed")).ok()
}

/// Tries again until `until`. A device that sends too much is not waited for: others would wait behind it.
async fn patiently<T, F>(until: Instant, attempt: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T>>,
{
    let mut pause = FIRST;
    loop {
        let error = match attempt().await {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        let own_fault = Error::source(&error).is_some_and(|source| source.is::<Throttled>());
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
