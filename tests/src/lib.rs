//! Stories across the crates of the depin workspace.
