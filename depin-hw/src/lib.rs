//! Hardware attestation for devices: evidence, verifiers, appraisal.
