//! What can be watched from outside: spans and events (`tracing`), and under the feature `metrics` these numbers,
//! for whatever recorder the program has installed. The names are stable.
//!
//! | name | kind | labels | what |
//! |---|---|---|---|
//! | **a device** | | | |
//! | `depin_device_sealed_total` | counter | `kind`: `batches`, `readings` | what a [`Collector`] collected and sealed |
//! | `depin_device_sends_total` | counter | `answer`: `receipt`, a refusal code, `none` | batches sent by it, by what came back |
//! | `depin_device_waiting` | gauge | | batches that its outbox keeps |
//! | `depin_device_dropped_total` | counter | | batches given up because its outbox had no room |
//! | **transports** | | | |
//! | `depin_transport_dropped_total` | counter | `by`: `mqtt`, `nats` | requests dropped because too many waited, or the same already; devices send them again |
//! | `depin_transport_oversized_total` | counter | `by`: `mqtt` | sessions begun anew because a message was too large to be read |
//! | `depin_http_requests_total` | counter | `route`: a path, or `other`; `status`: the code | requests over HTTP, by what was answered |
//! | `depin_http_seconds` | histogram | `route` | from the head of a request to the head of its answer |
//! | `depin_http_connections` | gauge | | connections that are served now |
//! | `depin_http_turned_away_total` | counter | | connections that found no place in time |
//! | `depin_http_streams` | gauge | | consumers that read along over HTTP |
//! | `depin_broker_requests_total` | counter | `by`: `mqtt`, `nats`; `answer`: `receipt`, `standing`, a refusal code, `none` | requests through a broker, by what was answered |
//! | **ingest** | | | |
//! | `depin_ingest_received_bytes_total` | counter | | bytes of batches that were let in to be judged |
//! | `depin_ingest_answers_total` | counter | `answer`: `receipt`, or a refusal code | answers given |
//! | `depin_ingest_failures_total` | counter | `kind` of the error | batches without answer, which come again |
//! | `depin_ingest_accept_seconds` | histogram | | from a batch to its answer |
//! | `depin_ingest_verify_seconds` | histogram | | to the verdict on a signature, with the wait for others |
//! | `depin_ingest_stored_total` | counter | `kind`: `batches`, `readings` | what is new in the log |
//! | `depin_ingest_repeated_total` | counter | | receipts for batches that were stored before |
//! | `depin_ingest_throttled_total` | counter | `by`: `device`, `ingest`, `registry`, `witnesses` | told to come again |
//! | `depin_ingest_unkept_total` | counter | `of`: `device`, `unknown` | refusals that were not kept, to save the disk |
//! | `depin_ingest_replays_total` | counter | `answer`, as above | dead letters judged again |
//! | `depin_ingest_in_flight` | gauge | | batches under way when the last came in |
//! | `depin_ingest_append_seconds` | histogram | | from handing a batch to the log to its answer |
//! | `depin_ingest_verified_together` | histogram | | signatures in one call |
//! | `depin_ingest_lag_seconds` | gauge | `rank`: `1` to `10` | the worst sources, see [`Ingest::lags`] |
//! | **the log** | | | |
//! | `depin_log_batches` | gauge | | batches in the log, when it last grew |
//! | `depin_log_commit_jobs` | histogram | | appends in one flush |
//! | `depin_log_commit_seconds` | histogram | | from the first byte of a group to the end of its flush |
//! | `depin_log_index_seconds` | histogram | | one transaction of the index: refusals, epochs, and what it learns of batches |
//! | `depin_stream_messages_total` | counter | `of`: `self`, `others` | messages of a JetStream log that this process applied |
//! | `depin_stream_behind` | gauge | | messages of the stream that this process had not applied when it last looked |
//! | **epochs** | | | |
//! | `depin_epoch_read_seconds` | histogram | | reading the range of an epoch from the log, before closing |
//! | `depin_epoch_closed_total` | counter | `kind`: `epochs`, `batches` | records that were completed, and the batches in them |
//! | `depin_epoch_score_seconds` | histogram | | scoring an epoch, at closing and when it is explained |
//! | `depin_epoch_readings_total` | counter | | readings in the ranges that were scored |
//! | `depin_quality_findings_total` | counter | `code` of the finding; `other` where a check makes codes up | what checks found there |
//! | **consumers** | | | |
//! | `depin_consumer_batches_total` | counter | | batches that subscriptions delivered |
//! | `depin_consumer_passed_total` | counter | | batches that they passed over |
//! | `depin_consumer_behind` | histogram | | batches after a subscription's cursor, each time it reads on |
//!
//! Seconds are seconds, bytes are bytes, and the rest are numbers of what the name says. A device is never a label:
//! names come from outside, and recorders keep every label for ever. Who lags is told by [`Ingest::lags`].
//!
//! Spans, each around one stage: `seal`, `forward` (a device); `http`, `broker` (a request); `accept`, `verify`,
//! `append` (a batch in ingest); `replay`; `read`, `close`, `score` (an epoch); `scan` (a consumer).
//!
//! [`Collector`]: crate::collector::Collector
//! [`Ingest::lags`]: crate::ingest::Ingest::lags

