//! Conformance of [`Attester`](depin_core::evidence::Attester) and [`EvidenceVerifier`](depin_core::evidence::EvidenceVerifier).
