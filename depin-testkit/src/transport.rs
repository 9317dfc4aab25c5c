//! Conformance of [`Transport`](depin_core::transport::Transport).
