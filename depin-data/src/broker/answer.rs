//! Ingest's side: from the bytes of a request to the bytes of its answer.

use std::{error::Error, time::Duration};

use depin_core::transport::Answer;
use tokio::time::{Instant, sleep};

use crate::{
    ingest::{Ingest, Throttled},
    observe,
    wire::{self, Nonce},
};

/// Pauses between attempts while ingest cannot answer, the first and the longest.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Judges what came in, and asks again until `until` while ingest cannot answer. A device that sends too
/// much is not waited for: others would wait behind it.
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
    let (nonce, batch) =
        wire::decode_request(payload).unwrap_or_else(|_| (Nonce::default(), payload));
    let answer = patient(ingest, batch, until).await;
    observe::broker_answered(by, answer.as_ref());
    let bytes = wire::encode_answer(&answer?, &nonce, ingest.signer());
    bytes.inspect_err(|error| tracing::error!(%error, "an answer cannot be signed")).ok()
}

async fn patient(ingest: &Ingest, batch: &[u8], until: Instant) -> Option<Answer> {
    let mut pause = FIRST;
    loop {
        let error = match ingest.accept(batch).await {
            Ok(answer) => return Some(answer),
            Err(error) => error,
        };
        let own_fault = Error::source(&error).is_some_and(|source| source.is::<Throttled>());
        let delay = error.retry_after().map_or(pause, |after| after.max(pause));
        if own_fault || Instant::now() + delay > until {
            tracing::warn!(%error, "a batch from a broker stays without answer");
            return None;
        }
        tracing::debug!(%error, "ingest cannot answer a batch from a broker; trying again");
        sleep(delay).await;
        pause = pause.saturating_mul(2).min(LONGEST);
    }
}
