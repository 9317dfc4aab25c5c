//! Conformance of [`BatchLog`](depin_core::log::BatchLog).
