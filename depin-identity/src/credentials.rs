//! Credentials: what somebody says about a device, and whether it still holds.

pub mod status;
