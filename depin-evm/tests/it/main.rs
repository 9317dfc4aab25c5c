//! The chain handle, its sender and the deployment against the embedded chain.

mod deployment;
mod sending;
