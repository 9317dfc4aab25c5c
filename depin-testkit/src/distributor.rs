//! Conformance of [`RewardDistributor`](depin_core::reward::RewardDistributor) and [`TokenLedger`](depin_core::reward::TokenLedger).
