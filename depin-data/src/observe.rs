//! What can be watched while batches come in: spans and events (`tracing`), and under the feature
//! `metrics` these numbers, for whatever recorder the program has installed. The names are stable.
//!
//! | name | kind | labels | what |
//! |---|---|---|---|
//! | `depin_ingest_received_bytes_total` | counter | | bytes of batches that were let in to be judged |
//! | `depin_ingest_answers_total` | counter | `answer`: `receipt`, or a refusal code | answers given |
//! | `depin_ingest_stored_total` | counter | `kind`: `batches`, `readings` | what is new in the log |
//! | `depin_ingest_repeated_total` | counter | | receipts for batches that were stored before |
//! | `depin_ingest_throttled_total` | counter | `by`: `device`, `ingest`, `registry` | told to come again |
//! | `depin_ingest_unkept_total` | counter | | refusals that were not kept, to save the disk |
//! | `depin_ingest_replays_total` | counter | `answer`, as above | dead letters judged again |
//! | `depin_ingest_in_flight` | gauge | | batches under way when the last came in |
//! | `depin_ingest_append_seconds` | histogram | | from handing a batch to the log to its answer |
//! | `depin_ingest_verified_together` | histogram | | signatures in one call |
//! | `depin_ingest_lag_seconds` | gauge | `rank`: `1` to `10` | the worst sources, see [`Ingest::lags`] |
//! | `depin_log_commit_jobs` | histogram | | appends in one flush of the log |
//!
//! A device is never a label: names come from outside, and recorders keep every label for ever.
//!
//! [`Ingest::lags`]: crate::ingest::Ingest::lags

use depin_core::transport::Answer;

use crate::ingest::Lag;

/// Sources with a gauge of their own.
pub(crate) const WORST: usize = 10;

#[cfg(feature = "metrics")]
const RANKS: [&str; WORST] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];

macro_rules! counted {
    ($name:literal, $by:expr $(, $label:literal => $value:expr)?) => {
        #[cfg(feature = "metrics")]
        metrics::counter!($name $(, $label => $value)?).increment($by);
    };
}

pub(crate) fn received(bytes: usize, in_flight: usize) {
    counted!("depin_ingest_received_bytes_total", bytes as u64);
    #[cfg(feature = "metrics")]
    metrics::gauge!("depin_ingest_in_flight").set(in_flight as f64);
    tracing::trace!(bytes, in_flight, "received");
}

/// A receipt is due; `readings` of a new batch.
pub(crate) fn accepted(readings: Option<u64>) {
    match readings {
        Some(readings) => {
            counted!("depin_ingest_stored_total", 1, "kind" => "batches");
            counted!("depin_ingest_stored_total", readings, "kind" => "readings");
            tracing::debug!(readings, "stored");
        }
        None => {
            counted!("depin_ingest_repeated_total", 1);
            tracing::debug!("stored before");
        }
    }
}

pub(crate) fn answered(answer: &Answer) {
    counted!("depin_ingest_answers_total", 1, "answer" => label(answer));
    if let Answer::Refusal(refusal) = answer {
        let device = refusal.device.as_ref().map(depin_core::Did::as_str);
        tracing::info!(code = %refusal.code, device, detail = %refusal.detail, "refused");
    }
}

pub(crate) fn replayed(answer: &Answer) {
    let answer = label(answer);
    counted!("depin_ingest_replays_total", 1, "answer" => answer);
    tracing::info!(answer, "dead letter judged again");
}

fn label(answer: &Answer) -> &'static str {
    match answer {
        Answer::Receipt(_) => "receipt",
        Answer::Refusal(refusal) => refusal.code.as_str(),
    }
}

pub(crate) fn throttled(by: &'static str) {
    counted!("depin_ingest_throttled_total", 1, "by" => by);
    tracing::debug!(by, "told to come again");
}

pub(crate) fn unkept() {
    counted!("depin_ingest_unkept_total", 1);
}

pub(crate) fn verified_together(signatures: usize) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("depin_ingest_verified_together").record(signatures as f64);
    tracing::trace!(signatures, "verified together");
}

pub(crate) fn lags(worst: &[Lag]) {
    #[cfg(feature = "metrics")]
    for (rank, lag) in RANKS.iter().zip(worst) {
        metrics::gauge!("depin_ingest_lag_seconds", "rank" => *rank).set(lag.behind.as_secs_f64());
    }
    if let Some(Lag { device, behind, .. }) = worst.first() {
        tracing::debug!(%device, ?behind, "furthest behind");
    }
}

/// Appends and refusals that one flush made durable.
#[cfg(feature = "redb")]
pub(crate) fn committed(jobs: usize) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("depin_log_commit_jobs").record(jobs as f64);
    tracing::trace!(jobs, "committed");
}

/// Measures an append, where somebody wants to know.
pub(crate) struct Timer {
    #[cfg(feature = "metrics")]
    began: std::time::Instant,
}

impl Timer {
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(feature = "metrics")]
            began: std::time::Instant::now(),
        }
    }

    pub(crate) fn appended(self) {
        #[cfg(feature = "metrics")]
        metrics::histogram!("depin_ingest_append_seconds")
            .record(self.began.elapsed().as_secs_f64());
    }
}
