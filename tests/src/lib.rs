//! Stories across the crates of the workspace; see `tests/it`.
