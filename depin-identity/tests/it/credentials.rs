//! Credentials: what is accepted, and every way in which it must not be.

mod delta;
mod list;

use depin_core::Timestamp;

/// 14 November 2023.
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
