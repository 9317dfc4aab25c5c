//! The chain handle, its sender and the deployment against the embedded chain.

mod anvil;
mod crashes;
mod deployment;
mod faults;
mod io1;
mod legacy;
mod sending;
mod store;
mod waiting;
