//! The manual: how the parts work together, and why they are as they are.

#[doc = include_str!("manual/data.md")]
pub mod data {}

#[doc = include_str!("manual/identity.md")]
pub mod identity {}

#[doc = include_str!("manual/payment.md")]
pub mod payment {}
