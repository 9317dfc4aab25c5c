//! Tests that need what a machine may not have: brokers, engines, tools.
//!
//! They run where it is there and say so where it is not, so that a clone on a bare machine is green but not
//! silent. Where everything has to be there, as on the machine that guards a release, set [`REQUIRE_ALL`].

use std::fmt;

/// Environment variable under which a test that cannot run fails: any value but empty and `0`.
pub const REQUIRE_ALL: &str = "DEPIN_REQUIRE_ALL";

/// Whether a test that cannot run fails.
pub fn is_failure() -> bool {
    std::env::var_os(REQUIRE_ALL).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Says that a test, or a part of one, does not run, and why: `skipped: …`.
///
/// ```
/// # if !depin_testkit::skip::is_failure() {
/// depin_testkit::skip::skipped("nats-server is not installed");
/// # }
/// ```
///
/// # Panics
/// Where [`REQUIRE_ALL`] is set.
pub fn skipped(why: impl fmt::Display) {
    assert!(!is_failure(), "{why}, and {REQUIRE_ALL} says that nothing may be skipped");
    println!("skipped: {why}");
}
