//! `cargo xtask sim`: builds the simulation optimised and runs it with the options it was given. What is simulated and
//! judged is the business of `crates/campanile-simulation`; this tool does not depend on it, so that it starts at once.

use super::{cargo, say};

/// Runs it; its own exit code says whether something was broken.
pub fn run(options: &[String]) -> bool {
    let mut cargo = cargo(&[
        "run",
        "--quiet",
        "--profile",
        "ci",
        "--package",
        "campanile-simulation",
        "--",
    ]);
    match cargo.args(options).status() {
        Ok(status) => status.success(),
        Err(error) => {
            say(&format!("failed to start cargo: {error}"));
            false
        }
    }
}
