//! The whole story, and that its numbers are exact.

use std::process::Command;

use serde_json::Value;

#[test]
fn readings_are_sold_both_ways_and_every_token_is_accounted_for() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metered-api"));
    let output = command.args(["--requests", "20", "--json"]).output().expect("the example starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let [x402, vouchers] = [&report["purchases"][0], &report["purchases"][1]];
    assert_eq!((&x402["requests"], &x402["transactions"]), (&2.into(), &2.into()));
    assert_eq!((&vouchers["requests"], &vouchers["transactions"]), (&20.into(), &3.into()));
    assert_eq!((&report["ann"], &report["bob"]), (&"500022".into(), &"499978".into()));
}
