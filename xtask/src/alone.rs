//! A test that needs a process of its own, because what it looks at is the whole process: its children, what it allocates.

use std::process::Command;
use std::time::Duration;

use crate::servers::{Process, TempDir};

/// Set in the process that a test has started for itself.
const VARIABLE: &str = "CAMPANILE_TEST_ALONE";

/// Whether this is a process of the test's own. Elsewhere it starts one, and demands that all goes well there. `test` is its
/// whole name, as the harness lists it.
///
/// # Panics
/// When the test fails there, is not found, or takes longer than `limit`.
#[must_use]
#[track_caller]
#[expect(
    clippy::print_stdout,
    reason = "what a test prints is shown with its failure"
)]
pub fn is_alone(test: &str, limit: Duration) -> bool {
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let (run, said) = match start(test, limit) {
        Ok(ended) => ended,
        Err(error) => panic!("can't start {test} in a process of its own: {error}"),
    };
    print!("{said}");
    assert!(run && said.contains("1 passed"), "{test}: {said}");
    false
}

/// Whether it went well in time, and all it said.
fn start(test: &str, limit: Duration) -> std::io::Result<(bool, String)> {
    let folder = TempDir::new("alone")?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", test, "--nocapture"])
        .env(VARIABLE, "1");
    let process = Process::spawn(&command, &folder.join("log"))?;
    let status = process.wait_exit(limit);
    Ok((status.is_some_and(|s| s.success()), process.log()))
}
