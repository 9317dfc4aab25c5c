//! Ingest's side: from the bytes of a request to the bytes of its answer.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    ingest::Ingest,
    wire::{self, Nonce},
};

/// Pauses between attempts while ingest cannot answer, the first and the longest.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Judges what came in, and asks again until `until` while ingest cannot answer.
///
/// Bytes that are no request are judged as they are, with an empty nonce: so noise is refused and kept
/// like noise from anywhere, and a bare batch is a batch. `None` means that there is no answer.
pub(crate) async fn answer(
    ingest: &Ingest,
    payload: &[u8],
    until: Option<Instant>,
) -> Option<Vec<u8>> {
    let (nonce, batch) =
        wire::decode_request(payload).unwrap_or_else(|_| (Nonce::default(), payload));
    let mut pause = FIRST;
    let answer = loop {
        let error = match ingest.accept(batch).await {
            Ok(answer) => break answer,
            Err(error) => error,
        };
        tracing::warn!(%error, "ingest cannot answer a batch from a broker; trying again");
        if until.is_some_and(|until| Instant::now() + pause > until) {
            return None;
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(LONGEST);
    };
    let bytes = wire::encode_answer(&answer, &nonce, ingest.signer());
    bytes.inspect_err(|error| tracing::error!(%error, "an answer cannot be signed")).ok()
}
