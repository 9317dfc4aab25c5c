//! The whole journey, and what is left of it when the process is killed.

#[cfg(feature = "nats")]
mod nats;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

fn climate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_climate"));
    command.args(arguments);
    command
}

fn json(arguments: &[&str]) -> Value {
    let output = climate(arguments).arg("--json").output().expect("the example starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else")
}

fn kept_in(folder: &Path) -> Value {
    json(&["--data", folder.to_str().expect("a temporary folder has a plain name")])
}

/// Starts the journey and kills it (SIGKILL) a moment after it prints a heading, or lets it end before.
fn kill_at(heading: &str, options: &[&str]) {
    let mut child = climate(options).stdout(Stdio::piped()).spawn().expect("the example starts");
    let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let reached = lines.map_while(Result::ok).find(|line| line.starts_with(heading));
    assert!(reached.is_some(), "the story has no chapter {heading}");
    child.kill().expect("the run can be killed");
    child.wait().expect("the run ends");
}

#[test]
fn two_epochs_are_paid_exactly_and_audited() {
    let report = json(&[]);
    assert_eq!(report["stations"], 26);
    assert_eq!(report["audit_ok"], true);
    let epochs = report["epochs"].as_array().expect("epochs");
    assert_eq!(epochs.len(), 2);
    for epoch in epochs {
        assert_eq!(epoch["root"], epoch["onchain_root"]);
        assert_eq!(epoch["emission"], "1000");
        assert_eq!(epoch["paid"], "1000");
    }
    for code in ["duplicate", "bad-signature", "fork", "not-registered", "clock-ahead"] {
        assert_eq!(report["batches_refused"][code], 1, "{code}");
    }
}

#[test]
fn the_story_names_every_trick() {
    let output = climate(&["--stations", "20"]).output().expect("the example starts");
    let story = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for words in [
        "bad-signature",
        "fork",
        "not-registered",
        "clock-ahead",
        "duplicate",
        "stuck",
        "out-of-bounds",
        "root recomputed and equal",
        "a doctored copy of the log fails",
    ] {
        assert!(story.contains(words), "{words}\n{story}");
    }
}

#[test]
fn a_killed_run_continues_and_pays_the_same() {
    let undisturbed = json(&[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("a temporary folder has a plain name");
    for heading in ["1. ", "1. ", "1. ", "2. ", "3.1", "4. ", "5.1", "3.2", "5.2", "6. "] {
        kill_at(heading, &["--data", path]);
    }
    let survived = kept_in(folder.path());
    for field in ["stations", "batches_accepted", "readings", "audit_ok"] {
        assert_eq!(survived[field], undisturbed[field], "{field}");
    }
    assert_eq!(survived["epochs"], undisturbed["epochs"], "the same roots, emissions and payments");
    let again = kept_in(folder.path());
    assert_eq!(again["epochs"], undisturbed["epochs"]);
    assert_eq!(again["claims"], 0, "nothing is paid twice");
}

#[cfg(feature = "nats")]
#[test]
fn a_killed_run_continues_on_the_log_of_a_nats_server() {
    let Some(server) = nats::Server::start() else {
        return depin_testkit::skip::skipped("nats-server is not installed");
    };
    let undisturbed = json(&[]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("a temporary folder has a plain name");
    let options = ["--nats", server.url.as_str(), "--data", path];
    for heading in ["2. ", "3.1", "5.1"] {
        kill_at(heading, &options);
    }
    let survived = json(&options);
    for field in ["stations", "batches_accepted", "readings", "audit_ok"] {
        assert_eq!(survived[field], undisturbed[field], "{field}");
    }
    assert_eq!(survived["epochs"], undisturbed["epochs"], "the same roots, emissions and payments");
}

#[cfg(feature = "nats")]
#[test]
fn a_run_without_a_folder_keeps_its_log_on_a_nats_server() {
    let Some(server) = nats::Server::start() else {
        return depin_testkit::skip::skipped("nats-server is not installed");
    };
    let (embedded, shared) = (json(&[]), json(&["--nats", &server.url]));
    for field in ["stations", "batches_accepted", "batches_refused", "readings", "audit_ok"] {
        assert_eq!(shared[field], embedded[field], "{field}");
    }
    assert_eq!(shared["epochs"], embedded["epochs"], "the same roots, emissions and payments");
}

#[test]
fn wrong_options_are_explained() {
    for arguments in [&["--stations", "3"][..], &["--stations", "many"], &["--unknown"]] {
        let output = climate(arguments).output().expect("the example starts");
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: climate"));
    }
}
