//! Verified telemetry: signed batches, durable log with receipts, quality checks, epochs, audit.
