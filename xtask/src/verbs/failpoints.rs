//! `failpoints`: a process killed at every failpoint, on one process with SQLite and on a cluster. Part of `test` too; this
//! verb runs them alone, one stand after the other, and keeps their counts.

use super::{Steps, cargo};
use crate::evidence;

/// Runs both stands.
pub fn run() -> bool {
    let mut steps = Steps::default();
    let mut test = cargo(&["test", "-p", "campanile-server", "--test", "main"]);
    test.args(["failpoints::", "--", "--nocapture", "--test-threads", "1"]);
    steps.step("a process dies at every failpoint", || {
        evidence::watch("failpoints", "cargo xtask failpoints", &mut test)
    });
    steps.report("failpoints");
    steps.passed()
}
