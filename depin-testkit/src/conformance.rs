//! Published known answers, counted.
//!
//! A test that runs a suite of a standard opens a [`Suite`], tells it the verdict on every case, and
//! finishes it. `cargo xtask conformance` gathers the counts of all tests into one table.

use std::{fs::OpenOptions, io::Write};

/// One suite of known answers while it runs.
///
/// ```
/// use depin_testkit::conformance::Suite;
///
/// let mut suite = Suite::new("arithmetic of the primer");
/// suite.case("one and one", 1 + 1 == 2);
/// suite.not_applicable(1, "roman numerals");
/// suite.finish();
/// ```
#[derive(Debug)]
#[must_use = "a suite counts when it is finished"]
pub struct Suite {
    name: &'static str,
    passed: usize,
    failed: Vec<String>,
    left_out: Vec<(usize, &'static str)>,
}

impl Suite {
    /// A suite by the name that the table shows.
    pub const fn new(name: &'static str) -> Self {
        Self { name, passed: 0, failed: Vec::new(), left_out: Vec::new() }
    }

    /// The verdict on one case: whether the answer is the published one.
    pub fn case(&mut self, name: impl Into<String>, right: bool) {
        if right {
            self.passed += 1;
        } else {
            self.failed.push(name.into());
        }
    }

    /// Cases of the suite that are about something the SDK does not do, with the reason.
    pub fn not_applicable(&mut self, cases: usize, why: &'static str) {
        self.left_out.push((cases, why));
    }

    /// Appends the counts to the file named by `DEPIN_CONFORMANCE`, if that is set. A suite without cases
    /// (its known answers are not there) is silent.
    ///
    /// # Panics
    /// With the names of the cases that failed, or when the file cannot be written.
    pub fn finish(self) {
        let Self { name, passed, failed, left_out } = self;
        let total = passed + failed.len();
        if total == 0 && left_out.is_empty() {
            return;
        }
        println!("{name}: {passed} of {total}");
        if let Some(path) = std::env::var_os("DEPIN_CONFORMANCE") {
            let left_out: Vec<_> = left_out
                .iter()
                .map(|(cases, why)| serde_json::json!({"cases": cases, "why": why}))
                .collect();
            let line = serde_json::json!({
                "suite": name, "passed": passed, "total": total, "not_applicable": left_out,
            });
            let file = OpenOptions::new().create(true).append(true).open(path);
            // One write, because suites of several processes finish at the same time.
            file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
                .expect("the file that DEPIN_CONFORMANCE names can be written");
        }
        check(name, &failed);
    }
}

fn check(name: &str, failed: &[String]) {
    assert!(failed.is_empty(), "{name}: {} cases fail: {failed:?}", failed.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "fail: [\"two\"]")]
    fn a_wrong_answer_fails_the_suite() {
        let mut suite = Suite::new("s");
        suite.case("one", true);
        suite.case("two", false);
        assert_eq!(suite.passed, 1);
        // Not finished, for it is no suite of anybody: nothing is appended to the counts.
        check(suite.name, &suite.failed);
    }
}
