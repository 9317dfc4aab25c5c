//! The fifteen lines of the README.

fn main() {}
