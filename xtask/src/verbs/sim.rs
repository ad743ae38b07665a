//! `cargo xtask sim`: builds the simulation optimised and runs it with the options it was given. What is simulated and
//! judged is the business of `proof/simulation`; this tool does not depend on it, so that it starts at once.

use super::cargo;
use crate::evidence;

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
    let command = format!("cargo xtask sim {}", options.join(" "));
    evidence::watch("simulation", command.trim_end(), cargo.args(options))
}
