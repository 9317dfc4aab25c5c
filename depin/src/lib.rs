//! SDK for decentralized physical infrastructure networks: identity, attestation, verified telemetry, exact rewards.
