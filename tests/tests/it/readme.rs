//! The README says what is true.

use std::fs;

fn read(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced block of a language, by position.
fn block(readme: &str, language: &str, position: usize) -> String {
    let fence = format!("```{language}\n");
    let start = readme
        .split(&fence)
        .nth(position + 1)
        .unwrap_or_else(|| panic!("no block {position} of {language}"));
    start.split("```").next().unwrap_or("").to_owned()
}

#[test]
fn the_quickstart_is_the_example() {
    let example = read("examples/quickstart/src/main.rs");
    let code = example.split_once("\n\n").map_or(example.as_str(), |(_, code)| code);
    assert_eq!(block(&read("README.md"), "rust", 0), code);
}

#[test]
fn it_stays_short() {
    assert!(read("README.md").lines().count() <= 150);
}

#[test]
fn its_commands_exist() {
    let commands = block(&read("README.md"), "sh", 0);
    assert_eq!(commands, "cargo run --release -p climate\ncargo xtask test\n");
    assert!(read("xtask/src/main.rs").contains("[\"test\"] => test::run("));
    assert!(read("xtask/src/ci.rs").contains("run --quiet --release -p climate"));
}
