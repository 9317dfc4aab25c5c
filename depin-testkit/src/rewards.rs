//! Conformance of [`RewardPolicy`](depin_core::reward::RewardPolicy).
