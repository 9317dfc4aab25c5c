//! Conformance of [`DeviceRegistry`](depin_core::registry::DeviceRegistry).
