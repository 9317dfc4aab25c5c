//! The chain handle, its sender and the deployment against the embedded chain.

mod crashes;
mod deployment;
mod faults;
mod sending;
