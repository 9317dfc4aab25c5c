//! Conformance of [`DidResolver`](depin_core::document::DidResolver).
