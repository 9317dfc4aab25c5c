//! Conformance of [`QualityCheck`](depin_core::quality::QualityCheck).
