//! The month as a treasurer sees it.

use std::process::Command;

#[test]
fn the_month_ends_in_books_that_equal_the_chain() {
    let out = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_treasury"))
        .arg("--out")
        .arg(out.path())
        .output()
        .expect("it starts");
    let story = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{story}\n{complaints}");
    for line in [
        "emitted 200000 to 41 accounts",
        "run suppliers-1: 300 recipients, 290 of them new, 31500 tokens",
        "chosen: batched transfers",
        "paid 31500 to 300 accounts",
        "the same run again: 300 paid, 0 gas, nothing sent",
        "and without its journal: 300 paid, 0 gas, nothing sent",
        "equal the chain to the last unit: 331 accounts, supply 200000",
        "HARV after four years",
    ] {
        assert!(story.contains(line), "{line:?} is missing in\n{story}");
    }
    let plan = story.split("run suppliers-1").nth(1).expect("the plan");
    let (plan, paid) = plan.split_once("paid 31500").expect("it is shown before it is paid");
    assert!(!plan.contains("not open") && !paid.contains("chosen"), "both ways, before\n{story}");
    let read = |name| std::fs::read_to_string(out.path().join(name)).expect(name);
    assert!(read("books.csv").contains("Assets:Chain:Treasury"));
    assert!(read("books.journal").contains("Claim"));
    assert!(read("books.journal").contains("Payments of suppliers-1"));
    assert!(
        read("books.beancount")
            .contains(" balance Assets:Chain:Treasury  8500.000000000000000000 HARV")
    );
    assert!(read("supply.svg").starts_with("<svg") && read("income.svg").starts_with("<svg"));
}