use std::borrow::Cow;

use depin_core::{EpochId, Error, quality::Finding, transport::Answer};

use crate::ingest::Lag;

/// Sources with a gauge of their own.
pub(crate) const WORST: usize = 10;

#[cfg(feature = "metrics")]
const RANKS: [&str; WORST] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];

macro_rules! counted {
    ($name:literal, $by:expr $(, $label:literal => $value:expr)*) => {
        #[cfg(feature = "metrics")]
        metrics::counter!($name $(, $label => $value)*).increment($by);
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

/// A batch has its answer, or an error in its place.
pub(crate) fn answered(answer: Result<&Answer, &Error>, timer: Timer) {
    timer.ended("depin_ingest_accept_seconds");
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            counted!("depin_ingest_failures_total", 1, "kind" => error.kind().as_str());
            tracing::debug!(%error, "no answer");
            return;
        }
    };
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

/// A refusal was not kept; `proven` when a device had signed it.
pub(crate) fn unkept(proven: bool) {
    let of = if proven { "device" } else { "unknown" };
    counted!("depin_ingest_unkept_total", 1, "of" => of);
    tracing::debug!(of, "a refusal was not kept");
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

/// A flush took this long and made these appends durable; the log has so many batches then.
#[cfg(feature = "redb")]
pub(crate) fn committed(jobs: usize, batches: u64, took: std::time::Duration) {
    #[cfg(feature = "metrics")]
    {
        metrics::histogram!("depin_log_commit_jobs").record(jobs as f64);
        metrics::histogram!("depin_log_commit_seconds").record(took.as_secs_f64());
        metrics::gauge!("depin_log_batches").set(batches as f64);
    }
    tracing::trace!(jobs, batches, ?took, "committed");
}

/// Messages of a stream were applied, of this process or of others.
#[cfg(feature = "nats")]
pub(crate) fn applied(own: bool) {
    let of = if own { "self" } else { "others" };
    counted!("depin_stream_messages_total", 1, "of" => of);
    tracing::trace!(of, "applied a message of the stream");
}

#[cfg(feature = "nats")]
pub(crate) fn behind(messages: u64) {
    #[cfg(feature = "metrics")]
    metrics::gauge!("depin_stream_behind").set(messages as f64);
    if messages > 0 {
        tracing::debug!(messages, "behind the stream");
    }
}

/// A request was not taken because too many wait, of its topic or of all, or the same does.
#[cfg(any(feature = "mqtt", feature = "nats"))]
pub(crate) fn dropped(by: &'static str) {
    counted!("depin_transport_dropped_total", 1, "by" => by);
    tracing::debug!(by, "too many requests wait; one was dropped");
}

#[cfg(feature = "mqtt")]
pub(crate) fn oversized(by: &'static str) {
    counted!("depin_transport_oversized_total", 1, "by" => by);
    tracing::warn!(by, "a message was too large to be read; beginning a new session without it");
}

/// A request over HTTP has the head of its answer.
#[cfg(feature = "http")]
pub(crate) fn http_answered(route: &'static str, status: u16, timer: Timer) {
    counted!("depin_http_requests_total", 1, "route" => route, "status" => status.to_string());
    timer.ended_at("depin_http_seconds", "route", route);
    tracing::debug!(route, status, "answered");
}

/// A connection found no place.
#[cfg(feature = "http")]
pub(crate) fn turned_away() {
    counted!("depin_http_turned_away_total", 1);
    tracing::debug!("no place for a connection");
}

/// A request through a broker has its answer, or stays without.
#[cfg(any(feature = "mqtt", feature = "nats"))]
pub(crate) fn broker_answered(by: &'static str, answer: Option<&Answer>) {
    broker_said(by, answer.map_or("none", label));
}

/// A question through a broker has its answer, or stays without.
#[cfg(any(feature = "mqtt", feature = "nats"))]
pub(crate) fn broker_told(by: &'static str, standing: Option<&depin_core::transport::Standing>) {
    use depin_core::transport::Standing;
    broker_said(
        by,
        match standing {
            Some(Standing::Tip(_)) => "standing",
            Some(Standing::Refusal(refusal)) => refusal.code.as_str(),
            None => "none",
        },
    );
}

#[cfg(any(feature = "mqtt", feature = "nats"))]
fn broker_said(by: &'static str, answer: &'static str) {
    counted!("depin_broker_requests_total", 1, "by" => by, "answer" => answer);
    tracing::debug!(by, answer, "answered");
}

/// A device sealed a batch.
pub(crate) fn sealed(readings: usize) {
    counted!("depin_device_sealed_total", 1, "kind" => "batches");
    counted!("depin_device_sealed_total", readings as u64, "kind" => "readings");
    tracing::debug!(readings, "sealed");
}

/// What became of a batch that a device sent; none of an answer that did not come.
pub(crate) fn sent(answer: Option<&Answer>, waiting: usize) {
    let answer = answer.map_or("none", label);
    counted!("depin_device_sends_total", 1, "answer" => answer);
    #[cfg(feature = "metrics")]
    metrics::gauge!("depin_device_waiting").set(waiting as f64);
    tracing::debug!(answer, waiting, "sent");
}

/// Batches of a device's outbox were given up for want of room.
pub(crate) fn given_up(batches: u64) {
    counted!("depin_device_dropped_total", batches);
    tracing::warn!(batches, "the outbox had no room; the oldest batches are given up");
}

pub(crate) fn found(finding: &Finding) {
    let code = match &finding.code {
        Cow::Borrowed(code) => code,
        // Whoever makes codes up makes a label of each.
        Cow::Owned(_) => "other",
    };
    counted!("depin_quality_findings_total", 1, "code" => code);
    tracing::trace!(code, "found");
}

/// The record of an epoch is complete.
pub(crate) fn closed(epoch: EpochId, batches: usize) {
    counted!("depin_epoch_closed_total", 1, "kind" => "epochs");
    counted!("depin_epoch_closed_total", batches as u64, "kind" => "batches");
    tracing::debug!(%epoch, batches, "closed");
}

/// An epoch was scored.
pub(crate) fn scored(epoch: EpochId, readings: u64, findings: u64, timer: Timer) {
    counted!("depin_epoch_readings_total", readings);
    timer.ended("depin_epoch_score_seconds");
    tracing::debug!(%epoch, readings, findings, "scored");
}

/// A batch went to a consumer.
pub(crate) fn delivered() {
    counted!("depin_consumer_batches_total", 1);
}

/// A consumer had no use for so many.
pub(crate) fn passed_over(batches: usize) {
    counted!("depin_consumer_passed_total", batches as u64);
    tracing::trace!(batches, "passed over");
}

/// A consumer reads on, so far behind the end.
#[cfg(feature = "metrics")]
pub(crate) fn reads_on(behind: u64) {
    metrics::histogram!("depin_consumer_behind").record(behind as f64);
}

/// Measures how long something takes, where somebody wants to know.
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

    pub(crate) fn ended(self, name: &'static str) {
        let _ = name;
        #[cfg(feature = "metrics")]
        metrics::histogram!(name).record(self.began.elapsed().as_secs_f64());
    }

    #[cfg(feature = "http")]
    fn ended_at(self, name: &'static str, label: &'static str, value: &'static str) {
        let _ = (name, label, value);
        #[cfg(feature = "metrics")]
        metrics::histogram!(name, label => value).record(self.began.elapsed().as_secs_f64());
    }
}

/// Counted in a gauge for as long as it is there.
#[cfg(feature = "http")]
pub(crate) struct Held(&'static str);

#[cfg(feature = "http")]
impl Held {
    pub(crate) fn new(name: &'static str) -> Self {
        #[cfg(feature = "metrics")]
        metrics::gauge!(name).increment(1.0);
        Self(name)
    }
}

#[cfg(feature = "http")]
impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0;
        #[cfg(feature = "metrics")]
        metrics::gauge!(self.0).decrement(1.0);
    }
}
