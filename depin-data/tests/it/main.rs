//! Attacks and round trips of the data crate, in one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accused;
mod audit;
mod batch;
#[cfg(feature = "nats")]
mod broker;
mod bundle;
#[cfg(feature = "http")]
mod bundles;
mod collector;
mod corrections;
#[cfg(unix)]
mod device_kill;
mod epoch;
mod evidence;
#[cfg(any(feature = "formats", feature = "parquet"))]
mod formats;
#[cfg(target_os = "linux")]
mod full_disk;
mod gap;
mod gate;
#[cfg(feature = "geo")]
mod geo;
#[cfg(feature = "http")]
mod http;
mod ingest;
#[cfg(feature = "nats")]
mod jetstream;
#[cfg(feature = "nats")]
mod jetstream_cluster;
#[cfg(all(feature = "nats", unix))]
mod jetstream_kill;
#[cfg(feature = "nats")]
mod jetstream_seals;
#[cfg(feature = "nats")]
mod jetstream_work;
#[cfg(unix)]
mod kill;
mod letters;
mod log;
mod log_index;
mod memory;
mod merkle;
#[cfg(feature = "metrics")]
mod observe;
mod outbox;
mod power;
mod privacy;
mod quality;
mod quality_alike;
mod quality_copied;
#[cfg(feature = "geo")]
mod quality_crowds;
#[cfg(feature = "geo")]
mod quality_faults;
mod quality_habits;
#[cfg(feature = "geo")]
mod quality_memory;
mod quality_meters;
mod quality_more;
#[cfg(feature = "geo")]
mod quality_steering;
mod receipt;
mod salt;
mod scoring;
mod standings;
#[cfg(all(unix, feature = "http"))]
mod storm;
#[cfg(feature = "http")]
mod stream;
mod stuck;
mod subscribe;
mod support;
#[cfg(all(feature = "mqtt", feature = "nats"))]
mod transports;
mod windows;
mod wire;

#[cfg(feature = "geo")]
#[path = "../../benches/quality/classes.rs"]
mod classes;
#[cfg(feature = "geo")]
#[path = "../../benches/quality/series.rs"]
mod series;

#[cfg(feature = "geo")]
#[path = "../../benches/quality/synthetic.rs"]
mod synthetic;
