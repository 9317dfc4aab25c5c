//! Conformance suites, simulated devices and fault injection for the depin SDK.
