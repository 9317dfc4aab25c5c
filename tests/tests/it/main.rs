//! Stories across crates, and the rules of the house.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod bundles;
mod discretion;
mod disputes;
mod faults;
mod grants;
mod graph;
mod interruptions;
mod journey;
mod payouts;
mod readme;
mod restart;
mod rotation;
mod row;
mod slashing;
mod support;
mod windows;
mod withdrawn;
