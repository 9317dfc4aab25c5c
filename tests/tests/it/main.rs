//! Stories across crates, and the rules of the house.

mod graph;
mod journey;
mod readme;
